//! Service E: the helpers of its dashboard.

use crate::api::Case;
use crate::api::alerts::AlertView;
use crate::api::events::{self, EventView};
use crate::auth::account::{self, or_made_up};
use crate::auth::guard::Administrator;
use crate::body::{Field, Holds};
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
use watchpost_model::text::Given;
use watchpost_model::{AlertId, EventDraft, Severity};
use watchpost_pipeline::Detected;

const CREATE_ANALYST: &[Field] = &[
    Field::optional("username", Holds::Text, "The name to log in with; made up when left out.", "jane"),
    Field::optional(
        "password",
        Holds::Secret,
        "At least 12 characters; made up when left out.",
        "correct horse battery",
    ),
    Field::optional(
        "must_change_password",
        Holds::Flag,
        "Whether the password is one-time: it lets the user choose another within a day. False unless told.",
        "false",
    ),
];
const TEST_EVENT: &[Field] = &[
    Field::optional("source_name", Holds::Text, "Who saw it.", "test-source"),
    Field::optional("event_type", Holds::Text, "What kind of thing was seen.", "test_event"),
    Field::optional("description", Holds::Text, "What was seen.", "A test event"),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/dashboard/create-analyst"],
        Operation::post("createAnalyst", "Compatibility", "Make an Analyst (service E)")
            .body(CREATE_ANALYST)
            .answers::<NewAnalyst>(201, "The new user, with the password"),
        create_analyst,
    );
    routes.add(
        &["/api/dashboard/test-api"],
        Operation::post("testEvent", "Compatibility", "Hand in a CRITICAL test event (service E)")
            .body(TEST_EVENT)
            .answers::<TestAnswer>(201, "The event and its alert"),
        test_event,
    );
}

/// An Analyst that was just made.
#[derive(Serialize, ToSchema)]
struct NewAnalyst {
    message: &'static str,
    username: String,
    /// Shown this once.
    password: String,
    role: &'static str,
}

/// A test event and the alert it raised.
#[derive(Serialize, ToSchema)]
struct TestAnswer {
    event: EventView,
    alert: AlertView,
}

async fn create_analyst(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let (user, password) = account::make_analyst(&state, &input.fields()?, &caller).await?;
    let answer = NewAnalyst {
        message: "Analyst user created successfully",
        username: user.username,
        password,
        role: user.role.as_str(),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn test_event(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let fields = input.fields()?;
    let given = fields.event();
    let draft = EventDraft {
        source_name: or_made_up(given.source_name, || "test-source".into()),
        event_type: or_made_up(given.event_type, || "test_event".into()),
        severity: Given::Text(Severity::Critical.as_str().into()),
        description: or_made_up(given.description, || "A test event sent from the dashboard".into()),
        details: given.details,
    };
    let origin = caller.origin().ok_or(ApiError::NoCredential)?;
    let stored = events::store(&state, Detected::check(&draft)?, origin, Case::Capitals, None).await?;
    let alert = stored.alert.ok_or(ApiError::Internal)?;
    let alert = state.db.alert(AlertId::new(alert)).await?.ok_or(ApiError::Internal)?;
    let answer = TestAnswer { event: stored.event, alert: AlertView::new(alert, Case::Capitals) };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}
