//! How many events of a list there were when: from counts that are kept where the list goes by what is counted, else
//! from the search index, newest first and no further than is bearable.

use crate::clauses::{Clauses, Start};
use crate::event_list::List;
use crate::index::{Kind, Shard};
use crate::indexed::question;
use crate::rollups::{MINUTES_KEPT, MINUTES_OF_NAMES_KEPT, OTHERS, Series};
use crate::{Db, StoreError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use watchpost_model::filter::{About, EventFilter, Field, Span};
use watchpost_model::id::{EVENT_IDS_PER_SECOND_BITS, event_id_floor, event_id_second};
use watchpost_model::terms::is_own_term;
use watchpost_model::{EventId, Severity, Timestamp};

/// Events after which no further shard of the index is counted.
const COUNTED_IN_INDEX: i64 = 100_000;
/// So many events of a shard are looked at one by one; more are counted by the index alone, which takes a question for
/// each severity.
const FEW: i64 = 2_000;
/// Events that are looked at when the index alone doesn't know which are meant.
const COUNTED_IN_ROWS: i64 = 5_000;
/// More events of a name than this aren't counted in the index: that they are all counted is worth more than how bad
/// each is.
const MANY_OF_A_NAME: i64 = 20_000;

/// How far counting goes.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Events counted in the index, at most so many and a shard more.
    pub in_index: i64,
    /// Events that are looked at.
    pub in_rows: i64,
    /// No further shard is begun after this.
    pub time: Duration,
}

impl Effort {
    /// As far as is bearable within this time.
    pub const fn of(time: Duration) -> Self {
        Self { in_index: COUNTED_IN_INDEX, in_rows: COUNTED_IN_ROWS, time }
    }
}

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

    /// The same of an event's id, as SQL.
    fn sql(&self, clauses: &mut Clauses, id: &str) -> String {
        let zero = clauses.param(event_id_second(EventId::new(0)).seconds());
        let size = clauses.param(self.seconds);
        format!("(({id} >> {EVENT_IDS_PER_SECOND_BITS}) + ?{zero}) / ?{size} * ?{size}")
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
        effort: Effort,
    ) -> Result<Histogram, StoreError> {
        let span = Span { since: Some(steps.since), until: Some(steps.until) };
        let about = About { span: Span::default(), ..filter.about.clone() };
        let kept = |seconds: i64| steps.grain() > 60 || steps.since >= now.plus_seconds(-seconds);
        if filter.ids.is_empty() && about == About::default() && kept(MINUTES_KEPT) {
            return Ok(Histogram::whole(self.counted_by_severity(&filter.severities, steps).await?));
        }
        let named = match filter.ids.is_empty() && filter.severities.is_empty() && kept(MINUTES_OF_NAMES_KEPT)
        {
            true => self.counted_by_name(&about, steps).await?,
            false => None,
        };
        if let Some(counts) = &named
            && counts.values().sum::<i64>() > MANY_OF_A_NAME.min(effort.in_index)
        {
            return Ok(Histogram::whole(counts.clone()));
        }
        let filter = EventFilter { about: About { span, ..about }, ..filter.clone() };
        let found = match is_known_by_index(&filter) {
            true => self.counted_in_index(&filter, steps, effort).await?,
            false => self.counted_in_rows(&filter, steps, effort.in_rows).await?,
        };
        Ok(match named {
            Some(counts) if found.whole_since.is_some() => Histogram::whole(counts),
            _ => found,
        })
    }

    async fn counted_by_severity(
        &self,
        severities: &[Severity],
        steps: &Steps,
    ) -> Result<Counts, StoreError> {
        let codes: Vec<String> = severities.iter().map(|severity| severity.code().to_string()).collect();
        let mut counts = Counts::new();
        let found = self
            .counts_over_time(Series::EventSeverity, steps.grain(), steps.since, steps.until, &codes)
            .await?;
        for bucket in found {
            let severity = bucket.value.parse().ok().and_then(Severity::from_code);
            *counts.entry((steps.of(bucket.from.seconds()), severity)).or_default() += bucket.n;
        }
        Ok(counts)
    }

    /// Events from some sources or of some types, or from (of) all but those, when nothing else is asked for and all
    /// names have counts of their own. How bad they are isn't known.
    async fn counted_by_name(&self, about: &About, steps: &Steps) -> Result<Option<Counts>, StoreError> {
        let About { fields, without, search, .. } = about;
        let mut all = fields.iter().chain(without);
        let (series, wanted) = match (all.next(), all.next()) {
            (Some((Field::Source, names)), None) => (Series::EventSource, names),
            (Some((Field::Type, names)), None) => (Series::EventType, names),
            _ => return Ok(None),
        };
        if search.is_some() {
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
        let sign = if without.is_empty() { 1 } else { -1 };
        if sign < 0 {
            for ((step, _), n) in self.counted_by_severity(&[], steps).await? {
                *counts.entry((step, None)).or_default() += n;
            }
        }
        if !names.is_empty() {
            let found =
                self.counts_over_time(series, steps.grain(), steps.since, steps.until, &names).await?;
            for bucket in found {
                *counts.entry((steps.of(bucket.from.seconds()), None)).or_default() += sign * bucket.n;
            }
        }
        counts.retain(|_, n| *n > 0);
        Ok(Some(counts))
    }

    /// Counts what the index finds, one shard after the other.
    async fn counted_in_index(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        effort: Effort,
    ) -> Result<Histogram, StoreError> {
        let started = Instant::now();
        let (mut counts, mut counted) = (Counts::new(), 0);
        // Without anything that is asked for the index would have to be asked for everything.
        let mut few = filter.is_indexed();
        let ids = (event_id_floor(steps.since).get(), event_id_floor(steps.until).get());
        let shards = self.shards(Kind::Events).await?;
        for (n, shard) in shards.iter().enumerate().rev() {
            if shard.from_id >= ids.1 {
                continue;
            }
            let next = shards.get(n + 1).filter(|next| next.from_id < ids.1);
            if next.is_some_and(|next| next.from_id <= ids.0) {
                break;
            }
            let enough = counted >= effort.in_index || started.elapsed() >= effort.time;
            if let (true, Some(next)) = (enough, next) {
                let second = event_id_second(EventId::new(next.from_id));
                return Ok(Histogram { counts, whole_since: Some(second.plus_seconds(1)) });
            }
            let mut found = None;
            if few {
                found = self.counted_one_by_one(filter, steps, shard, ids).await?;
            }
            let found = match found {
                Some(found) => found,
                None => self.counted_in_shard(filter, steps, shard, ids).await?,
            };
            let here = found.iter().map(|(.., n)| n).sum::<i64>();
            few = filter.is_indexed() && here <= FEW;
            counted += here;
            for (severity, step, n) in found {
                *counts.entry((step, Some(severity))).or_default() += n;
            }
        }
        Ok(Histogram::whole(counts))
    }

    /// Looks at what the index finds in a shard; nothing when that are too many.
    async fn counted_one_by_one(
        &self,
        filter: &EventFilter,
        steps: &Steps,
        shard: &Shard,
        (first, end): (i64, i64),
    ) -> Result<Option<Vec<(Severity, i64, i64)>>, StoreError> {
        let engine = self.engine();
        let Some(question) = question(engine, &filter.about, &filter.severities) else {
            return Ok(Some(Vec::new()));
        };
        let (table, id) = (Kind::Events.table(shard.number), engine.index_id());
        let mut clauses = Clauses::new(engine);
        let n = clauses.param(question);
        clauses.push(engine.index_matches(&format!("s.{table}"), n));
        clauses.at_least(id, first);
        clauses.below(id, end);
        let (matching, limit) = (clauses.sql(), clauses.param(FEW + 1));
        let step = steps.sql(&mut clauses, "e.id");
        let events = engine.outer_first("JOIN events e ON e.id = f.id");
        let sql = format!(
            "SELECT e.severity, {step}, COUNT(*) FROM (SELECT {id} AS id FROM {table} s{matching} ORDER BY {id} DESC LIMIT ?{limit}) f {events} GROUP BY 1, 2"
        );
        let found = self.counted_rows(sql, clauses).await?;
        let few = found.iter().map(|(.., n)| n).sum::<i64>() <= FEW;
        Ok(few.then_some(found))
    }

    async fn counted_rows(
        &self,
        sql: String,
        clauses: Clauses,
    ) -> Result<Vec<(Severity, i64, i64)>, StoreError> {
        let rows = self.read(sql, clauses.params).await?;
        rows.iter().map(|row| Ok((row.code(0, Severity::from_code)?, row.int(1)?, row.int(2)?))).collect()
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
        let step = steps.sql(&mut clauses, id);
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
        self.counted_rows(parts.join(" UNION ALL "), clauses).await
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
