//! An alert that somebody raises for an event, because they know something that no rule knows.

use crate::api::Case;
use crate::api::alerts::AlertView;
use crate::auth::guard::{AlertChanger, Caller};
use crate::body::{Field, Holds, SEVERITIES};
use crate::error::{ApiError, choose_from};
use crate::extract::{Id, Input};
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use watchpost_model::access::allows;
use watchpost_model::text::Given;
use watchpost_model::triage::{check_note, check_title};
use watchpost_model::{Action, Alert, EventId, Invalid, Severity};
use watchpost_pipeline::decode::Fields;
use watchpost_store::StoreError;

const BODY: &[Field] = &[
    Field::optional(
        "severity",
        Holds::OneOf(SEVERITIES),
        "How bad it is, in any letter case; as the event says when left out.",
        "HIGH",
    ),
    Field::optional(
        "title",
        Holds::Text,
        "What to call it; by itself when left out.",
        "Slow scan of the lab",
    ),
    Field::optional("why", Holds::Text, "Why; kept in the history.", "The same host as yesterday"),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/events/{id}/alert"],
        Operation::post("raiseAlert", "Events", "Raise an alert for an event")
            .about(
                "An event that has an alert, by a rule or by somebody, keeps it: that one is the answer, and nothing is changed. \
                 The rule of such an alert is `manual`, and its history begins with who raised it.",
            )
            .body(BODY)
            .answers::<AlertView>(201, "The alert that was raised")
            .answers::<AlertView>(200, "The alert that the event has already"),
        raise,
    );
}

/// The severity that a body names, if it names one.
fn severity(given: &Given<'_>) -> Result<Option<Severity>, String> {
    match given {
        Given::Missing | Given::Null => Ok(None),
        given => match given.required()?.trim() {
            "" => Ok(None),
            text => Severity::parse(text).map(Some).ok_or_else(|| choose_from(text, SEVERITIES)),
        },
    }
}

/// Raises an alert for an event, unless it has one; the alert, and whether it is new.
pub(crate) async fn by_hand(
    state: &AppState,
    id: EventId,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<(Alert, bool), ApiError> {
    // Both are the same roles today; whoever raises an alert for an event is told what it says.
    if !allows(caller.rank, Action::ReadEvents) {
        return Err(ApiError::needs(Action::ReadEvents));
    }
    let mut wrong = Invalid::new();
    let severity = wrong.take("severity", severity(&fields.get("severity")));
    let title = wrong.take("title", check_title(&fields.get("title")));
    let why = wrong.take("why", check_note(&fields.get("why")));
    let (Some(severity), Some(title), Some(why)) = (severity, title, why) else {
        return Err(wrong.into());
    };
    let event = state.db.event(id).await?.ok_or(ApiError::NotFound)?;
    let severity = severity.unwrap_or(event.severity);
    if let Some(alert) = first(state, id).await? {
        return Ok((alert, false));
    }
    match state.intake.raise(event, severity, title, why, caller.entry()).await {
        Ok(alert) => Ok((state.db.alert(alert).await?.ok_or(ApiError::NotFound)?, true)),
        // Somebody else was quicker.
        Err(StoreError::Taken(_)) => Ok((first(state, id).await?.ok_or(ApiError::Internal)?, false)),
        Err(error) => Err(error.into()),
    }
}

/// The first alert that was raised for an event.
pub(crate) async fn first(state: &AppState, event: EventId) -> Result<Option<Alert>, ApiError> {
    Ok(state.db.alerts_of_event(event).await?.into_iter().next())
}

async fn raise(
    AlertChanger(caller): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<EventId>,
    input: Input,
) -> Result<Response, ApiError> {
    let (alert, new) = by_hand(&state, id, &input.fields()?, &caller).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(AlertView::new(alert, Case::Capitals))).into_response())
}
