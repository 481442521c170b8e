//! Up to when forgetting believes the clock.
//!
//! What is kept for so long is forgotten by the clock, and a clock may be wrong: a start with the clock a year ahead would
//! forget everything at once. So what forgetting goes by is kept in the database and follows the clock at twice the speed
//! of time at most, as long as a server runs: what a jump would have taken away is there when the clock is right again.
//! After a server was off for a day it takes another until it forgets as usual.

use crate::db::Batch;
use crate::{Db, StoreError};
use std::sync::Arc;
use std::time::Instant;
use watchpost_model::Timestamp;

/// How much faster than time it may follow the clock.
const CATCH_UP: i64 = 2;

const READ: &str = "SELECT n FROM upkeep WHERE name = 'trusted'";
const BEGIN: &str = "INSERT INTO upkeep (name, n) VALUES ('trusted', ?1) ON CONFLICT DO NOTHING";
const ADVANCE: &str = "UPDATE upkeep SET n = ?1 WHERE name = 'trusted' AND n < ?1";

/// What forgetting goes by, on this node.
pub struct TrustedTime {
    db: Db,
    /// What it was last, and when that was.
    known: Option<(Timestamp, Instant)>,
}

impl TrustedTime {
    /// That of a database.
    pub const fn of(db: Db) -> Self {
        Self { db, known: None }
    }

    /// Lets it follow the clock as far as it may, and returns it.
    pub async fn follow(&mut self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let (before, since) = match self.known {
            Some(known) => known,
            None => (self.db.trusted_or_begin(now).await?, Instant::now()),
        };
        let most = before.micros() + CATCH_UP * since.elapsed().as_micros() as i64;
        let trusted = now.min(Timestamp::from_micros(most));
        let mut batch = Batch::new();
        batch.any(ADVANCE, vec![trusted.micros().into()]);
        self.db.write(Arc::new(batch)).await?;
        // Another node may be further.
        let reached = self.db.trusted_or_begin(now).await?;
        self.known = Some((reached, Instant::now()));
        Ok(reached.min(now))
    }
}

impl Db {
    async fn trusted_or_begin(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        if let Some(trusted) = self.read_trusted().await? {
            return Ok(trusted);
        }
        let mut batch = Batch::new();
        batch.any(BEGIN, vec![now.micros().into()]);
        self.write(Arc::new(batch)).await?;
        self.read_trusted().await?.ok_or(StoreError::NotFound)
    }

    async fn read_trusted(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.read_one(READ, vec![]).await?;
        row.map(|row| row.int(0).map(Timestamp::from_micros)).transpose()
    }

    /// What forgetting goes by, as it was last written; never later than now.
    pub async fn trusted_time(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read_trusted().await?.map(|trusted| trusted.min(now)))
    }
}
