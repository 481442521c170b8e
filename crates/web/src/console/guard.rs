//! Guards for pages: whoever isn't signed in is sent to log in, whoever may not is told so on a page.

use crate::auth::guard::{Guard, peer, take};
use crate::auth::session::{self, Session};
use crate::console::page::{self, PageError};
use crate::extract::{Input, Target};
use crate::state::AppState;
use crate::throttle;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use watchpost_model::Action;
use watchpost_model::access::allows;
use watchpost_model::text::Given;

macro_rules! page_guards {
    ($($(#[$doc:meta])* $name:ident => $action:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Session);

        impl Guard for $name {
            const ACTION: Action = Action::$action;
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
    /// Admins.
    Administrator => Administer;
}

/// Anybody, signed in or not.
pub(crate) struct Visitor(pub(crate) Option<Session>);

impl Guard for Visitor {
    const ACTION: Action = Action::EnterAnonymously;
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, PageError> {
        let found = session::current(parts, state).await?;
        if found.is_none() {
            take(state, throttle::Caller::Anonymous(peer(parts)))?;
        }
        Ok(Self(found))
    }
}

async fn admit(action: Action, parts: &mut Parts, state: &AppState) -> Result<Session, PageError> {
    let Some(found) = session::current(parts, state).await? else {
        take(state, throttle::Caller::Anonymous(peer(parts)))?;
        let target = parts.extensions.get::<Target>().map_or(&parts.uri, |target| &target.0);
        let next = target.path_and_query().map_or("/", |target| target.as_str());
        return Err(PageError::LogIn(next.to_owned()));
    };
    if !allows(found.caller.rank, action) {
        return Err(PageError::NotAllowed(Box::new(found), action));
    }
    // For the form, which checks that this session made it.
    parts.extensions.insert(found.clone());
    Ok(found)
}

/// A form that one of our own pages sent, in the session it was made for.
pub(crate) struct Form(Input);

impl FromRequest<AppState> for Form {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        if !session::from_own_page(&parts, &state.settings) {
            return Err(PageError::Forged);
        }
        let signed_in = parts.extensions.get::<Session>().cloned();
        let input = Input::from_request(Request::from_parts(parts, body), state).await?;
        if let Some(session) = signed_in {
            let fields = input.fields()?;
            let Given::Text(token) = fields.get("form_token") else { return Err(PageError::Forged) };
            if !session.made(&token) {
                return Err(PageError::Forged);
            }
        }
        Ok(Self(input))
    }
}

impl Form {
    /// What was filled in.
    pub(crate) fn fields(&self) -> Result<watchpost_pipeline::decode::Fields<'_>, PageError> {
        Ok(self.0.fields()?)
    }
}

/// A path of our own to go to, or the first page: never another site.
pub(crate) fn own_path(wanted: &str) -> &str {
    let own = wanted.starts_with('/')
        && !wanted.starts_with("//")
        && !wanted.contains('\\')
        && wanted.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if own { wanted } else { page::HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

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
