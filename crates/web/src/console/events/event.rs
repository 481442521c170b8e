//! One event: everything it says with the ways to narrower lists, its alert, and what happened around it.

use super::{HERE, at, filters, narrowing};
use crate::api::raise::by_hand;
use crate::auth::session::Session;
use crate::console::event_facts::{attributes, origin, title};
use crate::console::guard::{AlertChanger, EventReader, Form, own_path};
use crate::console::neighbours::around;
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::queue::{class, view};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::Id;
use crate::query::Query;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::filter::Field;
use watchpost_model::{Event, EventId, Severity};

/// The list that somebody was on, as the address carries it along.
fn carried(query: Option<&str>) -> Query {
    let found = query.and_then(|query| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == "list").map(|(_, list)| list.into_owned())
    });
    let list = found.as_deref().map_or("", own_path);
    let text = list.strip_prefix(HERE).and_then(|rest| rest.strip_prefix('?')).unwrap_or_default();
    Query::parse(text).map_or_else(|_| Query::default(), |query| filters(&query))
}

/// What an event says, one thing a line.
fn facts(event: &Event, list: &Query) -> Vec<Value> {
    let mut facts = Vec::new();
    for field in Field::ALL {
        if let Some(value) = field.of(event) {
            let alerts = Query::default().and(field.name(), value).text();
            facts.push(context! {
                says => title(field),
                value,
                only => narrowing::only(list, field, value),
                but => narrowing::but(list, field, value),
                alerts => format!("/alerts{alerts}"),
            });
        }
    }
    for (name, value) in attributes(event) {
        let only = narrowing::with_words(list, &value);
        facts.push(context! { says => name, value, only, but => (), alerts => () });
    }
    facts
}

pub(crate) async fn show(
    EventReader(session): EventReader,
    State(state): State<AppState>,
    Id(id): Id<EventId>,
    said: Said,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let event = state.db.event(id).await?.ok_or(ApiError::NotFound)?;
    let list = carried(query.as_deref());
    let alerts = state.db.alerts_of_event(id).await?;
    let page = context! {
        title => format!("Event {id}"),
        said => said.text(),
        list => at(&list),
        narrowed => !list.text().is_empty(),
        event => shown(&event),
        only_severity => narrowing::only_severity(&list, event.severity),
        but_severity => narrowing::but_severity(&list, event.severity),
        facts => facts(&event, &list),
        alerts => alerts.iter().map(view).collect::<Vec<_>>(),
        severities => Severity::ALL.map(|one| context! {
            value => one.as_str(), says => one.title(), chosen => one == event.severity
        }),
        around => neighbours(&state, &session, &event).await?,
    };
    let page = render(StatusCode::OK, "event.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

fn shown(event: &Event) -> Value {
    context! {
        id => event.id.get(),
        severity => event.severity.title(),
        severity_class => class(event.severity.title()),
        source_name => event.source_name.as_str(),
        event_type => event.event_type.as_str(),
        description => event.description.as_str(),
        received => event.created_at.to_string(),
        occurred => event.details.occurred_at.map(|at| at.to_string()),
        submitted_by => origin(event),
    }
}

/// What else happened around the event.
async fn neighbours(
    state: &AppState,
    session: &Session,
    event: &Event,
) -> Result<Option<Vec<Value>>, PageError> {
    around(state, session, event, None).await
}

/// Raises an alert for the event, and goes to it.
pub(crate) async fn raise(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<EventId>,
    sent: Form,
) -> Result<Response, PageError> {
    let (alert, new) = by_hand(&state, id, &sent.fields()?, &session.caller).await?;
    let done = if new { Done::Raised } else { Done::RaisedBefore };
    Ok(done.then(&format!("/alerts/{}", alert.id), &state.settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filters_of_a_list_of_events_are_carried_along() {
        let carried = |text: &str| at(&carried(Some(text)));
        assert_eq!(carried("list=%2Fevents%3Fhost%3Da%26cursor%3Da0-0-1"), "/events?host=a");
        for other in ["", "list=%2F%2Fevil.example", "list=%2Falerts%3Fhost%3Da", "list=%2Fevents", "host=a"]
        {
            assert_eq!(carried(other), "/events", "{other}");
        }
    }
}
