//! Remembers who was refused what. Every refusal goes through here, and none lets whoever is refused fill the disk or
//! hide others: see [`crate::auth::tally`].

use crate::auth::guard::Caller;
use crate::auth::tally::{Kind, Sum, Tally};
use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::MatchedPath;
use axum::http::request::Parts;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use watchpost_model::text::shown;
use watchpost_model::{Action, Actor};
use watchpost_pipeline::now;
use watchpost_store::AuditEntry;

/// How often is looked whether a minute is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of one text of such a row: whoever is refused chooses some of them.
const MAX_TEXT_BYTES: usize = 300;
/// Bytes of the path in it.
const MAX_PATH_BYTES: usize = 120;

/// The action of every refusal.
const REFUSED: &str = "refused";
/// The action of reading the audit log.
const READ: &str = "audit.read";

/// What is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    /// The role is too low.
    Role(Action),
    /// A sensor key that isn't used from where it may be.
    KeyAddress,
    /// Events that are more than a sensor key may report.
    BeyondKey,
    /// A password that is right, and isn't all that is needed; with the code that says what is.
    LogInStep(&'static str),
    /// A form that none of our own pages sent, or another session.
    Forged,
    /// A change of a view that is for all, by a user who may not.
    Sharing,
    /// An undo of what another user did.
    OthersJob,
    /// Signing up where it is off.
    SignUpOff,
    /// Signing up as more than an Analyst.
    SignUpRole,
    /// A token, a key or the token of metrics that isn't good.
    Credential(BadCredential),
    /// What takes a fresh proof of who is asking, without one.
    StepUp,
    /// An Admin's own access, by the way for other users.
    OwnAccount,
    /// Requests that came too fast.
    Throttled,
}

/// Which credential isn't good. It goes along with the answer, for whoever counts it; the credential itself doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadCredential {
    Token,
    Key,
    /// A session without the second factor that the role requires.
    FactorMissing,
    /// A session whose log-in is too long ago for what was asked.
    StepUp,
    MetricsToken,
}

impl BadCredential {
    /// What an answer says no to, if it is a credential.
    pub(crate) fn of(error: &ApiError) -> Option<Self> {
        match error {
            ApiError::BadToken => Some(Self::Token),
            ApiError::BadKey => Some(Self::Key),
            ApiError::FactorMissing { .. } => Some(Self::FactorMissing),
            ApiError::StepUpRequired => Some(Self::StepUp),
            _ => None,
        }
    }
}

impl Refused {
    fn kind(self) -> Kind {
        let at_once = !matches!(self, Self::Credential(_) | Self::Throttled);
        let name = match self {
            Self::Role(_) => "for lack of a role",
            Self::KeyAddress => "keys used from elsewhere",
            Self::BeyondKey => "beyond what the key may report",
            Self::LogInStep(_) => "log-ins that lacked more than a password",
            Self::Forged => "forged forms",
            Self::Sharing => "changes of shared views",
            Self::OthersJob => "undos of another user's job",
            Self::SignUpOff => "sign-ups while sign-up is off",
            Self::SignUpRole => "sign-ups with a role",
            Self::Credential(BadCredential::Token) => "tokens that aren't good",
            Self::Credential(BadCredential::Key) => "sensor keys that aren't good",
            Self::Credential(BadCredential::FactorMissing) => "sessions without the second factor",
            Self::Credential(BadCredential::StepUp) => "sessions without a fresh proof",
            Self::Credential(BadCredential::MetricsToken) => "wrong tokens for metrics",
            Self::StepUp => "without a fresh proof of who is asking",
            Self::OwnAccount => "one's own account by the way for others",
            Self::Throttled => "throttled",
        };
        Kind { action: REFUSED, name, at_once }
    }

    fn why(self) -> Cow<'static, str> {
        match self {
            Self::Role(action) => format!("needs {}", action.who()).into(),
            Self::KeyAddress => "the key may not be used from this address".into(),
            Self::BeyondKey => {
                "events from another source or of a worse severity than the key may report".into()
            }
            Self::LogInStep(code) => format!("the password was right: {code}").into(),
            Self::Forged => "the form wasn't sent by a page of this session".into(),
            Self::Sharing => "only its owner or an Admin changes a view that is for all".into(),
            Self::OthersJob => "only the user who did it, or an Admin, takes it back".into(),
            Self::SignUpOff => "sign-up is switched off".into(),
            Self::SignUpRole => "only Analysts sign up".into(),
            Self::StepUp => "needs a proof of who is asking that is no older than ten minutes".into(),
            Self::OwnAccount => "the way for other users, tried for one's own account".into(),
            Self::Credential(_) | Self::Throttled => self.kind().name.into(),
        }
    }
}

/// What was asked for: a route with its method, and the path that was written.
pub(crate) struct Asked {
    what: String,
    path: Option<String>,
}

impl Asked {
    /// By its route, so that a thousand paths of one route are one thing that was asked for.
    pub(crate) fn of(parts: &Parts) -> Self {
        let path = parts.uri.path();
        match parts.extensions.get::<MatchedPath>() {
            Some(route) => {
                let what = format!("{} {}", parts.method, route.as_str());
                Self { what, path: (route.as_str() != path).then(|| cut(path, MAX_PATH_BYTES)) }
            }
            None => Self { what: "an unknown path".into(), path: None },
        }
    }

    /// By what it is called.
    pub(crate) fn to(what: impl Into<String>) -> Self {
        Self { what: what.into(), path: None }
    }
}

/// The beginning of a text.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or(0)])
}

#[derive(Default)]
pub(crate) struct Refusals {
    minute: Mutex<Tally>,
}

impl Refusals {
    fn tally<T>(&self, with: impl FnOnce(&mut Tally) -> T) -> T {
        with(&mut self.minute.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a caller was refused something.
    pub(crate) async fn note(&self, state: &AppState, caller: &Caller, refused: Refused, asked: Asked) {
        state.metrics.refused.inc();
        let why = refused.why();
        let kind = refused.kind();
        let due =
            self.tally(|minute| minute.count(kind, &caller.actor, caller.peer, &asked.what, Instant::now()));
        if !due {
            tracing::debug!(who = %caller.actor, peer = %caller.peer, asked = shown(&asked.what), %why, "refused");
            return;
        }
        tracing::warn!(who = %caller.actor, peer = %caller.peer, asked = shown(&asked.what), %why, "refused");
        let detail = match asked.path {
            Some(path) => format!("{why}; at {path}"),
            None => why.into_owned(),
        };
        let row =
            (caller.entry(), kind.action, cut(&asked.what, MAX_TEXT_BYTES), cut(&detail, MAX_TEXT_BYTES));
        // It is refused whether or not it can be written down.
        if let Err(error) = state.db.note_all(vec![row]).await {
            tracing::warn!(%error, "a refusal could not be written to the audit log");
        }
    }

    /// Counts what is told as a number only: requests that came too fast, and credentials that aren't good.
    pub(crate) fn count(&self, actor: &Actor, peer: IpAddr, refused: Refused) {
        self.tally(|minute| minute.count(refused.kind(), actor, peer, "", Instant::now()));
    }

    /// Counts that an Admin reads the audit log. It is told as a number, when the minute is over: a row at once would move
    /// the pages that are being read.
    pub(crate) fn note_reading(&self, caller: &Caller, how: &'static str) {
        let kind = Kind { action: READ, name: how, at_once: false };
        self.tally(|minute| minute.count(kind, &caller.actor, caller.peer, "", Instant::now()));
    }

    /// Tells what the minute left untold, once it is over or at once.
    async fn tell(&self, state: &AppState, at_once: bool) {
        let sums = self.tally(|minute| match at_once || minute.is_over(Instant::now()) {
            true => minute.end(),
            false => Vec::new(),
        });
        let rows = sums.into_iter().map(|Sum { actor, address, action, count, detail }| {
            match action {
                REFUSED => {
                    tracing::warn!(who = %actor, peer = address.map(tracing::field::display), count, detail, "more refused");
                }
                _ => tracing::info!(who = %actor, count, action, "more of the same"),
            }
            let (what, detail) = match action {
                READ => ("audit", format!("{count} {detail}")),
                _ => ("requests", format!("{count} more suppressed {detail}")),
            };
            (AuditEntry { at: now(), actor, address }, action, what.to_owned(), cut(&detail, MAX_TEXT_BYTES))
        });
        let rows: Vec<_> = rows.collect();
        if let Err(error) = state.db.note_all(rows).await {
            tracing::warn!(%error, "refusals of the last minute could not be written to the audit log");
        }
    }

    /// Tells what each minute left untold. Runs until it is dropped.
    pub(crate) async fn keep_telling(&self, state: &AppState) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.tell(state, false).await;
        }
    }

    /// Tells what is still untold when the server stops.
    pub(crate) async fn tell_all(&self, state: &AppState) {
        self.tell(state, true).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_signs() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcdefgh", 6), "abc…");
        assert_eq!(cut("ääääääää", 8), "ää…");
        assert!(cut(&"語".repeat(500), MAX_TEXT_BYTES).len() <= MAX_TEXT_BYTES);
    }
}
