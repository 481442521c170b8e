//! The queue folded: what belongs together as one row, with what can be done about all that is open of it.

use super::{HERE, class};
use crate::api::groups::query_of;
use crate::api::page::{links, neighbours};
use crate::auth::session::Session;
use crate::console::problem::PageError;
use crate::extract::ListRequest;
use crate::places;
use crate::query::{GROUPS, Query};
use crate::state::AppState;
use minijinja::{Value, context};
use watchpost_model::Status;
use watchpost_store::Group;

/// What of a list's filters groups go by.
pub(super) fn query(query: &Query) -> Query {
    query.keep(|name, value| {
        let known = GROUPS.iter().any(|param| param.name == name);
        known && (name != "ordering" || matches!(value, "-last_seen" | "-severity" | "-count"))
    })
}

/// Groups.
pub(super) async fn list(
    state: &AppState,
    session: &Session,
    asked: &ListRequest,
) -> Result<Value, PageError> {
    let asked = ListRequest { query: query(&asked.query), address: asked.address.clone() };
    let (filter, request) = asked.query.groups()?;
    let _place = places::for_page(state, &session.caller).await?;
    let page = state.db.alert_groups(&filter, request).await?;
    let totals = links(&page, &asked)?;
    let (next, previous) = neighbours(&page, &asked.query);
    let to = |query: String| match query.is_empty() {
        true => format!("{HERE}?fold=group"),
        false => format!("{HERE}{query}&fold=group"),
    };
    let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    Ok(context! {
        rows => page.rows.iter().map(|group| view(group, &statuses.join(","))).collect::<Vec<_>>(),
        count => totals.count,
        count_is_minimum => totals.count_is_minimum,
        number => request.number,
        numbered => true,
        pages => totals.count.max(1).unsigned_abs().div_ceil(u64::from(request.size)),
        next => next.map(to),
        previous => previous.map(to),
        behind => false,
        open_only => filter.statuses == [Status::Open],
    })
}

/// A group as templates see it, leading to those of its alerts that have these statuses.
pub(crate) fn view(group: &Group, statuses: &str) -> Value {
    let filter = query_of(group);
    let status = if statuses.is_empty() { String::new() } else { format!("&status={statuses}") };
    context! {
        href => format!("{HERE}?{filter}{status}"),
        key => filter,
        severity => group.severity.title(),
        severity_class => class(group.severity.title()),
        source_name => group.source_name.as_str(),
        event_type => group.event_type.as_str(),
        open => group.open,
        acknowledged => group.acknowledged,
        resolved => group.resolved,
        total => group.open + group.acknowledged + group.resolved,
        first_at => group.first_at.to_string(),
        last_at => group.last_at.to_string(),
        last_alert => group.last_alert.get(),
        rule => group.rule.as_str(),
    }
}
