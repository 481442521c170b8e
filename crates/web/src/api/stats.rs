//! Counts over time, tops, and how fast people are. All of it is read from counts that are kept as things happen, so
//! it costs the same however much is stored.

use crate::auth::guard::{AlertReader, EventReader};
use crate::console::chart::Bar;
use crate::error::{ApiError, choose_from};
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::params::{SINCE, UNTIL, any};
use crate::places;
use crate::query::{Param, Query};
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use watchpost_model::{Invalid, Severity, Status, Timestamp};
use watchpost_pipeline::now;
use watchpost_store::{AlertCounts, Bucket, Db, Durations, MINUTES_OF_NAMES_KEPT, Series};

/// Buckets in one answer: more than a screen has pixels helps nobody.
const MAX_BUCKETS: i64 = 3_000;
/// Values in a top, and names that get a line of their own in a chart.
const DEFAULT_TOP: i64 = 10;
const MAX_TOP: i64 = 100;
/// When nobody says since when.
const DEFAULT_SECONDS: i64 = 86_400;
/// How the names beyond the top are called.
const OTHERS: &str = "(others)";

const INTERVALS: &[(&str, i64)] = &[("minute", 60), ("hour", 3_600), ("day", 86_400)];
const INTERVAL: Param = Param {
    name: "interval",
    about: "How long each bucket is; chosen by the time asked for when left out.",
    choices: &["minute", "hour", "day"],
};
const LIMIT: Param = any("limit", "How many names get counts of their own: 10 unless told, at most 100.");
const EVENTS_BY: Param =
    Param { name: "by", about: "What to count by.", choices: &["severity", "source_name", "event_type"] };
const ALERTS_BY: Param = Param {
    name: "by",
    about: "What to count by: where alerts stand now, or how bad they are; at the time they were raised.",
    choices: &["status", "severity"],
};
const TOP_OF: Param = Param { name: "of", about: "What to count.", choices: &["source_name", "event_type"] };

const EVENTS: &[Param] = &[EVENTS_BY, SINCE, UNTIL, INTERVAL, LIMIT];
const ALERTS: &[Param] = &[ALERTS_BY, SINCE, UNTIL, INTERVAL];
const TOP: &[Param] = &[TOP_OF, SINCE, UNTIL, LIMIT];
const SPAN: &[Param] = &[SINCE, UNTIL];

pub(crate) fn routes(routes: &mut Routes) {
    let about = "Times are widened to whole buckets. Without `since` it is the last 24 hours.";
    routes.add(
        &["/api/v1/stats/events"],
        Operation::get("countEvents", "Statistics", "Events over time by severity, source or type")
            .about(about)
            .query(EVENTS)
            .answers::<OverTime>(200, "Counts by bucket"),
        events,
    );
    routes.add(
        &["/api/v1/stats/alerts"],
        Operation::get("countAlerts", "Statistics", "Alerts over time by status or severity")
            .about(about)
            .query(ALERTS)
            .answers::<OverTime>(200, "Counts by bucket"),
        alerts,
    );
    routes.add(
        &["/api/v1/stats/top"],
        Operation::get("countTop", "Statistics", "The sources or types with the most events")
            .about(about)
            .query(TOP)
            .answers::<Tops>(200, "Largest first"),
        top,
    );
    routes.add(
        &["/api/v1/stats/reactions"],
        Operation::get(
            "measureReactions",
            "Statistics",
            "How long until alerts are acknowledged and resolved",
        )
        .about(
            "Of the alerts that were first acknowledged, or resolved, in this time. `p90` is known to 9 %.",
        )
        .query(SPAN)
        .answers::<Reactions>(200, "Durations in seconds; `null` when there was none"),
        reactions,
    );
    routes.add(
        &["/api/v1/stats/overview"],
        Operation::get("overview", "Statistics", "All of it, for a dashboard")
            .about(about)
            .query(SPAN)
            .answers::<Overview>(200, "What a dashboard shows"),
        overview,
    );
}

/// Counts over time.
#[derive(Serialize, ToSchema)]
struct OverTime {
    /// When the first bucket begins.
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    /// How long a bucket is.
    #[schema(example = "hour")]
    interval: &'static str,
    /// The sums over all buckets.
    totals: BTreeMap<String, i64>,
    buckets: Vec<BucketView>,
}

/// Counts of one stretch of time.
#[derive(Serialize, ToSchema)]
struct BucketView {
    /// When it begins.
    #[schema(format = DateTime)]
    time: String,
    /// Counts by value; those of nothing are left out.
    counts: BTreeMap<String, i64>,
}

/// The values with the largest counts.
#[derive(Serialize, ToSchema)]
struct Tops {
    results: Vec<TopView>,
}

/// A value and its count.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopView {
    pub(crate) value: String,
    pub(crate) count: i64,
}

/// How fast people are.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reactions {
    pub(crate) acknowledge: Option<DurationView>,
    pub(crate) resolve: Option<DurationView>,
}

/// How long something took, in seconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct DurationView {
    pub(crate) count: i64,
    pub(crate) mean: f64,
    /// Nine in ten took no longer.
    pub(crate) p90: f64,
}

/// What a dashboard shows.
#[derive(Serialize, ToSchema)]
struct Overview {
    /// How many alerts there are now, by status and severity.
    alerts: BTreeMap<&'static str, BTreeMap<&'static str, i64>>,
    /// How many events are stored in all.
    events_stored: i64,
    events_by_severity: OverTime,
    alerts_by_status: OverTime,
    top_sources: Vec<TopView>,
    top_types: Vec<TopView>,
    reactions: Reactions,
}

/// A time to count over, and in which steps.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    interval: &'static str,
    grain: i64,
}

impl Window {
    /// So many seconds until now, in steps that make a picture of it.
    pub(crate) fn last(seconds: i64) -> Self {
        let until = now().plus_seconds(1);
        let (interval, grain) = fitting(seconds);
        Self { since: until.plus_seconds(-seconds), until, interval, grain }
    }

    fn read(query: &Query, known: &[Param]) -> Result<Self, ApiError> {
        let mut wrong = Invalid::new();
        query.name_unknown(known, &mut wrong);
        let now = now();
        let span = query.span(now, &mut wrong);
        // Buckets are looked up up to, but without, the end.
        let until = span.until.unwrap_or(now.plus_seconds(1));
        let since = span.since.unwrap_or(until.plus_seconds(-DEFAULT_SECONDS));
        let seconds = (until.seconds() - since.seconds()).max(0);
        let fitting = fitting(seconds);
        let (interval, grain) = match query.get(INTERVAL.name) {
            None => fitting,
            Some(given) => match INTERVALS.iter().find(|(name, _)| name.eq_ignore_ascii_case(given)) {
                Some(interval) => *interval,
                None => {
                    wrong.add(INTERVAL.name, choose_from(given, INTERVAL.choices));
                    fitting
                }
            },
        };
        if seconds / grain > MAX_BUCKETS && known.iter().any(|param| param.name == INTERVAL.name) {
            wrong.add(
                INTERVAL.name,
                format!("That makes more than {MAX_BUCKETS} buckets; choose a longer one."),
            );
        }
        wrong.into_result()?;
        Ok(Self { since, until, interval, grain })
    }

    /// For what has no buckets of its own: the finest steps that are kept for all names.
    fn of_names(self) -> i64 {
        self.grain.max(3_600)
    }

    fn view(&self, counts: impl Iterator<Item = (Timestamp, String, i64)>) -> OverTime {
        let (mut totals, mut found): (BTreeMap<String, i64>, BTreeMap<i64, BTreeMap<String, i64>>) =
            Default::default();
        for (time, value, n) in counts.filter(|(_, _, n)| *n != 0) {
            *totals.entry(value.clone()).or_default() += n;
            *found.entry(time.seconds()).or_default().entry(value).or_default() += n;
        }
        let first = self.since.seconds().div_euclid(self.grain) * self.grain;
        let starts = (0..).map(|n| first + n * self.grain).take_while(|start| *start < self.until.seconds());
        let bucket = |start: i64| BucketView {
            time: Timestamp::from_micros(0).plus_seconds(start).to_string(),
            counts: found.remove(&start).unwrap_or_default(),
        };
        let buckets = starts.take(MAX_BUCKETS as usize + 2).map(bucket).collect();
        let since = Timestamp::from_micros(0).plus_seconds(first).to_string();
        OverTime { since, until: self.until.to_string(), interval: self.interval, totals, buckets }
    }
}

/// Steps that make a picture of so many seconds.
fn fitting(seconds: i64) -> (&'static str, i64) {
    match seconds {
        0..=21_600 => INTERVALS[0],
        21_601..=1_209_600 => INTERVALS[1],
        _ => INTERVALS[2],
    }
}

/// Events by severity, step by step.
pub(crate) async fn bars(db: &Db, window: Window) -> Result<Vec<Bar>, ApiError> {
    let first = window.since.seconds().div_euclid(window.grain) * window.grain;
    let n = (window.until.seconds() - first).div_euclid(window.grain) + 1;
    let at = |n: i64| Timestamp::from_micros(0).plus_seconds(first + n * window.grain);
    let bar = |n| Bar { since: at(n), until: at(n + 1), counts: [0; 4], others: 0 };
    let mut bars: Vec<Bar> = (0..n.clamp(0, MAX_BUCKETS)).map(bar).collect();
    for bucket in counts(db, Series::EventSeverity, window, &[]).await? {
        let place = usize::try_from((bucket.from.seconds() - first).div_euclid(window.grain));
        let severity = bucket.value.parse().ok().and_then(Severity::from_code);
        let bar = place.ok().and_then(|place| bars.get_mut(place));
        if let (Some(bar), Some(severity)) = (bar, severity) {
            bar.counts[severity as usize - 1] += bucket.n;
        }
    }
    Ok(bars)
}

fn choice<'a>(query: &'a Query, param: &Param) -> Result<&'a str, ApiError> {
    let given = query.get(param.name).unwrap_or(param.choices[0]);
    match param.choices.contains(&given) {
        true => Ok(given),
        false => Err(Invalid::field(param.name, choose_from(given, param.choices)).into()),
    }
}

fn limit(query: &Query) -> Result<i64, ApiError> {
    match query.get(LIMIT.name).map(str::parse) {
        None => Ok(DEFAULT_TOP),
        Some(Ok(limit)) if (1..=MAX_TOP).contains(&limit) => Ok(limit),
        Some(_) => {
            Err(Invalid::field(LIMIT.name, format!("A whole number from 1 to {MAX_TOP} is expected.")).into())
        }
    }
}

fn severity_name(code: &str) -> String {
    let severity = code.parse().ok().and_then(Severity::from_code);
    severity.map_or_else(|| code.to_owned(), |severity| severity.to_string())
}

fn status_name(code: &str) -> String {
    let status = code.parse().ok().and_then(Status::from_code);
    status.map_or_else(|| code.to_owned(), |status| status.to_string())
}

async fn events_by_severity(db: &Db, window: Window) -> Result<OverTime, ApiError> {
    let counts = counts(db, Series::EventSeverity, window, &[]).await?;
    Ok(window.view(counts.into_iter().map(|bucket| (bucket.from, severity_name(&bucket.value), bucket.n))))
}

async fn counts(db: &Db, series: Series, window: Window, values: &[String]) -> Result<Vec<Bucket>, ApiError> {
    Ok(db.counts_over_time(series, window.grain, window.since, window.until, values).await?)
}

async fn events_by_name(db: &Db, series: Series, window: Window, limit: i64) -> Result<OverTime, ApiError> {
    let kept_since = now().plus_seconds(-MINUTES_OF_NAMES_KEPT);
    if window.grain < 3_600 && window.since < kept_since {
        let message = "Sources and types are counted by the minute for three days only; choose hour or day.";
        return Err(Invalid::field(INTERVAL.name, message).into());
    }
    let top = db.top(series, window.grain, window.since, window.until, limit).await?;
    let names: Vec<String> = top.into_iter().map(|(name, _)| name).filter(|name| name != OTHERS).collect();
    let named = match names.is_empty() {
        true => Vec::new(),
        false => counts(db, series, window, &names).await?,
    };
    let all = counts(db, Series::EventSeverity, window, &[]).await?;
    // What has no line of its own is what is left of all events.
    let all = all.into_iter().map(|bucket| (bucket.from, OTHERS.to_owned(), bucket.n));
    let less = named.iter().map(|bucket| (bucket.from, OTHERS.to_owned(), -bucket.n)).collect::<Vec<_>>();
    let named = named.into_iter().map(|bucket| (bucket.from, bucket.value, bucket.n));
    let mut view = window.view(all.chain(less).chain(named));
    let buckets = view.buckets.iter_mut().map(|bucket| &mut bucket.counts);
    buckets.chain([&mut view.totals]).for_each(|counts| counts.retain(|_, n| *n != 0));
    Ok(view)
}

async fn alerts_by(db: &Db, by: &str, window: Window) -> Result<OverTime, ApiError> {
    let name = |value: &str| match (value.split_once('.'), by) {
        (Some((status, _)), "status") => status_name(status),
        (Some((_, severity)), _) => severity_name(severity),
        (None, _) => value.to_owned(),
    };
    let counts = counts(db, Series::Alerts, window, &[]).await?;
    Ok(window.view(counts.into_iter().map(|bucket| (bucket.from, name(&bucket.value), bucket.n))))
}

pub(crate) async fn tops(
    db: &Db,
    series: Series,
    window: Window,
    limit: i64,
) -> Result<Vec<TopView>, ApiError> {
    let top = db.top(series, window.of_names(), window.since, window.until, limit).await?;
    Ok(top.into_iter().map(|(value, count)| TopView { value, count }).collect())
}

pub(crate) async fn reactions_in(db: &Db, window: Window) -> Result<Reactions, ApiError> {
    let view = |found: Option<Durations>| {
        found.map(|Durations { n, mean, p90 }| DurationView { count: n, mean, p90 })
    };
    let of = |resolved| db.durations(resolved, window.of_names(), window.since, window.until);
    Ok(Reactions { acknowledge: view(of(false).await?), resolve: view(of(true).await?) })
}

async fn events(
    EventReader(caller): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<OverTime>, ApiError> {
    let window = Window::read(&asked.query, EVENTS)?;
    let (_place, db) = (places::for_search(&state, &caller).await?, state.db.heavy());
    let view = match choice(&asked.query, &EVENTS_BY)? {
        "source_name" => events_by_name(&db, Series::EventSource, window, limit(&asked.query)?).await,
        "event_type" => events_by_name(&db, Series::EventType, window, limit(&asked.query)?).await,
        _ => events_by_severity(&db, window).await,
    };
    view.map(Json)
}

async fn alerts(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<OverTime>, ApiError> {
    let window = Window::read(&asked.query, ALERTS)?;
    let (_place, db) = (places::for_search(&state, &caller).await?, state.db.heavy());
    alerts_by(&db, choice(&asked.query, &ALERTS_BY)?, window).await.map(Json)
}

async fn top(
    EventReader(caller): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<Tops>, ApiError> {
    let window = Window::read(&asked.query, TOP)?;
    let (_place, db) = (places::for_search(&state, &caller).await?, state.db.heavy());
    let series = match choice(&asked.query, &TOP_OF)? {
        "event_type" => Series::EventType,
        _ => Series::EventSource,
    };
    Ok(Json(Tops { results: tops(&db, series, window, limit(&asked.query)?).await? }))
}

async fn reactions(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<Reactions>, ApiError> {
    let window = Window::read(&asked.query, SPAN)?;
    let (_place, db) = (places::for_search(&state, &caller).await?, state.db.heavy());
    reactions_in(&db, window).await.map(Json)
}

/// How many alerts there are, by where they stand and how bad they are.
pub(crate) fn by_status_and_severity(
    counts: &AlertCounts,
) -> BTreeMap<&'static str, BTreeMap<&'static str, i64>> {
    let by_severity = |status: Status| {
        Severity::ALL.map(|severity| (severity.as_str(), counts.sum(&[status], &[severity]))).into()
    };
    Status::ALL.map(|status| (status.as_str(), by_severity(status))).into()
}

async fn overview(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<Overview>, ApiError> {
    let window = Window::read(&asked.query, SPAN)?;
    let (_place, db) = (places::for_search(&state, &caller).await?, state.db.heavy());
    Ok(Json(Overview {
        alerts: by_status_and_severity(&state.db.alert_counts().await?),
        events_stored: state.db.event_count(&[]).await?,
        events_by_severity: events_by_severity(&db, window).await?,
        alerts_by_status: alerts_by(&db, "status", window).await?,
        top_sources: tops(&db, Series::EventSource, window, DEFAULT_TOP).await?,
        top_types: tops(&db, Series::EventType, window, DEFAULT_TOP).await?,
        reactions: reactions_in(&db, window).await?,
    }))
}
