//! Keeps the audit log sealed: see the store for what a seal stands for.

use crate::auth::seal::derived;
use crate::state::AppState;
use std::time::Duration;
use tokio::sync::Mutex;
use watchpost_pipeline::now;
use watchpost_store::{AuditKeys, KnownSeal, Sealing};

/// Between two seals: what was written since is vouched for row by row until then.
const EVERY: Duration = Duration::from_secs(10);
/// The same while something is wrong: what is behind the last seal is read again each time.
const EVERY_WHILE_WRONG: Duration = Duration::from_secs(60);

const PURPOSE: &str = "watchpost audit log";

/// The keys that the audit log is sealed with, out of the secret in use and the one before it.
pub fn audit_keys(secret_key: &str, previous: Option<&str>) -> AuditKeys {
    AuditKeys::new(derived(PURPOSE, secret_key), previous.map(|secret| derived(PURPOSE, secret)))
}

/// What was sealed last.
#[derive(Default)]
pub(crate) struct Sealed(Mutex<(Option<KnownSeal>, Option<Sealing>)>);

impl Sealed {
    /// Seals where the log stands; whether all is well.
    pub(crate) async fn seal(&self, state: &AppState) -> bool {
        let (known, before) = &mut *self.0.lock().await;
        let outcome = match state.db.seal_audit_log(known, now()).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(%error, "the audit log could not be sealed");
                return false;
            }
        };
        let new = before.as_ref() != Some(&outcome);
        let good = match &outcome {
            Sealing::Done(row) => {
                state.metrics.audit.sealed_row.set(*row);
                true
            }
            Sealing::OtherKey(key) => {
                if new {
                    tracing::error!(
                        key,
                        "the audit log was sealed with a key that isn't known here: set SECRET_KEY_PREVIOUS to the secret before, or look at the log and run `watchpost audit verify --reseal`"
                    );
                }
                false
            }
            Sealing::Broken(row, why) => {
                if new {
                    tracing::error!(
                        row,
                        why,
                        "the audit log isn't what was written, and isn't sealed any further: run `watchpost audit verify`"
                    );
                }
                false
            }
        };
        state.metrics.audit.broken.set(i64::from(!good));
        *before = Some(outcome);
        good
    }

    /// Seals every few seconds, until it is dropped.
    pub(crate) async fn keep(&self, state: &AppState) {
        loop {
            let good = self.seal(state).await;
            tokio::time::sleep(if good { EVERY } else { EVERY_WHILE_WRONG }).await;
        }
    }

    /// Seals what is left when the server stops.
    pub(crate) async fn finish(&self, state: &AppState) {
        self.seal(state).await;
    }
}
