//! Signing in and out.

use crate::auth::guard::Caller;
use crate::auth::login;
use crate::auth::session;
use crate::console::guard::{AlertReader, Form, Visitor, own_path};
use crate::console::page::{HOME, PageError, render};
use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::context;
use serde::Deserialize;
use std::net::SocketAddr;
use watchpost_model::text::Given;
use watchpost_model::{Actor, Rank};

/// Where to go after signing in.
#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

pub(crate) async fn show(Visitor(session): Visitor, Query(asked): Query<Next>) -> Response {
    if session.is_some() {
        return Redirect::to(own_path(&asked.next)).into_response();
    }
    form(StatusCode::OK, "", "", own_path(&asked.next))
}

fn form(status: StatusCode, username: &str, problem: &str, next: &str) -> Response {
    render(status, "login.html", None, context! { title => "Sign in", username, problem, next })
}

pub(crate) async fn enter(
    _: Visitor,
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let given = |name| match fields.get(name) {
        Given::Text(text) => text.into_owned(),
        _ => String::new(),
    };
    let (username, next) = (given("username"), given("next"));
    let next = own_path(&next);
    let caller = Caller { rank: Rank::Anonymous, actor: Actor::Anonymous, peer: peer.ip() };
    match login::check_password(&state, &fields, &caller).await {
        Ok(known) => {
            let cookie = session::open(&state, &known, &headers).await?;
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
        }
        Err(error) => {
            let problem = match &error {
                ApiError::BadLogin => "The user name or the password is wrong.",
                ApiError::Invalid(_) => "A user name and a password are needed.",
                ApiError::Throttled(_) => "Too many attempts from your address. Wait a minute.",
                ApiError::Unavailable(..) => {
                    "Too many people are signing in right now. Try again in a moment."
                }
                _ => return Err(error.into()),
            };
            Ok(form(error.status(), &username, problem, next))
        }
    }
}

pub(crate) async fn leave(
    _: AlertReader,
    State(state): State<AppState>,
    headers: HeaderMap,
    _: Form,
) -> Result<Response, PageError> {
    let cookie = session::close(&state, &headers).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&format!("/login?next={HOME}"))).into_response())
}
