//! What else happened around an event: to the same host, user, address or source, shortly before and after.

use crate::auth::session::Session;
use crate::console::event_facts::title;
use crate::console::problem::PageError;
use crate::console::queue::class;
use crate::console::visible;
use crate::error::ApiError;
use crate::places;
use crate::state::AppState;
use futures_util::future::try_join_all;
use minijinja::{Value, context};
use std::collections::BTreeMap;
use watchpost_model::access::allows;
use watchpost_model::filter::{About, AlertFilter, EventFilter, Field, Span};
use watchpost_model::{Action, Alert, AlertId, Event};

/// How far around it is looked.
const SECONDS: i64 = 30 * 60;
/// How many of each are shown.
const SHOWN: usize = 5;
const EXCERPT_CHARS: usize = 120;
/// What is looked for, the most telling first.
const FIELDS: [Field; 5] = [Field::Host, Field::User, Field::SrcIp, Field::DstIp, Field::Source];

/// What shares a field with an event.
struct Shared {
    field: Field,
    value: String,
    about: About,
}

/// What happened around an event, by what it shares with it; without the alert whose page this is for. Nothing where
/// that can't be looked up now, because too much else is being looked up.
pub(crate) async fn around(
    state: &AppState,
    session: &Session,
    event: &Event,
    alert: Option<AlertId>,
) -> Result<Option<Vec<Value>>, PageError> {
    let span = Span {
        since: Some(event.created_at.plus_seconds(-SECONDS)),
        until: Some(event.created_at.plus_seconds(SECONDS)),
    };
    let shared = |field: Field| {
        let value = field.of(event)?.to_owned();
        let fields = BTreeMap::from([(field, vec![value.clone()])]);
        Some(Shared { field, value, about: About { fields, span, ..About::default() } })
    };
    let all: Vec<Shared> = FIELDS.into_iter().filter_map(shared).collect();
    let looking = async {
        let _place = places::for_search(state, &session.caller).await?;
        try_join_all(all.iter().map(|shared| one(state, session, shared, event, alert))).await
    };
    match looking.await {
        Ok(found) => Ok(Some(found.into_iter().flatten().collect())),
        // The page is there for what it is about.
        Err(PageError::Api(ApiError::Busy(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn one(
    state: &AppState,
    session: &Session,
    shared: &Shared,
    event: &Event,
    alert: Option<AlertId>,
) -> Result<Option<Value>, PageError> {
    let enough = SHOWN as u32 + 1;
    let filter = AlertFilter { about: shared.about.clone(), ..AlertFilter::default() };
    let alerts = state.db.first_alerts(&filter, enough).await?;
    let others = alerts.iter().filter(|other| alert.is_none_or(|alert| alert != other.id));
    let alerts: Vec<Value> = others.take(SHOWN).map(alert_line).collect();
    let mut events = Vec::new();
    if allows(session.caller.rank, Action::ReadEvents) {
        let filter = EventFilter { about: shared.about.clone(), ..EventFilter::default() };
        let (rows, _) = state.db.event_batch(&filter, None, enough).await?;
        let others = rows.iter().filter(|other| other.id != event.id);
        events.extend(others.take(SHOWN).map(event_line));
    }
    if alerts.is_empty() && events.is_empty() {
        return Ok(None);
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair(shared.field.name(), &shared.value)
        .append_pair("since", &shared.about.span.since.unwrap_or(event.created_at).to_string())
        .append_pair("until", &shared.about.span.until.unwrap_or(event.created_at).to_string())
        .finish();
    Ok(Some(context! { says => title(shared.field), value => shared.value.as_str(), alerts, events, query }))
}

fn alert_line(alert: &Alert) -> Value {
    context! {
        id => alert.id.get(),
        severity => alert.severity.title(),
        severity_class => class(alert.severity.title()),
        status => alert.status.title(),
        status_class => class(alert.status.title()),
        title => alert.title.as_deref().unwrap_or(&alert.event.event_type),
        created_at => alert.created_at.to_string(),
    }
}

fn event_line(event: &Event) -> Value {
    context! {
        id => event.id.get(),
        severity => event.severity.title(),
        severity_class => class(event.severity.title()),
        event_type => event.event_type.as_str(),
        excerpt => visible::excerpt(&event.description, EXCERPT_CHARS),
        created_at => event.created_at.to_string(),
    }
}
