//! What a page says about the change that led to it. It travels in a cookie that lives for one page, as a code:
//! no link can make a page say anything, and addresses stay worth keeping.

use crate::auth::session::{read_cookie, set_cookie};
use crate::settings::Settings;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use std::convert::Infallible;
use watchpost_model::{AlertId, EventId, Status};

/// Longer than a page takes to load, and too short to be said to somebody who comes later.
const SECONDS: i64 = 30;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// A job with this id has ended, which the page looks up.
    Job(String),
    /// A test event with this id is stored, and raised this alert; the page looks them up.
    TestEvent(EventId, Option<AlertId>),
    /// Something about an alert was written down.
    Noted,
    /// An alert was given to somebody, put off, tagged, named or rated.
    AlertChanged,
    /// An alert has this status now.
    Alert(AlertId, Status),
    /// An alert was raised by hand.
    Raised,
    /// It had been raised before.
    RaisedBefore,
    /// Somebody said that they have seen what happened.
    HandoverSeen,
    /// A list was kept under a name.
    ViewKept,
    /// A list has no name any more.
    ViewDeleted,
    /// A user was made.
    UserMade,
    /// A user has another role.
    RoleSet,
    /// A user may log in again.
    Activated,
    /// A user may no longer log in.
    Deactivated,
    /// A key was revoked.
    KeyRevoked,
    /// One's own password is another.
    PasswordChanged,
    /// One's own second factor is no more.
    FactorRemoved,
    /// Another user's second factor is no more.
    FactorTaken,
    /// Another session has ended.
    SessionEnded,
    /// All other sessions have ended.
    SessionsEnded,
    /// Pages look another way.
    Preferred,
    /// All sessions of somebody have ended.
    TheirSessionsEnded,
}

impl Done {
    const PLAIN: [(Self, &'static str); 19] = [
        (Self::Raised, "raised"),
        (Self::RaisedBefore, "raised-before"),
        (Self::HandoverSeen, "handover-seen"),
        (Self::ViewKept, "view-kept"),
        (Self::ViewDeleted, "view-deleted"),
        (Self::Noted, "noted"),
        (Self::AlertChanged, "alert-changed"),
        (Self::UserMade, "user-made"),
        (Self::RoleSet, "role-set"),
        (Self::Activated, "activated"),
        (Self::Deactivated, "deactivated"),
        (Self::KeyRevoked, "key-revoked"),
        (Self::PasswordChanged, "password-changed"),
        (Self::FactorRemoved, "factor-removed"),
        (Self::FactorTaken, "factor-taken"),
        (Self::SessionEnded, "session-ended"),
        (Self::SessionsEnded, "sessions-ended"),
        (Self::Preferred, "preferred"),
        (Self::TheirSessionsEnded, "their-sessions-ended"),
    ];

    fn code(&self) -> String {
        match self {
            Self::Job(id) => format!("job-{id}"),
            Self::TestEvent(id, alert) => format!("test-{id}-{}", alert.map_or(0, AlertId::get)),
            Self::Alert(id, status) => format!("alert-{id}-{status}"),
            plain => Self::PLAIN
                .iter()
                .find(|(done, _)| done == plain)
                .map_or_else(String::new, |(_, code)| (*code).to_owned()),
        }
    }

    fn parse(code: &str) -> Option<Self> {
        if let Some((id, status)) = code.strip_prefix("alert-").and_then(|rest| rest.split_once('-')) {
            return Some(Self::Alert(id.parse().ok()?, Status::parse(status)?));
        }
        if let Some((id, alert)) = code.strip_prefix("test-").and_then(|rest| rest.split_once('-')) {
            return Some(Self::TestEvent(id.parse().ok()?, alert.parse().ok()));
        }
        if let Some(id) = code.strip_prefix("job-") {
            let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return plain.then(|| Self::Job(id.to_owned()));
        }
        Self::PLAIN.iter().find(|(_, known)| *known == code).map(|(done, _)| done.clone())
    }

    fn text(&self) -> String {
        let text = match self {
            Self::Job(_) | Self::TestEvent(..) => "",
            Self::Noted => "Noted.",
            Self::AlertChanged => "The alert was changed.",
            Self::Alert(id, Status::Open) => return format!("Alert {id} is open again."),
            Self::Alert(id, status) => {
                return format!("Alert {id} is {} now.", status.title().to_lowercase());
            }
            Self::Raised => "The alert was raised.",
            Self::RaisedBefore => "The event has this alert already; nothing was changed.",
            Self::HandoverSeen => "Noted. From now on you see what comes next.",
            Self::ViewKept => "The list is kept as a view.",
            Self::ViewDeleted => "The view was deleted.",
            Self::UserMade => "The user was made.",
            Self::RoleSet => "The role was changed.",
            Self::Activated => "The user may log in again.",
            Self::Deactivated => "The user was deactivated: all tokens and sessions have ended.",
            Self::KeyRevoked => "The key was revoked and opens nothing any more.",
            Self::PasswordChanged => "Your password was changed; you were signed out everywhere else.",
            Self::FactorRemoved => "You sign in without a second factor now.",
            Self::FactorTaken => "The user has no second factor any more.",
            Self::SessionEnded => "The session has ended.",
            Self::SessionsEnded => "You are signed out everywhere else.",
            Self::Preferred => "This is how pages look for you from now on.",
            Self::TheirSessionsEnded => "The user was signed out everywhere.",
        };
        text.to_owned()
    }

    /// Goes to a page that says so.
    pub(crate) fn then(self, to: &str, settings: &Settings) -> Response {
        let cookie = set_cookie(settings, name(settings), &self.code(), SECONDS);
        ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
    }
}

fn name(settings: &Settings) -> &'static str {
    if settings.secure() { "__Host-watchpost-said" } else { "watchpost-said" }
}

/// What the page before has to say.
pub(crate) struct Said {
    done: Option<Done>,
    /// Whether the browser has something to forget.
    came: bool,
}

impl FromRequestParts<AppState> for Said {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let code = read_cookie(&parts.headers, name(&state.settings));
        Ok(Self { done: code.and_then(Done::parse), came: code.is_some() })
    }
}

impl Said {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self { done: None, came: false };

    /// In words; empty when it is nothing.
    pub(crate) fn text(&self) -> String {
        self.done.as_ref().map_or_else(String::new, Done::text)
    }

    /// The job that led here.
    pub(crate) fn job(&self) -> Option<&str> {
        match &self.done {
            Some(Done::Job(id)) => Some(id),
            _ => None,
        }
    }

    /// The test event that led here, and the alert that it raised.
    pub(crate) fn test_event(&self) -> Option<(EventId, Option<AlertId>)> {
        match &self.done {
            Some(Done::TestEvent(id, alert)) => Some((*id, *alert)),
            _ => None,
        }
    }

    /// The page that says it, once.
    pub(crate) fn on(self, mut page: Response, settings: &Settings) -> Response {
        if self.came {
            page.headers_mut().append(header::SET_COOKIE, set_cookie(settings, name(settings), "", 0));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_as_what_they_were_and_nothing_else_is_said() {
        let alert = Done::Alert(AlertId::new(12), Status::Resolved);
        let job = Done::Job("a1B2".into());
        let (event, id) = (EventId::new(382_000), AlertId::new(7));
        let tests = [Done::TestEvent(event, Some(id)), Done::TestEvent(event, None)];
        for done in [alert.clone(), job].into_iter().chain(tests).chain(Done::PLAIN.map(|(done, _)| done)) {
            assert_eq!(Done::parse(&done.code()), Some(done.clone()));
        }
        assert_eq!(alert.text(), "Alert 12 is resolved now.");
        for other in ["", "alert-", "alert-x-OPEN", "alert-1-<b>", "job-", "job-<b>", "Call this number"] {
            assert_eq!(Done::parse(other), None, "{other}");
        }
    }
}
