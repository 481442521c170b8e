//! The places for events on PostgreSQL: one for each month, and one for times that none was made for.
//!
//! A month's place can't be made while the other one holds events of that month, which a wrong clock left there. They
//! are moved where they are few, and stay otherwise: they are found there as well, only more slowly. Nothing of this keeps a
//! server from starting.

use crate::db::Engine;
use crate::{Db, StoreError, faults};
use watchpost_model::id::event_id_floor;
use watchpost_model::time::Month;
use watchpost_model::{EventId, Timestamp};

/// How many months ahead a place for events is ready.
const MONTHS_AHEAD: usize = 3;
/// So many events are moved: a second's work, for which writers wait.
const MOVED_AT_MOST: i64 = 100_000;
/// Making a place waits so long for those who read events, and others wait behind it; it is tried again in an hour.
const LOCK_LIMIT: &str = "SET LOCAL lock_timeout = '2s'";

const ELSEWHEN: &str = "CREATE TABLE IF NOT EXISTS events_elsewhen PARTITION OF events DEFAULT";
const HAS: &str = "SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = CAST('events' AS regclass) AND c.relname = CAST(?1 AS TEXT)";
const MISPLACED: &str =
    "SELECT COUNT(*), MIN(id), MAX(id) FROM (SELECT id FROM events_elsewhen ORDER BY id LIMIT ?1) e";

/// Events that lie where those of no month are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// How many, counted no further than is moved.
    pub events: i64,
    /// The smallest of their ids.
    pub first: EventId,
    /// The largest of those that were counted.
    pub last: EventId,
}

fn name(month: Month) -> String {
    format!("events_{}_{:02}", month.year, month.month)
}

/// Makes the place of a month, with the events of it that are elsewhere, unless those are many.
fn make(month: Month) -> String {
    let name = name(month);
    let (from, to) = (event_id_floor(month.start()).get(), event_id_floor(month.next().start()).get());
    let own = format!("events_elsewhen WHERE id >= {from} AND id < {to}");
    let most = faults::number("FAULT_MOVED_AT_MOST", MOVED_AT_MOST);
    let values = format!("FOR VALUES FROM ({from}) TO ({to})");
    format!(
        "DO $make$ DECLARE elsewhere BIGINT; BEGIN
             IF to_regclass('{name}') IS NOT NULL THEN RETURN; END IF;
             SELECT COUNT(*) INTO elsewhere FROM (SELECT 1 FROM {own} LIMIT {most} + 1) few;
             IF elsewhere = 0 THEN
                 CREATE TABLE {name} PARTITION OF events {values};
             ELSIF elsewhere <= {most} THEN
                 CREATE TABLE {name} (LIKE events INCLUDING ALL);
                 WITH moved AS (DELETE FROM {own} RETURNING *) INSERT INTO {name} SELECT * FROM moved;
                 ALTER TABLE events ATTACH PARTITION {name} {values};
             END IF;
         END $make$"
    )
}

impl Db {
    /// Makes the places for events of this month and the next ones; only PostgreSQL needs them. What goes wrong with one is
    /// logged: events have a place without it.
    pub async fn prepare_partitions(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        if !self.has_partition("events_elsewhen").await? {
            self.run_script(vec![ELSEWHEN.into()]).await?;
        }
        let mut month = now.month();
        for _ in 0..=MONTHS_AHEAD {
            if let Err(error) = self.prepare_partition(month).await {
                tracing::warn!(
                    %error, place = name(month),
                    "a month's place for events could not be made: its events go to events_elsewhen until it can"
                );
            }
            month = month.next();
        }
        Ok(())
    }

    async fn prepare_partition(&self, month: Month) -> Result<(), StoreError> {
        // Ids can't lead with months before 2024 and behind 2091.
        let is_possible = event_id_floor(month.start()) < event_id_floor(month.next().start());
        if !is_possible || self.has_partition(&name(month)).await? {
            return Ok(());
        }
        self.run_script(vec![LOCK_LIMIT.into(), make(month)]).await?;
        if !self.has_partition(&name(month)).await? {
            tracing::warn!(
                place = name(month),
                "too many events of a month lie in events_elsewhen to be moved to a place of its own: they stay there"
            );
        }
        Ok(())
    }

    async fn has_partition(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.read_one(HAS, vec![name.into()]).await?.is_some())
    }

    /// Events that lie where those of no month are, on PostgreSQL.
    pub async fn misplaced_events(&self) -> Result<Option<Misplaced>, StoreError> {
        if self.engine() == Engine::Sqlite {
            return Ok(None);
        }
        let row = self.read_one(MISPLACED, vec![MOVED_AT_MOST.into()]).await?.ok_or(StoreError::NotFound)?;
        let id = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(EventId::new));
        let misplaced = |(first, last)| Ok(Misplaced { events: row.int(0)?, first, last });
        id(1)?.zip(id(2)?).map(misplaced).transpose()
    }
}
