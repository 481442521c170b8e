//! Events, and the one way they come into being: together with their alerts and counts.

use crate::alerts::{self, NewAlert};
use crate::clauses::Clauses;
use crate::db::{Batch, Cell, Engine, Row, Rows, Table};
use crate::feed;
use crate::index::{self, Kind};
use crate::late;
use crate::once::{self, Piece};
use crate::rollups::{Names, Tally};
use crate::triage::ASKED_AT_ONCE;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::event::Origin;
use watchpost_model::{Attributes, Details, Event, EventId, KeyId, Severity, Timestamp, UserId};

static EVENTS: Table = Table {
    name: "events",
    columns: &[
        ("id", false),
        ("created_at", false),
        ("source_name", true),
        ("event_type", true),
        ("severity", false),
        ("description", true),
        ("user_id", false),
        ("key_id", false),
        ("occurred_at", false),
        ("host", true),
        ("user_name", true),
        ("src_ip", true),
        ("dst_ip", true),
        ("attributes", true),
    ],
    on_conflict: "",
};

/// The columns of an event, in the order they are read in.
pub(crate) const EVENT_COLUMNS: &str = "e.id, e.created_at, e.source_name, e.event_type, e.severity, e.description, e.user_id, e.key_id, e.occurred_at, e.host, e.user_name, e.src_ip, e.dst_ip, e.attributes";

/// A range of so many events is worth a question of its own.
const LONG_RANGE: i64 = 64;

struct EventRows(Arc<Vec<Event>>);

impl Rows for EventRows {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let event = &self.0[row];
        let details = &event.details;
        match column {
            0 => Cell::Int(event.id.get()),
            1 => Cell::Int(event.created_at.micros()),
            2 => Cell::Text(&event.source_name),
            3 => Cell::Text(&event.event_type),
            4 => Cell::Int(event.severity.code()),
            5 => Cell::Text(&event.description),
            6 => event.origin.user().map(UserId::get).into(),
            7 => event.origin.key().map(KeyId::get).into(),
            8 => details.occurred_at.map(Timestamp::micros).into(),
            9 => details.host.as_deref().into(),
            10 => details.user.as_deref().into(),
            11 => details.src_ip.as_deref().into(),
            12 => details.dst_ip.as_deref().into(),
            _ => details.attributes.as_ref().map(Attributes::as_json).into(),
        }
    }
}

/// What is stored together.
pub struct Ingest {
    /// The events, their ids in order.
    pub events: Arc<Vec<Event>>,
    /// The alerts they raise.
    pub alerts: Vec<NewAlert>,
    /// The keys they came in under, for those that had one.
    pub pieces: Vec<Piece>,
    /// Whether their ids lie behind some that were stored before.
    pub late: bool,
}

/// The batch that stores events with the alerts they raise and what counts them. The lane is the writer's own,
/// see the table of counts.
pub fn ingest(engine: Engine, stored: Ingest, names: &mut Names, lane: i64) -> Batch {
    let Ingest { events, alerts, pieces, late } = stored;
    let mut batch = Batch::new();
    let mut tally = Tally::default();
    tally.events(&events, names);
    // Events first: when a write is tried again, the one that was done shows by the ids of its events.
    batch.bulk(&EVENTS, EventRows(events.clone()));
    if engine == Engine::Postgres {
        index::expect(&mut batch, Kind::Events, events.iter().map(|event| event.id.get()));
        index::expect(&mut batch, Kind::Alerts, alerts.iter().map(|alert| alert.id.get()));
    } else if let (true, Some(first), Some(last)) = (late, events.first(), events.last()) {
        late::expect(&mut batch, first.id, last.id);
    }
    let ids = events.iter().map(|event| event.id.get());
    if let Some(event) = events.first() {
        feed::brought(&mut batch, event.created_at, ids, alerts.iter().map(|alert| alert.id.get()));
    }
    alerts::raise(&mut batch, &mut tally, names, events, alerts);
    once::remember(&mut batch, pieces);
    tally.write(&mut batch, lane);
    batch
}

/// The mistake of a second transaction for what belongs to the first: the batch of the events, and that of the rest.
#[doc(hidden)]
pub fn ingest_apart(engine: Engine, stored: Ingest, names: &mut Names, lane: i64) -> (Batch, Batch) {
    let Ingest { events, alerts, pieces, late } = stored;
    let mut second = Batch::new();
    let mut tally = Tally::default();
    alerts::raise(&mut second, &mut tally, names, events.clone(), alerts);
    tally.write(&mut second, lane);
    (ingest(engine, Ingest { events, alerts: Vec::new(), pieces, late }, names, lane), second)
}

/// Reads an event from a row, its columns in the order of the table, from `first` on.
pub(crate) fn event_at(row: &Row, first: usize) -> Result<Event, StoreError> {
    let origin = match (row.opt_int(first + 6)?, row.opt_int(first + 7)?) {
        (Some(user), _) => Origin::User(UserId::new(user)),
        (None, Some(key)) => Origin::Key(KeyId::new(key)),
        (None, None) => return Err(StoreError::Internal("an event came from nobody".into())),
    };
    let details = Details {
        occurred_at: row.opt_int(first + 8)?.map(Timestamp::from_micros),
        host: row.opt_text(first + 9)?,
        user: row.opt_text(first + 10)?,
        src_ip: row.opt_text(first + 11)?,
        dst_ip: row.opt_text(first + 12)?,
        attributes: row.opt_text(first + 13)?.map(Attributes::stored),
    };
    Ok(Event {
        id: EventId::new(row.int(first)?),
        created_at: Timestamp::from_micros(row.int(first + 1)?),
        source_name: row.text(first + 2)?,
        event_type: row.text(first + 3)?,
        severity: row.code(first + 4, Severity::from_code)?,
        description: row.text(first + 5)?,
        details,
        origin,
    })
}

impl Db {
    /// One event.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        let sql = format!("SELECT {EVENT_COLUMNS} FROM events e WHERE e.id = ?1");
        let row = self.read_one(sql, vec![id.get().into()]).await?;
        row.map(|row| event_at(&row, 0)).transpose()
    }

    /// The events of some ranges of ids, first and last, in any order.
    pub async fn events_between(&self, ranges: &[(i64, i64)]) -> Result<Vec<Event>, StoreError> {
        let is_long = |(first, last): &&(i64, i64)| last - first >= LONG_RANGE;
        let mut events = Vec::new();
        for (first, last) in ranges.iter().filter(is_long) {
            let sql = format!("SELECT {EVENT_COLUMNS} FROM events e WHERE e.id >= ?1 AND e.id <= ?2");
            let rows = self.read(sql, vec![(*first).into(), (*last).into()]).await?;
            events.extend(rows.iter().map(|row| event_at(row, 0)).collect::<Result<Vec<_>, _>>()?);
        }
        let short = ranges.iter().filter(|range| !is_long(range));
        let ids: Vec<i64> = short.flat_map(|(first, last)| *first..=*last).collect();
        for some in ids.chunks(ASKED_AT_ONCE) {
            let mut clauses = Clauses::new(self.engine());
            clauses.one_of("e.id", some.iter().copied());
            let sql = format!("SELECT {EVENT_COLUMNS} FROM events e{}", clauses.sql());
            let rows = self.read(sql, clauses.params).await?;
            events.extend(rows.iter().map(|row| event_at(row, 0)).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(events)
    }
}
