//! Guards for pages: whoever isn't signed in is sent to log in, whoever may not is told so on a page.

use crate::auth::guard::{Caller, Guard, peer, take, take_of};
use crate::auth::proof::{self, FormTakesProof, Knows};
use crate::auth::refusals::{Asked, Refused};
use crate::auth::session::{self, Session};
use crate::console::page::HOME;
use crate::console::problem::PageError;
use crate::console::step_up;
use crate::error::ApiError;
use crate::extract::{Input, Target, host};
use crate::known::Known;
use crate::state::AppState;
use crate::throttle;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::net::IpAddr;
use watchpost_model::access::allows;
use watchpost_model::text::Given;
use watchpost_model::{Action, Invalid};
use watchpost_pipeline::decode::Fields;

macro_rules! page_guards {
    ($($(#[$doc:meta])* $name:ident => $action:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Session);

        impl Guard for $name {
            const ACTION: Action = Action::$action;
        }

        impl Knows for $name {
            const PAGES: bool = true;

            fn caller(&self) -> &Caller {
                &self.0.caller
            }

            fn refused(error: ApiError, parts: &Parts) -> PageError {
                match error {
                    ApiError::StepUpRequired => PageError::StepUp(next(parts)),
                    error => error.into(),
                }
            }
        }

        impl FromRequestParts<AppState> for $name {
            type Rejection = PageError;

            async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, PageError> {
                admit(Action::$action, parts, state).await.map(Self)
            }
        }
    )*};
}

page_guards! {
    /// Whoever may read alerts.
    AlertReader => ReadAlerts;
    /// Whoever may change alerts.
    AlertChanger => ChangeAlerts;
    /// Whoever may read events.
    EventReader => ReadEvents;
    /// Whoever may hand in events.
    EventSender => IngestEvents;
    /// Any user, for their own account.
    SignedIn => UseOwnAccount;
    /// Admins.
    Administrator => Administer;
}

/// Anybody, signed in or not, and where they come from.
pub(crate) struct Visitor(pub(crate) Option<Session>, pub(crate) IpAddr);

impl Guard for Visitor {
    const ACTION: Action = Action::EnterAnonymously;
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, PageError> {
        let found = match session::current(parts, state).await {
            // Whoever has to show more is here to do so.
            Err(ApiError::FactorMissing { .. }) => None,
            found => found?,
        };
        if found.is_none() {
            take(state, throttle::Caller::Anonymous, peer(parts))?;
        }
        Ok(Self(found, peer(parts)))
    }
}

/// A page of ours that watches alerts by itself. That is no use of its session: one that nobody looks at any more ends.
pub(crate) struct Watcher(pub(crate) Session);

impl Guard for Watcher {
    const ACTION: Action = Action::ReadAlerts;
}

impl FromRequestParts<AppState> for Watcher {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, PageError> {
        if !session::from_own_page(parts, &state.settings) {
            return Err(forged(parts, state).await);
        }
        let found = enough(session::look(&parts.headers, peer(parts), state).await, parts)?;
        if let Some(session) = &found {
            take_of(state, &session.caller)?;
        }
        let_in(Self::ACTION, found, parts, state).await.map(Self)
    }
}

async fn admit(action: Action, parts: &mut Parts, state: &AppState) -> Result<Session, PageError> {
    let found = enough(session::current(parts, state).await, parts)?;
    let_in(action, found, parts, state).await
}

/// Sends whoever was let in without the second factor that their role requires to sign in again.
fn enough(found: Result<Option<Session>, ApiError>, parts: &Parts) -> Result<Option<Session>, PageError> {
    match found {
        Err(ApiError::FactorMissing { .. }) => Err(PageError::FactorMissing(next(parts))),
        found => Ok(found?),
    }
}

async fn let_in(
    action: Action,
    found: Option<Session>,
    parts: &mut Parts,
    state: &AppState,
) -> Result<Session, PageError> {
    let Some(found) = found else {
        take(state, throttle::Caller::Anonymous, peer(parts))?;
        return Err(PageError::LogIn(next(parts)));
    };
    if !allows(found.caller.rank, action) {
        state.refusals.note(state, &found.caller, Refused::Role(action), Asked::of(parts)).await;
        return Err(PageError::NotAllowed(Box::new(found), action));
    }
    Known::note(parts);
    // For the form, which checks that this session made it.
    parts.extensions.insert(found.clone());
    Ok(found)
}

/// Sends a caller to sign in, and back to the page that was asked for.
pub(crate) fn log_in_first(parts: &Parts) -> Response {
    PageError::LogIn(next(parts)).into_response()
}

/// Where to go after signing in: to the page that was asked for, or back to the one whose form was sent.
fn next(parts: &Parts) -> String {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return came_from(parts).unwrap_or_else(|| HOME.to_owned());
    }
    let target = parts.extensions.get::<Target>().map_or(&parts.uri, |target| &target.0);
    target.path_and_query().map_or(HOME, |target| target.as_str()).to_owned()
}

/// The page of ours that the browser says it was on.
pub(super) fn came_from(parts: &Parts) -> Option<String> {
    let said: Uri = parts.headers.get(header::REFERER)?.to_str().ok()?.parse().ok()?;
    let ours = said.authority()?.as_str().eq_ignore_ascii_case(host(parts));
    let path = said.path_and_query()?.as_str();
    // What a form answered has the form's address, which can only be sent to.
    let below = |page: &str| said.path().starts_with(page) && said.path() != page;
    let ends = ["/act", "/alert", "/undo", "/delete", "/end", "/revoke", "/alerts/bulk", "/alerts/views"];
    let form =
        below("/account/") || below("/developer/") || ends.iter().any(|end| said.path().ends_with(end));
    (ours && !form && own_path(path) == path).then(|| path.to_owned())
}

/// The page of ours that the browser was on, if it said so.
pub(crate) struct CameFrom(pub(crate) Option<String>);

impl FromRequestParts<AppState> for CameFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Infallible> {
        Ok(Self(came_from(parts)))
    }
}

/// A form that one of our own pages sent, in the session it was made for.
pub(crate) struct Form {
    input: Input,
    /// Where it was sent to.
    to: String,
    session: Option<Session>,
}

impl FromRequest<AppState> for Form {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        if !session::from_own_page(&parts, &state.settings) {
            return Err(forged(&parts, state).await);
        }
        let asked = parts.clone();
        let session = parts.extensions.get::<Session>().cloned();
        let to = parts.uri.path_and_query().map_or(HOME, |target| target.as_str()).to_owned();
        let input = Input::from_request(Request::from_parts(parts, body), state).await?;
        let Some(signed_in) = &session else { return Ok(Self { input, to, session }) };
        if !signed_in.made(&filled(&input.fields()?, "form_token")) {
            return Err(forged(&asked, state).await);
        }
        let input = match step_up::carried_on(state, signed_in, input, &to).await {
            Err(PageError::Forged) => return Err(forged(&asked, state).await),
            carried_on => carried_on?,
        };
        let proven = match asked.extensions.get::<FormTakesProof>() {
            Some(_) => proof::require(state, &signed_in.caller, Asked::of(&asked)).await,
            None => Ok(()),
        };
        let form = Self { input, to, session };
        match proven {
            Ok(()) => Ok(form),
            Err(error) => Err(form.after(state, error).await),
        }
    }
}

/// Notes that a form wasn't sent by one of our own pages.
async fn forged(parts: &Parts, state: &AppState) -> PageError {
    let caller = match parts.extensions.get::<Session>() {
        Some(session) => session.caller.clone(),
        None => Caller::anonymous(peer(parts)),
    };
    state.refusals.note(state, &caller, Refused::Forged, Asked::of(parts)).await;
    PageError::Forged
}

/// What was filled in for one field; empty when it wasn't.
pub(crate) fn filled(fields: &Fields<'_>, name: &str) -> String {
    match fields.get(name) {
        Given::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

/// The version of what a form changes, as its page saw it.
pub(crate) fn version(fields: &Fields<'_>) -> Result<Option<i64>, Invalid> {
    match filled(fields, "version") {
        none if none.is_empty() => Ok(None),
        text => text.parse().map(Some).map_err(|_| Invalid::field("version", "A valid integer is required.")),
    }
}

impl Form {
    /// The form as the API takes bodies.
    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// What a form comes to that was refused like this: where a fresh proof is all that is missing, it is asked for,
    /// and the form is kept until then.
    pub(crate) async fn after(&self, state: &AppState, error: ApiError) -> PageError {
        match (&self.session, &error) {
            (Some(session), ApiError::StepUpRequired) => {
                step_up::ask_for(state, session, &self.to, self.input.text()).await
            }
            _ => error.into(),
        }
    }

    /// What was filled in.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, PageError> {
        Ok(self.input.fields()?)
    }
}

/// A path of our own to go to, or the first page: never another site.
pub(crate) fn own_path(wanted: &str) -> &str {
    let own = wanted.starts_with('/')
        && !wanted.starts_with("//")
        && !wanted.contains('\\')
        && wanted.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if own { wanted } else { HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, referer: &str) -> String {
        let request = Request::builder().method(method).uri("/alerts/7/act").header("host", "wp.example:80");
        let request = request.header("referer", referer).body(()).expect("a request");
        next(&request.into_parts().0)
    }

    #[test]
    fn whoever_sent_a_form_too_late_comes_back_to_its_page() {
        assert_eq!(asked("GET", ""), "/alerts/7/act");
        assert_eq!(asked("POST", "http://wp.example:80/?status=OPEN"), "/?status=OPEN");
        for other in ["", "http://evil.example/?x", "http://wp.example:80/alerts/7/act", "nonsense", "/x"] {
            assert_eq!(asked("POST", other), "/", "{other}");
        }
    }

    #[test]
    fn the_way_on_stays_on_this_site() {
        for own in ["/", "/alerts/7", "/?status=OPEN&page=2"] {
            assert_eq!(own_path(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "/\t/evil",
            "javascript:alert(1)",
            "evil",
        ] {
            assert_eq!(own_path(other), "/", "{other:?}");
        }
    }
}
