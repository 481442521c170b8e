//! The list of alerts, with the filters in its address.

use crate::api::page::{links, neighbours};
use crate::console::guard::AlertReader;
use crate::console::page::{HOME, render};
use crate::console::problem::PageError;
use crate::console::said::Said;
use crate::console::visible;
use crate::extract::{Base, ListRequest};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::filter::{AlertFilter, AlertOrder, Field};
use watchpost_model::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, PageRequest};
use watchpost_model::terms::Search;
use watchpost_model::{Alert, Severity, Status};

/// How much of a description a row shows.
const EXCERPT_CHARS: usize = 160;
/// How many rows a page may have; the API takes any number up to the last.
const PAGE_SIZES: [u32; 4] = [DEFAULT_PAGE_SIZE, 25, 50, MAX_PAGE_SIZE];
const ORDERS: [(&str, &str); 6] = [
    ("-created_at", "Newest first"),
    ("created_at", "Oldest first"),
    ("-severity", "Worst first"),
    ("severity", "Least bad first"),
    ("status", "Open first"),
    ("-status", "Resolved first"),
];

/// An alert as templates see it.
pub(crate) fn view(alert: &Alert) -> Value {
    context! {
        id => alert.id.get(),
        severity => alert.severity.title(),
        severity_class => alert.severity.title().to_ascii_lowercase(),
        status => alert.status.title(),
        status_class => alert.status.title().to_ascii_lowercase(),
        source_name => alert.event.source_name.as_str(),
        event_type => alert.event.event_type.as_str(),
        excerpt => visible::excerpt(&alert.event.description, EXCERPT_CHARS),
        created_at => alert.created_at.to_string(),
        version => alert.version,
        moves => moves(alert.status),
    }
}

/// The ways on from a status, with what their buttons say.
fn moves(from: Status) -> Vec<Value> {
    let ways: &[(Status, &str)] = match from {
        Status::Open => &[(Status::Acknowledged, "Acknowledge"), (Status::Resolved, "Resolve")],
        Status::Acknowledged => &[(Status::Resolved, "Resolve"), (Status::Open, "Reopen")],
        Status::Resolved => &[(Status::Open, "Reopen")],
    };
    ways.iter().map(|(to, says)| context! { to => to.as_str(), says => *says }).collect()
}

fn options<T: Copy + PartialEq>(
    all: &[T],
    chosen: &[T],
    name: fn(T) -> (&'static str, &'static str),
) -> Vec<Value> {
    let option = |one: &T| {
        let (value, says) = name(*one);
        context! { value, says, chosen => chosen.contains(one) }
    };
    all.iter().map(option).collect()
}

/// What the form of filters offers, and what of it is chosen.
fn filters(filter: &AlertFilter, request: PageRequest) -> Value {
    let order = match filter.order {
        AlertOrder::CreatedAt => "created_at",
        AlertOrder::Severity => "severity",
        AlertOrder::Status => "status",
    };
    let chosen_order = if filter.descending { format!("-{order}") } else { order.to_owned() };
    let order = |(value, says)| context! { value, says, chosen => value == chosen_order };
    // A size that was written into the address by hand is offered too.
    let mut sizes = PAGE_SIZES.to_vec();
    sizes.push(request.size);
    sizes.sort_unstable();
    sizes.dedup();
    let size = |size: u32| context! { value => size, chosen => size == request.size };
    let field = |field: Field| filter.about.values(field).first().cloned().unwrap_or_default();
    context! {
        severities => options(&Severity::ALL, &filter.severities, |s| (s.as_str(), s.title())),
        statuses => options(&Status::ALL, &filter.statuses, |s| (s.as_str(), s.title())),
        orders => ORDERS.map(order),
        sizes => sizes.into_iter().map(size).collect::<Vec<_>>(),
        search => filter.about.search.as_ref().map(Search::text).unwrap_or_default(),
        source_name => field(Field::Source),
        event_type => field(Field::Type),
    }
}

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    said: Said,
    Base(base): Base,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let (mut filter, request) = asked.query.alerts()?;
    asked.query.whose(&mut filter, &state, &session.caller).await?;
    let counts = state.db.alert_counts().await?;
    state.is_searchable(filter.is_indexed()).await;
    let page = state.db.alerts(&filter, request).await?;
    let totals = links(&page, &asked)?;
    let (next, previous) = neighbours(&page, &asked.query);
    let tab = |status: Status| {
        let (count, chosen) = (counts.sum(&[status], &[]), filter.statuses == [status]);
        context! { value => status.as_str(), says => status.title(), count, chosen }
    };
    let to = |query: String| format!("{HOME}{query}");
    let here = asked.query.with_page(request.number, request.cursor);
    let page = context! {
        title => "Alerts",
        said => said.text(),
        alerts => page.rows.iter().map(view).collect::<Vec<_>>(),
        count => totals.count,
        count_is_minimum => totals.count_is_minimum,
        number => request.number,
        pages => totals.count.max(1).unsigned_abs().div_ceil(u64::from(request.size)),
        next => next.map(to),
        previous => previous.map(to),
        here => to(here),
        tabs => Status::ALL.map(tab),
        all => counts.sum(&[], &[]),
        narrowed => filter != AlertFilter { order: filter.order, descending: filter.descending, ..AlertFilter::default() },
        filters => filters(&filter, request),
        base,
    };
    let page = render(StatusCode::OK, "alerts.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}
