//! What came in under an `Idempotency-Key`, so that the same again is answered and not stored.

use crate::db::{Batch, Table, Value};
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::{AlertId, EventId, Timestamp};

static IDEMPOTENCY: Table = Table {
    name: "idempotency",
    columns: &[
        ("scope", true),
        ("piece", false),
        ("body_hash", true),
        ("last", false),
        ("first_event", false),
        ("events", false),
        ("at", false),
    ],
    on_conflict: "",
};

const READ: &str =
    "SELECT body_hash, last, first_event, events, at FROM idempotency WHERE scope = ?1 AND piece = ?2";

const RAISED: &str =
    "SELECT event_id, id FROM alerts WHERE event_id >= ?1 AND event_id < ?2 ORDER BY event_id, id";

/// Rows that are forgotten in one transaction: writers of events wait for it on SQLite.
const FORGOTTEN_AT_ONCE: i64 = 5_000;

const OLD: &str = "SELECT scope, piece FROM idempotency WHERE at < ?1 ORDER BY at LIMIT ?2";

const FORGET: &str = "DELETE FROM idempotency WHERE scope = ?1 AND piece = ?2";

/// A piece of a body that came in under a key: bodies of any length are taken in piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose key, hashed.
    pub scope: String,
    /// Which piece, from 0.
    pub number: i64,
    /// The hash of the body up to the end of this piece.
    pub body_hash: String,
    /// Whether the body ends here.
    pub last: bool,
    /// The id of its first event; the others follow without a gap.
    pub first_event: EventId,
    /// How many events of it were stored.
    pub events: i64,
    /// When.
    pub at: Timestamp,
}

/// Adds what has to be remembered to the batch that stores the events.
pub(crate) fn remember(batch: &mut Batch, pieces: Vec<Piece>) {
    let row = |piece: Piece| -> [Value; 7] {
        [
            piece.scope.into(),
            piece.number.into(),
            piece.body_hash.into(),
            piece.last.into(),
            piece.first_event.get().into(),
            piece.events.into(),
            piece.at.micros().into(),
        ]
    };
    batch.bulk(&IDEMPOTENCY, pieces.into_iter().map(row).collect::<Vec<_>>());
}

impl Db {
    /// What came in under a key before.
    pub async fn piece(&self, scope: &str, number: i64) -> Result<Option<Piece>, StoreError> {
        let row = self.read_one(READ, vec![scope.into(), number.into()]).await?;
        row.map(|row| {
            Ok(Piece {
                scope: scope.to_owned(),
                number,
                body_hash: row.text(0)?,
                last: row.int(1)? != 0,
                first_event: EventId::new(row.int(2)?),
                events: row.int(3)?,
                at: Timestamp::from_micros(row.int(4)?),
            })
        })
        .transpose()
    }

    /// The alerts that the events of a piece raised.
    pub async fn alerts_of_piece(&self, piece: &Piece) -> Result<Vec<(EventId, AlertId)>, StoreError> {
        let first = piece.first_event.get();
        let rows = self.read(RAISED, vec![first.into(), (first + piece.events).into()]).await?;
        rows.iter().map(|row| Ok((EventId::new(row.int(0)?), AlertId::new(row.int(1)?)))).collect()
    }

    /// Forgets what came in under keys before a time, a bounded number at once; whether there may be more.
    pub async fn forget_pieces(&self, before: Timestamp) -> Result<bool, StoreError> {
        let rows = self.read(OLD, vec![before.micros().into(), FORGOTTEN_AT_ONCE.into()]).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        for row in &rows {
            batch.any(FORGET, vec![row.text(0)?.into(), row.int(1)?.into()]);
        }
        self.write(Arc::new(batch)).await?;
        Ok(rows.len() as i64 == FORGOTTEN_AT_ONCE)
    }
}
