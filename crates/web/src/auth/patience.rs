//! Slows down whoever guesses, and nobody else.
//!
//! An attempt counts for the name from where it comes, for the name, and for where it comes from; each has attempts
//! that are free, then waits that grow. None of them ends in being locked out: the longest wait is minutes. Whoever
//! logged in from a place before isn't held up there by what others try with their name or from their address.

use crate::auth::guard::Caller;
use crate::auth::refusals::Refused;
use crate::auth::secret::fingerprint;
use crate::error::ApiError;
use crate::state::AppState;
use crate::throttle::network;
use std::time::Duration;
use watchpost_model::UserId;
use watchpost_model::text::shown;
use watchpost_model::user::name_key;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, Patience};

/// A name from one place: somebody who mistypes has a few attempts, and so have programs that log in at once.
const NAME_FROM_PLACE: Patience = Patience { free: 8, longest: 300 };
/// The same where somebody logged in with that name before.
const NAME_FROM_KNOWN_PLACE: Patience = Patience { free: 20, longest: 300 };
/// A name, from wherever.
const NAME: Patience = Patience { free: 10, longest: 30 };
/// A place, with whatever names: many people may share its address.
const PLACE: Patience = Patience { free: 30, longest: 60 };

/// An attempt to log in that was counted.
pub(crate) struct Attempt {
    /// Whom the name belongs to, if anybody.
    pub(crate) known: Option<Credentials>,
    forgiven: [String; 2],
    network: String,
}

/// Nobody's id: a name that nobody has costs the same questions.
const NOBODY: UserId = UserId::new(0);

impl Attempt {
    /// Counts an attempt, or says how long to wait.
    pub(crate) async fn begin(state: &AppState, username: &str, caller: &Caller) -> Result<Self, ApiError> {
        let username = username.trim();
        let known = match username.contains('\0') {
            true => None,
            false => state.db.credentials_by_name(username).await?,
        };
        let (name, network) = (fingerprint(&name_key(username)), network(caller.peer).to_string());
        let pair = format!("name from place {}", fingerprint(&format!("{name} {network}")));
        let (by_name, by_place) = (format!("name {name}"), format!("place {network}"));
        let whose = known.as_ref().map_or(NOBODY, |known| known.user.id);
        let now = now();
        let subjects = match state.db.knows_network(whose, &network, now).await? {
            true => vec![(pair.clone(), NAME_FROM_KNOWN_PLACE)],
            false => vec![(pair.clone(), NAME_FROM_PLACE), (by_name.clone(), NAME), (by_place, PLACE)],
        };
        match state.db.attempt(&subjects, now).await? {
            None => Ok(Self { known, forgiven: [pair, by_name], network }),
            Some(until) => {
                tracing::warn!(user = shown(username), peer = %caller.peer, "an attempt to log in came too soon");
                state.metrics.logins_held.inc();
                state.refusals.count(&caller.actor, caller.peer, Refused::Throttled);
                let micros = u64::try_from(until.micros() - now.micros()).unwrap_or(0);
                Err(ApiError::Throttled(Duration::from_micros(micros)))
            }
        }
    }

    /// Forgets the attempts before one that ended well, and remembers its place.
    pub(crate) async fn succeeded(&self, state: &AppState, user: UserId) -> Result<(), ApiError> {
        state.db.forgive(&self.forgiven, user, &self.network, now()).await?;
        Ok(())
    }
}
