//! Remembers who was refused what, without letting whoever is refused fill the disk: a caller's further refusals within
//! a minute are counted and told with the next one.

use crate::auth::guard::Caller;
use crate::state::AppState;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use watchpost_model::text::shown;

/// How often a row may be written about a caller and what they asked for.
const EVERY: Duration = Duration::from_secs(60);
/// Callers remembered at once.
const MAX_REMEMBERED: usize = 10_000;

#[derive(Default)]
pub(crate) struct Refusals {
    seen: Mutex<HashMap<(String, String), (Instant, u64)>>,
}

impl Refusals {
    /// How many went untold before this one; nothing when this one goes untold, too.
    fn due(&self, who: String, asked: &str, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_REMEMBERED {
            seen.retain(|_, (told, _)| now.duration_since(*told) < EVERY);
        }
        let full = seen.len() >= MAX_REMEMBERED;
        match seen.get_mut(&(who.clone(), asked.to_owned())) {
            Some((told, untold)) if now.duration_since(*told) < EVERY => {
                *untold += 1;
                None
            }
            Some((told, untold)) => {
                *told = now;
                Some(std::mem::take(untold))
            }
            // Too many at once to tell of each.
            None if full => None,
            None => {
                seen.insert((who, asked.to_owned()), (now, 0));
                Some(0)
            }
        }
    }

    /// Notes that somebody was refused something.
    pub(crate) async fn note(&self, state: &AppState, caller: &Caller, asked: String, why: &str) {
        tracing::warn!(who = %caller.actor, peer = %caller.peer, asked = shown(&asked), why, "refused");
        state.metrics.refused.inc();
        let Some(untold) = self.due(caller.actor.to_string(), &asked, Instant::now()) else { return };
        let detail = match untold {
            0 => why.to_owned(),
            more => format!("{why}; {more} more since it was last told"),
        };
        // It is refused whether or not it can be written down.
        if let Err(error) = state.db.note(&caller.entry(), "refused", asked, detail).await {
            tracing::warn!(%error, "a refusal could not be written to the audit log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_told_once_a_minute() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let due = |who: &str, asked: &str, seconds| {
            refusals.due(who.into(), asked, start + Duration::from_secs(seconds))
        };
        assert_eq!(due("joe", "a", 0), Some(0));
        assert_eq!([due("joe", "a", 1), due("joe", "a", 59)], [None, None]);
        assert_eq!(due("joe", "b", 1), Some(0), "something else is told of its own");
        assert_eq!(due("jane", "a", 1), Some(0));
        assert_eq!(due("joe", "a", 60), Some(2));
        assert_eq!(due("joe", "a", 121), Some(0));
    }
}
