//! The list of alerts, with the filters in its address.

use crate::api::page::links;
use crate::console::guard::AlertReader;
use crate::console::page::{PageError, render};
use crate::extract::ListRequest;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::filter::AlertOrder;
use watchpost_model::{Alert, Severity, Status};

/// How much of a description a row shows.
const EXCERPT_CHARS: usize = 160;

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
        excerpt => alert.event.description.chars().take(EXCERPT_CHARS).collect::<String>(),
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

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let (filter, request) = asked.query.alerts()?;
    let counts = state.db.alert_counts().await?;
    let page = state.db.alerts(&filter, request).await?;
    let neighbours = links(&page, &asked)?;
    let tab = |status: Status| {
        context! { value => status.as_str(), says => status.title(), count => counts.sum(&[status], &[]), chosen => filter.statuses == [status] }
    };
    let order = match filter.order {
        AlertOrder::CreatedAt => "created_at",
        AlertOrder::Severity => "severity",
        AlertOrder::Status => "status",
    };
    let orders = [
        ("-created_at", "Newest first"),
        ("created_at", "Oldest first"),
        ("-severity", "Worst first"),
        ("severity", "Least bad first"),
    ];
    let chosen_order = if filter.descending { format!("-{order}") } else { order.to_owned() };
    let narrowed = filter != watchpost_model::filter::AlertFilter::default();
    let page = context! {
        title => "Alerts",
        alerts => page.rows.iter().map(view).collect::<Vec<_>>(),
        count => neighbours.count,
        count_is_minimum => neighbours.count_is_minimum,
        next => neighbours.next.map(|_| format!("/{}", asked.query.with_page(request.number + 1))),
        previous => neighbours.previous.map(|_| format!("/{}", asked.query.with_page(request.number - 1))),
        number => request.number,
        here => format!("/{}", asked.query.with_page(request.number)),
        tabs => Status::ALL.map(tab),
        all => counts.sum(&[], &[]),
        narrowed,
        severities => options(&Severity::ALL, &filter.severities, |s| (s.as_str(), s.title())),
        statuses => options(&Status::ALL, &filter.statuses, |s| (s.as_str(), s.title())),
        orders => orders.map(|(value, says)| context! { value, says, chosen => value == chosen_order }),
        search => filter.search.unwrap_or_default(),
        source_name => filter.source_name.unwrap_or_default(),
        event_type => filter.event_type.unwrap_or_default(),
    };
    Ok(render(StatusCode::OK, "alerts.html", Some(&session), page))
}
