//! The first page: what needs somebody now, what has been going on, and how fast people are.

use crate::api::handover::report;
use crate::api::stats::{self, DurationView, TopView, Window};
use crate::console::chart::{Pick, stacked};
use crate::console::first_run;
use crate::console::guard::AlertReader;
use crate::console::handover;
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::queue::{class, folded};
use crate::console::said::Said;
use crate::extract::{Base, ListRequest};
use crate::places;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::access::allows;
use watchpost_model::page::PageRequest;
use watchpost_model::{Action, Severity, Status};
use watchpost_pipeline::now;
use watchpost_store::{AlertCounts, GroupFilter, GroupOrder, Series};

/// The stretches of time to choose from: how one is written, called, and how many seconds it is.
const RANGES: [(&str, &str, i64); 4] = [
    ("1h", "Hour", 3_600),
    ("24h", "Day", 86_400),
    ("7d", "Week", 7 * 86_400),
    ("30d", "Month", 30 * 86_400),
];
const USUAL: &str = "24h";
/// Groups of open alerts that are shown.
const WORST: u32 = 7;
/// Sources and types that are shown.
const TOP: i64 = 7;
/// How long people's pace is looked at.
const PACE_SECONDS: i64 = 7 * 86_400;

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    said: Said,
    Base(base): Base,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let wanted = asked.query.get("range").unwrap_or(USUAL);
    let (range, _, seconds) = RANGES.into_iter().find(|(name, ..)| *name == wanted).unwrap_or(RANGES[1]);
    let window = Window::last(seconds);
    let _place = places::for_page(&state, &session.caller).await?;
    let counts = state.db.alert_counts().await?;
    let stored = state.db.event_count(&[]).await?;
    let events = allows(session.caller.rank, Action::ReadEvents);
    let list = if events { "/events" } else { "/alerts" };
    let pick = format!("{list}?since=SINCE&until=UNTIL");
    let bars = stats::bars(&state.db, window).await?;
    let [sources, types] = [("source_name", Series::EventSource), ("event_type", Series::EventType)];
    let tops = async |(name, series): (&'static str, Series)| {
        let found = stats::tops(&state.db, series, window, TOP).await?;
        Ok::<_, PageError>(tops(found, &format!("{list}?since=-{range}&{name}=")))
    };
    let pace = stats::reactions_in(&state.db, Window::last(PACE_SECONDS)).await?;
    let page = context! {
        title => "Overview",
        said => said.text(),
        nothing => stored == 0,
        stored,
        open => open(&counts),
        acknowledged => counts.sum(&[Status::Acknowledged], &[]),
        handover => handover::view(&report(&state.db, None, now(), &session.caller).await?),
        worst => worst(&state).await?,
        ranges => RANGES.map(|(name, says, _)| context! { name, says, chosen => name == range }),
        chart => stacked("events", &bars, &Pick { address: &pick }),
        sources => tops(sources).await?,
        types => tops(types).await?,
        pace => [("Time to acknowledge", pace.acknowledge), ("Time to resolve", pace.resolve)]
            .map(|(says, found)| duration(says, found)),
        first => first_run::steps(&state, &session, &base, stored).await?,
        stream => "/stream?topics=counts",
    };
    let page = render(StatusCode::OK, "overview.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

/// What nobody has taken on, the worst first.
fn open(counts: &AlertCounts) -> Vec<Value> {
    let tile = |severity: &Severity| {
        let says = severity.title();
        let count = counts.sum(&[Status::Open], &[*severity]);
        context! { says, count, class => class(says), value => severity.as_str() }
    };
    Severity::ALL.iter().rev().map(tile).collect()
}

/// What to begin with: a flood from one source is one line.
async fn worst(state: &AppState) -> Result<Vec<Value>, PageError> {
    let filter =
        GroupFilter { statuses: vec![Status::Open], order: GroupOrder::Severity, ..GroupFilter::default() };
    let page = state.db.alert_groups(&filter, PageRequest::numbered(1, WORST)).await?;
    Ok(page.rows.iter().map(|group| folded::view(group, Status::Open.as_str())).collect())
}

fn tops(found: Vec<TopView>, list: &str) -> Vec<Value> {
    let most = found.iter().map(|top| top.count).max().unwrap_or(1).max(1);
    let top = |TopView { value, count }: TopView| {
        let name: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        context! { value, count, href => format!("{list}{name}"), share => count * 100 / most }
    };
    found.into_iter().map(top).collect()
}

/// Seconds as people say them.
fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3_600.0 => format!("{:.0} min", s / 60.0),
        s if s < 86_400.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

fn duration(says: &str, found: Option<DurationView>) -> Value {
    let found = found.map(|found| {
        context! { mean => spoken(found.mean), p90 => spoken(found.p90), count => found.count }
    });
    context! { says, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([8.4, 90.0, 5_400.0, 200_000.0].map(spoken), ["8 s", "2 min", "1.5 h", "2.3 d"]);
    }
}
