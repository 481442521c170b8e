//! Security events: handing them in, listing and reading them.

use crate::api::Case;
use crate::api::page::PageView;
use crate::auth::guard::{Caller, EventReader, Sensor};
use crate::body::{Field, Holds, SEVERITIES};
use crate::error::ApiError;
use crate::extract::{Id, Input, ListRequest};
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use watchpost_model::event::Origin;
use watchpost_model::{AlertId, Event, EventId, KeyId, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::{Detected, now};

pub(crate) const BODY: &[Field] = &[
    Field::required(
        "source_name",
        Holds::Text,
        "Who saw it. `source` and `sourceName` are read, too.",
        "edge-firewall-1",
    ),
    Field::required(
        "event_type",
        Holds::Text,
        "What kind of thing was seen. `eventType` is read, too.",
        "intrusion",
    ),
    Field::required(
        "severity",
        Holds::OneOf(SEVERITIES),
        "How bad it is, in any letter case. HIGH and CRITICAL raise an alert.",
        "CRITICAL",
    ),
    Field::required("description", Holds::Text, "What was seen, in words.", "Port scan from 203.0.113.7"),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/events", "/api/events"],
        Operation::post("createEvent", "Events", "Hand in an event")
            .about(
                "The answer comes when the event is on disk; its alert, if it raises one, is there by then.",
            )
            .body(BODY)
            .answers::<StoredEvent>(201, "The event is stored"),
        create,
    );
    routes.add(
        &["/api/v1/events", "/api/events"],
        Operation::get("listEvents", "Events", "List events, newest first")
            .query(query::EVENTS)
            .lists::<EventView>("A page of events"),
        list,
    );
    routes.add(
        &["/api/v1/events/{id}", "/api/events/{id}"],
        Operation::get("readEvent", "Events", "Read an event").answers::<EventView>(200, "The event"),
        read,
    );
}

/// An event.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct EventView {
    pub(crate) id: i64,
    /// Who saw it.
    source_name: String,
    /// What kind of thing was seen.
    event_type: String,
    /// How bad it is.
    severity: &'static str,
    /// What was seen, in words.
    description: String,
    /// When Watchpost took it in.
    #[schema(format = DateTime)]
    timestamp: String,
    /// The same as `timestamp`.
    #[schema(format = DateTime)]
    created_at: String,
    /// The user who handed it in, if it was one.
    created_by: Option<i64>,
    /// The sensor key it was handed in with, if it was one.
    sensor_key: Option<i64>,
}

/// An event that was just stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct StoredEvent {
    #[serde(flatten)]
    pub(crate) event: EventView,
    /// The alert it raised, if it did.
    pub(crate) alert: Option<i64>,
}

impl EventView {
    pub(crate) fn new(event: Event, case: Case) -> Self {
        let time = event.created_at.to_string();
        Self {
            id: event.id.get(),
            source_name: event.source_name,
            event_type: event.event_type,
            severity: case.severity(event.severity),
            description: event.description,
            timestamp: time.clone(),
            created_at: time,
            created_by: event.origin.user().map(UserId::get),
            sensor_key: event.origin.key().map(KeyId::get),
        }
    }

    pub(crate) fn source_name(&self) -> &str {
        &self.source_name
    }
}

/// Stores the event that a body describes: the one way in, for every path.
pub(crate) async fn ingest(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
    case: Case,
) -> Result<StoredEvent, ApiError> {
    let detected = Detected::check(&fields.event())?;
    let origin = caller.origin().ok_or(ApiError::NoCredential)?;
    store(state, detected, origin, case).await
}

/// Stores a checked event.
pub(crate) async fn store(
    state: &AppState,
    detected: Detected,
    origin: Origin,
    case: Case,
) -> Result<StoredEvent, ApiError> {
    let events: Arc<[Detected]> = [detected].into();
    let receipts = state.intake.submit(events.clone(), origin).await?;
    let receipt = receipts.into_iter().next().ok_or(ApiError::Internal)?;
    let event = events[0].event.clone().stored(receipt.event, receipt.created_at, origin);
    let alert = receipt.alerts.first().copied().map(AlertId::get);
    Ok(StoredEvent { event: EventView::new(event, case), alert })
}

async fn create(
    Sensor(caller): Sensor,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let stored = ingest(&state, &input.fields()?, &caller, Case::Capitals).await?;
    Ok((StatusCode::CREATED, Json(stored)).into_response())
}

async fn list(
    EventReader(_): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, ApiError> {
    let (filter, page) = asked.query.events()?;
    let page = state.db.events(&filter, page).await?;
    Ok(Json(PageView::new(page, &asked, |event| EventView::new(event, Case::Capitals))?).into_response())
}

async fn read(
    EventReader(_): EventReader,
    State(state): State<AppState>,
    Id(id): Id<EventId>,
) -> Result<Json<EventView>, ApiError> {
    let event = state.db.event(id).await?.ok_or(ApiError::NotFound)?;
    Ok(Json(EventView::new(event, Case::Capitals)))
}

/// A route that does everything that handing in an event does, but store it: what storing is measured against.
pub(crate) fn answer_without_storing() -> axum::routing::MethodRouter<AppState> {
    async fn answer(Sensor(caller): Sensor, input: Input) -> Result<Response, ApiError> {
        let detected = Detected::check(&input.fields()?.event())?;
        let origin = caller.origin().ok_or(ApiError::NoCredential)?;
        let event = detected.event.stored(EventId::new(1), now(), origin);
        let stored = StoredEvent { event: EventView::new(event, Case::Capitals), alert: None };
        Ok((StatusCode::CREATED, Json(stored)).into_response())
    }
    axum::routing::post(answer)
}
