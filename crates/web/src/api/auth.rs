//! Logging in and what belongs to it.

use crate::api::users::UserView;
use crate::auth::guard::{Anyone, Oneself};
use crate::auth::login::{self, TokenPair};
use crate::body::{Field, Holds};
use crate::error::ApiError;
use crate::extract::Input;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::Actor;

pub(crate) const LOGIN: &[Field] = &[
    Field::required("username", Holds::Text, "Who.", "admin"),
    Field::required("password", Holds::Secret, "The password.", "correct horse battery"),
];
const REFRESH: &[Field] = &[Field::required("refresh", Holds::Text, "A refresh token.", "eyJ…")];
const VERIFY: &[Field] = &[Field::required("token", Holds::Text, "A token of either kind.", "eyJ…")];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/auth/login", "/api/auth/login", "/api/auth/token", "/v1/auth/login"],
        Operation::post("logIn", "Log in", "Log in")
            .about("Gives an access token for 15 minutes and a refresh token for a day.")
            .body(LOGIN)
            .answers::<TokenPair>(200, "Logged in")
            .says(401, "Wrong user name or password"),
        log_in,
    );
    routes.add(
        &["/api/v1/auth/refresh", "/api/auth/refresh", "/api/auth/token/refresh"],
        Operation::post("refreshToken", "Log in", "Swap a refresh token for a new pair")
            .about("Each refresh token can be swapped once. Using one twice ends everything that followed from its log-in.")
            .body(REFRESH)
            .answers::<TokenPair>(200, "A new pair")
            .says(401, "The token isn't good any more"),
        refresh,
    );
    routes.add(
        &["/api/v1/auth/verify", "/api/auth/token/verify"],
        Operation::post("verifyToken", "Log in", "Ask whether a token is good")
            .body(VERIFY)
            .answers::<Nothing>(200, "It is")
            .says(401, "It isn't"),
        verify,
    );
    routes.add(
        &["/api/v1/auth/logout"],
        Operation::post("logOut", "Log in", "End a refresh token and all that followed from its log-in")
            .body(REFRESH)
            .says(204, "Ended")
            .says(401, "The token isn't good any more"),
        log_out,
    );
    routes.add(
        &["/api/v1/auth/me"],
        Operation::get("whoAmI", "Log in", "Who I am").answers::<UserView>(200, "The user behind the token"),
        who_am_i,
    );
}

/// An empty object.
#[derive(Serialize, ToSchema)]
struct Nothing {}

async fn log_in(
    Anyone(caller): Anyone,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<TokenPair>, ApiError> {
    login::log_in(&state, &input.fields()?, &caller).await.map(Json)
}

async fn refresh(
    _: Anyone,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<TokenPair>, ApiError> {
    login::refresh(&state, &input.fields()?).await.map(Json)
}

async fn verify(_: Anyone, State(state): State<AppState>, input: Input) -> Result<Json<Nothing>, ApiError> {
    login::verify(&state, &input.fields()?).await.map(|()| Json(Nothing {}))
}

async fn log_out(_: Anyone, State(state): State<AppState>, input: Input) -> Result<Response, ApiError> {
    login::log_out(&state, &input.fields()?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn who_am_i(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
) -> Result<Json<UserView>, ApiError> {
    let Actor::User { id, .. } = caller.actor else { return Err(ApiError::NoCredential) };
    let account = state.accounts.user(id).await?.ok_or(ApiError::BadToken)?;
    Ok(Json(UserView::new(account.user.clone())))
}
