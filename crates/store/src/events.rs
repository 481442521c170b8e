//! Events, and the one way they come into being: together with their alerts and counts.

use crate::alerts::{self, NewAlert};
use crate::db::{Batch, Column, Engine, Row, Table, Value};
use crate::search::event_list_sql;
use crate::{Db, StoreError};
use watchpost_model::event::Origin;
use watchpost_model::filter::EventFilter;
use watchpost_model::id::event_id_floor;
use watchpost_model::page::{Count, MAX_COUNTED, Page, PageRequest};
use watchpost_model::time::Month;
use watchpost_model::{Event, EventId, KeyId, Severity, Timestamp, UserId};

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
    ],
};

const BY_ID: &str =
    "SELECT e.id, e.created_at, e.source_name, e.event_type, e.severity, e.description, e.user_id, e.key_id
     FROM events e WHERE e.id = ?1";

/// How many months ahead a place for events is ready.
const MONTHS_AHEAD: usize = 3;

/// The batch that stores events with the alerts they raise and what counts them. The lane is the writer's own,
/// see the table of counters.
pub fn ingest(events: Vec<Event>, alerts: Vec<NewAlert>, lane: i64) -> Batch {
    let mut batch = Batch::new();
    for severity in Severity::ALL {
        let stored = events.iter().filter(|event| event.severity == severity).count();
        batch.count_events(lane, severity, stored as i64);
    }
    alerts::raise(&mut batch, &events, alerts, lane);
    let count = events.len();
    let mut ids = Vec::with_capacity(count);
    let mut times = Vec::with_capacity(count);
    let mut sources = Vec::with_capacity(count);
    let mut types = Vec::with_capacity(count);
    let mut severities = Vec::with_capacity(count);
    let mut descriptions = Vec::with_capacity(count);
    let mut users = Vec::with_capacity(count);
    let mut keys = Vec::with_capacity(count);
    for event in events {
        ids.push(event.id.get());
        times.push(event.created_at.micros());
        sources.push(event.source_name);
        types.push(event.event_type);
        severities.push(event.severity.code());
        descriptions.push(event.description);
        users.push(event.origin.user().map(UserId::get));
        keys.push(event.origin.key().map(KeyId::get));
    }
    let columns = vec![
        Column::Int(ids),
        Column::Int(times),
        Column::Text(sources),
        Column::Text(types),
        Column::Int(severities),
        Column::Text(descriptions),
        Column::OptInt(users),
        Column::OptInt(keys),
    ];
    batch.bulk(&EVENTS, columns);
    batch
}

/// Reads an event from a row, its columns in the order of the table, from `first` on.
pub(crate) fn event_at(row: &Row, first: usize) -> Result<Event, StoreError> {
    let origin = match (row.opt_int(first + 6)?, row.opt_int(first + 7)?) {
        (Some(user), _) => Origin::User(UserId::new(user)),
        (None, Some(key)) => Origin::Key(KeyId::new(key)),
        (None, None) => return Err(StoreError::Internal("an event came from nobody".into())),
    };
    Ok(Event {
        id: EventId::new(row.int(first)?),
        created_at: Timestamp::from_micros(row.int(first + 1)?),
        source_name: row.text(first + 2)?,
        event_type: row.text(first + 3)?,
        severity: row.code(first + 4, Severity::from_code)?,
        description: row.text(first + 5)?,
        origin,
    })
}

impl Db {
    /// One event.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        let row = self.read_one(BY_ID, vec![id.get().into()]).await?;
        row.map(|row| event_at(&row, 0)).transpose()
    }

    /// A page of events, newest first.
    pub async fn events(
        &self,
        filter: &EventFilter,
        request: PageRequest,
    ) -> Result<Page<Event>, StoreError> {
        let only_severity =
            filter.event_type.is_none() && filter.source_name.is_none() && filter.search.is_none();
        let (list, count, params) = event_list_sql(self.engine(), filter);
        let count = if only_severity {
            Count::Exact(self.event_count(&filter.severities).await?)
        } else {
            self.bounded_count(count, params.clone()).await?
        };
        let (rows, more) = self.page_rows(list, params, request).await?;
        let rows = rows.iter().map(|row| event_at(row, 0)).collect::<Result<_, _>>()?;
        Ok(Page { rows, count, more, request })
    }

    /// Counts rows, but no further than is bearable.
    pub(crate) async fn bounded_count(
        &self,
        sql: String,
        mut params: Vec<Value>,
    ) -> Result<Count, StoreError> {
        params.push(MAX_COUNTED.saturating_add(1).into());
        let row = self.read_one(sql, params).await?.ok_or(StoreError::NotFound)?;
        Ok(match row.int(0)? {
            n if n > MAX_COUNTED => Count::AtLeast(MAX_COUNTED),
            n => Count::Exact(n),
        })
    }

    /// The rows of one page and whether more follow; the list's last two parameters are limit and offset.
    pub(crate) async fn page_rows(
        &self,
        sql: String,
        mut params: Vec<Value>,
        request: PageRequest,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        let size = request.size as usize;
        params.push((i64::from(request.size) + 1).into());
        params.push(request.offset().into());
        let mut rows = self.read(sql, params).await?;
        let more = rows.len() > size;
        rows.truncate(size);
        Ok((rows, more))
    }

    /// Makes the places for events of this month and the next ones; only PostgreSQL needs them.
    pub async fn prepare_partitions(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        let mut script =
            vec!["CREATE TABLE IF NOT EXISTS events_elsewhen PARTITION OF events DEFAULT".into()];
        let mut month = now.month();
        for _ in 0..=MONTHS_AHEAD {
            script.push(partition(month));
            month = month.next();
        }
        self.run_script(script).await
    }
}

fn partition(month: Month) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS events_{}_{:02} PARTITION OF events FOR VALUES FROM ({}) TO ({})",
        month.year,
        month.month,
        event_id_floor(month.start()).get(),
        event_id_floor(month.next().start()).get()
    )
}
