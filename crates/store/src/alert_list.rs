//! Lists of alerts: from ranges of an index, or found by the search index.

use crate::alert_ranges::{
    Severities, common, is_driven, kept_count_sql, kept_sql, places, range_count, ranges_sql, rank, severe,
};
use crate::alerts::{WITH_ALERT, alert_columns, alert_of};
use crate::clauses::{Clauses, Start};
use crate::event_list::{Found, empty, page_of, past_the_end, whole_list};
use crate::index::Kind;
use crate::indexed::{Indexed, question};
use crate::rollups::{Series, alert_value};
use crate::walk::{FIRST_WINDOW, LOOKED_AT};
use crate::{Db, StoreError};
use watchpost_model::filter::{About, AlertFilter, AlertOrder, Field, Triage};
use watchpost_model::page::{Count, Cursor, Page, PageRequest};
use watchpost_model::{Alert, Severity, Status, Timestamp};

/// Ids of alerts are in the order of time but for the blocks in which nodes take them; this is more than those hold.
const OUT_OF_ORDER: i64 = 4_096;

const FIRST_SINCE: &str = "SELECT id FROM alerts WHERE created_at >= ?1 ORDER BY created_at, id LIMIT 1";

/// Whether anybody ever gave an alert another severity than its event's.
const RATED: &str = "SELECT 1 FROM alerts WHERE event_severity IS NOT NULL LIMIT 1";

impl Db {
    /// A page of alerts.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        request: PageRequest,
    ) -> Result<Page<Alert>, StoreError> {
        self.for_list(filter.is_search()).alerts_among(filter, request, LOOKED_AT).await
    }

    /// As [`Db::alerts`], looking at so many rows when some are left out.
    pub(crate) async fn alerts_among(
        &self,
        filter: &AlertFilter,
        request: PageRequest,
        looked_at: i64,
    ) -> Result<Page<Alert>, StoreError> {
        let Some(severities) = self.severities_of(filter).await? else { return Ok(empty(request)) };
        let rows = i64::from(request.size) + 1;
        let start = Start { cursor: request.cursor, skip: 0, rows };
        if filter.is_indexed() {
            return self.indexed_alerts(filter, &severities, request, looked_at).await;
        }
        if !filter.about.without.is_empty() {
            return self.walked_alerts(filter, &severities, request, looked_at).await;
        }
        let count = self.alert_list_count(filter, &severities).await?;
        let start = match start.cursor {
            Some(_) => start,
            None if is_counted(filter) && severities.events.is_empty() => {
                match self.seek_alerts(filter, &severities.own, request.offset(), start).await? {
                    Some(start) => start,
                    None => return Ok(past_the_end(request, count)),
                }
            }
            None => Start { skip: request.offset(), ..start },
        };
        let (sql, params) = ranges_sql(self, filter, &severities, start);
        let rows = self.read(sql, params).await?;
        let place = |alert: &Alert| cursor(filter, alert, alert.created_at.micros());
        page_of(Found::complete(rows), count, request, filter.descending, alert_of, place)
    }

    /// A page of a list that leaves something out which no index knows.
    async fn walked_alerts(
        &self,
        filter: &AlertFilter,
        severities: &Severities,
        request: PageRequest,
        looked_at: i64,
    ) -> Result<Page<Alert>, StoreError> {
        let rows = i64::from(request.size) + 1;
        let skip = if request.cursor.is_some() { 0 } else { request.offset() };
        let start = Start { cursor: request.cursor, skip, rows };
        // Each range may be looked at that far before the first of the whole are known.
        let looks = (looked_at / range_count(filter, severities)).max(rows.min(looked_at));
        let found = self.walked_alert_rows(filter, severities, start, looks).await?;
        let count = match whole_list(&found, start) {
            Some(count @ Count::Exact(_)) => count,
            least => self.kept_count(filter, severities, least, looks).await?,
        };
        let place = |alert: &Alert| cursor(filter, alert, alert.created_at.micros());
        page_of(found, count, request, filter.descending, alert_of, place)
    }

    async fn walked_alert_rows(
        &self,
        filter: &AlertFilter,
        severities: &Severities,
        start: Start,
        mut looks: i64,
    ) -> Result<Found, StoreError> {
        let wanted = start.skip + start.rows;
        let (mut rows, mut from, mut size) = (Vec::new(), start.cursor, wanted.saturating_mul(FIRST_WINDOW));
        let found = loop {
            let window = size.min(looks).max(1);
            let next = Start { cursor: from, skip: 0, rows: wanted - rows.len() as i64 };
            let (sql, params) = kept_sql(self, filter, severities, next, window);
            rows.extend(self.read(sql, params).await?);
            if rows.len() as i64 >= wanted {
                break Found::complete(rows);
            }
            // The last that was looked at.
            let (sql, params) =
                ranges_sql(self, filter, severities, Start { cursor: from, skip: window - 1, rows: 1 });
            let Some(last) = self.read_one(sql, params).await? else { break Found::complete(rows) };
            let last = alert_of(&last)?;
            let backwards = from.is_some_and(|cursor| cursor.backwards);
            from = Some(Cursor { backwards, ..cursor(filter, &last, last.created_at.micros()) });
            looks -= window;
            if looks <= 0 {
                break Found { rows, stopped: from };
            }
            size = size.saturating_mul(4);
        };
        let Found { mut rows, stopped } = found;
        let rows = rows.split_off(rows.len().min(start.skip as usize));
        Ok(Found { rows, stopped })
    }

    async fn kept_count(
        &self,
        filter: &AlertFilter,
        severities: &Severities,
        least: Option<Count>,
        looks: i64,
    ) -> Result<Count, StoreError> {
        if severities.events.is_empty()
            && let Some(n) = self.count_but_names(filter, &severities.own).await?
        {
            return Ok(Count::Exact(n));
        }
        // What was found is all that looking as far again would count.
        if let Some(least) = least {
            return Ok(least);
        }
        let (sql, params) = kept_count_sql(self, filter, severities, looks);
        let row = self.read_one(sql, params).await?.ok_or(StoreError::NotFound)?;
        let (seen, kept) = (row.int(0)?, row.int(1)?);
        Ok(if seen < looks { Count::Exact(kept) } else { Count::AtLeast(kept) })
    }

    /// The exact number of alerts from all but some sources, or of all but some types, if nothing else is asked for but
    /// a status and a severity, and all names are counted.
    async fn count_but_names(
        &self,
        filter: &AlertFilter,
        severities: &[Severity],
    ) -> Result<Option<i64>, StoreError> {
        let without = filter.about.without.clone();
        let positive = AlertFilter {
            about: About { without: Default::default(), ..filter.about.clone() },
            ..filter.clone()
        };
        if without.len() != 1 || !is_counted(&positive) {
            return Ok(None);
        }
        let named = AlertFilter { about: About { fields: without, ..About::default() }, ..positive };
        let Some(left_out) = self.count_by_name(&named, severities).await? else { return Ok(None) };
        Ok(Some(self.alert_counts().await?.sum(&filter.statuses, severities) - left_out))
    }

    /// The first alerts of a list, so many at most; nothing is counted.
    pub async fn first_alerts(&self, filter: &AlertFilter, size: u32) -> Result<Vec<Alert>, StoreError> {
        let db = self.for_list(filter.is_search());
        let Some(severities) = db.severities_of(filter).await? else { return Ok(Vec::new()) };
        let start = Start { cursor: None, skip: 0, rows: i64::from(size) };
        let rows = if filter.is_indexed() {
            match db.indexed_alert_list(filter, &severities).await? {
                Some(list) => db.indexed_rows(&list, start, LOOKED_AT).await?.rows,
                None => Vec::new(),
            }
        } else if filter.about.without.is_empty() {
            let (sql, params) = ranges_sql(&db, filter, &severities, start);
            db.read(sql, params).await?
        } else {
            db.walked_alert_rows(filter, &severities, start, LOOKED_AT).await?.rows
        };
        rows.iter().map(alert_of).collect()
    }

    /// The severities that a filter lets through; nothing when it lets none through.
    async fn severities_of(&self, filter: &AlertFilter) -> Result<Option<Severities>, StoreError> {
        let (own, events) = (&filter.severities, &filter.event_severities);
        let matters = !events.is_empty() || (filter.is_indexed() && !own.is_empty());
        if !matters || self.read_one(RATED, vec![]).await?.is_none() {
            return Ok(Severities::alike(filter));
        }
        Ok(Some(Severities { own: own.clone(), events: events.clone(), indexed: events.clone() }))
    }

    /// How many alerts of some severities and statuses there are, where some differ from their events: those that
    /// don't, and those that do.
    async fn rated_count(&self, filter: &AlertFilter, severities: &Severities) -> Result<i64, StoreError> {
        let rated = |own: &[Severity], events: &[Severity]| {
            let mut clauses = Clauses::new(self.engine());
            clauses.push("a.event_severity IS NOT NULL".into());
            clauses.one_of("a.event_severity", events.iter().map(|severity| severity.code()));
            clauses.one_of("a.severity", own.iter().map(|severity| severity.code()));
            clauses.one_of("a.status", filter.statuses.iter().map(|status| status.code()));
            clauses
        };
        let mut count = 0;
        if let Some(unrated) = severities.of_unrated() {
            count += self.alert_counts().await?.sum(&filter.statuses, &unrated);
            count -= self.count_up_to("alerts a", &rated(&unrated, &[]), i64::MAX).await?;
        }
        count += self.count_up_to("alerts a", &rated(&severities.own, &severities.events), i64::MAX).await?;
        Ok(count)
    }

    async fn alert_list_count(
        &self,
        filter: &AlertFilter,
        severities: &Severities,
    ) -> Result<Count, StoreError> {
        let alike = severities.events.is_empty();
        if is_counted(filter) {
            return Ok(Count::Exact(match alike {
                true => self.alert_counts().await?.sum(&filter.statuses, &severities.own),
                false => self.rated_count(filter, severities).await?,
            }));
        }
        if alike && let Some(n) = self.count_by_name(filter, &severities.own).await? {
            return Ok(Count::Exact(n));
        }
        let mut clauses = common(self, filter, severities);
        if filter.ids.is_empty() && !is_driven(filter) {
            clauses.one_of("a.status", filter.statuses.iter().map(|status| status.code()));
            severe(&mut clauses, severities);
            clauses.same_text("a.source_name", filter.about.values(Field::Source));
            if filter.about.values(Field::Source).is_empty() {
                clauses.same_text("a.event_type", filter.about.values(Field::Type));
            }
        }
        self.bounded_count("alerts a", &clauses).await
    }

    /// The exact number of alerts from some sources, of some types or both, if nothing else is asked for but a status
    /// and a severity, and all names are counted.
    async fn count_by_name(
        &self,
        filter: &AlertFilter,
        severities: &[Severity],
    ) -> Result<Option<i64>, StoreError> {
        let plain =
            filter.ids.is_empty() && filter.about.span.is_unbounded() && filter.triage == Triage::default();
        if !plain {
            return Ok(None);
        }
        let mut fields = filter.about.fields.iter();
        if filter.about.fields.keys().eq([&Field::Source, &Field::Type]) {
            return self.count_in_groups(filter, severities).await.map(Some);
        }
        let (series, names) = match (fields.next(), fields.next()) {
            (Some((Field::Source, names)), None) => (Series::AlertSource, names),
            (Some((Field::Type, names)), None) => (Series::AlertType, names),
            _ => return Ok(None),
        };
        let places = places(filter, severities);
        let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        self.alerts_by_name(series, &places, &names).await
    }

    /// Where a page begins that was asked for by its number: counts say in which minute, so that only the rows of
    /// that minute are passed over.
    async fn seek_alerts(
        &self,
        filter: &AlertFilter,
        severities: &[Severity],
        offset: i64,
        start: Start,
    ) -> Result<Option<Start>, StoreError> {
        let places = places(filter, severities);
        let counts = self.alert_counts().await?;
        let mut ranks: Vec<i64> = places.iter().map(|(st, sev)| rank(filter.order, *st, *sev)).collect();
        ranks.sort_unstable();
        ranks.dedup();
        if filter.descending {
            ranks.reverse();
        }
        let mut skip = offset;
        for one in ranks {
            let own: Vec<_> =
                places.iter().filter(|(st, sev)| rank(filter.order, *st, *sev) == one).copied().collect();
            let here: i64 = own.iter().map(|(status, severity)| counts.sum(&[*status], &[*severity])).sum();
            if skip >= here {
                skip -= here;
                continue;
            }
            let values: Vec<String> =
                own.iter().map(|(status, severity)| alert_value(*status, *severity)).collect();
            let Some(place) = self.seek(Series::Alerts, &values, filter.descending, skip).await? else {
                return Ok(None);
            };
            let time = match (place.edge, filter.descending) {
                (Some(edge), _) => edge.micros(),
                (None, true) => i64::MAX,
                (None, false) => 0,
            };
            let cursor = Cursor { backwards: false, rank: one, time, id: 0 };
            return Ok(Some(Start { cursor: Some(cursor), skip: place.skip, ..start }));
        }
        // An empty list has a first page, too.
        Ok((offset == 0).then_some(start))
    }

    async fn indexed_alerts(
        &self,
        filter: &AlertFilter,
        severities: &Severities,
        request: PageRequest,
        looked_at: i64,
    ) -> Result<Page<Alert>, StoreError> {
        let Some(list) = self.indexed_alert_list(filter, severities).await? else {
            return Ok(empty(request));
        };
        let skip = if request.cursor.is_some() { 0 } else { request.offset() };
        let start = Start { cursor: request.cursor, skip, rows: i64::from(request.size) + 1 };
        let found = self.indexed_rows(&list, start, looked_at).await?;
        let count = match whole_list(&found, start) {
            Some(count) => count,
            None => self.indexed_count(&list, looked_at).await?,
        };
        page_of(found, count, request, filter.descending, alert_of, |alert: &Alert| cursor(filter, alert, 0))
    }

    async fn indexed_alert_list(
        &self,
        filter: &AlertFilter,
        severities: &Severities,
    ) -> Result<Option<Indexed>, StoreError> {
        let engine = self.engine();
        let Some(question) = question(engine, &filter.about, &severities.indexed) else { return Ok(None) };
        let mut clauses = Clauses::new(engine);
        clauses.one_of("a.id", filter.ids.iter().map(|id| id.get()));
        clauses.one_of("a.status", filter.statuses.iter().map(|status| status.code()));
        severe(&mut clauses, severities);
        clauses.about_event(&filter.about);
        clauses.not_about_event(&filter.about);
        clauses.raised(&filter.about.span);
        clauses.triaged(&filter.triage);
        let of = |column: &str, code: i64| (code, Some(format!("a.{column} = {code}")));
        let mut ranks = match filter.order {
            AlertOrder::CreatedAt => vec![(0, None)],
            AlertOrder::Severity => Severity::ALL.iter().map(|s| of("severity", s.code())).collect(),
            AlertOrder::Status => Status::ALL.iter().map(|s| of("status", s.code())).collect(),
        };
        if filter.descending {
            ranks.reverse();
        }
        Ok(Some(Indexed {
            kind: Kind::Alerts,
            columns: alert_columns(),
            from: format!("JOIN alerts a ON a.id = {{}} {WITH_ALERT}"),
            question,
            clauses,
            walked: !filter.about.without.is_empty(),
            ranks,
            since: self.first_alert(filter.about.span.since).await?.map(|id| id - OUT_OF_ORDER),
            until: self.first_alert(filter.about.span.until).await?.map(|id| id + OUT_OF_ORDER),
            descending: filter.descending,
        }))
    }

    /// The id of the first alert that was raised at a time or later.
    async fn first_alert(&self, at: Option<Timestamp>) -> Result<Option<i64>, StoreError> {
        let Some(at) = at else { return Ok(None) };
        self.read_one(FIRST_SINCE, vec![at.micros().into()]).await?.map(|row| row.int(0)).transpose()
    }
}

/// Whether counts by status and severity know how many there are, and when they were raised.
fn is_counted(filter: &AlertFilter) -> bool {
    filter.ids.is_empty() && filter.about == About::default() && filter.triage == Triage::default()
}

fn cursor(filter: &AlertFilter, alert: &Alert, time: i64) -> Cursor {
    let rank = rank(filter.order, alert.status, alert.severity);
    Cursor { backwards: false, rank, time, id: alert.id.get() }
}
