//! The events explorer: every event, narrowed by what it says, with how many there were when. The filters are in the
//! address, so whatever is on the page can be kept and sent to others.

mod event;
mod narrowing;
mod range;

use crate::api::explore::{FacetsView, HistogramView, PATIENCE, file, most_said, over_time};
use crate::api::page::{links, neighbours};
use crate::auth::session::Session;
use crate::console::chart::{Bar, Pick, stacked};
use crate::console::first_run;
use crate::console::guard::EventReader;
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::queue::class;
use crate::console::queue::filters::chips_of;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::Said;
use crate::console::visible;
use crate::error::ApiError;
use crate::extract::{Base, ListRequest};
use crate::places;
use crate::query::{EVENT_FILTERS, Query};
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
pub(super) use event::{raise, show as show_one};
use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;
use watchpost_model::filter::{EventFilter, Span};
use watchpost_model::page::{Page, PageRequest};
use watchpost_model::{Event, Timestamp};
use watchpost_pipeline::now;

/// Where it is.
const HERE: &str = "/events";
/// How much of a description a row shows.
const EXCERPT_CHARS: usize = 180;
/// How long the page waits for its chart; what isn't counted by then is asked for again, when the page is there.
const A_MOMENT: Duration = Duration::from_millis(20);
/// Rows on a page unless told.
const ROWS: &str = "50";
/// The fields of the form of filters that can be wrong.
const FIELDS: &FormFields = &[("since", "Since"), ("until", "Before")];

/// What of an address narrows the list.
fn filters(query: &Query) -> Query {
    query.keep(|name, _| EVENT_FILTERS.iter().any(|param| param.name == name))
}

/// The address of a list.
fn at(list: &Query) -> String {
    format!("{HERE}{}", list.text())
}

/// An event as a row.
fn row(event: &Event, list: &Query) -> Value {
    let text = list.text();
    let from = match text.is_empty() {
        true => String::new(),
        false => format!("?list={}", utf8_percent_encode(&format!("{HERE}{text}"), NON_ALPHANUMERIC)),
    };
    context! {
        id => event.id.get(),
        href => format!("{HERE}/{}{from}", event.id),
        severity => event.severity.title(),
        severity_class => class(event.severity.title()),
        source_name => event.source_name.as_str(),
        event_type => event.event_type.as_str(),
        excerpt => visible::excerpt(&event.description, EXCERPT_CHARS),
        created_at => event.created_at.to_string(),
    }
}

/// The events of a page, and where its neighbours are.
fn rows(page: &Page<Event>, asked: &ListRequest, list: &Query) -> Result<Value, ApiError> {
    let totals = links(page, asked)?;
    let (next, previous) = neighbours(page, &asked.query);
    let to = |query: String| format!("{HERE}{query}");
    Ok(context! {
        rows => page.rows.iter().map(|event| row(event, list)).collect::<Vec<_>>(),
        count => totals.count,
        count_is_minimum => totals.count_is_minimum,
        partial => page.partial,
        next => next.map(to),
        previous => previous.map(to),
    })
}

fn chart(counted: &HistogramView, step: i64, list: &Query) -> Value {
    let at = |second: i64| Timestamp::from_micros(0).plus_seconds(second);
    let bars: Vec<Bar> = counted
        .buckets
        .iter()
        .map(|bucket| {
            let (since, until) = (at(bucket.begins), at(bucket.begins + step));
            Bar { since, until, counts: bucket.counts, others: bucket.others }
        })
        .collect();
    stacked("events", &bars, &Pick { address: &range::pick(list) })
}

/// What there is over time: of the list, from the first event on when it asks for no time.
async fn counted(
    state: &AppState,
    filter: &EventFilter,
    patience: Duration,
) -> Result<HistogramView, ApiError> {
    let mut filter = filter.clone();
    if filter.about.span.since.is_none() {
        let oldest = state.db.oldest_event().await?;
        let until = filter.about.span.until.unwrap_or_else(now);
        let since = oldest.unwrap_or(until).min(until.plus_seconds(-range::SHORTEST));
        filter.about.span = Span { since: Some(since), ..filter.about.span };
    }
    over_time(state, &filter, None, patience).await
}

/// Everything on the page that is looked up.
struct Found {
    page: Page<Event>,
    counted: HistogramView,
    said: FacetsView,
    /// Events that are stored.
    stored: i64,
}

async fn find(state: &AppState, filter: &EventFilter, request: PageRequest) -> Result<Found, ApiError> {
    let page = async { Ok::<_, ApiError>(state.db.events(filter, request).await?) };
    let stored = async { Ok::<_, ApiError>(state.db.event_count(&[]).await?) };
    let (page, counted, said, stored) =
        tokio::try_join!(page, counted(state, filter, A_MOMENT), most_said(state, filter), stored)?;
    Ok(Found { page, counted, said, stored })
}

pub(crate) async fn show(
    EventReader(session): EventReader,
    State(state): State<AppState>,
    said: Said,
    Base(base): Base,
    ListRequest { query, address }: ListRequest,
) -> Result<Response, PageError> {
    let query = if query.has("page_size") { query } else { query.and("page_size", ROWS) };
    let asked = ListRequest { query, address };
    let list = filters(&asked.query);
    let (filter, request) = match asked.query.events() {
        Ok(read) => read,
        Err(error) => return refused(&session, Refused::filter(error, FIELDS, &asked)?, &list),
    };
    let _place = places::for_search(&state, &session.caller).await?;
    let complete = state.is_searchable(filter.is_indexed()).await;
    let Found { page, counted, said: values, stored } = find(&state, &filter, request).await?;
    // What comes in can only appear on the first page of a list that goes on until now.
    let grows = request.cursor.is_none() && request.number == 1 && filter.about.span.until.is_none();
    let page = context! {
        title => "Events",
        said => said.text(),
        refused => (),
        list => rows(&page, &asked, &list)?,
        nothing => stored == 0,
        narrowed => !list.text().is_empty(),
        behind => !complete,
        search => list.get("search").unwrap_or_default(),
        kept => narrowing::kept(&list),
        ranges => range::presets(&list),
        since => list.get("since").unwrap_or_default(),
        until => list.get("until").unwrap_or_default(),
        wider => range::wider(&list, now()),
        chips => chips_of(&list, |rest| at(&rest)),
        clear => HERE,
        chart => chart(&counted, counted.step, &list),
        whole_since => counted.whole_since,
        more => format!("{HERE}/chart{}", list.text()),
        facets => narrowing::facets(&values, &list),
        facets_of => values.of,
        exports => ["csv", "ndjson"].map(|format| context! {
            says => format.to_ascii_uppercase(),
            href => format!("{HERE}/export{}", list.with("format", format).text()),
        }),
        news => grows.then(|| range::stream(&list)),
        first => first_run::steps(&state, &session, &base, stored).await?,
    };
    let page = render(StatusCode::OK, "events.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

/// The page without its list: what is wrong with a filter, where the filter is, with everything else that was asked for.
fn refused(session: &Session, refused: Refused, list: &Query) -> Result<Response, PageError> {
    let page = context! {
        title => "Events",
        refused => refused.view(),
        said => (),
        nothing => false,
        search => list.get("search").unwrap_or_default(),
        kept => narrowing::kept(list),
        ranges => range::presets(list),
        since => list.get("since").unwrap_or_default(),
        until => list.get("until").unwrap_or_default(),
        chips => chips_of(list, |rest| at(&rest)),
        clear => HERE,
    };
    Ok(refused.on(render(refused.status, "events.html", Some(session), page)))
}

/// The chart alone, for a page that didn't wait for it.
pub(crate) async fn show_chart(
    EventReader(session): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let list = filters(&asked.query);
    let filter = asked.query.events_of(EVENT_FILTERS)?;
    let _place = places::for_search(&state, &session.caller).await?;
    let counted = counted(&state, &filter, PATIENCE).await?;
    let page = context! {
        chart => chart(&counted, counted.step, &list),
        whole_since => counted.whole_since,
        more => (),
    };
    Ok(render(StatusCode::OK, "events_chart.html", Some(&session), page))
}

/// The whole list as a file: what the API exports, for whoever is signed in.
pub(crate) async fn export(
    EventReader(session): EventReader,
    State(state): State<AppState>,
    RawQuery(text): RawQuery,
    asked: ListRequest,
) -> Result<Response, PageError> {
    Ok(file(state, &session.caller, &asked.query, text).await?)
}
