//! Lists of events, newest first.

use crate::clauses::{Clauses, Start};
use crate::db::{Row, Value};
use crate::events::{EVENT_COLUMNS, event_at};
use crate::index::Kind;
use crate::indexed::{Indexed, question};
use crate::rollups::Series;
use crate::walk::{LOOKED_AT, Walk};
use crate::{Db, StoreError};
use watchpost_model::filter::{About, EventFilter, Field};
use watchpost_model::id::{event_id_floor, event_id_second};
use watchpost_model::page::{Count, Cursor, MAX_COUNTED, Page, PageRequest};
use watchpost_model::{Event, EventId, Severity, Timestamp};

const OLDEST: &str = "SELECT MIN(id) FROM events";

/// Everything about an event but its severity and what it must not be.
fn conditions(db: &Db, filter: &EventFilter) -> Clauses {
    let mut clauses = Clauses::new(db.engine());
    clauses.one_of("e.id", filter.ids.iter().map(|id| id.get()));
    clauses.about_event(&filter.about);
    clauses.taken_in(&filter.about.span);
    clauses
}

/// How events are found.
pub(crate) enum List {
    /// By the search index.
    Indexed(Box<Indexed>),
    /// By their ids and severities.
    Plain,
}

impl List {
    /// How a filter's events are found; nothing when there can't be any.
    pub(crate) fn of(db: &Db, filter: &EventFilter, columns: &str) -> Option<Self> {
        match filter.is_indexed() {
            true => Some(Self::Indexed(Box::new(indexed(db, filter, columns)?))),
            false => Some(Self::Plain),
        }
    }
}

fn indexed(db: &Db, filter: &EventFilter, columns: &str) -> Option<Indexed> {
    let mut clauses = conditions(db, filter);
    clauses.one_of("e.severity", filter.severities.iter().map(|severity| severity.code()));
    clauses.not_about_event(&filter.about);
    Some(Indexed {
        kind: Kind::Events,
        columns: columns.to_owned(),
        from: "JOIN events e ON e.id = {}".to_owned(),
        question: question(db.engine(), &filter.about, &filter.severities)?,
        clauses,
        walked: !filter.about.without.is_empty(),
        ranks: vec![(0, None)],
        since: filter.about.span.since.map(|since| event_id_floor(since).get()),
        until: filter.about.span.until.map(|until| event_id_floor(until.plus_seconds(1)).get()),
        descending: true,
    })
}

/// The statement of a list that needs no search index and leaves nothing out: one range of ids for each severity asked
/// for, each no longer than the page, put together newest first.
pub(crate) fn ranges_sql(db: &Db, filter: &EventFilter, columns: &str, start: Start) -> (String, Vec<Value>) {
    let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
    let direction = if backwards { "ASC" } else { "DESC" };
    let mut clauses = conditions(db, filter);
    if let Some(cursor) = start.cursor {
        clauses.behind_id("e.id", cursor.id, !backwards);
    }
    if filter.severities.len() <= 1 {
        // One range needs nothing put together: rows are passed over without being read.
        clauses.one_of("e.severity", filter.severities.iter().map(|severity| severity.code()));
        let (matching, limit, offset) = (clauses.sql(), clauses.param(start.rows), clauses.param(start.skip));
        let sql = format!(
            "SELECT {columns} FROM events e{matching} ORDER BY e.id {direction} LIMIT ?{limit} OFFSET ?{offset}"
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
            "SELECT * FROM (SELECT {columns} FROM events e{matching} ORDER BY e.id {direction} LIMIT ?{reach}) r{}",
            ranges.len()
        ));
    }
    let (limit, offset) = (clauses.param(start.rows), clauses.param(start.skip));
    let sql =
        format!("{} ORDER BY 1 {direction} LIMIT ?{limit} OFFSET ?{offset}", ranges.join(" UNION ALL "));
    (sql, clauses.params)
}

/// The walks that together find what a list has that needs no search index and leaves something out: one for each
/// severity asked for.
fn walks(db: &Db, filter: &EventFilter, columns: &str, descending: bool) -> Vec<Walk> {
    let walk = |severity: Option<&Severity>| {
        let mut along = conditions(db, filter);
        along.one_of("e.severity", severity.iter().map(|severity| severity.code()));
        let mut rows = along.clone();
        rows.not_about_event(&filter.about);
        let from = || "events e".to_owned();
        let columns = columns.to_owned();
        Walk { along: (from(), along), id: "e.id", columns, rows: (from(), rows), descending }
    };
    match filter.severities.is_empty() {
        true => vec![walk(None)],
        false => filter.severities.iter().map(Some).map(walk).collect(),
    }
}

/// Rows of a list, one more than the page has if there is one, and how far it was looked.
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    /// Where looking stopped before there were enough.
    pub(crate) stopped: Option<Cursor>,
}

impl Found {
    /// All that were asked for, or all there are.
    pub(crate) const fn complete(rows: Vec<Row>) -> Self {
        Self { rows, stopped: None }
    }
}

impl Db {
    /// A page of events, newest first.
    pub async fn events(
        &self,
        filter: &EventFilter,
        request: PageRequest,
    ) -> Result<Page<Event>, StoreError> {
        self.for_list(filter.is_search()).events_among(filter, request, LOOKED_AT).await
    }

    /// As [`Db::events`], looking at so many rows when some are left out.
    pub(crate) async fn events_among(
        &self,
        filter: &EventFilter,
        request: PageRequest,
        looked_at: i64,
    ) -> Result<Page<Event>, StoreError> {
        let Some(list) = List::of(self, filter, EVENT_COLUMNS) else { return Ok(empty(request)) };
        let rows = i64::from(request.size) + 1;
        let mut start = match request.cursor {
            Some(_) => Start { cursor: request.cursor, skip: 0, rows },
            None => Start { cursor: None, skip: request.offset(), rows },
        };
        if request.cursor.is_none() && is_counted(filter) {
            let codes: Vec<String> = filter.severities.iter().map(|s| s.code().to_string()).collect();
            match self.seek(Series::EventSeverity, &codes, true, request.offset()).await? {
                Some(place) => {
                    let cursor = place.edge.map(|edge| cursor(event_id_floor(edge).get(), false));
                    start = Start { cursor, skip: place.skip, rows };
                }
                None => return Ok(past_the_end(request, self.count_events(filter, &list, looked_at).await?)),
            }
        }
        let found = self.event_rows(filter, &list, EVENT_COLUMNS, start, looked_at).await?;
        let count = match whole_list(&found, start) {
            Some(count @ Count::Exact(_)) if !is_counted(filter) => count,
            // What was found is all that looking as far again would count.
            Some(least @ Count::AtLeast(_)) => match self.count_by_name_of_events(filter).await? {
                Some(n) => Count::Exact(n),
                None => least,
            },
            _ => self.count_events(filter, &list, looked_at).await?,
        };
        let place = |event: &Event| cursor(event.id.get(), false);
        page_of(found, count, request, true, |row| event_at(row, 0), place)
    }

    /// Events of a list behind a place, so many at most, and the place behind them; none when there are no more. For
    /// whoever reads a list to its end: nothing is counted.
    pub async fn event_batch(
        &self,
        filter: &EventFilter,
        from: Option<Cursor>,
        size: u32,
    ) -> Result<(Vec<Event>, Option<Cursor>), StoreError> {
        let db = self.for_list(filter.is_search());
        let Some(list) = List::of(&db, filter, EVENT_COLUMNS) else { return Ok((Vec::new(), None)) };
        let request = PageRequest { cursor: from, ..PageRequest::numbered(1, size) };
        let start = Start { cursor: from, skip: 0, rows: i64::from(size) + 1 };
        let found = db.event_rows(filter, &list, EVENT_COLUMNS, start, LOOKED_AT).await?;
        let place = |event: &Event| cursor(event.id.get(), false);
        let read = |row: &Row| event_at(row, 0);
        let page = page_of(found, Count::Exact(0), request, true, read, place)?;
        Ok((page.rows, page.next))
    }

    /// Rows of a list of events, its columns beginning with the id.
    pub(crate) async fn event_rows(
        &self,
        filter: &EventFilter,
        list: &List,
        columns: &str,
        start: Start,
        looked_at: i64,
    ) -> Result<Found, StoreError> {
        match list {
            List::Indexed(indexed) => self.indexed_rows(indexed, start, looked_at).await,
            List::Plain if filter.about.without.is_empty() => {
                let (sql, params) = ranges_sql(self, filter, columns, start);
                Ok(Found::complete(self.read(sql, params).await?))
            }
            List::Plain => self.walked_rows(filter, columns, start, looked_at).await,
        }
    }

    /// When the oldest event was taken in, to the second; nothing when there is none.
    pub async fn oldest_event(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.read_one(OLDEST, vec![]).await?.ok_or(StoreError::NotFound)?;
        Ok(row.opt_int(0)?.map(|id| event_id_second(EventId::new(id))))
    }

    async fn walked_rows(
        &self,
        filter: &EventFilter,
        columns: &str,
        start: Start,
        looked_at: i64,
    ) -> Result<Found, StoreError> {
        let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
        let walks = walks(self, filter, columns, !backwards);
        let (share, wanted) = ((looked_at / walks.len() as i64).max(1), start.skip + start.rows);
        // By how far along they are: larger is farther.
        let along = |id: i64| if backwards { id } else { -id };
        let (mut rows, mut known) = (Vec::new(), None);
        for walk in &walks {
            let behind = start.cursor.map(|cursor| cursor.id);
            let walked = self.walk(walk, behind, wanted, &mut share.clone()).await?;
            if let Some(stopped) = walked.stopped {
                known = Some(known.map_or(along(stopped), |known: i64| known.min(along(stopped))));
            }
            for row in walked.rows {
                rows.push((along(row.int(0)?), row));
            }
        }
        rows.sort_by_key(|(place, _)| *place);
        // Behind the place where one of them stopped it may have more.
        rows.retain(|(place, _)| known.is_none_or(|known| *place <= known));
        let full = rows.len() as i64 >= wanted;
        let rows = rows.into_iter().skip(start.skip as usize).take(start.rows as usize);
        let stopped = known.filter(|_| !full).map(|known| cursor(known.abs(), backwards));
        Ok(Found { rows: rows.map(|(_, row)| row).collect(), stopped })
    }

    async fn count_events(
        &self,
        filter: &EventFilter,
        list: &List,
        looked_at: i64,
    ) -> Result<Count, StoreError> {
        if is_counted(filter) {
            return Ok(Count::Exact(self.event_count(&filter.severities).await?));
        }
        if let Some(n) = self.count_by_name_of_events(filter).await? {
            return Ok(Count::Exact(n));
        }
        match list {
            List::Indexed(indexed) => self.indexed_count(indexed, looked_at).await,
            List::Plain if filter.about.without.is_empty() => {
                let mut clauses = conditions(self, filter);
                clauses.one_of("e.severity", filter.severities.iter().map(|severity| severity.code()));
                self.bounded_count("events e", &clauses).await
            }
            List::Plain => {
                let walks = walks(self, filter, EVENT_COLUMNS, true);
                let share = (looked_at / walks.len() as i64).max(1);
                let (mut count, mut all) = (0, true);
                for walk in &walks {
                    let (n, whole) = self.walk_count(walk, MAX_COUNTED + 1, &mut share.clone()).await?;
                    (count, all) = (count + n, all && whole);
                }
                Ok(if all { Count::Exact(count) } else { Count::AtLeast(count) })
            }
        }
    }

    /// The exact number of events from some sources or of some types, or of all but those, if nothing else is asked
    /// for and all names are counted.
    async fn count_by_name_of_events(&self, filter: &EventFilter) -> Result<Option<i64>, StoreError> {
        let About { fields, without, search, span } = &filter.about;
        let plain = filter.severities.is_empty() && filter.ids.is_empty();
        if !plain || search.is_some() || !span.is_unbounded() || fields.len() + without.len() != 1 {
            return Ok(None);
        }
        let series = |field: &Field| match field {
            Field::Source => Some(Series::EventSource),
            Field::Type => Some(Series::EventType),
            _ => None,
        };
        let Some((field, names)) = fields.iter().chain(without).next() else { return Ok(None) };
        let Some(series) = series(field) else { return Ok(None) };
        let Some(named) = self.named_count(series, names).await? else { return Ok(None) };
        Ok(Some(match without.is_empty() {
            true => named,
            false => self.event_count(&[]).await? - named,
        }))
    }
}

/// Whether counts by severity know how many there are, and when.
fn is_counted(filter: &EventFilter) -> bool {
    filter.ids.is_empty() && filter.about == About::default()
}

pub(crate) fn cursor(id: i64, backwards: bool) -> Cursor {
    Cursor { backwards, rank: 0, time: 0, id }
}

/// The count of a list that fits on its first page: it needn't be counted.
pub(crate) fn whole_list(found: &Found, start: Start) -> Option<Count> {
    let n = found.rows.len() as i64;
    let first = start.cursor.is_none() && start.skip == 0 && n < start.rows;
    first.then(|| if found.stopped.is_none() { Count::Exact(n) } else { Count::AtLeast(n) })
}

/// A list that can't have rows.
pub(crate) fn empty<T>(request: PageRequest) -> Page<T> {
    past_the_end(request, Count::Exact(0))
}

pub(crate) fn past_the_end<T>(request: PageRequest, count: Count) -> Page<T> {
    Page { rows: Vec::new(), count, more: false, partial: false, request, next: None, previous: None }
}

/// Makes a page of the rows that were found: in the direction they were looked for, one more than fits.
pub(crate) fn page_of<T>(
    found: Found,
    count: Count,
    request: PageRequest,
    descending: bool,
    read: impl Fn(&Row) -> Result<T, StoreError>,
    place: impl Fn(&T) -> Cursor,
) -> Result<Page<T>, StoreError> {
    let Found { mut rows, stopped } = found;
    let full = rows.len() > request.size as usize;
    let stopped = stopped.filter(|_| !full);
    rows.truncate(request.size as usize);
    let mut rows = rows.iter().map(read).collect::<Result<Vec<T>, _>>()?;
    let backwards = request.cursor.is_some_and(|cursor| cursor.backwards);
    if backwards {
        rows.reverse();
    }
    let beyond = full || stopped.is_some();
    // Where somebody came from there is at least the row they came from.
    let came_from_somewhere = request.cursor.is_some() || request.number > 1;
    let (more, before) = if backwards { (true, beyond) } else { (beyond, came_from_somewhere) };
    // From an empty page the way back leads over the row that one came from, too.
    let step = if descending != backwards { -1 } else { 1 };
    let here = request.cursor.map(|cursor| Cursor { id: cursor.id.saturating_add(step), ..cursor });
    let nowhere = stopped.or(here);
    // Where looking stopped is farther than the last row that was found.
    let (ahead, back) = if backwards { (None, stopped) } else { (stopped, None) };
    let next = ahead.or_else(|| rows.last().map(&place).or(nowhere)).filter(|_| more);
    let previous = back.or_else(|| rows.first().map(&place).or(nowhere)).filter(|_| before);
    let next = next.map(|next| Cursor { backwards: false, ..next });
    let previous = previous.map(|previous| Cursor { backwards: true, ..previous });
    let partial = stopped.is_some() && rows.len() < request.size as usize;
    Ok(Page { rows, count, more, partial, request, next, previous })
}
