//! Signing in and out.

use crate::auth::guard::Caller;
use crate::auth::login;
use crate::auth::session;
use crate::console::guard::{AlertReader, Form, Visitor, filled, own_path};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::context;
use watchpost_model::{Actor, Rank};

pub(crate) async fn show(Visitor(session, _): Visitor, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    let next = next.as_ref().map_or("", |(_, next)| next);
    if session.is_some() {
        return Redirect::to(own_path(next)).into_response();
    }
    form(StatusCode::OK, "", "", own_path(next))
}

fn form(status: StatusCode, username: &str, problem: &str, next: &str) -> Response {
    render(status, "login.html", None, context! { title => "Sign in", username, problem, next })
}

pub(crate) async fn enter(
    Visitor(_, peer): Visitor,
    State(state): State<AppState>,
    headers: HeaderMap,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (username, next) = (filled(&fields, "username"), filled(&fields, "next"));
    let next = own_path(&next);
    let caller = Caller { rank: Rank::Anonymous, actor: Actor::Anonymous, peer };
    let error = match login::check_password(&state, &fields, &caller).await {
        Ok(known) => {
            let cookie = session::open(&state, &known, &headers).await?;
            return Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response());
        }
        Err(error) => error,
    };
    let problem = match &error {
        ApiError::BadLogin => "The user name or the password is wrong.",
        ApiError::Invalid(_) => "A user name and a password are needed.",
        ApiError::Throttled(_) => "Too many attempts from your address. Wait a minute.",
        ApiError::Unavailable(detail, _) => *detail,
        _ => return Err(error.into()),
    };
    let mut page = form(error.status(), &username, problem, next);
    if let Some(wait) = error.into_response().headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    Ok(page)
}

pub(crate) async fn leave(
    _: AlertReader,
    State(state): State<AppState>,
    headers: HeaderMap,
    _: Form,
) -> Result<Response, PageError> {
    let cookie = session::close(&state, &headers).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}
