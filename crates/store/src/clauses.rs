//! Turns filters into conditions. The only place where text of a statement is put together at run time, and it is
//! put together from constants: what callers give travels in parameters.

use crate::db::{Engine, Row, Value};
use crate::rollups::{OTHERS, Series};
use crate::{Db, StoreError};
use std::borrow::Cow;
use watchpost_model::filter::{About, Field, Span, Triage, Whose};
use watchpost_model::id::event_id_floor;
use watchpost_model::page::{Count, Cursor, MAX_COUNTED, Page, PageRequest};

/// Conditions that all have to hold, with their parameters.
#[derive(Clone)]
pub(crate) struct Clauses {
    pub(crate) engine: Engine,
    clauses: Vec<String>,
    pub(crate) params: Vec<Value>,
    /// Columns that are held to a range, each with the parameters of its ends.
    ranges: Vec<(&'static str, Option<usize>, Option<usize>)>,
}

impl Clauses {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, clauses: Vec::new(), params: Vec::new(), ranges: Vec::new() }
    }

    /// Conditions of a statement that has parameters already.
    pub(crate) fn behind(engine: Engine, params: Vec<Value>) -> Self {
        Self { params, ..Self::new(engine) }
    }

    /// Adds a parameter; its number.
    pub(crate) fn param(&mut self, value: impl Into<Value>) -> usize {
        self.params.push(value.into());
        self.params.len()
    }

    /// A condition with one parameter, whose place in the text is `{}`.
    pub(crate) fn with(&mut self, condition: &str, value: impl Into<Value>) {
        let n = self.param(value);
        self.push(condition.replace("{}", &format!("?{n}")));
    }

    pub(crate) fn push(&mut self, condition: String) {
        self.clauses.push(condition);
    }

    fn range(&mut self, column: &'static str) -> &mut (&'static str, Option<usize>, Option<usize>) {
        let place = self.ranges.iter().position(|(known, ..)| *known == column);
        let place = place.unwrap_or_else(|| {
            self.ranges.push((column, None, None));
            self.ranges.len() - 1
        });
        &mut self.ranges[place]
    }

    fn end(&self, n: usize) -> i64 {
        match self.params[n - 1] {
            Value::Int(end) => end,
            _ => unreachable!("ends of ranges are numbers"),
        }
    }

    /// Not below a number. Of several ends the narrowest is asked for and no other: SQLite begins at any one of them
    /// and passes over all that the others exclude.
    pub(crate) fn at_least(&mut self, column: &'static str, value: i64) {
        match self.range(column).1 {
            Some(n) => self.params[n - 1] = self.end(n).max(value).into(),
            None => {
                let n = self.param(value);
                self.range(column).1 = Some(n);
                self.push(format!("{column} >= ?{n}"));
            }
        }
    }

    /// Below a number, and likewise.
    pub(crate) fn below(&mut self, column: &'static str, value: i64) {
        match self.range(column).2 {
            Some(n) => self.params[n - 1] = self.end(n).min(value).into(),
            None => {
                let n = self.param(value);
                self.range(column).2 = Some(n);
                self.push(format!("{column} < ?{n}"));
            }
        }
    }

    /// Behind a number, downwards or upwards.
    pub(crate) fn behind_id(&mut self, column: &'static str, value: i64, downwards: bool) {
        match downwards {
            true => self.below(column, value),
            false => self.at_least(column, value.saturating_add(1)),
        }
    }

    /// One of these numbers; none means any.
    pub(crate) fn one_of(&mut self, column: &str, numbers: impl Iterator<Item = i64>) {
        let places: Vec<_> = numbers.map(|number| format!("?{}", self.param(number))).collect();
        match places.as_slice() {
            [] => {}
            [only] => self.push(format!("{column} = {only}")),
            several => self.push(format!("{column} IN ({})", several.join(", "))),
        }
    }

    /// One of these texts in any letter case; none means any.
    pub(crate) fn same_text(&mut self, column: &str, wanted: &[String]) {
        if wanted.is_empty() {
            return;
        }
        let folded = self.engine.folded(column);
        let places: Vec<_> =
            wanted.iter().map(|text| format!("?{}", self.param(text.to_ascii_lowercase()))).collect();
        self.push(format!("{folded} IN ({})", places.join(", ")));
    }

    /// None of these texts in any letter case. Where there is no text, none of them is.
    pub(crate) fn other_text(&mut self, column: &str, unwanted: &[String]) {
        if unwanted.is_empty() {
            return;
        }
        let folded = self.engine.folded(column);
        let places: Vec<_> =
            unwanted.iter().map(|text| format!("?{}", self.param(text.to_ascii_lowercase()))).collect();
        self.push(format!("({column} IS NULL OR {folded} NOT IN ({}))", places.join(", ")));
    }

    /// One of these texts, as they are; none means any.
    pub(crate) fn any_of(&mut self, column: &str, wanted: &[String]) {
        let places: Vec<_> = wanted.iter().map(|text| format!("?{}", self.param(text.as_str()))).collect();
        if !places.is_empty() {
            self.push(format!("{column} IN ({})", places.join(", ")));
        }
    }

    /// One of these texts, as they are; one that ends with a dot is how the text begins. None means any.
    pub(crate) fn any_text(&mut self, column: &str, wanted: &[String]) {
        let mut conditions = Vec::new();
        for text in wanted {
            let from = self.param(text.as_str());
            conditions.push(match text.strip_suffix('.') {
                Some(stem) => {
                    // `/` is what follows `.`.
                    let to = self.param(format!("{stem}/"));
                    let column = self.engine.by_bytes(column);
                    format!("({column} >= ?{from} AND {column} < ?{to})")
                }
                None => format!("{column} = ?{from}"),
            });
        }
        if !conditions.is_empty() {
            self.push(format!("({})", conditions.join(" OR ")));
        }
    }

    /// What people made of alerts, looked at in the table `a`.
    pub(crate) fn triaged(&mut self, triage: &Triage) {
        match triage.whose {
            None => {}
            Some(Whose::User(user)) => self.with("a.assignee_id = {}", user.get()),
            Some(Whose::Nobody) => self.push("a.assignee_id IS NULL".into()),
        }
        for tag in &triage.tags {
            let held = "EXISTS (SELECT 1 FROM alert_tags x WHERE x.tag = {} AND x.created_at = a.created_at AND x.alert_id = a.id)";
            self.with(held, tag.as_str());
        }
        self.one_of("a.verdict", triage.verdicts.iter().map(|verdict| verdict.code()));
        match triage.snoozed {
            None => {}
            Some((true, now)) => self.with("a.snoozed_until > {}", now.micros()),
            Some((false, now)) => {
                self.with("(a.snoozed_until IS NULL OR a.snoozed_until <= {})", now.micros());
            }
        }
    }

    /// What an event is about: its fields, looked at in the table `e`.
    pub(crate) fn about_event(&mut self, about: &About) {
        for (field, values) in &about.fields {
            self.same_text(event_column(*field), values);
        }
    }

    /// What an event must not be about, looked at in the table `e`.
    pub(crate) fn not_about_event(&mut self, about: &About) {
        for (field, values) in &about.without {
            self.other_text(event_column(*field), values);
        }
    }

    /// When an event was taken in. Ids lead with their second, so this is a range of ids, and exact inside a second.
    pub(crate) fn taken_in(&mut self, span: &Span) {
        if let Some(since) = span.since {
            self.at_least("e.id", event_id_floor(since).get());
            self.with("e.created_at >= {}", since.micros());
        }
        if let Some(until) = span.until {
            self.below("e.id", event_id_floor(until.plus_seconds(1)).get());
            self.with("e.created_at < {}", until.micros());
        }
    }

    /// When an alert was raised.
    pub(crate) fn raised(&mut self, span: &Span) {
        if let Some(since) = span.since {
            self.with("a.created_at >= {}", since.micros());
        }
        if let Some(until) = span.until {
            self.with("a.created_at < {}", until.micros());
        }
    }

    /// As ` WHERE …`, or nothing.
    pub(crate) fn sql(&self) -> String {
        match self.clauses.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.all()),
        }
    }

    /// As one condition, where there is one.
    pub(crate) fn all(&self) -> String {
        self.clauses.join(" AND ")
    }
}

/// Where an event says what a field holds, in the table `e`.
pub(crate) const fn event_column(field: Field) -> &'static str {
    match field {
        Field::Source => "e.source_name",
        Field::Type => "e.event_type",
        Field::Host => "e.host",
        Field::User => "e.user_name",
        Field::SrcIp => "e.src_ip",
        Field::DstIp => "e.dst_ip",
    }
}

/// From where on rows are wanted, and how many of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) cursor: Option<Cursor>,
    /// Rows to pass over first.
    pub(crate) skip: i64,
    /// Rows wanted: one more than a page has, to know whether another follows.
    pub(crate) rows: i64,
}

impl Db {
    /// A page of a list that has no filters and never grows large; its parameters are limit and offset.
    pub(crate) async fn plain_page<T>(
        &self,
        list: &'static str,
        count: Count,
        request: PageRequest,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let params = vec![(i64::from(request.size) + 1).into(), request.offset().into()];
        self.page_of(list, params, count, request, read).await
    }

    /// The page that a statement gives, which asks for one row more than the page has.
    pub(crate) async fn page_of<T>(
        &self,
        sql: impl Into<Cow<'static, str>>,
        params: Vec<Value>,
        count: Count,
        request: PageRequest,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let mut rows = self.read(sql, params).await?;
        let more = rows.len() > request.size as usize;
        rows.truncate(request.size as usize);
        let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Page { rows, count, more, partial: false, request, next: None, previous: None })
    }

    /// Counts rows, but no further than is bearable: ` FROM … WHERE …`.
    pub(crate) async fn bounded_count(&self, from: &str, clauses: &Clauses) -> Result<Count, StoreError> {
        let n = self.count_up_to(from, clauses, MAX_COUNTED + 1).await?;
        Ok(if n > MAX_COUNTED { Count::AtLeast(MAX_COUNTED) } else { Count::Exact(n) })
    }

    pub(crate) async fn count_up_to(
        &self,
        from: &str,
        clauses: &Clauses,
        bound: i64,
    ) -> Result<i64, StoreError> {
        let (matching, mut params) = (clauses.sql(), clauses.params.clone());
        params.push(bound.into());
        let sql =
            format!("SELECT COUNT(*) FROM (SELECT 1 FROM {from}{matching} LIMIT ?{}) counted", params.len());
        self.read_one(sql, params).await?.ok_or(StoreError::NotFound)?.int(0)
    }

    /// The exact number of events with one of these names in a field, if every name has a count of its own.
    pub(crate) async fn named_count(
        &self,
        series: Series,
        names: &[String],
    ) -> Result<Option<i64>, StoreError> {
        let totals = self.totals(series).await?;
        if totals.iter().any(|(name, _)| name == OTHERS) {
            return Ok(None);
        }
        let wanted = |name: &str| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        Ok(Some(totals.iter().filter(|(name, _)| wanted(name)).map(|(_, n)| n).sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_ends_of_a_range_the_narrowest_is_asked_for_alone() {
        let mut clauses = Clauses::new(Engine::Sqlite);
        clauses.at_least("e.id", 5);
        clauses.below("e.id", 90);
        let mut narrowed = clauses.clone();
        narrowed.behind_id("e.id", 20, true);
        narrowed.at_least("e.id", 3);
        narrowed.behind_id("e.id", 10, false);
        narrowed.at_least("s.rowid", 1);
        assert_eq!(narrowed.sql(), " WHERE e.id >= ?1 AND e.id < ?2 AND s.rowid >= ?3");
        assert_eq!(narrowed.params, [Value::Int(11), Value::Int(20), Value::Int(1)]);
        assert_eq!(clauses.params, [Value::Int(5), Value::Int(90)], "what it was narrowed from stays");
    }
}
