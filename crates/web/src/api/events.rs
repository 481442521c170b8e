//! Security events: handing them in, listing and reading them.

use crate::api::Case;
use crate::api::page::PageView;
use crate::auth::guard::{Caller, EventReader, NotDetected, Sensor};
use crate::auth::refusals::{Asked, Refused as Refusal};
use crate::body::{Field, Holds, SEVERITIES};
use crate::bulk::Bulk;
use crate::bulk::encoding::Reader;
use crate::bulk::key::{Before, Key, KeyedBody, REPLAYED};
use crate::error::ApiError;
use crate::extract::{Id, Input, ListRequest, Sent, sent_format};
use crate::openapi::Operation;
use crate::places;
use crate::query;
use crate::query::Param;
use crate::routes::Routes;
use crate::state::AppState;
use crate::stream::{Door, Reader as Sender};
use axum::Json;
use axum::body::{Bytes, HttpBody};
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use watchpost_model::event::Origin;
use watchpost_model::text::Given;
use watchpost_model::{AlertId, Details, Event, EventId, Invalid, KeyId, UserId};
use watchpost_pipeline::decode::{Format, Shape};
use watchpost_pipeline::{Detected, Keyed, Refused, now};

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
    Field::optional(
        "occurred_at",
        Holds::Text,
        "When it happened by the sender's clock, RFC 3339; Watchpost's own time is `created_at`.",
        "2026-11-20T22:05:45Z",
    ),
    Field::optional("host", Holds::Text, "The machine it happened on.", "edge-1.example.com"),
    Field::optional("user", Holds::Text, "The account it is about.", "bob"),
    Field::optional("src_ip", Holds::Text, "The address it came from.", "203.0.113.7"),
    Field::optional("dst_ip", Holds::Text, "The address it was aimed at.", "198.51.100.4"),
    Field::optional(
        "attributes",
        Holds::Object,
        "Anything else: a JSON object of at most 16 KiB, 8 deep, with 1,000 values.",
        r#"{"ports":[22,443],"tool":"nmap"}"#,
    ),
];

const BULK: &[Param] = &[Param {
    name: "atomic",
    about: "Of many events, store all or none: at most 4,096 and 8 MiB.",
    choices: &["true", "false"],
}];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/events", "/api/events"],
        Operation::post("createEvent", "Events", "Hand in an event")
            .about(
                "The answer comes when the event is on disk; its alert, if it raises one, is there by then.\n\n\
                 Many events at once are a JSON array, or lines of JSON as `application/x-ndjson`, of any length, also \
                 packed with gzip or zstd (`Content-Encoding`). They are answered with one line of JSON each, in \
                 order: `{\"n\":1,\"status\":201,\"id\":…,\"alert\":…}`, or why it was refused. The status is 201 when all \
                 were stored, 207 when some were, 400 when none was.\n\n\
                 With an `Idempotency-Key`, the same request again within 72 hours stores nothing and is answered the \
                 same; with another body it is 409.",
            )
            .query(BULK)
            .body(BODY)
            .or_many()
            .says(207, "Of many events some were stored; one line of JSON each says which")
            .says(409, "The Idempotency-Key came with another body, or its first request isn't done")
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
    /// When it happened, by the sender's clock.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    /// The machine it happened on.
    host: Option<String>,
    /// The account it is about.
    user: Option<String>,
    /// Where it came from.
    src_ip: Option<String>,
    /// What it was aimed at.
    dst_ip: Option<String>,
    /// Anything else.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Box<RawValue>>,
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
    /// Whether it was stored by an earlier request with the same key.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) replayed: bool,
}

impl EventView {
    pub(crate) fn new(event: Event, case: Case) -> Self {
        let time = event.created_at.to_string();
        let Details { occurred_at, host, user, src_ip, dst_ip, attributes } = event.details;
        // What is stored was checked; should it be spoilt, the rest of the event is still worth reading.
        let attributes = attributes.and_then(|all| RawValue::from_string(all.as_json().to_owned()).ok());
        Self {
            id: event.id.get(),
            source_name: event.source_name,
            event_type: event.event_type,
            severity: case.severity(event.severity),
            description: event.description,
            occurred_at: occurred_at.map(|at| at.to_string()),
            host,
            user,
            src_ip,
            dst_ip,
            attributes,
            timestamp: time.clone(),
            created_at: time,
            created_by: event.origin.user().map(UserId::get),
            sensor_key: event.origin.key().map(KeyId::get),
        }
    }

    /// Its fields as an export has them, in the order of [`Self::COLUMNS`] behind the id.
    pub(crate) fn texts(&self) -> [&str; 11] {
        fn text(field: &Option<String>) -> &str {
            field.as_deref().unwrap_or_default()
        }
        [
            &self.created_at,
            self.severity,
            &self.source_name,
            &self.event_type,
            text(&self.host),
            text(&self.user),
            text(&self.src_ip),
            text(&self.dst_ip),
            text(&self.occurred_at),
            &self.description,
            self.attributes.as_ref().map_or("", |attributes| attributes.get()),
        ]
    }

    pub(crate) const COLUMNS: &'static str = "id,created_at,severity,source_name,event_type,host,user,src_ip,dst_ip,occurred_at,description,attributes";

    pub(crate) fn source_name(&self) -> &str {
        &self.source_name
    }
}

/// Stores the event that a body describes: the one way in, for every path. Under a key that came before with the same
/// body, what was stored then is the answer.
pub(crate) async fn ingest(
    state: &AppState,
    input: &Input,
    caller: &Caller,
    case: Case,
) -> Result<StoredEvent, ApiError> {
    let fields = input.fields()?;
    let detected = match caller.detect(fields.event()) {
        Ok(detected) => detected,
        Err(NotDetected::Wrong(wrong)) => return Err(wrong.into()),
        Err(NotDetected::Beyond(wrong)) => {
            beyond(state, caller, 1).await;
            return Err(wrong.into());
        }
    };
    let origin = caller.origin().ok_or(ApiError::NoCredential)?;
    let Some((key, body)) = input.keyed() else { return store(state, detected, origin, case, None).await };
    let mut keyed = KeyedBody::begin(state, caller, key)?;
    keyed.update(body);
    match keyed.next(state, 1, true).await? {
        Err(new) => store(state, detected, origin, case, Some(new)).await,
        Ok(Before { first_event, at, alerts, .. }) => {
            let event = detected.event.stored(first_event, at, origin);
            let alert = alerts.first().map(|(_, alert)| alert.get());
            Ok(StoredEvent { event: EventView::new(event, case), alert, replayed: true })
        }
    }
}

/// Reports that a key tried to say more than it may.
pub(crate) async fn beyond(state: &AppState, caller: &Caller, events: u64) {
    state.metrics.beyond_key.inc_by(events);
    state.refusals.note(state, caller, Refusal::BeyondKey, Asked::to("events")).await;
}

/// Stores a checked event.
pub(crate) async fn store(
    state: &AppState,
    detected: Detected,
    origin: Origin,
    case: Case,
    keyed: Option<Keyed>,
) -> Result<StoredEvent, ApiError> {
    let event = detected.event.clone();
    let receipts = state.intake.submit(vec![detected], origin, keyed).await?;
    let receipt = receipts.into_iter().next().ok_or(ApiError::Internal)?;
    let event = event.stored(receipt.event, receipt.created_at, origin);
    let alert = receipt.alerts.first().copied().map(AlertId::get);
    Ok(StoredEvent { event: EventView::new(event, case), alert, replayed: false })
}

/// One event, or many: lines of JSON, or an array of JSON.
async fn create(
    Sensor(caller): Sensor,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ApiError> {
    // Before anything is read: what can't be stored needn't be parsed.
    if !state.intake.has_room() {
        return Err(Refused::Full.into());
    }
    let format = sent_format(request.headers(), request.body())?;
    let (parts, body) = request.into_parts();
    let max = state.settings.max_body;
    let length = body.size_hint().lower();
    let mut reader = Reader::new(&parts.headers, body)?;
    let (mut begun, mut shape) = (Bytes::new(), None);
    match format {
        Sent::Lines => shape = Some(Shape::Lines),
        Sent::One(Format::Form) => {}
        Sent::One(Format::Json) => {
            let first;
            (begun, first) = up_to_first_sign(&mut reader, max).await?;
            // The first sign tells one event from many.
            shape = (first == Some(b'[')).then_some(Shape::Array);
        }
    }
    if let Some(shape) = shape {
        let atomic = atomic(query.as_deref().unwrap_or_default())?;
        let key = Key::of(&parts.headers)?;
        let keyed = key.map(|key| KeyedBody::begin(&state, &caller, &key)).transpose()?;
        let sender = Sender::of(&parts, Door::Api);
        let report =
            Bulk::new(state, caller, sender, keyed, atomic)?.take(shape, &begun, &mut reader).await?;
        return Ok(report.into_response());
    }
    if length > max as u64 && !reader.is_packed() {
        return Err(reader.too_large(max).await);
    }
    let format = if let Sent::One(format) = format { format } else { Format::Json };
    let input = Input::new(&parts.headers, format, reader.all(begun, max).await?)?;
    let stored = ingest(&state, &input, &caller, Case::Capitals).await?;
    let replayed = stored.replayed;
    let mut response = (StatusCode::CREATED, Json(stored)).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A body up to the piece with its first sign that isn't blank, and that sign; no further than `max`. Each piece is
/// looked at once, however many blank ones there are.
async fn up_to_first_sign(reader: &mut Reader, max: usize) -> Result<(Bytes, Option<u8>), ApiError> {
    let (mut begun, mut first) = (BytesMut::new(), None);
    while first.is_none() && begun.len() <= max {
        let Some(more) = reader.next().await? else { break };
        first = more.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        begun.extend_from_slice(&more);
    }
    Ok((begun.freeze(), first))
}

/// Whether all events of a body are wanted, or none.
fn atomic(query: &str) -> Result<bool, ApiError> {
    let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "atomic");
    let Some((_, given)) = given else { return Ok(false) };
    let flag = Given::Text(given).flag().map_err(|message| Invalid::field("atomic", message))?;
    Ok(flag.unwrap_or(false))
}

async fn list(
    EventReader(caller): EventReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, ApiError> {
    let (filter, page) = asked.query.events()?;
    let _place = places::for_list(&state, &caller, filter.is_search()).await?;
    let complete = state.is_searchable(filter.is_indexed()).await;
    let page = state.db.events(&filter, page).await?;
    let page = PageView::new(page, &asked, |event| EventView::new(event, Case::Capitals))?;
    Ok(Json(page.searched(complete)).into_response())
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
        let fields = input.fields()?;
        let detected = caller.detect(fields.event())?;
        let origin = caller.origin().ok_or(ApiError::NoCredential)?;
        let event = detected.event.stored(EventId::new(1), now(), origin);
        let stored =
            StoredEvent { event: EventView::new(event, Case::Capitals), alert: None, replayed: false };
        Ok((StatusCode::CREATED, Json(stored)).into_response())
    }
    axum::routing::post(answer)
}
