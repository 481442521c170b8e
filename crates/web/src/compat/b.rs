//! Service B: events come in at a path of their own, from clients of any role.

use crate::api::Case;
use crate::api::events::{self, StoredEvent};
use crate::auth::guard::SensorOrUser;
use crate::error::ApiError;
use crate::extract::Input;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/event/ingest"],
        Operation::post("ingestEvent", "Compatibility", "Hand in an event (service B)")
            .body(events::BODY)
            .answers::<IngestedEvent>(201, "The event is stored"),
        ingest,
    );
}

/// An event as service B answers it.
#[derive(Serialize, ToSchema)]
struct IngestedEvent {
    #[serde(flatten)]
    stored: StoredEvent,
    /// The same as `source_name`.
    source: String,
}

async fn ingest(
    SensorOrUser(caller): SensorOrUser,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let stored = events::ingest(&state, &input, &caller, Case::Capitals).await?;
    let source = stored.event.source_name().to_owned();
    Ok((StatusCode::CREATED, Json(IngestedEvent { stored, source })).into_response())
}
