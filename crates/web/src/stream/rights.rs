//! Whether the reader of a stream, or the sender of a long body, still may: looked at again and again, since it may last.

use crate::auth::guard::{Caller, identify, peer};
use crate::auth::session;
use crate::error::ApiError;
use crate::state::AppState;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::net::IpAddr;
use watchpost_model::Action;
use watchpost_model::access::allows;

/// What a request shows to say who it is from.
const CREDENTIALS: [header::HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::HeaderName::from_static("x-api-key")];

/// Where a stream was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The API, with a token.
    Api,
    /// The console, with the cookie of a session.
    Console,
}

/// Who reads a stream or sends a body, by what the request showed.
pub(crate) struct Reader {
    door: Door,
    shown: HeaderMap,
    peer: IpAddr,
}

impl Reader {
    /// Whoever sent a request.
    pub(crate) fn of(parts: &Parts, door: Door) -> Self {
        let shown = CREDENTIALS.into_iter().filter_map(|name| {
            let value = parts.headers.get(&name)?.clone();
            Some((name, value))
        });
        Self { door, shown: shown.collect(), peer: peer(parts) }
    }

    /// Whether they may still do these things. Looking is no use of a session: a page that nobody looks at doesn't
    /// keep its session alive.
    pub(crate) async fn still_may(&self, actions: &[Action], state: &AppState) -> Result<bool, ApiError> {
        let caller = match self.door {
            Door::Api => identify(&self.shown, self.peer, state).await,
            Door::Console => {
                let found = session::look(&self.shown, self.peer, state).await;
                found.map(|found| found.map(|session| session.caller))
            }
        };
        let may = |caller: Caller| actions.iter().all(|action| allows(caller.rank, *action));
        match caller {
            Ok(caller) => Ok(caller.is_some_and(may)),
            Err(ApiError::BadToken | ApiError::BadKey | ApiError::FactorMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
