//! Ids are given out in blocks before the transaction that uses them, so that a write whose outcome is
//! unknown can be tried again with the same ids.

use crate::db::{Expect, Statement};
use crate::{Db, StoreError};
use std::ops::Range;
use watchpost_model::id::event_id_floor;
use watchpost_model::{Timestamp, id::MAX_ID};

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

impl Db {
    /// Takes so many ids that nobody else will ever get, on any node.
    pub async fn take_ids(&self, kind: IdKind, count: i64, now: Timestamp) -> Result<Range<i64>, StoreError> {
        let floor = match kind {
            IdKind::Events => event_id_floor(now).get(),
            IdKind::Alerts | IdKind::Users | IdKind::Keys | IdKind::Views => 1,
        };
        let params = vec![kind.name().into(), floor.into(), count.into()];
        let rows = self.write_returning(Statement { sql: TAKE, params, expect: Expect::One }).await?;
        let end = rows[0].int(0)?;
        if end > MAX_ID {
            return Err(StoreError::Unfit(format!("there are no ids left for {}", kind.name())));
        }
        Ok(end - count..end)
    }
}
