//! Pages that say no.

use crate::auth::session::{Session, current};
use crate::console::guard::{came_from, own_path};
use crate::console::page::render;
use crate::error::ApiError;
use crate::extract::Target;
use crate::state::AppState;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;
use watchpost_model::page::PageRequest;
use watchpost_model::{Action, Role};
use watchpost_store::{StoreError, UserFilter};

/// Admins that are named to somebody who needs one.
const HELPERS: u32 = 5;

/// Why a page can't be shown.
pub(crate) enum PageError {
    /// Not signed in; and where to go afterwards.
    LogIn(String),
    /// Signed in without the second factor that the role requires; and where to go afterwards.
    FactorMissing(String),
    /// Signed in too long ago for this; and where to go afterwards.
    StepUp(String),
    /// Signed in, and not allowed to.
    NotAllowed(Box<Session>, Action),
    /// A form that none of our pages sent.
    Forged,
    /// What the API would answer.
    Api(ApiError),
    /// A page that asks for what is missing.
    Ask(Box<Response>),
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

/// What a page that says no says. It goes along with the answer, until [`framed`] puts it into the frame of whoever
/// is signed in.
#[derive(Clone)]
struct Message {
    title: String,
    text: String,
    /// What is wrong, by parameter or field.
    wrong: Vec<(String, String)>,
    /// What the caller would have to be allowed.
    needs: Option<Action>,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn(next) => {
                let next = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                Redirect::to(&format!("/login?next={next}")).into_response()
            }
            Self::FactorMissing(next) => {
                let next = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                Redirect::to(&format!("/login?second-factor&next={next}")).into_response()
            }
            Self::NotAllowed(session, action) => {
                let (name, role) = (session.user.username.as_str(), session.user.role.title());
                let text = format!("You are signed in as {name} ({role}). This needs {}.", action.who());
                let message = Message { needs: Some(action), ..Message::new("Not for your role", &text) };
                message.answer(StatusCode::FORBIDDEN)
            }
            Self::Forged => Message::new(
                "This form can't be trusted",
                "It was not sent by a page of this session. Go back, reload the page and try again.",
            )
            .answer(StatusCode::FORBIDDEN),
            Self::StepUp(next) => {
                let next = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                Redirect::to(&format!("/step-up?next={next}")).into_response()
            }
            Self::Api(error) => refusal(error),
            Self::Ask(page) => *page,
        }
    }
}

impl Message {
    fn new(title: &str, text: &str) -> Self {
        Self { title: title.to_owned(), text: text.to_owned(), wrong: Vec::new(), needs: None }
    }

    fn answer(self, status: StatusCode) -> Response {
        let mut page = self.page(status, None, Ways::default());
        page.extensions_mut().insert(self);
        page
    }

    fn page(&self, status: StatusCode, session: Option<&Session>, ways: Ways) -> Response {
        let wrong = self.wrong.iter().map(|(field, text)| context! { field, text });
        let page = context! {
            title => self.title.as_str(),
            text => self.text.as_str(),
            wrong => wrong.collect::<Vec<Value>>(),
            status => status.as_u16(),
            back => ways.back,
            again => ways.again,
            helpers => ways.helpers,
        };
        render(status, "message.html", session, page)
    }
}

/// Where to go from a page that says no.
#[derive(Default)]
struct Ways {
    /// The page before.
    back: Option<String>,
    /// The same page, where waiting helps.
    again: Option<String>,
    /// Who can give a role.
    helpers: Vec<String>,
}

/// Puts an answer that says no into the frame of whoever is signed in, with the ways on from there. Whatever fails
/// on the way leaves the page as it is.
pub(crate) async fn framed(state: &AppState, parts: &Parts, mut answer: Response) -> Response {
    let Some(message) = answer.extensions_mut().remove::<Message>() else { return answer };
    let status = answer.status();
    let session = current(parts, state).await.ok().flatten();
    let target = parts.extensions.get::<Target>().map_or(&parts.uri, |target| &target.0);
    let waiting_helps = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let path = target.path_and_query().map(|path| own_path(path.as_str()).to_owned());
    let helpers = match (&session, message.needs) {
        (Some(_), Some(_)) => admins(state).await,
        _ => Vec::new(),
    };
    let ways = Ways {
        back: came_from(parts).filter(|before| Some(before) != path.as_ref()),
        again: path.filter(|_| waiting_helps && parts.method == Method::GET),
        helpers,
    };
    let page = message.page(status, session.as_ref(), ways);
    *answer.body_mut() = page.into_body();
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    answer
}

/// Some of those who can give a role.
async fn admins(state: &AppState) -> Vec<String> {
    let filter = UserFilter { role: Some(Role::Admin), active: Some(true), search: None };
    let found = state.db.users(&filter, PageRequest::numbered(1, HELPERS)).await;
    found.map(|page| page.rows.into_iter().map(|user| user.username).collect()).unwrap_or_default()
}

/// The page for what is not there.
pub(crate) fn not_found() -> Response {
    refusal(ApiError::NotFound)
}

/// The page for what the API would answer.
pub(crate) fn refusal(error: ApiError) -> Response {
    let status = error.status();
    let detail = error.detail();
    let slower;
    let (title, text) = match &error {
        ApiError::Invalid(_) => {
            ("That can't be read", "Something in the address or the form is not understood.")
        }
        ApiError::NotFound => ("Nothing here", "There is no such thing, or it is gone."),
        ApiError::NoSuchPage => ("Nothing here", "The list has no such page; it may have become shorter."),
        ApiError::WrongMethod(_) => ("Nothing to see here", "This address is for forms only."),
        ApiError::Throttled(wait) => {
            slower = format!("Too many requests. Try again in {}.", seconds(*wait));
            ("A little slower", slower.as_str())
        }
        ApiError::Internal => ("Not right now", "Watchpost can't do this. Its log says why."),
        ApiError::OutcomeUnknown | ApiError::Unavailable(..) | ApiError::Busy(_) => {
            ("Not right now", detail.as_str())
        }
        _ => ("That didn't work", detail.as_str()),
    };
    let mut message = Message::new(title, text);
    if let ApiError::Invalid(wrong) = &error {
        let all = wrong.fields().iter();
        message.wrong = all.map(|(field, messages)| (field.clone(), messages.join(" "))).collect();
    }
    let mut response = message.answer(status);
    // When to come back is for programs as well.
    if let Some(wait) = error.into_response().headers_mut().remove(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

/// A short time in words, never less than it is.
fn seconds(wait: Duration) -> String {
    match wait.as_millis().div_ceil(1_000).max(1) {
        1 => "a second".to_owned(),
        n @ ..120 => format!("{n} seconds"),
        n => format!("{} minutes", n.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_never_shorter_than_they_are() {
        let said = |millis| seconds(Duration::from_millis(millis));
        assert_eq!(
            [said(0), said(1_000), said(1_001), said(119_000)],
            ["a second", "a second", "2 seconds", "119 seconds"]
        );
        assert_eq!([said(119_001), said(121_000)], ["2 minutes", "3 minutes"]);
    }
}
