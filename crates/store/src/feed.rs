//! What was committed, in an order in which it can be followed without missing anything.
//!
//! Each transaction that brings or changes something leaves one row. On SQLite transactions are committed one after
//! the other, so the row's number is the order. On PostgreSQL they overlap: one that took its number earlier may
//! commit later, and whoever asked for "everything behind the last number" would never see it. There the order is the
//! number of the transaction, and only those are read that are older than every transaction still under way: behind
//! them nothing can appear any more.

use crate::db::{Batch, Engine, Row};
use crate::{Db, StoreError};
use std::fmt::Write;
use std::sync::Arc;
use watchpost_model::{AlertId, Timestamp};

/// How long one can go on from where one was.
pub const FEED_KEPT_SECONDS: i64 = 3_600;
/// Rows that are looked at together when they are forgotten.
const FORGOTTEN_AT_ONCE: i64 = 5_000;

const LEAVE: &str = "INSERT INTO feed (at, events, alerts, changes) VALUES (?1, ?2, ?3, ?4)";

// The number that was given out last, also when its row is forgotten by now.
const END_SQLITE: &str = "SELECT 0, COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'feed'), 0)";
// The oldest transaction that is still under way: whatever is to come is its or younger.
const END_POSTGRES: &str =
    "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT), CAST(0 AS BIGINT)";
const AFTER_SQLITE: &str =
    "SELECT 0, seq, at, events, alerts, changes FROM feed WHERE ?1 = 0 AND seq > ?2 ORDER BY seq LIMIT ?3";
const AFTER_POSTGRES: &str = "SELECT xact, seq, at, events, alerts, changes FROM feed
     WHERE (xact, seq) > (?1, ?2) AND xact < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)
     ORDER BY xact, seq LIMIT ?3";
const FIRST_SQLITE: &str = "SELECT 0, seq, at FROM feed ORDER BY seq LIMIT ?1";
// What nobody could read yet isn't forgotten either, however old it is.
const FIRST_POSTGRES: &str = "SELECT xact, seq, at FROM feed
     WHERE xact < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)
     ORDER BY xact, seq LIMIT ?1";
// Entries are forgotten from the first on, so this is all that has to be known of them.
const FORGOTTEN: &str = "SELECT n FROM upkeep WHERE name = 'feed.forgotten'";
const SET_FORGOTTEN: &str =
    "INSERT INTO upkeep (name, n) VALUES ('feed.forgotten', 1) ON CONFLICT DO NOTHING";
const FORGET_SQLITE: &str = "DELETE FROM feed WHERE ?1 = 0 AND seq < ?2";
const FORGET_POSTGRES: &str = "DELETE FROM feed WHERE (xact, seq) < (?1, ?2)";

/// A place in the feed, behind everything up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPlace {
    /// Which of the feeds that the database has had, see `feed_origin.rs`; 0 unless it was moved to another cluster.
    pub generation: i64,
    /// The transaction; 0 on SQLite.
    pub xact: i64,
    /// The row.
    pub seq: i64,
}

/// What a transaction brought and changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Where it is.
    pub place: FeedPlace,
    /// When it was written.
    pub at: Timestamp,
    /// Ranges of ids of events, first and last.
    pub events: Vec<(i64, i64)>,
    /// Ranges of ids of alerts that were raised.
    pub alerts: Vec<(i64, i64)>,
    /// Alerts that were changed, each with the version that the change made.
    pub changes: Vec<(AlertId, i64)>,
}

impl FeedEntry {
    /// How many things it tells of.
    pub fn len(&self) -> usize {
        let ids = |ranges: &[(i64, i64)]| ranges.iter().map(|(first, last)| last - first + 1).sum::<i64>();
        (ids(&self.events) + ids(&self.alerts)) as usize + self.changes.len()
    }

    /// Whether it tells of nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Ids in order as ranges, such as `5-9,12`.
fn ranges(ids: impl Iterator<Item = i64>) -> String {
    let mut all: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match all.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => all.push((id, id)),
        }
    }
    let mut text = String::new();
    for (first, last) in all {
        let comma = if text.is_empty() { "" } else { "," };
        match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}-{last}"),
        }
        .expect("a text takes all that is written to it");
    }
    text
}

/// Says in its batch what a transaction brings.
pub(crate) fn brought(
    batch: &mut Batch,
    at: Timestamp,
    events: impl Iterator<Item = i64>,
    alerts: impl Iterator<Item = i64>,
) {
    let (events, alerts) = (ranges(events), ranges(alerts));
    batch.any(LEAVE, vec![at.micros().into(), events.into(), alerts.into(), "".into()]);
}

/// Says in its batch which alerts a transaction changes, and to which versions.
pub(crate) fn changed(batch: &mut Batch, at: Timestamp, changes: impl Iterator<Item = (AlertId, i64)>) {
    let changes: Vec<String> = changes.map(|(alert, version)| format!("{alert}.{version}")).collect();
    if !changes.is_empty() {
        let changes = changes.join(",");
        batch.any(LEAVE, vec![at.micros().into(), "".into(), "".into(), changes.into()]);
    }
}

fn pairs(text: &str, between: char) -> Result<Vec<(i64, i64)>, StoreError> {
    let read = |part: &str| {
        let (first, last) = part.split_once(between).unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    let parts = text.split(',').filter(|part| !part.is_empty());
    let wrong = || StoreError::Internal(format!("the feed holds {text}, which are no ids"));
    parts.map(|part| read(part).ok_or_else(wrong)).collect()
}

fn place(row: &Row, generation: i64) -> Result<FeedPlace, StoreError> {
    Ok(FeedPlace { generation, xact: row.int(0)?, seq: row.int(1)? })
}

fn entry(row: &Row, generation: i64) -> Result<FeedEntry, StoreError> {
    let changes = pairs(&row.text(5)?, '.')?;
    Ok(FeedEntry {
        place: place(row, generation)?,
        at: Timestamp::from_micros(row.int(2)?),
        events: pairs(&row.text(3)?, '-')?,
        alerts: pairs(&row.text(4)?, '-')?,
        changes: changes.into_iter().map(|(alert, version)| (AlertId::new(alert), version)).collect(),
    })
}

impl Db {
    fn by_engine(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self.engine() {
            Engine::Sqlite => sqlite,
            Engine::Postgres => postgres,
        }
    }

    /// The place behind everything that is committed: whoever goes on from here sees what comes.
    pub async fn feed_end(&self) -> Result<FeedPlace, StoreError> {
        let sql = self.by_engine(END_SQLITE, END_POSTGRES);
        let row = self.read_one(sql, vec![]).await?.ok_or(StoreError::NotFound)?;
        place(&row, self.feed_generation())
    }

    /// What was committed behind a place, in order, so many entries at most.
    pub async fn feed_after(&self, place: FeedPlace, limit: i64) -> Result<Vec<FeedEntry>, StoreError> {
        let sql = self.by_engine(AFTER_SQLITE, AFTER_POSTGRES);
        let params = vec![place.xact.into(), place.seq.into(), limit.into()];
        let generation = self.feed_generation();
        self.read(sql, params).await?.iter().map(|row| entry(row, generation)).collect()
    }

    /// The oldest entries that can be read, and when they were written.
    async fn feed_first(&self, limit: i64) -> Result<Vec<(FeedPlace, Timestamp)>, StoreError> {
        let rows = self.read(self.by_engine(FIRST_SQLITE, FIRST_POSTGRES), vec![limit.into()]).await?;
        let generation = self.feed_generation();
        rows.iter().map(|row| Ok((place(row, generation)?, Timestamp::from_micros(row.int(2)?)))).collect()
    }

    /// Whether everything behind a place is still kept.
    pub async fn feed_keeps(&self, place: FeedPlace) -> Result<bool, StoreError> {
        // Forgetting leaves the youngest of what is old.
        if self.feed_first(1).await?.first().is_none_or(|(first, _)| place >= *first) {
            return Ok(true);
        }
        Ok(self.read_one(FORGOTTEN, vec![]).await?.is_none())
    }

    /// Whether a place is one that this feed may have given out.
    pub async fn feed_knows(&self, place: FeedPlace) -> Result<bool, StoreError> {
        let own = (place.xact == 0) == (self.engine() == Engine::Sqlite);
        let own = own && place.generation == self.feed_generation();
        Ok(own && place <= self.feed_end().await?)
    }

    /// Forgets some of the entries from before a time, and of those up to a place, all but the youngest of them; whether
    /// there may be more.
    pub async fn forget_feed(&self, before: Timestamp, seen: Option<FeedPlace>) -> Result<bool, StoreError> {
        let first = self.feed_first(FORGOTTEN_AT_ONCE).await?;
        // Entries are in the order of their commits and their times nearly so: up to the last that is old.
        let is_old =
            |(place, at): &(FeedPlace, Timestamp)| *at < before || seen.is_some_and(|seen| *place <= seen);
        let Some(youngest) = first.iter().rposition(is_old).filter(|n| *n > 0) else {
            return Ok(false);
        };
        let place = first[youngest].0;
        let mut batch = Batch::new();
        let sql = self.by_engine(FORGET_SQLITE, FORGET_POSTGRES);
        batch.any(sql, vec![place.xact.into(), place.seq.into()]);
        batch.any(SET_FORGOTTEN, vec![]);
        self.write(Arc::new(batch)).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_ranges_and_read_back() {
        let text = ranges([1, 2, 3, 7, 9, 10].into_iter());
        assert_eq!(text, "1-3,7,9-10");
        assert_eq!(pairs(&text, '-').unwrap(), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges(std::iter::empty()), "");
        assert_eq!(pairs("", '-').unwrap(), []);
        assert!(pairs("1-x", '-').is_err());
    }
}
