//! Writes a batch of events and finds out what came of it, when the connection breaks around the commit or the server
//! warns that its standby may lack the data.

use crate::intake::Refused;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use watchpost_model::Event;
use watchpost_store::{Batch, Db, StoreError, faults};

/// How long a write whose outcome is unknown is tried again before its senders are told so.
pub(crate) const FIND_OUT_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// A write that is under way.
pub(crate) type Writing = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// What is known about a batch.
pub(crate) struct Found {
    /// What its senders are told.
    pub(crate) outcome: Result<(), Refused>,
    /// The write that didn't end in time. It is never cut off: that could leave the database with the data and the
    /// standby without.
    pub(crate) unended: Option<Writing>,
    /// Whether the ids turned out to be somebody else's.
    pub(crate) ids_taken: bool,
}

impl Found {
    fn told(outcome: Result<(), Refused>) -> Self {
        Self { outcome, unended: None, ids_taken: false }
    }
}

/// Waits for a batch that was handed over, and finds out whether it was written.
///
/// When a second try finds the ids of the batch taken, the first try did it, and as it was one transaction it did all
/// of it. That it did it on this server is not enough to say yes: its standby may lack what the server shows. So yes
/// is said behind a later commit on the same server that saw the event and came back clean.
pub(crate) async fn write_for_certain(
    db: &Db,
    first: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    batch: &Arc<Batch>,
    event: &Event,
) -> Found {
    if faults::mutant("ack_before_commit") {
        tokio::spawn(first);
        return Found::told(Ok(()));
    }
    let deadline = Instant::now() + faults::within("FIND_OUT", FIND_OUT_WITHIN);
    let mut in_doubt = false;
    let mut writing: Writing = Box::pin(first);
    loop {
        let Ok(outcome) = timeout_at(deadline, &mut writing).await else {
            tracing::error!("a commit doesn't end: whether events are stored is not known");
            return Found { unended: Some(writing), ..Found::told(Err(Refused::OutcomeUnknown)) };
        };
        let error = match outcome {
            Ok(()) => return Found::told(Ok(())),
            // Keys are written behind the events: had the first try been done, its events would be in the way.
            Err(StoreError::Taken(what)) if what.starts_with("idempotency") => {
                return Found::told(Err(Refused::Repeated));
            }
            Err(StoreError::Taken(_)) if in_doubt && faults::mutant("taken_is_stored") => {
                return Found::told(Ok(()));
            }
            Err(StoreError::Taken(what)) if in_doubt => {
                match timeout_at(deadline, db.confirm_event(event)).await {
                    Ok(Ok(())) => return Found::told(Ok(())),
                    Ok(Err(StoreError::Conflict)) => {
                        StoreError::OutcomeUnknown(format!("{what} is taken, but not by these events"))
                    }
                    Ok(Err(error)) => error,
                    Err(_) => StoreError::OutcomeUnknown("no commit comes back clean".into()),
                }
            }
            Err(error) => error,
        };
        match &error {
            StoreError::OutcomeUnknown(_) => in_doubt = true,
            // The store says so, once a minute.
            StoreError::DiskFull(_) => {
                tracing::debug!(%error, "events could not be stored");
                return Found::told(Err(Refused::DiskFull));
            }
            StoreError::Unavailable(_) | StoreError::Outdated if in_doubt => {}
            // Said by the store as well.
            StoreError::Outdated => return Found::told(Err(Refused::Outdated)),
            StoreError::Unavailable(_) => {
                tracing::error!(%error, "events could not be stored");
                return Found::told(Err(Refused::Unavailable));
            }
            // After a failover to a standby that lagged behind, ids may have been given out twice.
            StoreError::Taken(_) if !in_doubt => {
                tracing::warn!(%error, "events could not be stored under their ids");
                return Found { ids_taken: true, ..Found::told(Err(Refused::Unavailable)) };
            }
            // What a failing disk kept of the commit shows only after the restart.
            StoreError::DiskFailed(_) => {
                tracing::error!(%error, "events could not be stored");
                return Found::told(Err(Refused::OutcomeUnknown));
            }
            _ => {
                tracing::error!(%error, "events could not be stored");
                let refused = if in_doubt { Refused::OutcomeUnknown } else { Refused::Failed };
                return Found::told(Err(refused));
            }
        }
        if Instant::now() + PAUSE >= deadline {
            tracing::error!(%error, "whether events were stored could not be found out");
            return Found::told(Err(Refused::OutcomeUnknown));
        }
        tracing::warn!(%error, "trying again to find out whether events were stored");
        tokio::time::sleep(PAUSE).await;
        writing = Box::pin(db.write(batch.clone()));
    }
}
