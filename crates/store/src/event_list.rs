//! Lists of events, newest first.

use crate::clauses::{Clauses, Start};
use crate::db::{Row, Value};
use crate::events::{EVENT_COLUMNS, event_at};
use crate::index::Kind;
use crate::indexed::{Indexed, question};
use crate::rollups::Series;
use crate::{Db, StoreError};
use watchpost_model::Event;
use watchpost_model::filter::{EventFilter, Field};
use watchpost_model::id::event_id_floor;
use watchpost_model::page::{Count, Cursor, Page, PageRequest};

/// Everything about an event but its severity.
fn conditions(db: &Db, filter: &EventFilter) -> Clauses {
    let mut clauses = Clauses::new(db.engine());
    clauses.one_of("e.id", filter.ids.iter().map(|id| id.get()));
    clauses.about_event(&filter.about);
    clauses.taken_in(&filter.about.span);
    clauses
}

fn indexed(db: &Db, filter: &EventFilter) -> Option<Indexed> {
    let mut clauses = conditions(db, filter);
    clauses.one_of("e.severity", filter.severities.iter().map(|severity| severity.code()));
    Some(Indexed {
        kind: Kind::Events,
        columns: EVENT_COLUMNS.to_owned(),
        from: "JOIN events e ON e.id = {}".to_owned(),
        question: question(db.engine(), &filter.about, &filter.severities)?,
        clauses,
        ranks: vec![(0, None)],
        since: filter.about.span.since.map(|since| event_id_floor(since).get()),
        until: filter.about.span.until.map(|until| event_id_floor(until.plus_seconds(1)).get()),
        descending: true,
    })
}

/// The statement of a list that needs no search index: one range of ids for each severity asked for, each no longer
/// than the page, put together newest first.
pub(crate) fn ranges_sql(db: &Db, filter: &EventFilter, start: Start) -> (String, Vec<Value>) {
    let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
    let (direction, beyond) = if backwards { ("ASC", ">") } else { ("DESC", "<") };
    let mut clauses = conditions(db, filter);
    if let Some(cursor) = start.cursor {
        clauses.with(&format!("e.id {beyond} {{}}"), cursor.id);
    }
    if filter.severities.len() <= 1 {
        // One range needs nothing put together: rows are passed over without being read.
        clauses.one_of("e.severity", filter.severities.iter().map(|severity| severity.code()));
        let (matching, limit, offset) = (clauses.sql(), clauses.param(start.rows), clauses.param(start.skip));
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events e{matching} ORDER BY e.id {direction} LIMIT ?{limit} OFFSET ?{offset}"
        );
        return (sql, clauses.params);
    }
    let reach = clauses.param(start.rows + start.skip);
    let mut ranges = Vec::new();
    for severity in &filter.severities {
        let mut range = clauses.clone();
        range.params.clear();
        let n = clauses.param(severity.code());
        range.push(format!("e.severity = ?{n}"));
        let matching = range.sql();
        ranges.push(format!(
            "SELECT * FROM (SELECT {EVENT_COLUMNS} FROM events e{matching} ORDER BY e.id {direction} LIMIT ?{reach}) r{}",
            ranges.len()
        ));
    }
    let (limit, offset) = (clauses.param(start.rows), clauses.param(start.skip));
    let sql =
        format!("{} ORDER BY 1 {direction} LIMIT ?{limit} OFFSET ?{offset}", ranges.join(" UNION ALL "));
    (sql, clauses.params)
}

impl Db {
    /// A page of events, newest first.
    pub async fn events(
        &self,
        filter: &EventFilter,
        request: PageRequest,
    ) -> Result<Page<Event>, StoreError> {
        let indexed = match filter.is_indexed() {
            false => None,
            true => match indexed(self, filter) {
                Some(indexed) => Some(indexed),
                None => return Ok(empty(request)),
            },
        };
        let count = match &indexed {
            Some(_) => Count::Exact(0),
            None => self.plain_event_count(filter).await?,
        };
        let rows = i64::from(request.size) + 1;
        let start = match (request.cursor, &indexed) {
            (Some(cursor), _) => Start { cursor: Some(cursor), skip: 0, rows },
            (None, None) if is_counted(filter) => {
                let codes: Vec<String> = filter.severities.iter().map(|s| s.code().to_string()).collect();
                match self.seek(Series::EventSeverity, &codes, true, request.offset()).await? {
                    Some(place) => {
                        let cursor = place.edge.map(|edge| cursor(event_id_floor(edge).get(), false));
                        Start { cursor, skip: place.skip, rows }
                    }
                    None => return Ok(past_the_end(request, count)),
                }
            }
            (None, _) => Start { cursor: None, skip: request.offset(), rows },
        };
        let (rows, count) = match &indexed {
            Some(indexed) => {
                let rows = self.indexed_rows(indexed, start).await?;
                let count = match whole_list(&rows, start) {
                    Some(count) => count,
                    None => self.indexed_event_count(filter, indexed).await?,
                };
                (rows, count)
            }
            None => {
                let (sql, params) = ranges_sql(self, filter, start);
                (self.read(sql, params).await?, count)
            }
        };
        page_of(rows, count, request, |row| event_at(row, 0), |event| cursor(event.id.get(), false))
    }

    async fn plain_event_count(&self, filter: &EventFilter) -> Result<Count, StoreError> {
        if is_counted(filter) {
            return Ok(Count::Exact(self.event_count(&filter.severities).await?));
        }
        let mut clauses = conditions(self, filter);
        clauses.one_of("e.severity", filter.severities.iter().map(|severity| severity.code()));
        self.bounded_count("events e", &clauses).await
    }

    async fn indexed_event_count(
        &self,
        filter: &EventFilter,
        indexed: &Indexed,
    ) -> Result<Count, StoreError> {
        let about = &filter.about;
        if filter.severities.is_empty()
            && filter.ids.is_empty()
            && about.search.is_none()
            && about.span.is_unbounded()
        {
            let mut fields = about.fields.iter();
            let named = match (fields.next(), fields.next()) {
                (Some((Field::Source, names)), None) => self.named_count(Series::EventSource, names).await?,
                (Some((Field::Type, names)), None) => self.named_count(Series::EventType, names).await?,
                _ => None,
            };
            if let Some(n) = named {
                return Ok(Count::Exact(n));
            }
        }
        self.indexed_count(indexed).await
    }
}

/// Whether counts by severity know how many there are, and when.
fn is_counted(filter: &EventFilter) -> bool {
    let about = &filter.about;
    filter.ids.is_empty() && about.fields.is_empty() && about.search.is_none() && about.span.is_unbounded()
}

fn cursor(id: i64, backwards: bool) -> Cursor {
    Cursor { backwards, rank: 0, time: 0, id }
}

/// The count of a list that fits on its first page: it needn't be counted.
pub(crate) fn whole_list(rows: &[Row], start: Start) -> Option<Count> {
    let whole = start.cursor.is_none() && start.skip == 0 && (rows.len() as i64) < start.rows;
    whole.then_some(Count::Exact(rows.len() as i64))
}

/// A list that can't have rows.
pub(crate) fn empty<T>(request: PageRequest) -> Page<T> {
    past_the_end(request, Count::Exact(0))
}

pub(crate) fn past_the_end<T>(request: PageRequest, count: Count) -> Page<T> {
    Page { rows: Vec::new(), count, more: false, request, next: None, previous: None }
}

/// Makes a page of the rows that were found: in the direction they were looked for, one more than fits.
pub(crate) fn page_of<T>(
    mut rows: Vec<Row>,
    count: Count,
    request: PageRequest,
    read: impl Fn(&Row) -> Result<T, StoreError>,
    place: impl Fn(&T) -> Cursor,
) -> Result<Page<T>, StoreError> {
    let beyond = rows.len() > request.size as usize;
    rows.truncate(request.size as usize);
    let mut rows = rows.iter().map(read).collect::<Result<Vec<T>, _>>()?;
    let backwards = request.cursor.is_some_and(|cursor| cursor.backwards);
    if backwards {
        rows.reverse();
    }
    // Where somebody came from there is at least the row they came from.
    let came_from_somewhere = request.cursor.is_some() || request.number > 1;
    let (more, before) = if backwards { (true, beyond) } else { (beyond, came_from_somewhere) };
    let next = rows.last().filter(|_| more).map(&place);
    let previous = rows.first().filter(|_| before).map(|row| Cursor { backwards: true, ..place(row) });
    Ok(Page { rows, count, more, request, next, previous })
}
