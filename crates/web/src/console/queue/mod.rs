//! The queue: alerts that somebody has to look at, one by one or folded, with the filters in the address.

pub(super) mod bulk;
pub(super) mod filters;
pub(super) mod folded;
pub(super) mod views;

use crate::api::page::{links, neighbours};
use crate::console::guard::AlertReader;
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::Refused;
use crate::console::said::Said;
use crate::console::visible;
use crate::error::ApiError;
use crate::extract::{Base, ListRequest};
use crate::places;
use crate::query::Query;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::triage::Verdict;
use watchpost_model::{Alert, Severity, Status};
use watchpost_pipeline::now;
use watchpost_store::AlertCounts;

/// Where it is.
pub(super) const HERE: &str = "/alerts";
/// How much of a description a row shows.
const EXCERPT_CHARS: usize = 220;
/// Rows on a page unless told.
const ROWS: &str = "25";

/// How severities and statuses are told apart by styles.
pub(crate) fn class(title: &str) -> String {
    title.to_ascii_lowercase()
}

/// An alert as templates see it.
pub(crate) fn view(alert: &Alert) -> Value {
    let event = &alert.event;
    let title = alert.title.as_deref();
    context! {
        id => alert.id.get(),
        severity => alert.severity.title(),
        severity_class => class(alert.severity.title()),
        status => alert.status.title(),
        status_class => class(alert.status.title()),
        title => title.unwrap_or(&event.event_type),
        named => title.is_some(),
        source_name => event.source_name.as_str(),
        event_type => event.event_type.as_str(),
        excerpt => visible::excerpt(&event.description, EXCERPT_CHARS),
        created_at => alert.created_at.to_string(),
        assignee => alert.assignee.as_ref().map(|assignee| assignee.name.clone()),
        tags => alert.tags.clone(),
        verdict => alert.verdict.map(Verdict::title),
        snoozed_until => alert.snoozed_until.filter(|until| *until > now()).map(|until| until.to_string()),
        version => alert.version,
        moves => moves(alert.status),
    }
}

/// The ways on from a status: what is done, and what its button says.
fn moves(from: Status) -> Vec<Value> {
    let ways: &[(&str, &str)] = match from {
        Status::Open => &[("ack", "Acknowledge"), ("resolve", "Resolve")],
        Status::Acknowledged => &[("resolve", "Resolve"), ("unack", "Give back")],
        Status::Resolved => &[("reopen", "Reopen")],
    };
    ways.iter().map(|(action, says)| context! { action => *action, says => *says }).collect()
}

/// The ways to look at the queue that everybody needs.
const TABS: [(&str, &str); 6] = [
    ("Open", "status=OPEN&snoozed=false"),
    ("Mine", "assignee=me&status=OPEN,ACKNOWLEDGED"),
    ("Acknowledged", "status=ACKNOWLEDGED"),
    ("Snoozed", "snoozed=true"),
    ("Resolved", "status=RESOLVED"),
    ("All", ""),
];

fn tabs(query: &Query, counts: &AlertCounts) -> Vec<Value> {
    let shown = query.keep(|name, _| !matches!(name, "fold" | "ordering" | "page_size"));
    let mut shown: Vec<(&str, &str)> = shown.given().collect();
    shown.sort_unstable();
    let tab = |(says, text): &(&str, &str)| {
        let mut pairs: Vec<(&str, &str)> = text.split('&').filter_map(|pair| pair.split_once('=')).collect();
        pairs.sort_unstable();
        let count = match *says {
            "Acknowledged" => Some(counts.sum(&[Status::Acknowledged], &[])),
            "Resolved" => Some(counts.sum(&[Status::Resolved], &[])),
            "Open" => Some(counts.sum(&[Status::Open], &[])),
            "All" => Some(counts.sum(&[], &[])),
            _ => None,
        };
        let mark = if text.is_empty() { "" } else { "?" };
        context! { says => *says, href => format!("{HERE}{mark}{text}"), count, chosen => pairs == shown }
    };
    TABS.iter().map(tab).collect()
}

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    said: Said,
    Base(base): Base,
    ListRequest { query, address }: ListRequest,
) -> Result<Response, PageError> {
    let here = query.with_page(query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1), None);
    let fold = query.get("fold") == Some("group");
    let query = query.but("fold");
    let query = if query.has("page_size") { query } else { query.and("page_size", ROWS) };
    let asked = ListRequest { query, address };
    let counts = state.db.alert_counts().await?;
    let list = match fold {
        true => folded::list(&state, &session, &asked).await,
        false => single(&state, &session, &asked).await,
    };
    // A typing mistake in a filter is said where the filter is, with everything else that was asked for.
    let (list, refused) = match list {
        Ok(list) => (list, None),
        Err(PageError::Api(error @ ApiError::Invalid(_))) => (
            context! { rows => Vec::<Value>::new(), behind => false },
            Some(Refused::filter(error, filters::FIELDS, &asked)?),
        ),
        Err(error) => return Err(error),
    };
    let asks = asked.query.keep(|name, _| name != "page_size");
    let other = if fold { asks.text() } else { folded::query(&asks).with("fold", "group").text() };
    let page = context! {
        title => "Alerts",
        undo => bulk::undo(&state, &session, &said).await?,
        said => said.text(),
        fold,
        fold_href => format!("{HERE}{other}"),
        list,
        refused => refused.as_ref().map(Refused::view),
        here => format!("{HERE}{here}"),
        filter => asks.text(),
        tabs => tabs(&asks, &counts),
        all => counts.sum(&[], &[]),
        views => views::menu(&state, &session, &asks).await?,
        chips => filters::chips(&asks, fold),
        filters => filters::form(&asked.query),
        clear => HERE,
        choices => bulk::choices(&state).await?,
        verdicts => Verdict::ALL.map(|verdict| context! { value => verdict.as_str(), says => verdict.title() }),
        snoozes => bulk::SNOOZES.map(|(until, says)| context! { until, says }),
        verdict_required => state.settings.verdict_required,
        severities => Severity::ALL.map(|severity| context! { value => severity.as_str(), says => severity.title() }),
        stream => "/stream?topics=alerts,counts",
        base,
    };
    let status = refused.as_ref().map_or(StatusCode::OK, |refused| refused.status);
    let page = render(status, "alerts.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

/// Alerts one by one.
async fn single(
    state: &AppState,
    session: &crate::auth::session::Session,
    asked: &ListRequest,
) -> Result<Value, PageError> {
    let (mut filter, request) = asked.query.alerts()?;
    asked.query.whose(&mut filter, state, &session.caller).await?;
    let _place = places::for_list(state, &session.caller, filter.is_search()).await?;
    let complete = state.is_searchable(filter.is_indexed()).await;
    let page = state.db.alerts(&filter, request).await?;
    let totals = links(&page, asked)?;
    let (next, previous) = neighbours(&page, &asked.query);
    let to = |query: String| format!("{HERE}{query}");
    Ok(context! {
        rows => page.rows.iter().map(view).collect::<Vec<_>>(),
        behind => !complete,
        count => totals.count,
        count_is_minimum => totals.count_is_minimum,
        number => request.number,
        numbered => asked.query.is_numbered(),
        pages => totals.count.max(1).unsigned_abs().div_ceil(u64::from(request.size)),
        next => next.map(to),
        previous => previous.map(to),
    })
}
