//! Ids are given out before the transaction that uses them, so that a write whose outcome is unknown can be tried
//! again with the same ids. Where several nodes write they take them in blocks.

use crate::db::{Expect, Statement};
use crate::{Batch, Db, Engine, StoreError};
use std::ops::Range;
use std::sync::Arc;
use watchpost_model::id::{EVENT_IDS_PER_SECOND, MAX_ID, event_id_floor};
use watchpost_model::{EventId, Timestamp};

/// What the ids are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Events: ids lead with the time they were given out at.
    Events,
    /// Alerts: small numbers in sequence.
    Alerts,
    /// Users.
    Users,
    /// Sensor keys.
    Keys,
    /// Views.
    Views,
}

impl IdKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Alerts => "alerts",
            Self::Users => "users",
            Self::Keys => "keys",
            Self::Views => "views",
        }
    }
}

const TAKE: &str = "UPDATE id_blocks SET next = CASE WHEN next < ?2 THEN ?2 ELSE next END + ?3 WHERE name = ?1 RETURNING next";

// Ids that a wrong clock gave out are far ahead: they are left alone, and the next ones are behind those of this second.
const TAKE_NEAR: &str = "UPDATE id_blocks SET next = CASE
         WHEN next < ?1 THEN ?1
         WHEN next >= ?3 THEN (SELECT COALESCE(MAX(id) + 1, ?1) FROM events WHERE id >= ?1 AND id < ?4)
         ELSE next END + ?2
     WHERE name = 'events' RETURNING next, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

const GIVE_BACK: &str = "UPDATE id_blocks SET next = ?2 WHERE name = ?1 AND next = ?3";

const LAST_EVENT: &str = "SELECT MAX(id) FROM events WHERE id >= ?1 AND id < ?2";
const LAST_ALERT: &str = "SELECT MAX(id) FROM alerts";
const AHEAD: &str =
    "SELECT COUNT(*), MIN(id), MAX(id) FROM (SELECT id FROM events WHERE id >= ?1 ORDER BY id LIMIT ?2) a";

/// Events ahead of the clock are counted no further.
pub const MAX_AHEAD_COUNTED: i64 = 100_000;

/// Events whose ids lead with times that are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// How many, or [`MAX_AHEAD_COUNTED`].
    pub events: i64,
    /// The smallest of their ids.
    pub first: EventId,
    /// The largest of those that were counted.
    pub last: EventId,
}

impl Db {
    /// Takes so many ids that nobody else will ever get, on any node.
    pub async fn take_ids(&self, kind: IdKind, count: i64, now: Timestamp) -> Result<Range<i64>, StoreError> {
        // On SQLite what is stored says where ids go on; nothing else keeps account of these two.
        let floor = match (kind, self.engine()) {
            (IdKind::Events, Engine::Sqlite) => {
                event_id_floor(now).get().max(self.last_event(0, MAX_ID).await? + 1)
            }
            (IdKind::Events, Engine::Postgres) => event_id_floor(now).get(),
            (IdKind::Alerts, Engine::Sqlite) => self.last_alert().await? + 1,
            _ => 1,
        };
        let params = vec![kind.name().into(), floor.into(), count.into()];
        let rows = self.write_returning(Statement { sql: TAKE, params, expect: Expect::One }).await?;
        let end = rows[0].int(0)?;
        if end > MAX_ID {
            return Err(StoreError::Unfit(format!("there are no ids left for {}", kind.name())));
        }
        Ok(end - count..end)
    }

    /// Takes so many ids of events at this time on PostgreSQL, and says what time the database thinks it is. They lead with
    /// this time or one that is later by so many seconds at most, however far ahead others were given out.
    pub async fn take_event_ids(
        &self,
        count: i64,
        now: Timestamp,
        slack: i64,
    ) -> Result<(Range<i64>, Timestamp), StoreError> {
        let floor = event_id_floor(now).get();
        let (too_far, second_end) =
            (event_id_floor(now.plus_seconds(slack + 1)).get(), floor + EVENT_IDS_PER_SECOND);
        let params = vec![floor.into(), count.into(), too_far.into(), second_end.into()];
        let rows = self.write_returning(Statement { sql: TAKE_NEAR, params, expect: Expect::One }).await?;
        let end = rows[0].int(0)?;
        Ok((end - count..end, Timestamp::from_micros(rows[0].int(1)?)))
    }

    /// Gives ids back that were taken last and not used; they stay unused when others were taken since.
    pub async fn give_back_ids(&self, kind: IdKind, unused: Range<i64>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(GIVE_BACK, vec![kind.name().into(), unused.start.into(), unused.end.into()]);
        self.write(Arc::new(batch)).await
    }

    /// The largest id of an event in a range, without its end; when there is none, the one before the range.
    pub async fn last_event(&self, from: i64, until: i64) -> Result<i64, StoreError> {
        let row = self.read_one(LAST_EVENT, vec![from.into(), until.into()]).await?;
        Ok(row.ok_or(StoreError::NotFound)?.opt_int(0)?.unwrap_or(from - 1))
    }

    /// The largest id of an alert, 0 when there is none.
    pub async fn last_alert(&self) -> Result<i64, StoreError> {
        let row = self.read_one(LAST_ALERT, vec![]).await?;
        Ok(row.ok_or(StoreError::NotFound)?.opt_int(0)?.unwrap_or(0))
    }

    /// Events whose ids lead with a time from this one on.
    pub async fn events_ahead(&self, of: Timestamp) -> Result<Option<Ahead>, StoreError> {
        let params = vec![event_id_floor(of).get().into(), MAX_AHEAD_COUNTED.into()];
        let row = self.read_one(AHEAD, params).await?.ok_or(StoreError::NotFound)?;
        let id = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(EventId::new));
        let ahead = |(first, last)| Ok(Ahead { events: row.int(0)?, first, last });
        id(1)?.zip(id(2)?).map(ahead).transpose()
    }
}
