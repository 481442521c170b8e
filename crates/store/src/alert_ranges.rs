//! What lists of alerts are put together from where the search index isn't needed: ranges of an index, one for each
//! source or type, status and severity asked for, each no longer than the page. So whatever is asked, only rows of the
//! page are visited, and not those that a filter doesn't ask for.

use crate::Db;
use crate::alerts::{WITH_ALERT, alert_columns};
use crate::clauses::{Clauses, Start, event_column};
use crate::db::{Engine, Value};
use watchpost_model::filter::{About, AlertFilter, AlertOrder, Field, Triage, Whose};
use watchpost_model::page::Cursor;
use watchpost_model::triage::Verdict;
use watchpost_model::{Severity, Status, Timestamp, UserId};

/// The severities that a filter lets through.
pub(crate) struct Severities {
    /// Of alerts; empty means any.
    pub(crate) own: Vec<Severity>,
    /// Of their events, where they may differ from the alerts'; empty means any.
    pub(crate) events: Vec<Severity>,
    /// Of events, for the search index, which knows only those.
    pub(crate) indexed: Vec<Severity>,
}

impl Severities {
    /// Where every alert has the severity of its event: one filter. Nothing when the two exclude each other.
    pub(crate) fn alike(filter: &AlertFilter) -> Option<Self> {
        let (own, events) = (&filter.severities, &filter.event_severities);
        let both = both(own, events)?;
        Some(Self { own: both.clone(), events: Vec::new(), indexed: both })
    }

    /// Those of alerts that have the severity of their event; nothing when there are none.
    pub(crate) fn of_unrated(&self) -> Option<Vec<Severity>> {
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

pub(crate) fn rank(order: AlertOrder, status: Status, severity: Severity) -> i64 {
    match order {
        AlertOrder::CreatedAt => 0,
        AlertOrder::Severity => severity.code(),
        AlertOrder::Status => status.code(),
    }
}

/// Every pair of status and severity that the filter lets through.
pub(crate) fn places(filter: &AlertFilter, severities: &[Severity]) -> Vec<(Status, Severity)> {
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

/// How many ranges a list has.
pub(crate) fn range_count(filter: &AlertFilter, severities: &Severities) -> i64 {
    ranges(filter, severities).len().max(1) as i64
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
pub(crate) fn common(db: &Db, filter: &AlertFilter, severities: &Severities) -> Clauses {
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
pub(crate) fn severe(clauses: &mut Clauses, severities: &Severities) {
    clauses.one_of("a.severity", severities.own.iter().map(|severity| severity.code()));
    let of_event = "COALESCE(a.event_severity, a.severity)";
    clauses.one_of(of_event, severities.events.iter().map(|severity| severity.code()));
}

/// Whether the list is put together from what few alerts have.
pub(crate) fn is_driven(filter: &AlertFilter) -> bool {
    filter.ids.is_empty() && !Driver::of(&filter.triage).is_empty()
}

/// Alerts chosen from their ranges by what the list is sorted by, the first of it first.
struct Chosen {
    /// A table of ids and what the list is sorted by, in no order.
    table: String,
    params: Vec<Value>,
    /// The parameter that says how many each range gives at most.
    reach: usize,
    direction: &'static str,
    /// What the list is sorted by before the time.
    first: Option<&'static str>,
}

impl Chosen {
    fn from_ranges(
        db: &Db,
        filter: &AlertFilter,
        severities: &Severities,
        from: Option<Cursor>,
        reach: i64,
    ) -> Self {
        let descending = filter.descending != from.is_some_and(|cursor| cursor.backwards);
        let (direction, beyond) = if descending { ("DESC", "<") } else { ("ASC", ">") };
        // Only what the list is sorted by: all of it is in the index.
        let (ranked, first) = match filter.order {
            AlertOrder::CreatedAt => ("", None),
            AlertOrder::Severity => (", a.severity", Some("severity")),
            AlertOrder::Status => (", a.status", Some("status")),
        };
        let mut all = common(db, filter, severities);
        let reach = all.param(reach);
        let shared = all.clone();
        let mut params = all.params;
        let mut parts = Vec::new();
        for range in ranges(filter, severities) {
            // Without a place the rows of a range may have any rank: the order of the whole decides.
            let own = range.place.map(|(status, severity)| rank(filter.order, status, severity));
            let cursor = from.filter(|cursor| own.is_none_or(|own| own == cursor.rank));
            let passed = from.is_some_and(|cursor| own.is_some_and(|own| (own > cursor.rank) == descending));
            if passed && cursor.is_none() {
                continue;
            }
            let mut clauses = shared.clone();
            clauses.params = params;
            let (table, at, id) = range.fix(&mut clauses);
            if let Some(cursor) = cursor {
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
        Self { table: parts.join(" UNION ALL "), params, reach, direction, first }
    }

    fn param(&mut self, value: i64) -> usize {
        self.params.push(value.into());
        self.params.len()
    }

    /// The order of the list, told by the columns of a table.
    fn order(&self, table: &str) -> String {
        let direction = self.direction;
        let first = self.first.map_or(String::new(), |first| format!("{table}{first} {direction}, "));
        format!(" ORDER BY {first}{table}created_at {direction}, {table}id {direction}")
    }
}

impl Range {
    /// Says what the range is fixed to; where it is, and what its order is told by.
    fn fix(&self, clauses: &mut Clauses) -> (&'static str, &'static str, &'static str) {
        if let Some((status, severity)) = self.place {
            clauses.with("a.status = {}", status.code());
            clauses.with("a.severity = {}", severity.code());
        }
        let engine = clauses.engine;
        for (column, value) in [("a.source_name", &self.source), ("a.event_type", &self.kind)] {
            if let Some(value) = value {
                clauses.with(&format!("{} = {{}}", engine.folded(column)), value.to_ascii_lowercase());
            }
        }
        if let Some(driver) = &self.driver {
            driver.fix(clauses);
        }
        if self.unrated {
            clauses.push("a.event_severity IS NULL".into());
        }
        Driver::from(self.driver.as_ref())
    }
}

/// The statement of a list that needs no search index and leaves nothing out.
pub(crate) fn ranges_sql(
    db: &Db,
    filter: &AlertFilter,
    severities: &Severities,
    start: Start,
) -> (String, Vec<Value>) {
    let mut chosen = Chosen::from_ranges(db, filter, severities, start.cursor, start.rows + start.skip);
    let (limit, offset) = (chosen.param(start.rows), chosen.param(start.skip));
    let (columns, table) = (alert_columns(), &chosen.table);
    let (chosen_by, order) = (chosen.order(""), chosen.order("a."));
    let sql = format!(
        "SELECT {columns} FROM (SELECT * FROM ({table}) u{chosen_by} LIMIT ?{limit} OFFSET ?{offset}) p
         JOIN alerts a ON a.id = p.id {WITH_ALERT}{order}"
    );
    (sql, chosen.params)
}

/// What alerts are looked at for that a list leaves out: conditions on the table `n` of alerts, and on `e` of their
/// events where that has to be looked at.
fn kept(engine: Engine, about: &About, params: Vec<Value>) -> (&'static str, Clauses) {
    let mut clauses = Clauses::behind(engine, params);
    let mut events = "";
    for (field, values) in &about.without {
        let column = match field {
            Field::Source => "n.source_name",
            Field::Type => "n.event_type",
            other => {
                events = " JOIN events e ON e.id = n.event_id";
                event_column(*other)
            }
        };
        clauses.other_text(column, values);
    }
    (events, clauses)
}

/// The statement of the next rows of a list that leaves something out, among so many alerts that are looked at.
pub(crate) fn kept_sql(
    db: &Db,
    filter: &AlertFilter,
    severities: &Severities,
    start: Start,
    looked_at: i64,
) -> (String, Vec<Value>) {
    let mut chosen = Chosen::from_ranges(db, filter, severities, start.cursor, looked_at);
    let rows = chosen.param(start.rows);
    let (events, clauses) = kept(db.engine(), &filter.about, std::mem::take(&mut chosen.params));
    let (columns, table, reach, matching) = (alert_columns(), &chosen.table, chosen.reach, clauses.sql());
    let (chosen_by, kept_by, order) = (chosen.order(""), chosen.order("p."), chosen.order("a."));
    let sql = format!(
        "SELECT {columns} FROM (SELECT p.id FROM (SELECT * FROM ({table}) u{chosen_by} LIMIT ?{reach}) p
             JOIN alerts n ON n.id = p.id{events}{matching}{kept_by} LIMIT ?{rows}) k
         JOIN alerts a ON a.id = k.id {WITH_ALERT}{order}"
    );
    (sql, clauses.params)
}

/// The statement that counts so many alerts of a list, and those of them that it doesn't leave out.
pub(crate) fn kept_count_sql(
    db: &Db,
    filter: &AlertFilter,
    severities: &Severities,
    looked_at: i64,
) -> (String, Vec<Value>) {
    let mut chosen = Chosen::from_ranges(db, filter, severities, None, looked_at);
    let (events, clauses) = kept(db.engine(), &filter.about, std::mem::take(&mut chosen.params));
    let (table, reach, order, kept) = (&chosen.table, chosen.reach, chosen.order(""), clauses.all());
    let sql = format!(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN {kept} THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM (SELECT * FROM ({table}) u{order} LIMIT ?{reach}) p JOIN alerts n ON n.id = p.id{events}"
    );
    (sql, clauses.params)
}
