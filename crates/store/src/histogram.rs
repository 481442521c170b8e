//! How many events of a list there were when: from counts that are kept where the list goes by what is counted, else
//! from the search index, newest first and no further than is bearable.

use crate::clauses::{Clauses, Start};
use crate::event_list::List;
use crate::index::{Kind, Shard};
use crate::indexed::question;
use crate::rollups::{MINUTES_KEPT, MINUTES_OF_NAMES_KEPT, OTHERS, Series};
use crate::walk::LOOKED_AT;
use crate::{Db, StoreError};
use std::collections::BTreeMap;
use watchpost_model::filter::{About, EventFilter, Field, Span};
use watchpost_model::id::{EVENT_IDS_PER_SECOND_BITS, event_id_floor, event_id_second};
use watchpost_model::terms::is_own_term;
use watchpost_model::{EventId, Severity, Timestamp};

/// Events after which no further shard of the index is counted.
const COUNTED_IN_INDEX: i64 = 100_000;

/// What is counted, and in which steps.
#[derive(Clone, Debug)]
pub struct Steps {
    /// When the first step begins.
    pub since: Timestamp,
    /// When the last one ends.
    pub until: Timestamp,
    /// How long each is, in seconds: whole minutes, from an hour on whole hours, from a day on whole days.
    pub seconds: i64,
}

impl Steps {
    /// The step that a second falls in, by when it begins.
    fn of(&self, second: i64) -> i64 {
        second.div_euclid(self.seconds) * self.seconds
    }

    /// How fine the counts are that steps are put together from.
    const fn grain(&self) -> i64 {
        match self.seconds {
            s if s % 86_400 == 0 => 86_400,
            s if s % 3_600 == 0 => 3_600,
            _ => 60,
        }
    }
}

/// How many events there were in a step; of one severity, or of any where that isn't known.
pub type Counts = BTreeMap<(i64, Option<Severity>), i64>;

/// How many events there were when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// By the second that the step begins at, and the severity.
    pub counts: Counts,
    /// Steps from here on are whole, in those before there may be more; nothing when all are whole.
    pub whole_since: Option<Timestamp>,
}

impl Histogram {
    const fn whole(counts: Counts) -> Self {
        Self { counts, whole_since: None }
    }
}

/// Whether the index alone knows which events are meant.
fn is_known_by_index(filter: &EventFilter) -> bool {
    let About { fields, without, .. } = &filter.about;
    let own = |(field, values): (&Field, &Vec<String>)| values.iter().all(|v| is_own_term(field.name(), v));
    filter.ids.is_empty() && fields.iter().chain(without).all(own)
}

impl Db {
    /// How many events of a list there were when, whatever its own span: in steps between two times.
    pub async fn event_histogram(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        now: Timestamp,
    ) -> Result<Histogram, StoreError> {
        self.event_histogram_up_to(filter, steps, now, (COUNTED_IN_INDEX, LOOKED_AT)).await
    }

    /// As before, counting so many in the index, and so many of those that have to be looked at.
    pub(crate) async fn event_histogram_up_to(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        now: Timestamp,
        (in_index, in_rows): (i64, i64),
    ) -> Result<Histogram, StoreError> {
        let span = Span { since: Some(steps.since), until: Some(steps.until) };
        let about = About { span: Span::default(), ..filter.about.clone() };
        let kept = |seconds: i64| steps.grain() > 60 || steps.since >= now.plus_seconds(-seconds);
        if filter.ids.is_empty() && about == About::default() && kept(MINUTES_KEPT) {
            return self.counted_by_severity(filter, steps).await;
        }
        if filter.ids.is_empty()
            && filter.severities.is_empty()
            && kept(MINUTES_OF_NAMES_KEPT)
            && let Some(counts) = self.counted_by_name(&about, steps, in_index).await?
        {
            return Ok(Histogram::whole(counts));
        }
        let filter = EventFilter { about: About { span, ..about }, ..filter.clone() };
        match is_known_by_index(&filter) {
            true => self.counted_in_index(&filter, steps, in_index).await,
            false => self.counted_in_rows(&filter, steps, in_rows).await,
        }
    }

    async fn counted_by_severity(
        &self,
        filter: &EventFilter,
        steps: &Steps,
    ) -> Result<Histogram, StoreError> {
        let codes: Vec<String> =
            filter.severities.iter().map(|severity| severity.code().to_string()).collect();
        let mut counts = Counts::new();
        let found = self
            .counts_over_time(Series::EventSeverity, steps.grain(), steps.since, steps.until, &codes)
            .await?;
        for bucket in found {
            let severity = bucket.value.parse().ok().and_then(Severity::from_code);
            *counts.entry((steps.of(bucket.from.seconds()), severity)).or_default() += bucket.n;
        }
        Ok(Histogram::whole(counts))
    }

    /// Events from some sources, or of some types, when nothing else is asked for and all names have counts of their
    /// own. Few enough to be told apart by severity aren't counted here: the index knows more about them.
    async fn counted_by_name(
        &self,
        about: &About,
        steps: &Steps,
        few: i64,
    ) -> Result<Option<Counts>, StoreError> {
        let mut fields = about.fields.iter();
        let (series, wanted) = match (fields.next(), fields.next()) {
            (Some((Field::Source, names)), None) => (Series::EventSource, names),
            (Some((Field::Type, names)), None) => (Series::EventType, names),
            _ => return Ok(None),
        };
        if about.search.is_some() || !about.without.is_empty() {
            return Ok(None);
        }
        let totals = self.totals(series).await?;
        let names: Vec<String> = totals.into_iter().map(|(name, _)| name).collect();
        if names.iter().any(|name| name == OTHERS) {
            return Ok(None);
        }
        let is_wanted = |name: &String| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let names: Vec<String> = names.into_iter().filter(is_wanted).collect();
        let mut counts = Counts::new();
        if names.is_empty() {
            return Ok(Some(counts));
        }
        for bucket in self.counts_over_time(series, steps.grain(), steps.since, steps.until, &names).await? {
            *counts.entry((steps.of(bucket.from.seconds()), None)).or_default() += bucket.n;
        }
        let many = counts.values().sum::<i64>() > few;
        Ok(many.then_some(counts))
    }

    /// Counts what the index finds, one shard after the other, until it were so many.
    async fn counted_in_index(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        bound: i64,
    ) -> Result<Histogram, StoreError> {
        let (mut counts, mut counted) = (Counts::new(), 0);
        let (first, end) = (event_id_floor(steps.since).get(), event_id_floor(steps.until).get());
        let shards = self.shards(Kind::Events).await?;
        for (n, shard) in shards.iter().enumerate().rev() {
            if shard.from_id >= end {
                continue;
            }
            if shards.get(n + 1).is_some_and(|next| next.from_id <= first) {
                break;
            }
            if counted >= bound {
                let next = shards.get(n + 1).map(|next| event_id_second(EventId::new(next.from_id)));
                return Ok(Histogram { counts, whole_since: next.map(|second| second.plus_seconds(1)) });
            }
            for (severity, step, n) in self.counted_in_shard(filter, steps, shard, (first, end)).await? {
                *counts.entry((step, Some(severity))).or_default() += n;
                counted += n;
            }
        }
        Ok(Histogram::whole(counts))
    }

    /// One question for each severity: the index knows them, and no event has to be looked at.
    async fn counted_in_shard(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        shard: &Shard,
        (first, end): (i64, i64),
    ) -> Result<Vec<(Severity, i64, i64)>, StoreError> {
        let engine = self.engine();
        let (table, id) = (Kind::Events.table(shard.number), engine.index_id());
        let mut clauses = Clauses::new(engine);
        let (first, end) = (clauses.param(first), clauses.param(end));
        let zero = clauses.param(event_id_second(EventId::new(0)).seconds());
        let size = clauses.param(steps.seconds);
        let step = format!("(({id} >> {EVENT_IDS_PER_SECOND_BITS}) + ?{zero}) / ?{size} * ?{size}");
        let mut parts = Vec::new();
        for severity in Severity::ALL {
            let wanted = filter.severities.is_empty() || filter.severities.contains(&severity);
            let Some(question) = question(engine, &filter.about, &[severity]).filter(|_| wanted) else {
                continue;
            };
            let n = clauses.param(question);
            let matches = engine.index_matches(&format!("s.{table}"), n);
            let code = severity.code();
            parts.push(format!(
                "SELECT CAST({code} AS BIGINT), {step}, COUNT(*) FROM {table} s WHERE {matches} AND {id} >= ?{first} AND {id} < ?{end} GROUP BY 2"
            ));
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.read(parts.join(" UNION ALL "), clauses.params).await?;
        rows.iter().map(|row| Ok((row.code(0, Severity::from_code)?, row.int(1)?, row.int(2)?))).collect()
    }

    /// Counts the newest events, so many and no more.
    async fn counted_in_rows(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        bound: i64,
    ) -> Result<Histogram, StoreError> {
        let columns = "e.id, e.severity";
        let mut counts = Counts::new();
        let Some(list) = List::of(self, filter, columns) else { return Ok(Histogram::whole(counts)) };
        let start = Start { cursor: None, skip: 0, rows: bound + 1 };
        let found = self.event_rows(filter, &list, columns, start, bound).await?;
        let mut last = found.stopped.map(|cursor| cursor.id);
        for (n, row) in found.rows.iter().enumerate() {
            let id = row.int(0)?;
            if n as i64 == bound {
                last = Some(id);
                break;
            }
            let step = steps.of(event_id_second(EventId::new(id)).seconds());
            *counts.entry((step, Some(row.code(1, Severity::from_code)?))).or_default() += 1;
        }
        let whole_since = last.map(|id| event_id_second(EventId::new(id)).plus_seconds(1));
        Ok(Histogram { counts, whole_since })
    }
}
