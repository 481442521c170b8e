//! What a list of events looks like from afar: how many there were when, and what they say most. And the whole list
//! as a file.

use crate::api::Case;
use crate::api::events::EventView;
use crate::api::export::{self, Exported, Permit, csv_field};
use crate::auth::guard::{Caller, EventReader};
use crate::error::{ApiError, choose_from};
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::places;
use crate::query::{self, Query, STEP};
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;
use watchpost_model::filter::EventFilter;
use watchpost_model::page::Cursor;
use watchpost_model::{Action, Attributes, Event, Invalid, Severity, Timestamp};
use watchpost_pipeline::now;
use watchpost_store::{Effort, Facet, Histogram, Steps};

/// When nobody says since when.
const USUAL_SECONDS: i64 = 86_400;
/// Buckets in a picture, where nobody says how long they are.
const MAX_FITTING: i64 = 180;
/// And where somebody does.
const MAX_BUCKETS: i64 = 1_500;
const STEPS: [(&str, i64); 10] = [
    ("1m", 60),
    ("5m", 300),
    ("10m", 600),
    ("30m", 1_800),
    ("1h", 3_600),
    ("3h", 10_800),
    ("6h", 21_600),
    ("12h", 43_200),
    ("1d", 86_400),
    ("7d", 7 * 86_400),
];
/// How long somebody waits for a whole histogram.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_000);
/// Events that facets are told of: enough to see what stands out.
const FACETED: i64 = 1_000;
/// Values in a facet.
const TOP: usize = 10;

/// Events that an export begins to read together, and how many at most when they are short.
const FIRST_PIECE: u32 = 100;
const MAX_PIECE: u32 = 1_000;
/// What a piece of an export should take in memory.
const PIECE_BYTES: usize = 512 << 10;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/events/histogram"],
        Operation::get("countListedEvents", "Events", "How many events of a list there were when")
            .about(
                "Takes the filters of the list. Times are widened to whole buckets; without `since` it is the last 24 hours. \
                 Without filters, by severity, and with or without a source or a type alone the counts are exact. Others are \
                 counted in the search index, newest first, up to 100,000 and more and for a second at most: `whole_since` says \
                 from when on that is everything, and buckets before it hold what was counted.",
            )
            .query(query::EVENT_HISTOGRAM)
            .answers::<HistogramView>(200, "Counts by bucket and severity"),
        histogram,
    );
    routes.add(
        &["/api/v1/events/facets"],
        Operation::get("listEventFacets", "Events", "What the events of a list say most")
            .about(
                "Takes the filters of the list. The newest 1,000 events are counted (`of`), or all of them where `exact` says \
                 so: severities, sources and types of lists that ask for nothing but a time. Values that differ in letter case \
                 alone are one.",
            )
            .query(query::EVENT_FILTERS)
            .answers::<FacetsView>(200, "In each field the values with the most events"),
        facets,
    );
    routes.add(
        &["/api/v1/events/export"],
        Operation::get("exportEvents", "Events", "A whole list of events, newest first")
            .about(
                "As lines of JSON, or as CSV that no spreadsheet takes for formulas; of any length, written while it is read. \
                 An export that breaks off ends its connection early: when its reader may no longer read events or their \
                 session has ended, too. One account may have two exports written at a time. That it was made is in the \
                 audit log.",
            )
            .query(query::EVENT_EXPORT)
            .says(200, "The events, as they are read"),
        export,
    );
}

/// How many events of a list there were when.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistogramView {
    /// When the first bucket begins.
    #[schema(format = DateTime)]
    pub(crate) since: String,
    /// When the last bucket ends.
    #[schema(format = DateTime)]
    pub(crate) until: String,
    /// How long a bucket is.
    #[schema(example = "1h")]
    pub(crate) interval: &'static str,
    /// The same in seconds.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) step: i64,
    /// Whether every bucket is whole.
    pub(crate) complete: bool,
    /// From here on buckets are whole; before, there may be more than was counted.
    #[schema(format = DateTime)]
    pub(crate) whole_since: Option<String>,
    /// Whether events that came in just now may be missing: under load, search follows behind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) search_is_behind: bool,
    /// All that was counted.
    pub(crate) total: i64,
    pub(crate) buckets: Vec<BucketView>,
}

/// Counts of one stretch of time.
#[derive(Serialize, ToSchema)]
pub(crate) struct BucketView {
    /// When it begins.
    #[schema(format = DateTime)]
    time: String,
    /// How many events of any severity.
    count: i64,
    /// How many of each; `null` where only their sum is known, for many events of one source or type.
    by_severity: Option<BTreeMap<&'static str, i64>>,
    /// The second it begins at.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) begins: i64,
    /// As in `by_severity`, from the least bad on.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) counts: [i64; 4],
    /// Those of which the severity isn't known.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) others: i64,
}

/// What the events of a list say most.
#[derive(Serialize, ToSchema)]
pub(crate) struct FacetsView {
    /// How many events were looked at, the newest of the list.
    pub(crate) of: i64,
    /// Whether the list has more.
    pub(crate) more: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) search_is_behind: bool,
    /// By field: `severity`, `source_name`, `event_type`, `host`, `user`, `src_ip`, `dst_ip`.
    pub(crate) facets: BTreeMap<&'static str, FacetView>,
}

/// The values of a field.
#[derive(Serialize, ToSchema)]
pub(crate) struct FacetView {
    /// Whether all events of the list were counted, rather than the newest.
    pub(crate) exact: bool,
    /// The most frequent first, at most ten.
    pub(crate) values: Vec<ValueView>,
}

/// A value, and how many events have it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ValueView {
    pub(crate) value: String,
    pub(crate) count: i64,
}

/// In which steps a list is counted that asks for a time.
fn steps(
    filter: &EventFilter,
    given: Option<&str>,
    now: Timestamp,
) -> Result<(&'static str, Steps), Invalid> {
    let span = filter.about.span;
    let until = span.until.unwrap_or(now.plus_seconds(1));
    let since = span.since.unwrap_or(until.plus_seconds(-USUAL_SECONDS));
    let seconds = (until.seconds() - since.seconds()).max(0);
    let wrong = |message: String| Invalid::field(STEP.name, message);
    let (interval, step) = match given {
        None => {
            let fits = STEPS.into_iter().find(|(_, step)| seconds / step <= MAX_FITTING);
            fits.unwrap_or(STEPS[STEPS.len() - 1])
        }
        Some(given) => {
            let known = STEPS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
            let known = known.ok_or_else(|| wrong(choose_from(given, STEP.choices)))?;
            if seconds / known.1 > MAX_BUCKETS {
                return Err(wrong(format!(
                    "That makes more than {MAX_BUCKETS} buckets; choose a longer one."
                )));
            }
            known
        }
    };
    // However long ago it begins, there is no more to see than this.
    let first = since.seconds().max(until.seconds() - MAX_BUCKETS * step).div_euclid(step) * step;
    let end = (until.micros() - 1).div_euclid(step * 1_000_000) * step + step;
    let at = |second: i64| Timestamp::from_micros(0).plus_seconds(second);
    Ok((interval, Steps { since: at(first), until: at(end.max(first)), seconds: step }))
}

/// How many events of a list there were when.
pub(crate) async fn over_time(
    state: &AppState,
    filter: &EventFilter,
    interval: Option<&str>,
    patience: Duration,
) -> Result<HistogramView, ApiError> {
    let now = now();
    let (interval, steps) = steps(filter, interval, now)?;
    let searched = filter.is_indexed() || !filter.about.without.is_empty();
    let search_is_behind = !state.is_searchable(searched).await;
    let Histogram { counts, whole_since } =
        state.db.heavy().event_histogram(filter, &steps, now, Effort::of(patience)).await?;
    let bucket = |begins: i64| {
        let of = |severity| counts.get(&(begins, severity)).copied().unwrap_or_default();
        let by_severity = Severity::ALL.map(|severity| (severity.as_str(), of(Some(severity))));
        let (counts, others) = (by_severity.map(|(_, n)| n), of(None));
        let known = by_severity.into_iter().filter(|(_, n)| *n > 0).collect();
        BucketView {
            time: Timestamp::from_micros(0).plus_seconds(begins).to_string(),
            count: counts.iter().sum::<i64>() + others,
            by_severity: (others == 0).then_some(known),
            begins,
            counts,
            others,
        }
    };
    let (first, end) = (steps.since.seconds(), steps.until.seconds());
    let buckets: Vec<BucketView> = (first..end).step_by(steps.seconds as usize).map(bucket).collect();
    // What lies before the first bucket need not be whole.
    let whole_since = whole_since.filter(|since| *since > steps.since);
    Ok(HistogramView {
        since: steps.since.to_string(),
        until: steps.until.to_string(),
        interval,
        step: steps.seconds,
        complete: whole_since.is_none(),
        whole_since: whole_since.map(|since| since.to_string()),
        search_is_behind,
        total: buckets.iter().map(|bucket| bucket.count).sum(),
        buckets,
    })
}

async fn histogram(
    EventReader(caller): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<HistogramView>, ApiError> {
    let filter = asked.query.events_of(query::EVENT_HISTOGRAM)?;
    let _place = places::for_search(&state, &caller).await?;
    over_time(&state, &filter, asked.query.get(STEP.name), PATIENCE).await.map(Json)
}

/// What the events of a list say most.
pub(crate) async fn most_said(state: &AppState, filter: &EventFilter) -> Result<FacetsView, ApiError> {
    let search_is_behind = !state.is_searchable(filter.is_indexed()).await;
    let found = state.db.heavy().event_facets(filter, FACETED, TOP, now()).await?;
    let view = |facet: Facet| FacetView {
        exact: facet.exact,
        values: facet.values.into_iter().map(|(value, count)| ValueView { value, count }).collect(),
    };
    let mut facets: BTreeMap<&'static str, FacetView> =
        found.fields.into_iter().map(|(field, facet)| (field.name(), view(facet))).collect();
    facets.insert("severity", view(found.severities));
    Ok(FacetsView { of: found.of, more: found.more, search_is_behind, facets })
}

async fn facets(
    EventReader(caller): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<FacetsView>, ApiError> {
    let filter = asked.query.events_of(query::EVENT_FILTERS)?;
    let _place = places::for_search(&state, &caller).await?;
    most_said(&state, &filter).await.map(Json)
}

impl Exported for EventView {
    const CSV_HEAD: &'static str = Self::COLUMNS;

    fn csv(&self, text: &mut String) {
        text.push_str(&self.id.to_string());
        for field in self.texts() {
            text.push(',');
            csv_field(field, text);
        }
    }
}

/// So many events together that they take about as much memory as a piece should.
fn next_size(size: u32, events: &[Event]) -> u32 {
    let weight = |event: &Event| {
        let attributes = event.details.attributes.as_ref().map_or(0, |all| Attributes::as_json(all).len());
        event.description.len() + attributes
    };
    let bytes: usize = events.iter().map(weight).sum();
    match bytes {
        few if few < PIECE_BYTES / 4 => (size * 2).min(MAX_PIECE),
        many if many > PIECE_BYTES => (size / 2).max(1),
        _ => size,
    }
}

/// The whole list that a query asks for, as a file.
pub(crate) async fn file(
    state: AppState,
    caller: &Caller,
    asked: &Query,
    text: Option<String>,
) -> Result<Response, ApiError> {
    let (filter, format) = asked.event_export()?;
    let permit = Permit::of(&state, caller, Action::ReadEvents).await?;
    state.is_searchable(filter.is_indexed()).await;
    let entry = caller.entry();
    let which = text.filter(|text| !text.is_empty()).unwrap_or_else(|| "all of them".into());
    state.db.note(&entry, "events.export", "events", which).await?;
    let next = move |(place, size): (Option<Cursor>, u32)| {
        let (state, filter) = (state.clone(), filter.clone());
        async move {
            let (events, behind) = state.db.heavy().event_batch(&filter, place, size).await?;
            let size = next_size(size, &events);
            let rows = events.into_iter().map(|event| EventView::new(event, Case::Capitals)).collect();
            Ok((rows, behind.map(|behind| (Some(behind), size))))
        }
    };
    Ok(export::answer("events", format, entry.at, permit, (None, FIRST_PIECE), next))
}

async fn export(
    EventReader(caller): EventReader,
    State(state): State<AppState>,
    RawQuery(text): RawQuery,
    asked: ListRequest,
) -> Result<Response, ApiError> {
    file(state, &caller, &asked.query, text).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::filter::{About, Span};

    fn of(since: i64, until: i64, interval: Option<&str>) -> (String, i64, i64) {
        let at = |second: i64| Some(Timestamp::from_micros(0).plus_seconds(second));
        let about = About { span: Span { since: at(since), until: at(until) }, ..About::default() };
        let filter = EventFilter { about, ..EventFilter::default() };
        let (name, steps) = steps(&filter, interval, Timestamp::from_micros(0)).expect("a known interval");
        (name.to_owned(), steps.since.seconds(), steps.until.seconds())
    }

    #[test]
    fn steps_fit_the_time_and_are_whole() {
        assert_eq!(of(30, 900, None), ("1m".into(), 0, 900));
        assert_eq!(of(30, 901, None), ("1m".into(), 0, 960));
        assert_eq!(of(0, 86_400, None).0, "10m");
        assert_eq!(of(0, 7 * 86_400, None).0, "1h");
        assert_eq!(of(0, 30 * 86_400, None).0, "6h");
        assert_eq!(of(4_000, 7_300, Some("1H")), ("1h".into(), 3_600, 10_800));
        assert_eq!(of(50, 50, None), ("1m".into(), 0, 60));
        assert_eq!(of(500, 50, None), ("1m".into(), 480, 480), "nothing");
        let (name, first, end) = of(0, 20_000 * 86_400, None);
        assert!(name == "7d" && (end - first) / (7 * 86_400) <= MAX_BUCKETS + 1, "{name} {first} {end}");
    }
}
