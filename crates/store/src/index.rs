//! The full-text index: which events and alerts hold which terms. Built behind the commit, so that nobody who hands
//! in an event waits for it, and never lost: what is indexed and how far that goes is written in one transaction.
//!
//! It is cut into shards of consecutive ids. A question begins with the newest shard and stops when the page is
//! full, so what a common word costs doesn't grow with the table, and a rare one visits every shard for a moment.
//!
//! SQLite keeps it in a file of its own with a writer of its own; events are committed in the order of their ids
//! there, so a mark says how far it goes, but for those that come behind others of a wrong clock (`late.rs`). On PostgreSQL
//! transactions overlap: each leaves a row that says which ids it brought, and indexing takes that row away.

use crate::db::{Batch, Engine, Table, Target, Value};
use crate::events::{EVENT_COLUMNS, event_at};
use crate::{Db, StoreError};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use watchpost_model::filter::Field;
use watchpost_model::terms::{MAX_TERMS, each_term, field_term};
use watchpost_model::{Event, Severity};

/// What is indexed. The numbers are how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Events = 1,
    Alerts = 2,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Events, Self::Alerts];

    /// The name of the part of the index that a number stands for.
    pub(crate) fn table(self, number: i64) -> String {
        match self {
            Self::Events => format!("search_events_{number}"),
            Self::Alerts => format!("search_alerts_{number}"),
        }
    }
}

/// Texts in one shard, where a suite wants many shards of few texts; 0 leaves it to the engine.
pub(crate) static SHARD_LIMIT: AtomicI64 = AtomicI64::new(0);
/// Texts that are indexed in one transaction.
pub const ROUND_TEXTS: i64 = 2_000;
/// Ranges that one round takes from the queue of PostgreSQL.
const ROUND_RANGES: i64 = 256;

static QUEUE: Table = Table {
    name: "search_queue",
    columns: &[("kind", false), ("first_id", false), ("last_id", false)],
    on_conflict: "",
};

/// The tables beside the shards, on SQLite in the file of the index.
pub(crate) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS search_shards (kind {int} NOT NULL, number {int} NOT NULL, from_id {int} NOT NULL, texts {int} NOT NULL, PRIMARY KEY (kind, number)) {by_key};
    CREATE TABLE IF NOT EXISTS search_progress (kind {int} NOT NULL PRIMARY KEY, up_to {int} NOT NULL) {by_key};";

/// What a migration adds for them: on PostgreSQL they lie beside the data.
pub(crate) fn migration(engine: Engine) -> String {
    match engine {
        Engine::Sqlite => String::new(),
        Engine::Postgres => format!(
            "{TABLES}
             CREATE TABLE search_queue (kind {{int}} NOT NULL, first_id {{int}} NOT NULL, last_id {{int}} NOT NULL, PRIMARY KEY (kind, first_id));
             INSERT INTO search_queue SELECT 1, MIN(id), MAX(id) FROM events HAVING COUNT(*) > 0;
             INSERT INTO search_queue SELECT 2, MIN(id), MAX(id) FROM alerts HAVING COUNT(*) > 0;"
        ),
    }
}

pub(crate) const PROGRESS: &str = "SELECT up_to FROM search_progress WHERE kind = ?1";
pub(crate) const SET_PROGRESS: &str = "INSERT INTO search_progress (kind, up_to) VALUES (?1, ?2) ON CONFLICT (kind) DO UPDATE SET up_to = excluded.up_to";
const GROW: &str = "UPDATE search_shards SET texts = texts + ?3 WHERE kind = ?1 AND number = ?2";
const WAITING: &str = "SELECT first_id, last_id FROM search_queue WHERE kind = ?1 ORDER BY first_id LIMIT ?2";
const TAKE: &str = "DELETE FROM search_queue WHERE kind = ?1 AND first_id = ?2 AND last_id = ?3";
const TAKE_PART: &str =
    "UPDATE search_queue SET first_id = ?4 WHERE kind = ?1 AND first_id = ?2 AND last_id = ?3";

/// Leaves the range of ids that a transaction brings. They are consecutive: ids are given out in blocks.
pub(crate) fn expect(batch: &mut Batch, kind: Kind, ids: impl Iterator<Item = i64>) {
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    ids.for_each(|id| (first, last) = (first.min(id), last.max(id)));
    if first <= last {
        batch.bulk(&QUEUE, vec![[(kind as i64).into(), first.into(), last.into()]] as Vec<[Value; 3]>);
    }
}

/// One part of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shard {
    pub(crate) number: i64,
    pub(crate) from_id: i64,
    pub(crate) texts: i64,
}

/// Ids that wait to be indexed, first and last.
struct Waiting {
    first: i64,
    last: i64,
}

/// An event's terms as one text.
fn document(event: &Event) -> String {
    let mut all = String::new();
    let mut places: Vec<(u32, u32)> = Vec::new();
    let mut see = |term: &str| {
        if places.len() < 4 * MAX_TERMS {
            let from = all.len() as u32;
            all.push_str(term);
            places.push((from, all.len() as u32));
        }
    };
    // First what filters go by: a text that is longer than anybody reads must not push it out.
    for field in Field::ALL {
        if let Some(value) = field.of(event) {
            see(&field_term(field.name(), value));
        }
    }
    see(&severity_term(event.severity));
    event.each_text(|text| each_term(text, &mut see));
    let mut terms: Vec<&str> = places.iter().map(|(from, to)| &all[*from as usize..*to as usize]).collect();
    terms.sort_unstable();
    terms.dedup();
    terms.join(" ")
}

/// The term by which events of a severity are found.
pub(crate) fn severity_term(severity: Severity) -> String {
    field_term("severity", severity.as_str())
}

/// What a round of indexing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// How many texts were indexed.
    pub texts: usize,
    /// Whether more may be waiting.
    pub more: bool,
}

impl Db {
    /// Indexes some of what waits. Several nodes may do it at once; one of them is told of a conflict and may
    /// simply go on.
    pub async fn index_round(&self) -> Result<Round, StoreError> {
        let round = self.index_what_waits().await;
        if self.engine() == Engine::Sqlite && matches!(round, Err(StoreError::DiskFailed(_))) {
            self.disown_index().await?;
        }
        round
    }

    async fn index_what_waits(&self) -> Result<Round, StoreError> {
        self.join_index().await?;
        let mut round = Round { texts: 0, more: false };
        for kind in Kind::ALL {
            let one = match (self.engine(), kind) {
                (Engine::Sqlite, Kind::Events) => self.index_own_events().await?,
                (Engine::Sqlite, Kind::Alerts) => self.index_after_mark(kind).await?,
                (Engine::Postgres, _) => self.index_queued(kind).await?,
            };
            round.texts += one.texts;
            round.more |= one.more;
        }
        Ok(round)
    }

    async fn index_after_mark(&self, kind: Kind) -> Result<Round, StoreError> {
        let mark = self.read_one(PROGRESS, vec![(kind as i64).into()]).await?;
        let mark = mark.map_or(Ok(0), |row| row.int(0))?;
        let waiting = self.texts_between(kind, mark + 1, i64::MAX).await?;
        let Some((last, _)) = waiting.last() else { return Ok(Round { texts: 0, more: false }) };
        let mut batch = Batch::new();
        batch.any(SET_PROGRESS, vec![(kind as i64).into(), (*last).into()]);
        self.index_texts(kind, waiting, mark, batch).await
    }

    async fn index_queued(&self, kind: Kind) -> Result<Round, StoreError> {
        let rows = self.read(WAITING, vec![(kind as i64).into(), ROUND_RANGES.into()]).await?;
        let ranges = rows.iter().map(|row| Ok(Waiting { first: row.int(0)?, last: row.int(1)? }));
        let ranges: Vec<Waiting> = ranges.collect::<Result<_, StoreError>>()?;
        let (mut batch, mut texts) = (Batch::new(), Vec::new());
        let all = ranges.len() as i64;
        let mut taken = 0;
        for Waiting { first, last } in ranges {
            if texts.len() as i64 >= ROUND_TEXTS {
                break;
            }
            taken += 1;
            let found = self.texts_between(kind, first, last).await?;
            let params: Vec<Value> = vec![(kind as i64).into(), first.into(), last.into()];
            match found.last() {
                Some((reached, _)) if found.len() as i64 == ROUND_TEXTS && *reached < last => {
                    batch.one(TAKE_PART, [params, vec![(reached + 1).into()]].concat());
                }
                _ => batch.one(TAKE, params),
            }
            texts.extend(found);
        }
        if taken == 0 {
            return Ok(Round { texts: 0, more: false });
        }
        texts.sort_unstable_by_key(|(id, _)| *id);
        let round = self.index_texts(kind, texts, 0, batch).await?;
        Ok(Round { more: round.more || taken < all || all == ROUND_RANGES, ..round })
    }

    /// Events, or alerts' events, with ids in a range: no more than a round takes.
    pub(crate) async fn texts_between(
        &self,
        kind: Kind,
        first: i64,
        last: i64,
    ) -> Result<Vec<(i64, Event)>, StoreError> {
        let sql = match kind {
            Kind::Events => format!(
                "SELECT e.id, {EVENT_COLUMNS} FROM events e WHERE e.id >= ?1 AND e.id <= ?2 ORDER BY e.id LIMIT ?3"
            ),
            Kind::Alerts => format!(
                "SELECT a.id, {EVENT_COLUMNS} FROM alerts a JOIN events e ON e.id = a.event_id WHERE a.id >= ?1 AND a.id <= ?2 ORDER BY a.id LIMIT ?3"
            ),
        };
        let rows = self.read(sql, vec![first.into(), last.into(), ROUND_TEXTS.into()]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, event_at(row, 1)?))).collect()
    }

    /// Adds texts to their shards with the batch that says so. On SQLite no text is indexed beyond the mark.
    pub(crate) async fn index_texts(
        &self,
        kind: Kind,
        texts: Vec<(i64, Event)>,
        mark: i64,
        mut batch: Batch,
    ) -> Result<Round, StoreError> {
        let count = texts.len();
        let ids: Vec<i64> = texts.iter().map(|(id, _)| *id).collect();
        let shards = self.shards_for(kind, &ids, mark).await?;
        let cut = tokio::task::spawn_blocking(move || {
            texts.into_iter().map(|(id, event)| (id, document(&event))).collect::<Vec<_>>()
        });
        let mut documents = cut.await.map_err(|error| StoreError::Internal(error.to_string()))?;
        for shard in shards.iter().rev() {
            let split = documents.partition_point(|(id, _)| *id < shard.from_id);
            let own = documents.split_off(split);
            if own.is_empty() {
                continue;
            }
            batch.any(GROW, vec![(kind as i64).into(), shard.number.into(), (own.len() as i64).into()]);
            let rows: Vec<[Value; 2]> =
                own.into_iter().map(|(id, terms)| [id.into(), terms.into()]).collect();
            batch.insert(Target::Index(kind.table(shard.number)), rows);
        }
        self.write_index(Arc::new(batch)).await?;
        Ok(Round { texts: count, more: count as i64 >= ROUND_TEXTS })
    }
}
