//! What the events of a list say most: in each field the values with the most events.

use crate::clauses::Start;
use crate::event_list::List;
use crate::handover::stretches;
use crate::rollups::{MAX_NAMES, MINUTES_OF_NAMES_KEPT, OTHERS, Series};
use crate::walk::LOOKED_AT;
use crate::{Db, StoreError};
use std::collections::HashMap;
use watchpost_model::filter::{About, EventFilter, Field, Span};
use watchpost_model::time::SECOND;
use watchpost_model::{Severity, Timestamp};

/// The columns that facets are made of, behind the id.
const COLUMNS: &str =
    "e.id, e.severity, e.source_name, e.event_type, e.host, e.user_name, e.src_ip, e.dst_ip";
/// Where they begin.
const SEVERITY: usize = 1;
const FIELDS: [(Field, usize); 6] = [
    (Field::Source, 2),
    (Field::Type, 3),
    (Field::Host, 4),
    (Field::User, 5),
    (Field::SrcIp, 6),
    (Field::DstIp, 7),
];

/// The values of one field with the most events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The values and how many events have each, the most first.
    pub values: Vec<(String, i64)>,
    /// Whether all events of the list were counted, rather than the newest.
    pub exact: bool,
}

/// What the events of a list say most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facets {
    /// So many events were looked at, the newest of the list.
    pub of: i64,
    /// Whether the list has more.
    pub more: bool,
    /// How bad they are.
    pub severities: Facet,
    /// What they say in each field.
    pub fields: Vec<(Field, Facet)>,
}

/// Values that differ in letter case alone are one: filters don't tell them apart either.
fn folded(values: impl Iterator<Item = (String, i64)>, top: usize) -> Vec<(String, i64)> {
    let mut sums: HashMap<String, (String, i64)> = HashMap::new();
    for (value, n) in values.filter(|(_, n)| *n > 0) {
        sums.entry(value.to_ascii_lowercase()).or_insert_with(|| (value, 0)).1 += n;
    }
    let mut all: Vec<(String, i64)> = sums.into_values().collect();
    all.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    all.truncate(top);
    all
}

impl Db {
    /// What the newest events of a list say most, so many values in each field. Of a list that asks for nothing but a
    /// time, severities, sources and types are counted exactly: to the minute, or to the hour when it is long ago.
    pub async fn event_facets(
        &self,
        filter: &EventFilter,
        of: i64,
        top: usize,
        now: Timestamp,
    ) -> Result<Facets, StoreError> {
        let none = || Facet { values: Vec::new(), exact: true };
        let Some(list) = List::of(self, filter, COLUMNS) else {
            let fields = FIELDS.map(|(field, _)| (field, none())).into();
            return Ok(Facets { of: 0, more: false, severities: none(), fields });
        };
        let start = Start { cursor: None, skip: 0, rows: of + 1 };
        let found = self.event_rows(filter, &list, COLUMNS, start, LOOKED_AT).await?;
        let more = found.rows.len() as i64 > of || found.stopped.is_some();
        let rows = &found.rows[..found.rows.len().min(of as usize)];
        let mut severities = Vec::new();
        for row in rows {
            severities.push((row.code(SEVERITY, Severity::from_code)?.to_string(), 1));
        }
        let severities = folded(severities.into_iter(), top);
        let mut facets = Facets {
            of: rows.len() as i64,
            more,
            severities: Facet { values: severities, exact: !more },
            fields: Vec::new(),
        };
        for (field, column) in FIELDS {
            let mut values = Vec::new();
            for row in rows {
                values.extend(row.opt_text(column)?.map(|value| (value, 1)));
            }
            let values = folded(values.into_iter(), top);
            facets.fields.push((field, Facet { values, exact: !more }));
        }
        let anything = About { span: Span::default(), ..filter.about.clone() } == About::default();
        if more && anything && filter.ids.is_empty() && filter.severities.is_empty() {
            self.count_facets(&mut facets, filter.about.span, top, now).await?;
        }
        Ok(facets)
    }

    /// Replaces what the newest events say by what is counted.
    async fn count_facets(
        &self,
        facets: &mut Facets,
        span: Span,
        top: usize,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let severities = self.counted(Series::EventSeverity, span, now).await?;
        let named = severities
            .into_iter()
            .filter_map(|(code, n)| Some((code.parse().ok().and_then(Severity::from_code)?.to_string(), n)));
        facets.severities = Facet { values: folded(named, top), exact: true };
        for (field, facet) in &mut facets.fields {
            let series = match field {
                Field::Source => Series::EventSource,
                Field::Type => Series::EventType,
                _ => continue,
            };
            let counted = self.counted(series, span, now).await?;
            let named = counted.into_iter().filter(|(name, _)| name != OTHERS && name != "(others)");
            *facet = Facet { values: folded(named, top), exact: true };
        }
        Ok(())
    }

    /// The counts of a series in a time, put together from the coarsest steps that lie in it.
    async fn counted(
        &self,
        series: Series,
        span: Span,
        now: Timestamp,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        if span.is_unbounded() {
            return self.totals(series).await;
        }
        let since = span.since.map_or(0, Timestamp::seconds);
        let until = span.until.map_or(now.seconds() + 1, |until| (until.micros() - 1).div_euclid(SECOND) + 1);
        let minutes_kept = since >= now.seconds() - MINUTES_OF_NAMES_KEPT;
        let finest = if minutes_kept { 60 } else { 3_600 };
        let (from, until) =
            (since.div_euclid(finest) * finest, (until + finest - 1).div_euclid(finest) * finest);
        let at = |second: i64| Timestamp::from_micros(0).plus_seconds(second);
        let mut all = Vec::new();
        for (grain, from, until) in stretches(from, until).into_iter().filter(|(_, from, to)| from < to) {
            all.extend(self.top(series, grain, at(from), at(until), MAX_NAMES as i64 + 1).await?);
        }
        Ok(all)
    }
}
