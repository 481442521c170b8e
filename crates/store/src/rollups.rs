//! How much of what there was when: counts by the minute, the hour, the day and for all time, kept in the
//! transaction that changes what they count.

use crate::clauses::Clauses;
use crate::db::{Batch, Table, Value};
use crate::groups::GroupTally;
use crate::{Db, StoreError};
use std::collections::{BTreeMap, HashSet};
use watchpost_model::id::event_id_second;
use watchpost_model::{Alert, Event, Severity, Status, Timestamp};

/// What is counted. The numbers are how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Events by severity.
    EventSeverity = 1,
    /// Events by source.
    EventSource = 2,
    /// Events by type.
    EventType = 3,
    /// Alerts by where they stand now and how bad they are, at the time they were raised.
    Alerts = 4,
    /// How many alerts took how long until they were acknowledged, by class of duration.
    AcknowledgeTimes = 5,
    /// As before, until they were resolved.
    ResolveTimes = 6,
    /// Milliseconds until alerts were acknowledged, in all.
    AcknowledgeTotal = 7,
    /// As before, until they were resolved.
    ResolveTotal = 8,
    /// Alerts by where they stand, how bad they are and their source, in small letters; for all time only.
    AlertSource = 9,
    /// As before, by their type.
    AlertType = 10,
}

impl Series {
    /// In which steps it is counted.
    fn grains(self) -> &'static [i64] {
        match self {
            Self::AlertSource | Self::AlertType => &[ALL_TIME],
            _ => &GRAINS,
        }
    }
}

/// Seconds of a bucket, from the finest on; 0 stands for all time.
pub(crate) const GRAINS: [i64; 4] = [60, 3_600, 86_400, 0];
/// All time.
pub(crate) const ALL_TIME: i64 = 0;

/// So many sources (and types) are counted by name, the others together: names are what senders make up, and
/// counting must not cost more than storing.
pub const MAX_NAMES: usize = 10_000;
/// The name for all others.
pub(crate) const OTHERS: &str = "";

/// Counts by the minute of sources and types are kept so long, in seconds: there are many, and charts of longer
/// times are drawn by the hour.
pub const MINUTES_OF_NAMES_KEPT: i64 = 3 * 86_400;
/// And those of severities and alerts.
pub(crate) const MINUTES_KEPT: i64 = 35 * 86_400;

static ROLLUPS: Table = Table {
    name: "rollups",
    columns: &[
        ("series", false),
        ("grain", false),
        ("bucket", false),
        ("value", true),
        ("lane", false),
        ("n", false),
    ],
    on_conflict: "ON CONFLICT (series, grain, bucket, value, lane) DO UPDATE SET n = rollups.n + excluded.n",
};

const FORGET_MINUTES: &str = "DELETE FROM rollups WHERE grain = 60 AND series = ?1 AND bucket < ?2";

const HAS_COUNT: &str = "SELECT n FROM rollups WHERE series = ?1 AND grain = 0 AND bucket = 0 AND value IN (?2, ?3, ?4, ?5) LIMIT 1";

const TOTALS: &str =
    "SELECT value, CAST(SUM(n) AS BIGINT) FROM rollups WHERE series = ?1 AND grain = 0 GROUP BY value";

/// The value that alerts of a status and severity are counted under.
pub(crate) fn alert_value(status: Status, severity: Severity) -> String {
    format!("{}.{}", status.code(), severity.code())
}

/// The values that get counts of their own.
#[derive(Debug, Default)]
pub struct Names {
    sources: HashSet<String>,
    types: HashSet<String>,
}

impl Names {
    /// Those that have them already.
    pub async fn load(db: &Db) -> Result<Self, StoreError> {
        let mut names = Self::default();
        for (series, set) in
            [(Series::EventSource, &mut names.sources), (Series::EventType, &mut names.types)]
        {
            set.extend(
                db.totals(series).await?.into_iter().map(|(name, _)| name).filter(|name| name != OTHERS),
            );
        }
        Ok(names)
    }

    /// The names that an event's source and type are counted under.
    pub(crate) fn of<'a>(&mut self, event: &'a Event) -> [&'a str; 2] {
        [Self::shown(&mut self.sources, &event.source_name), Self::shown(&mut self.types, &event.event_type)]
    }

    fn shown<'a>(set: &mut HashSet<String>, name: &'a str) -> &'a str {
        if set.contains(name) {
            return name;
        }
        if set.len() >= MAX_NAMES {
            return OTHERS;
        }
        set.insert(name.to_owned());
        name
    }
}

/// Changes of counts, summed up before they are written.
#[derive(Default)]
pub(crate) struct Tally {
    by_minute: BTreeMap<(Series, i64, String), i64>,
    /// Alerts by what they share.
    pub(crate) groups: GroupTally,
}

impl Tally {
    pub(crate) fn add(&mut self, series: Series, at: Timestamp, value: &str, n: i64) {
        let minute = at.seconds().div_euclid(60) * 60;
        *self.by_minute.entry((series, minute, value.to_owned())).or_default() += n;
    }

    pub(crate) fn events(&mut self, events: &[Event], names: &mut Names) {
        let mut counts: BTreeMap<(i64, Series, &str), i64> = BTreeMap::new();
        const CODES: [&str; 4] = ["1", "2", "3", "4"];
        for event in events {
            // Pages are found by these counts, so they go by the time that the id says.
            let minute = event_id_second(event.id).seconds().div_euclid(60) * 60;
            let [source, kind] = names.of(event);
            *counts
                .entry((minute, Series::EventSeverity, CODES[event.severity as usize - 1]))
                .or_default() += 1;
            *counts.entry((minute, Series::EventSource, source)).or_default() += 1;
            *counts.entry((minute, Series::EventType, kind)).or_default() += 1;
        }
        for ((minute, series, value), n) in counts {
            *self.by_minute.entry((series, minute, value.to_owned())).or_default() += n;
        }
    }

    /// So many alerts more (or fewer) of a status, from a source and of a type by the names they are counted under.
    pub(crate) fn alert(
        &mut self,
        raised_at: Timestamp,
        place: (Status, Severity),
        names: [&str; 2],
        n: i64,
    ) {
        let value = alert_value(place.0, place.1);
        self.add(Series::Alerts, raised_at, &value, n);
        for (series, name) in [Series::AlertSource, Series::AlertType].into_iter().zip(names) {
            self.add(series, raised_at, &format!("{value}.{}", name.to_ascii_lowercase()), n);
        }
    }

    /// What an alert's first acknowledgement and resolution say about how fast people are: counted when they happen,
    /// and no more when they are undone.
    pub(crate) fn reactions(&mut self, before: &Alert, after: &Alert) {
        let acknowledged = [Series::AcknowledgeTimes, Series::AcknowledgeTotal];
        let resolved = [Series::ResolveTimes, Series::ResolveTotal];
        for (series, was, is) in [
            (acknowledged, before.acknowledged_at, after.acknowledged_at),
            (resolved, before.resolved_at, after.resolved_at),
        ] {
            if was != is {
                was.into_iter().for_each(|at| self.reaction(series, before, at, -1));
                is.into_iter().for_each(|at| self.reaction(series, after, at, 1));
            }
        }
    }

    fn reaction(&mut self, series: [Series; 2], alert: &Alert, at: Timestamp, n: i64) {
        let took = (at.micros() - alert.created_at.micros()).max(0) / 1_000;
        self.add(series[0], at, &crate::stats::duration_class(took).to_string(), n);
        self.add(series[1], at, OTHERS, n * took);
    }

    /// Adds the changes to a batch. The rows are in order of their keys, so that writers that work side by side
    /// wait for each other rather than lock each other out.
    pub(crate) fn write(self, batch: &mut Batch, lane: i64) {
        let mut sums: BTreeMap<(Series, i64, i64, String), i64> = BTreeMap::new();
        for ((series, minute, value), n) in self.by_minute {
            for &grain in series.grains() {
                let bucket = if grain == ALL_TIME { 0 } else { minute.div_euclid(grain) * grain };
                *sums.entry((series, grain, bucket, value.clone())).or_default() += n;
            }
        }
        let row = |((series, grain, bucket, value), n): ((Series, i64, i64, String), i64)| -> [Value; 6] {
            [(series as i64).into(), grain.into(), bucket.into(), value.into(), lane.into(), n.into()]
        };
        let rows: Vec<[Value; 6]> = sums.into_iter().filter(|(_, n)| *n != 0).map(row).collect();
        batch.bulk(&ROLLUPS, rows);
        self.groups.write(batch, lane);
    }
}

impl Db {
    /// The counts of a series for all time, by value.
    pub(crate) async fn totals(&self, series: Series) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = self.read(TOTALS, vec![(series as i64).into()]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
    }

    /// The exact number of alerts in some places under some names, in small letters; nothing when there are names
    /// that have no counts of their own.
    pub(crate) async fn alerts_by_name(
        &self,
        series: Series,
        places: &[(Status, Severity)],
        names: &[String],
    ) -> Result<Option<i64>, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        clauses.with("series = {}", series as i64);
        clauses.push("grain = 0 AND bucket = 0".into());
        let wanted = names.iter().map(String::as_str).chain([OTHERS]);
        let values = wanted.flat_map(|name| {
            places.iter().map(move |(st, sev)| format!("{}.{name}", alert_value(*st, *sev)))
        });
        let values: Vec<_> = values.map(|value| format!("?{}", clauses.param(value))).collect();
        clauses.push(format!("value IN ({})", values.join(", ")));
        let matching = clauses.sql();
        let rows = self.read(format!("SELECT value, n FROM rollups{matching}"), clauses.params).await?;
        let mut sum = 0;
        for row in rows {
            if row.text(0)?.ends_with('.') {
                return Ok(None);
            }
            sum += row.int(1)?;
        }
        Ok(Some(sum))
    }

    /// The names that an alert's source and type are counted under: as it was raised, so by what is there. It was raised
    /// open, but not always with the severity of its event.
    pub(crate) async fn names_of(&self, alert: &Alert) -> Result<[String; 2], StoreError> {
        let mut names =
            [alert.event.source_name.to_ascii_lowercase(), alert.event.event_type.to_ascii_lowercase()];
        for (series, name) in [Series::AlertSource, Series::AlertType].into_iter().zip(&mut names) {
            let mut params: Vec<Value> = vec![(series as i64).into()];
            params
                .extend(Severity::ALL.map(|one| format!("{}.{name}", alert_value(Status::Open, one)).into()));
            if self.read_one(HAS_COUNT, params).await?.is_none() {
                name.clear();
            }
        }
        Ok(names)
    }

    /// Drops counts that are finer than anybody asks for by now.
    pub async fn forget_fine_counts(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (series, kept) in [
            (Series::EventSource, MINUTES_OF_NAMES_KEPT),
            (Series::EventType, MINUTES_OF_NAMES_KEPT),
            (Series::EventSeverity, MINUTES_KEPT),
            (Series::Alerts, MINUTES_KEPT),
            (Series::AcknowledgeTimes, MINUTES_KEPT),
            (Series::ResolveTimes, MINUTES_KEPT),
            (Series::AcknowledgeTotal, MINUTES_KEPT),
            (Series::ResolveTotal, MINUTES_KEPT),
        ] {
            batch.any(FORGET_MINUTES, vec![(series as i64).into(), (now.seconds() - kept).into()]);
        }
        self.write(std::sync::Arc::new(batch)).await
    }
}
