//! Service C: title case, envelopes with `data`, and signing up.

use crate::api::Case;
use crate::api::alerts::{self, AlertView};
use crate::api::events::{self, StoredEvent};
use crate::api::page::{Links, links};
use crate::auth::account::{self, NoSignUp};
use crate::auth::guard::{AlertChanger, AlertReader, Anyone, Sensor};
use crate::body::{Field, Holds};
use crate::error::ApiError;
use crate::extract::{Id, Input, ListRequest};
use crate::openapi::Operation;
use crate::places;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::{AlertId, Invalid};

const SIGN_UP: &[Field] = &[
    Field::required("username", Holds::Text, "The name to log in with.", "jane"),
    Field::required("password", Holds::Secret, "At least 12 characters.", "correct horse battery"),
    Field::optional("email", Holds::Text, "An address.", "jane@example.com"),
    Field::optional("role", Holds::Text, "Only `Analyst`: other roles are given by an Admin.", "Analyst"),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/v1/auth/signup"],
        Operation::post("signUp", "Compatibility", "Sign up as an Analyst (service C)")
            .about(
                "Off unless the operator switches it on with `WATCHPOST_SIGNUP=on`. An account that is made here hands \
                 in no events.",
            )
            .body(SIGN_UP)
            .answers::<SignUpAnswer>(201, "The account is made")
            .answers::<SignUpAnswer>(400, "The name is taken, or something is missing or wrong")
            .says(403, "Sign-up is switched off, or another role was asked for"),
        sign_up,
    );
    routes.add(
        &["/v1/events/security_events"],
        Operation::post("createSecurityEvent", "Compatibility", "Hand in an event (service C)")
            .body(events::BODY)
            .answers::<EventAnswer>(201, "The event is stored"),
        create_event,
    );
    routes.add(
        &["/v1/alerts/alerts"],
        Operation::get("listAlertsInTitleCase", "Compatibility", "List alerts (service C)")
            .query(query::ALERTS)
            .answers::<AlertsAnswer>(200, "A page of alerts"),
        list_alerts,
    );
    routes.add(
        &["/v1/alerts/alerts/{id}"],
        Operation::get("readAlertInTitleCase", "Compatibility", "Read an alert (service C)")
            .answers::<AlertAnswer>(200, "The alert"),
        read_alert,
    );
    routes.add(
        &["/v1/alerts/alerts/{id}"],
        Operation::patch("changeAlertInTitleCase", "Compatibility", "Change an alert's status (service C)")
            .body(alerts::STATUS_BODY)
            .answers::<AlertAnswer>(200, "The alert as it is now")
            .says(409, "Somebody else changed it first"),
        change_alert,
    );
}

/// How a sign-up went.
#[derive(Serialize, ToSchema)]
struct SignUpAnswer {
    /// Whether the account was made.
    status: bool,
    message: String,
}

/// An event as service C answers it.
#[derive(Serialize, ToSchema)]
struct EventAnswer {
    success: bool,
    data: StoredEvent,
}

/// An alert as service C answers it.
#[derive(Serialize, ToSchema)]
struct AlertAnswer {
    success: bool,
    data: AlertView,
}

/// A page of alerts as service C answers it.
#[derive(Serialize, ToSchema)]
struct AlertsAnswer {
    status: bool,
    data: Vec<AlertView>,
    count: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    count_is_minimum: bool,
    next: Option<String>,
    previous: Option<String>,
}

async fn sign_up(
    Anyone(caller): Anyone,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    account::may_sign_up(&state, &caller).await?;
    let refused = |wrong: &Invalid| {
        let message = wrong.fields().iter().map(|(name, said)| format!("{name}: {}", said.join(" ")));
        let answer = SignUpAnswer { status: false, message: message.collect::<Vec<_>>().join(" ") };
        (StatusCode::BAD_REQUEST, Json(answer)).into_response()
    };
    let fields = match input.fields() {
        Ok(fields) => fields,
        Err(ApiError::Invalid(wrong)) => return Ok(refused(&wrong)),
        Err(ApiError::Malformed(message)) => {
            let answer = SignUpAnswer { status: false, message };
            return Ok((StatusCode::BAD_REQUEST, Json(answer)).into_response());
        }
        Err(error) => return Err(error),
    };
    match account::sign_up(&state, &fields, &caller).await {
        Ok(user) => {
            let message = format!("User {} created successfully", user.username);
            Ok((StatusCode::CREATED, Json(SignUpAnswer { status: true, message })).into_response())
        }
        Err(NoSignUp::Wrong(wrong)) => Ok(refused(&wrong)),
        Err(NoSignUp::Refused(error)) => Err(error),
    }
}

async fn create_event(
    Sensor(caller): Sensor,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let data = events::ingest(&state, &input, &caller, Case::Title).await?;
    Ok((StatusCode::CREATED, Json(EventAnswer { success: true, data })).into_response())
}

async fn list_alerts(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<AlertsAnswer>, ApiError> {
    let (mut filter, page) = asked.query.alerts()?;
    asked.query.whose(&mut filter, &state, &caller).await?;
    let _place = places::for_list(&state, &caller, filter.is_search()).await?;
    state.is_searchable(filter.is_indexed()).await;
    let page = state.db.alerts(&filter, page).await?;
    let Links { count, count_is_minimum, next, previous } = links(&page, &asked)?;
    let data = page.rows.into_iter().map(|alert| AlertView::new(alert, Case::Title)).collect();
    Ok(Json(AlertsAnswer { status: true, data, count, count_is_minimum, next, previous }))
}

async fn read_alert(
    _: AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
) -> Result<Json<AlertAnswer>, ApiError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    Ok(Json(AlertAnswer { success: true, data: AlertView::new(alert, Case::Title) }))
}

async fn change_alert(
    AlertChanger(caller): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    headers: HeaderMap,
    input: Input,
) -> Result<Json<AlertAnswer>, ApiError> {
    let alert = alerts::change_status(&state, id, &input.fields()?, &headers, &caller).await?;
    Ok(Json(AlertAnswer { success: true, data: AlertView::new(alert, Case::Title) }))
}
