//! Whether what can be read is there for good.
//!
//! PostgreSQL shows a row as soon as the server itself has it. Where a synchronous standby has to have it, too, the
//! wait for it may have been cut off: by a cancelled or ended backend, or by a restart. Such a row can be read, and a
//! failover loses it. What proves that the standby has it is a later commit on the same server that waited to its end
//! and came back clean, since a standby takes commits in their order.

use crate::db::Batch;
use crate::once::Piece;
use crate::{Db, Engine, StoreError};
use std::sync::Arc;
use watchpost_model::Event;

/// Confirming commits go to so many rows, so that they rarely wait for each other.
const LANES: i64 = 64;

// It sees the row and writes another in one transaction; nothing is written when the row isn't there. The whole text
// is compared, not only the id: an id may be somebody else's after a failover to a standby that lagged behind.
const CONFIRM_EVENT: &str = "INSERT INTO counters (name, lane, n)
     SELECT 'confirmed', CAST(?6 AS BIGINT), 1 FROM events
     WHERE id = ?1 AND created_at = ?2 AND source_name = ?3 AND event_type = ?4 AND description = ?5
     ON CONFLICT (name, lane) DO UPDATE SET n = counters.n + 1";
const CONFIRM_PIECE: &str = "INSERT INTO counters (name, lane, n)
     SELECT 'confirmed', CAST(?4 AS BIGINT), 1 FROM idempotency
     WHERE scope = ?1 AND piece = ?2 AND first_event = ?3
     ON CONFLICT (name, lane) DO UPDATE SET n = counters.n + 1";

impl Db {
    /// Makes sure that an event that was found is there for good, with everything of its transaction. A conflict
    /// when it isn't there, or another has its id; any other error leaves it unknown.
    pub async fn confirm_event(&self, event: &Event) -> Result<(), StoreError> {
        let params = vec![
            event.id.get().into(),
            event.created_at.micros().into(),
            event.source_name.as_str().into(),
            event.event_type.as_str().into(),
            event.description.as_str().into(),
            (event.id.get() % LANES).into(),
        ];
        let mut batch = Batch::new();
        batch.one(CONFIRM_EVENT, params);
        self.confirm(Arc::new(batch)).await
    }

    /// The same for what came in under a key.
    pub async fn confirm_piece(&self, piece: &Piece) -> Result<(), StoreError> {
        // What SQLite shows is on the disk: its commits end with a sync, or fail.
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        let first = piece.first_event.get();
        let mut batch = Batch::new();
        batch.one(
            CONFIRM_PIECE,
            vec![piece.scope.as_str().into(), piece.number.into(), first.into(), (first % LANES).into()],
        );
        self.confirm(Arc::new(batch)).await
    }
}
