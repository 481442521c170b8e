//! Pages that say no.

use crate::auth::session::Session;
use crate::console::page::render;
use crate::error::ApiError;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use watchpost_model::Action;
use watchpost_store::StoreError;

/// Why a page can't be shown.
pub(crate) enum PageError {
    /// Not signed in; and where to go afterwards.
    LogIn(String),
    /// Signed in, and not allowed to.
    NotAllowed(Box<Session>, Action),
    /// A form that none of our pages sent.
    Forged,
    /// What the API would answer.
    Api(ApiError),
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Api(error.into())
    }
}

impl From<watchpost_model::Invalid> for PageError {
    fn from(wrong: watchpost_model::Invalid) -> Self {
        Self::Api(wrong.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn(next) => {
                let next = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                Redirect::to(&format!("/login?next={next}")).into_response()
            }
            Self::NotAllowed(session, action) => {
                let (name, role) = (session.user.username.as_str(), session.user.role.title());
                let text = format!("You are signed in as {name} ({role}). This needs {}.", action.who());
                message(StatusCode::FORBIDDEN, Some(&session), "Not for your role", &text)
            }
            Self::Forged => message(
                StatusCode::FORBIDDEN,
                None,
                "This form can't be trusted",
                "It was not sent by a page of this session. Go back, reload the page and try again.",
            ),
            Self::Api(error) => refusal(error),
        }
    }
}

fn message(status: StatusCode, session: Option<&Session>, title: &str, text: &str) -> Response {
    let wrong: [Value; 0] = [];
    render(status, "message.html", session, context! { title, text, wrong })
}

/// The page for what is not there.
pub(crate) fn not_found() -> Response {
    refusal(ApiError::NotFound)
}

/// The page for what the API would answer.
pub(crate) fn refusal(error: ApiError) -> Response {
    let status = error.status();
    let detail = error.detail();
    let (title, text) = match &error {
        ApiError::Invalid(_) => {
            ("That can't be read", "Something in the address or the form is not understood.")
        }
        ApiError::NotFound => ("Nothing here", "There is no such thing, or it is gone."),
        ApiError::NoSuchPage => ("Nothing here", "The list has no such page; it may have become shorter."),
        ApiError::WrongMethod(_) => ("Nothing to see here", "This address is for forms only."),
        ApiError::Throttled(_) => ("A little slower", "Too many requests. Wait a moment and try again."),
        ApiError::Internal => ("Not right now", "Watchpost can't do this. Its log says why."),
        ApiError::OutcomeUnknown | ApiError::Unavailable(..) => ("Not right now", detail.as_str()),
        _ => ("That didn't work", detail.as_str()),
    };
    let mut response = match &error {
        ApiError::Invalid(wrong) => {
            let one =
                |(field, messages): (&String, &Vec<String>)| context! { field, text => messages.join(" ") };
            let wrong: Vec<Value> = wrong.fields().iter().map(one).collect();
            render(status, "message.html", None, context! { title, text, wrong })
        }
        _ => message(status, None, title, text),
    };
    // When to come back is for programs as well.
    if let Some(wait) = error.into_response().headers_mut().remove(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}
