//! Ids that were taken in blocks and are given out one by one.

use crate::commit::MAX_BATCH_EVENTS;
use crate::intake::Refused;
use std::ops::Range;
use watchpost_model::Timestamp;
use watchpost_model::id::{EVENT_IDS_PER_SECOND_BITS, event_id_floor};
use watchpost_store::{Db, Engine, IdKind, StoreError};

/// Event ids that a node takes at once where several may write: four full batches.
const SHARED_EVENT_BLOCK: i64 = 4 * MAX_BATCH_EVENTS as i64;
/// Where one process writes, it takes all ids of the coming minute.
const OWN_EVENT_BLOCK: i64 = 60 << EVENT_IDS_PER_SECOND_BITS;
/// Alert ids taken at once: few, because those that a restart leaves unused make a gap that people see.
const ALERT_BLOCK: i64 = 64;

/// Ids that were taken and not yet given out.
pub(crate) struct IdBlock {
    kind: IdKind,
    size: i64,
    left: Range<i64>,
}

impl IdBlock {
    pub(crate) fn events(engine: Engine) -> Self {
        let size = match engine {
            Engine::Sqlite => OWN_EVENT_BLOCK,
            Engine::Postgres => SHARED_EVENT_BLOCK,
        };
        Self { kind: IdKind::Events, size, left: 0..0 }
    }

    pub(crate) fn alerts() -> Self {
        Self { kind: IdKind::Alerts, size: ALERT_BLOCK, left: 0..0 }
    }

    /// Makes sure that so many ids can be given out, and that those of events lead with the second it is now.
    pub(crate) async fn ensure(&mut self, db: &Db, wanted: usize, at: Timestamp) -> Result<(), Refused> {
        let wanted = wanted as i64;
        if self.kind == IdKind::Events {
            self.left.start = self.left.start.max(event_id_floor(at).get());
        }
        if wanted == 0 || self.left.end - self.left.start >= wanted {
            return Ok(());
        }
        let taken = db.take_ids(self.kind, self.size.max(wanted), at).await;
        self.left = taken.map_err(|error| {
            if matches!(error, StoreError::DiskFull(_)) {
                return Refused::DiskFull;
            }
            tracing::error!(%error, "no ids for events: they could not be stored");
            if error.is_temporary() { Refused::Unavailable } else { Refused::Failed }
        })?;
        Ok(())
    }

    /// The id that is given out next.
    pub(crate) fn peek(&self) -> i64 {
        self.left.start
    }

    pub(crate) fn next(&mut self) -> i64 {
        let id = self.left.start;
        debug_assert!(id < self.left.end, "ensure() was asked for too few");
        self.left.start += 1;
        id
    }
}
