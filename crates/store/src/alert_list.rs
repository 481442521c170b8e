//! Lists of alerts.
//!
//! A list that the search index isn't needed for is put together from ranges of an index: one for each source or
//! type, status and severity asked for, each no longer than the page. So whatever is asked, only rows of the page
//! are visited, and not those that a filter leaves out.

use crate::alerts::{WITH_ALERT, alert_columns, alert_of};
use crate::clauses::{Clauses, Start};
use crate::db::Value;
use crate::event_list::{empty, page_of, past_the_end, whole_list};
use crate::index::Kind;
use crate::indexed::{Indexed, question};
use crate::rollups::{Series, alert_value};
use crate::{Db, StoreError};
use watchpost_model::filter::{AlertFilter, AlertOrder, Field, Triage, Whose};
use watchpost_model::page::{Count, Cursor, Page, PageRequest};
use watchpost_model::triage::Verdict;
use watchpost_model::{Alert, Severity, Status, Timestamp, UserId};

/// Ids of alerts are in the order of time but for the blocks in which nodes take them; this is more than those hold.
const OUT_OF_ORDER: i64 = 4_096;

const FIRST_SINCE: &str = "SELECT id FROM alerts WHERE created_at >= ?1 ORDER BY created_at, id LIMIT 1";

/// Whether anybody ever gave an alert another severity than its event's.
const RATED: &str = "SELECT 1 FROM alerts WHERE event_severity IS NOT NULL LIMIT 1";

/// The severities that a filter lets through.
pub(crate) struct Severities {
    /// Of alerts; empty means any.
    own: Vec<Severity>,
    /// Of their events, where they may differ from the alerts'; empty means any.
    events: Vec<Severity>,
    /// Of events, for the search index, which knows only those.
    indexed: Vec<Severity>,
}

impl Severities {
    /// Where every alert has the severity of its event: one filter. Nothing when the two exclude each other.
    pub(crate) fn alike(filter: &AlertFilter) -> Option<Self> {
        let (own, events) = (&filter.severities, &filter.event_severities);
        let both = both(own, events)?;
        Some(Self { own: both.clone(), events: Vec::new(), indexed: both })
    }

    /// Those of alerts that have the severity of their event; nothing when there are none.
    fn of_unrated(&self) -> Option<Vec<Severity>> {
        both(&self.own, &self.events)
    }
}

/// What two filters let through, where empty lets all through.
fn both(one: &[Severity], other: &[Severity]) -> Option<Vec<Severity>> {
    if one.is_empty() || other.is_empty() {
        return Some([one, other].concat());
    }
    let both: Vec<Severity> = one.iter().copied().filter(|severity| other.contains(severity)).collect();
    (!both.is_empty()).then_some(both)
}

/// One range of an index: what it is fixed to.
#[derive(Clone, Default)]
struct Range {
    source: Option<String>,
    kind: Option<String>,
    place: Option<(Status, Severity)>,
    driver: Option<Driver>,
    /// Whether only alerts with the severity of their event are wanted.
    unrated: bool,
}

/// What few alerts have, so that it is looked for first.
#[derive(Clone)]
enum Driver {
    Tag(String),
    Assignee(UserId),
    Verdict(Verdict),
    Snoozed(Timestamp),
    /// Another severity than its event's, which is this.
    Rated(Severity),
}

impl Driver {
    /// The ranges that together hold every alert the filter lets through; nothing when it asks for nothing rare.
    fn of(triage: &Triage) -> Vec<Self> {
        match triage {
            Triage { tags, .. } if !tags.is_empty() => vec![Self::Tag(tags[0].clone())],
            Triage { whose: Some(Whose::User(user)), .. } => vec![Self::Assignee(*user)],
            Triage { snoozed: Some((true, now)), .. } => vec![Self::Snoozed(*now)],
            Triage { verdicts, .. } => verdicts.iter().map(|verdict| Self::Verdict(*verdict)).collect(),
        }
    }

    /// Where the range is, and what its order is told by.
    const fn from(driver: Option<&Self>) -> (&'static str, &'static str, &'static str) {
        match driver {
            Some(Self::Tag(_)) => {
                ("alert_tags t JOIN alerts a ON a.id = t.alert_id", "t.created_at", "t.alert_id")
            }
            _ => ("alerts a", "a.created_at", "a.id"),
        }
    }

    fn fix(&self, clauses: &mut Clauses) {
        match self {
            Self::Tag(tag) => clauses.with("t.tag = {}", tag.as_str()),
            Self::Assignee(user) => clauses.with("a.assignee_id = {}", user.get()),
            Self::Verdict(verdict) => clauses.with("a.verdict = {}", verdict.code()),
            Self::Snoozed(now) => clauses.with("a.snoozed_until > {}", now.micros()),
            Self::Rated(severity) => clauses.with("a.event_severity = {}", severity.code()),
        }
    }
}

fn rank(order: AlertOrder, status: Status, severity: Severity) -> i64 {
    match order {
        AlertOrder::CreatedAt => 0,
        AlertOrder::Severity => severity.code(),
        AlertOrder::Status => status.code(),
    }
}

/// Every pair of status and severity that the filter lets through.
fn places(filter: &AlertFilter, severities: &[Severity]) -> Vec<(Status, Severity)> {
    let wanted = |severity: &Severity| severities.is_empty() || severities.contains(severity);
    let statuses = |status: &Status| filter.statuses.is_empty() || filter.statuses.contains(status);
    let mut places = Vec::new();
    for status in Status::ALL.into_iter().filter(statuses) {
        places.extend(Severity::ALL.into_iter().filter(wanted).map(|severity| (status, severity)));
    }
    places
}

/// All ranges of a list. Where alerts may differ from their events, those that do are ranges of their own: they are few.
fn ranges(filter: &AlertFilter, severities: &Severities) -> Vec<Range> {
    let Severities { own, events, .. } = severities;
    if events.is_empty() || !filter.ids.is_empty() || is_driven(filter) {
        return ranges_of(filter, own);
    }
    let mut all = Vec::new();
    if let Some(unrated) = severities.of_unrated() {
        all.extend(ranges_of(filter, &unrated).into_iter().map(|range| Range { unrated: true, ..range }));
    }
    for severity in events {
        let rated = |range| Range { driver: Some(Driver::Rated(*severity)), ..range };
        all.extend(ranges_of(filter, own).into_iter().map(rated));
    }
    all
}

fn ranges_of(filter: &AlertFilter, severities: &[Severity]) -> Vec<Range> {
    let about = &filter.about;
    let (sources, types) = (about.values(Field::Source), about.values(Field::Type));
    let drivers = Driver::of(&filter.triage);
    if filter.ids.is_empty() && !drivers.is_empty() {
        let places: Vec<_> = match filter.order {
            AlertOrder::CreatedAt => vec![None],
            _ => places(filter, severities).into_iter().map(Some).collect(),
        };
        let with = |place| {
            drivers.iter().map(move |driver| Range {
                place,
                driver: Some(driver.clone()),
                ..Range::default()
            })
        };
        return places.into_iter().flat_map(with).collect();
    }
    let by_time = sources.is_empty() && types.is_empty() && filter.order == AlertOrder::CreatedAt;
    if !filter.ids.is_empty() || (by_time && filter.statuses.is_empty() && severities.is_empty()) {
        return vec![Range::default()];
    }
    let mut ranges = Vec::new();
    for place in places(filter, severities).into_iter().map(Some) {
        match (sources, types) {
            ([], []) => ranges.push(Range { place, ..Range::default() }),
            ([], types) => ranges.extend(types.iter().map(|kind| Range {
                kind: Some(kind.clone()),
                place,
                ..Range::default()
            })),
            (sources, _) => ranges.extend(sources.iter().map(|source| Range {
                source: Some(source.clone()),
                place,
                ..Range::default()
            })),
        }
    }
    ranges
}

/// What holds for every range.
fn common(db: &Db, filter: &AlertFilter, severities: &Severities) -> Clauses {
    let mut clauses = Clauses::new(db.engine());
    clauses.one_of("a.id", filter.ids.iter().map(|id| id.get()));
    clauses.raised(&filter.about.span);
    clauses.triaged(&filter.triage);
    if is_driven(filter) {
        clauses.same_text("a.event_type", filter.about.values(Field::Type));
    }
    if !filter.ids.is_empty() || is_driven(filter) {
        clauses.one_of("a.status", filter.statuses.iter().map(|status| status.code()));
        severe(&mut clauses, severities);
        clauses.same_text("a.source_name", filter.about.values(Field::Source));
    }
    if !is_driven(filter) && (!filter.ids.is_empty() || !filter.about.values(Field::Source).is_empty()) {
        clauses.same_text("a.event_type", filter.about.values(Field::Type));
    }
    clauses
}

/// How bad alerts and their events have to be.
fn severe(clauses: &mut Clauses, severities: &Severities) {
    clauses.one_of("a.severity", severities.own.iter().map(|severity| severity.code()));
    let of_event = "COALESCE(a.event_severity, a.severity)";
    clauses.one_of(of_event, severities.events.iter().map(|severity| severity.code()));
}

/// Whether the list is put together from what few alerts have.
fn is_driven(filter: &AlertFilter) -> bool {
    filter.ids.is_empty() && !Driver::of(&filter.triage).is_empty()
}

/// The statement of a list that needs no search index.
pub(crate) fn ranges_sql(
    db: &Db,
    filter: &AlertFilter,
    severities: &Severities,
    start: Start,
) -> (String, Vec<Value>) {
    let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
    let descending = filter.descending != backwards;
    let (direction, beyond) = if descending { ("DESC", "<") } else { ("ASC", ">") };
    let mut all = common(db, filter, severities);
    let reach = all.param(start.rows + start.skip);
    let shared = all.clone();
    let mut params = all.params.clone();
    let mut parts = Vec::new();
    // Only what the list is sorted by: all of it is in the index.
    let (ranked, first) = match filter.order {
        AlertOrder::CreatedAt => ("", String::new()),
        AlertOrder::Severity => (", a.severity", format!("severity {direction}, ")),
        AlertOrder::Status => (", a.status", format!("status {direction}, ")),
    };
    for range in ranges(filter, severities) {
        // Without a place the rows of a range may have any rank: the order of the whole decides.
        let own = range.place.map(|(status, severity)| rank(filter.order, status, severity));
        let from = start.cursor.filter(|cursor| own.is_none_or(|own| own == cursor.rank));
        let passed =
            start.cursor.is_some_and(|cursor| own.is_some_and(|own| (own > cursor.rank) == descending));
        if passed && from.is_none() {
            continue;
        }
        let mut clauses = shared.clone();
        clauses.params = params;
        if let Some((status, severity)) = range.place {
            clauses.with("a.status = {}", status.code());
            clauses.with("a.severity = {}", severity.code());
        }
        let engine = clauses.engine;
        for (column, value) in [("a.source_name", &range.source), ("a.event_type", &range.kind)] {
            if let Some(value) = value {
                clauses.with(&format!("{} = {{}}", engine.folded(column)), value.to_ascii_lowercase());
            }
        }
        let (table, at, id) = Driver::from(range.driver.as_ref());
        if let Some(driver) = &range.driver {
            driver.fix(&mut clauses);
        }
        if range.unrated {
            clauses.push("a.event_severity IS NULL".into());
        }
        if let Some(cursor) = from {
            let (time, last) = (clauses.param(cursor.time), clauses.param(cursor.id));
            clauses.push(format!("({at}, {id}) {beyond} (?{time}, ?{last})"));
        }
        let matching = clauses.sql();
        parts.push(format!(
            "SELECT * FROM (SELECT a.id, a.created_at{ranked} FROM {table}{matching} ORDER BY {at} {direction}, {id} {direction} LIMIT ?{reach}) r{}",
            parts.len()
        ));
        params = clauses.params;
    }
    if parts.is_empty() {
        parts.push(format!(
            "SELECT * FROM (SELECT a.id, a.created_at{ranked} FROM alerts a{} LIMIT ?{reach}) r0 WHERE 1 = 0",
            shared.sql()
        ));
    }
    params.push(start.rows.into());
    params.push(start.skip.into());
    let (limit, offset) = (params.len() - 1, params.len());
    let (columns, parts) = (alert_columns(), parts.join(" UNION ALL "));
    let own = if first.is_empty() { String::new() } else { format!("a.{first}") };
    let sql = format!(
        "SELECT {columns} FROM (SELECT * FROM ({parts}) u ORDER BY {first}created_at {direction}, id {direction} LIMIT ?{limit} OFFSET ?{offset}) p
         JOIN alerts a ON a.id = p.id {WITH_ALERT} ORDER BY {own}a.created_at {direction}, a.id {direction}"
    );
    (sql, params)
}

impl Db {
    /// A page of alerts.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        request: PageRequest,
    ) -> Result<Page<Alert>, StoreError> {
        let Some(severities) = self.severities_of(filter).await? else { return Ok(empty(request)) };
        let rows = i64::from(request.size) + 1;
        let start = Start { cursor: request.cursor, skip: 0, rows };
        if filter.is_indexed() {
            return self.indexed_alerts(filter, &severities, start, request).await;
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
        page_of(rows, count, request, alert_of, place)
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
        start: Start,
        request: PageRequest,
    ) -> Result<Page<Alert>, StoreError> {
        let Some(list) = self.indexed_alert_list(filter, severities).await? else {
            return Ok(empty(request));
        };
        let skip = if start.cursor.is_some() { 0 } else { request.offset() };
        let start = Start { skip, ..start };
        let rows = self.indexed_rows(&list, start).await?;
        let count = match whole_list(&rows, start) {
            Some(count) => count,
            None => self.indexed_count(&list).await?,
        };
        page_of(rows, count, request, alert_of, |alert: &Alert| cursor(filter, alert, 0))
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
    let about = &filter.about;
    let plain = about.fields.is_empty() && about.search.is_none() && about.span.is_unbounded();
    filter.ids.is_empty() && plain && filter.triage == Triage::default()
}

fn cursor(filter: &AlertFilter, alert: &Alert, time: i64) -> Cursor {
    let rank = rank(filter.order, alert.status, alert.severity);
    Cursor { backwards: false, rank, time, id: alert.id.get() }
}
