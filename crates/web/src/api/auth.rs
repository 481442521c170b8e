//! Logging in and what belongs to it.

use crate::api::users::UserView;
use crate::auth::factor::SetUp;
use crate::auth::grant::{self, TokenPair};
use crate::auth::guard::{Agent, Anyone, Oneself};
use crate::auth::proof::{self, Fresh};
use crate::auth::{factor, login};
use crate::body::{Field, Holds};
use crate::error::{ApiError, Problem};
use crate::extract::Input;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::UserId;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, Session};

pub(crate) const LOGIN: &[Field] = &[
    Field::required("username", Holds::Text, "Who.", "admin"),
    Field::required("password", Holds::Secret, "The password.", "correct horse battery"),
    Field::optional(
        "otp",
        Holds::Text,
        "The code of the second factor, or a recovery code; needed by users who have one.",
        "123456",
    ),
    Field::optional(
        "setup",
        Holds::Text,
        "What the answer `second_factor_setup` gave, with the first code. It stands for the password, too.",
        "c2VhbGVk…",
    ),
    Field::optional(
        "new_password",
        Holds::Secret,
        "A password of one's own, instead of the one-time password that was given.",
        "correct horse battery",
    ),
];
const CURRENT: Field =
    Field::required("current_password", Holds::Secret, "The password.", "correct horse battery");
const CODE: Field =
    Field::optional("otp", Holds::Text, "The code of the second factor, where one is in use.", "123456");
const STEP_UP: &[Field] =
    &[Field::required("password", Holds::Secret, "The password.", "correct horse battery"), CODE];
const AGAIN: &[Field] = &[CURRENT, CODE];
const NEW_PASSWORD: &[Field] = &[
    CURRENT,
    CODE,
    Field::required(
        "new_password",
        Holds::Secret,
        "12 to 128 characters, of any kind; none of the common ones.",
        "wolkenbruch im mai",
    ),
];
const FIRST_CODE: &[Field] = &[
    Field::required("otp", Holds::Text, "The code that the authenticator app shows.", "123456"),
    Field::required("setup", Holds::Text, "What `/api/v1/auth/factor/setup` gave.", "c2VhbGVk…"),
];
const REFRESH: &[Field] = &[Field::required("refresh", Holds::Text, "A refresh token.", "eyJ…")];
const VERIFY: &[Field] = &[Field::required("token", Holds::Text, "A token of either kind.", "eyJ…")];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/auth/login", "/api/auth/login", "/api/auth/token", "/v1/auth/login"],
        Operation::post("logIn", "Log in", "Log in")
            .about(
                "Gives an access token for 15 minutes and a refresh token for a day. What else is needed is said by \
                 the `code` of the answer: `otp_required`, `otp_wrong` (401); `second_factor_setup`, with the secret \
                 for an authenticator app and a `setup` that comes back with the first code within ten minutes, and \
                 `password_change_required` (403). Log in again with it.",
            )
            .body(LOGIN)
            .answers::<TokenPair>(200, "Logged in")
            .answers::<Problem>(401, "Wrong user name or password, or the code is missing or wrong")
            .answers::<Problem>(403, "A second factor or a password of one's own has to be set up first"),
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
        &["/api/v1/auth/step-up"],
        Operation::post("stepUp", "Log in", "Show again who one is")
            .about(
                "What could do harm in the hands of an attacker with a stolen token (making Admins, giving and resetting \
                 passwords, removing second factors, making sensor keys, exporting the audit log, ending sessions) is \
                 answered with 401 and the `code` `step_up_required` when the session's log-in is more than ten \
                 minutes ago. This counts for ten minutes more. Refreshing a token doesn't.",
            )
            .body(STEP_UP)
            .answers::<SteppedUp>(200, "What takes it works in this session now")
            .says(403, "The account belongs to single sign-on, and has no password here"),
        step_up,
    );
    sessions(routes);
    second_factor(routes);
    routes.add(
        &["/api/v1/auth/password"],
        Operation::post("changePassword", "My account", "Change one's own password")
            .about("Ends everything else one is logged in to; the answer is a new log-in.")
            .body(NEW_PASSWORD)
            .answers::<TokenPair>(200, "Changed"),
        change_password,
    );
    routes.add(
        &["/api/v1/auth/me"],
        Operation::get("whoAmI", "Log in", "Who I am").answers::<UserView>(200, "The user behind the token"),
        who_am_i,
    );
}

fn sessions(routes: &mut Routes) {
    routes.add(
        &["/api/v1/auth/logout-all"],
        Operation::post("logOutEverywhere", "My account", "Log out everywhere, here too").says(204, "Ended"),
        log_out_everywhere,
    );
    routes.add(
        &["/api/v1/auth/sessions"],
        Operation::get("listSessions", "My account", "Where one is logged in")
            .answers_all::<SessionView>("What was used last comes first"),
        list_sessions,
    );
    routes.add(
        &["/api/v1/auth/sessions/{session}"],
        Operation::delete("endSession", "My account", "Log out somewhere else").says(204, "Ended"),
        end_session,
    );
}

fn second_factor(routes: &mut Routes) {
    routes.add(
        &["/api/v1/auth/factor"],
        Operation::get("readFactor", "My account", "Whether one has a second factor")
            .answers::<FactorView>(200, "How it stands"),
        read_factor,
    );
    routes.add(
        &["/api/v1/auth/factor/setup"],
        Operation::post("setUpFactor", "My account", "Begin to set up a second factor")
            .about(
                "Nothing changes until the first code is sent to `/api/v1/auth/factor`, together with `setup`, in the \
                 same session and within ten minutes. Each call gives a new secret; a change of the password or of \
                 the user makes it worthless.",
            )
            .body(AGAIN)
            .answers::<SetUp>(200, "What an authenticator app needs")
            .answers::<Problem>(409, "There is one already"),
        set_up_factor,
    );
    routes.add(
        &["/api/v1/auth/factor"],
        Operation::post("beginFactor", "My account", "Use the second factor that was set up")
            .about("All other tokens and sessions of one's end.")
            .body(FIRST_CODE)
            .answers::<RecoveryCodes>(200, "In use from now on"),
        begin_factor,
    );
    routes.add(
        &["/api/v1/auth/factor/recovery-codes"],
        Operation::post("newRecoveryCodes", "My account", "Get new recovery codes instead of those left")
            .body(AGAIN)
            .answers::<RecoveryCodes>(200, "The old ones are worth nothing any more")
            .answers::<Problem>(409, "There is no second factor"),
        new_recovery_codes,
    );
    routes.add(
        &["/api/v1/auth/factor/remove"],
        Operation::post("removeFactor", "My account", "Do without a second factor")
            .about("All other tokens and sessions of one's end.")
            .body(AGAIN)
            .says(204, "Removed")
            .answers::<Problem>(409, "One's role has to have it"),
        remove_factor,
    );
}

/// Where somebody is logged in.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    id: String,
    /// `console` or `tokens`.
    kind: &'static str,
    /// From where it was begun.
    address: String,
    /// What the client said it is.
    agent: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last used: to the minute in the console, when it was last refreshed for tokens.
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// When it ends unless it goes on.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Whether it is the one that is asking.
    current: bool,
}

impl SessionView {
    pub(crate) fn new(session: Session, current: Option<&str>) -> Self {
        Self {
            current: current == Some(session.id.as_str()),
            kind: session.kind.name(),
            address: session.address,
            agent: session.agent,
            created_at: session.created_at.to_string(),
            last_seen_at: session.last_seen_at.to_string(),
            expires_at: session.expires_at.to_string(),
            id: session.id,
        }
    }
}

/// What showing again who one is gives.
#[derive(Serialize, ToSchema)]
struct SteppedUp {
    /// Until when it counts.
    #[schema(format = DateTime)]
    until: String,
}

/// How a second factor stands.
#[derive(Serialize, ToSchema)]
struct FactorView {
    /// Whether logging in takes one.
    enabled: bool,
    /// Whether one's role has to have one.
    required: bool,
    recovery_codes_left: usize,
}

/// Codes for whoever loses the second factor.
#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    /// Each is good once. Shown this once.
    recovery_codes: Vec<String>,
}

/// An empty object.
#[derive(Serialize, ToSchema)]
struct Nothing {}

async fn log_in(
    Anyone(caller): Anyone,
    State(state): State<AppState>,
    agent: Agent,
    input: Input,
) -> Result<Json<TokenPair>, ApiError> {
    grant::log_in(&state, &input.fields()?, &caller, &agent).await.map(Json)
}

async fn refresh(
    Anyone(caller): Anyone,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<TokenPair>, ApiError> {
    grant::refresh(&state, &input.fields()?, &caller).await.map(Json)
}

async fn verify(_: Anyone, State(state): State<AppState>, input: Input) -> Result<Json<Nothing>, ApiError> {
    grant::verify(&state, &input.fields()?).await.map(|()| Json(Nothing {}))
}

async fn log_out(
    Anyone(caller): Anyone,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    grant::log_out(&state, &input.fields()?, &caller).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn step_up(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<SteppedUp>, ApiError> {
    let until = proof::step_up(&state, &input.fields()?, "password", &caller).await?;
    Ok(Json(SteppedUp { until: until.to_string() }))
}

async fn who_am_i(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
) -> Result<Json<UserView>, ApiError> {
    let account = state.accounts.user(caller.user()?).await?.ok_or(ApiError::BadToken)?;
    Ok(Json(UserView::new(account.user.clone())))
}

async fn log_out_everywhere(
    Fresh(Oneself(caller)): Fresh<Oneself>,
    State(state): State<AppState>,
) -> Result<StatusCode, ApiError> {
    state.db.end_sessions_of(caller.user()?, None, &caller.entry()).await?;
    state.accounts.forget();
    Ok(StatusCode::NO_CONTENT)
}

async fn list_sessions(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
) -> Result<Json<Vec<SessionView>>, ApiError> {
    let sessions = state.db.sessions_of(caller.user()?, now()).await?;
    let current = caller.session.as_deref();
    Ok(Json(sessions.into_iter().map(|session| SessionView::new(session, current)).collect()))
}

/// A user's own session, or none: whether somebody else has one by that name is nobody's business.
pub(crate) async fn session_of(state: &AppState, user: UserId, id: &str) -> Result<Session, ApiError> {
    let found = if id.contains('\0') { None } else { state.db.session(id, now()).await? };
    found.filter(|session| session.user == user).ok_or(ApiError::NotFound)
}

async fn end_session(
    Fresh(Oneself(caller)): Fresh<Oneself>,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let session = session_of(&state, caller.user()?, &id).await?;
    grant::end(&state, &session, &caller, "session.end").await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change_password(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    agent: Agent,
    input: Input,
) -> Result<Json<TokenPair>, ApiError> {
    let fields = input.fields()?;
    let known = login::check_again(&state, &fields, CURRENT.name, caller.user()?, &caller).await?;
    let password = login::new_password(&state, &known, &fields.get("new_password")).await?;
    let known = login::set_password(&state, &known, password, &caller).await?;
    let shown = login::shown_by(&known);
    grant::open(&state, &known, "with a new password", shown, &caller, &agent).await.map(Json)
}

async fn known(state: &AppState, user: UserId) -> Result<Credentials, ApiError> {
    state.db.credentials(user).await?.ok_or(ApiError::BadToken)
}

async fn read_factor(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
) -> Result<Json<FactorView>, ApiError> {
    let known = known(&state, caller.user()?).await?;
    Ok(Json(FactorView {
        enabled: known.factor.secret.is_some(),
        required: factor::is_required(&state, &known.user),
        recovery_codes_left: known.factor.recovery.len(),
    }))
}

async fn set_up_factor(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<SetUp>, ApiError> {
    let known = login::check_again(&state, &input.fields()?, CURRENT.name, caller.user()?, &caller).await?;
    factor::prepare(&state, &known, &caller).await.map(Json)
}

async fn begin_factor(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let fields = input.fields()?;
    let known = known(&state, caller.user()?).await?;
    let recovery_codes = factor::begin_with(&state, &known, &fields, &caller).await?;
    Ok(Json(RecoveryCodes { recovery_codes }))
}

async fn new_recovery_codes(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let known = login::check_again(&state, &input.fields()?, CURRENT.name, caller.user()?, &caller).await?;
    let recovery_codes = factor::new_recovery_codes(&state, known.user.id, &caller).await?;
    Ok(Json(RecoveryCodes { recovery_codes }))
}

async fn remove_factor(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<StatusCode, ApiError> {
    let known = login::check_again(&state, &input.fields()?, CURRENT.name, caller.user()?, &caller).await?;
    factor::remove(&state, &known, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
