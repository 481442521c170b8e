//! Alerts: listing, reading and moving them from OPEN over ACKNOWLEDGED to RESOLVED.

use crate::api::Case;
use crate::api::events::EventView;
use crate::api::page::PageView;
use crate::api::triage;
use crate::auth::guard::{AlertChanger, AlertReader, Caller};
use crate::body::{Field, Holds, STATUSES, VERDICTS};
use crate::error::{ApiError, choose_from};
use crate::extract::{Id, Input, ListRequest, based_on};
use crate::openapi::Operation;
use crate::places;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::alert::HistoryEntry;
use watchpost_model::triage::{Action, Verdict};
use watchpost_model::{Alert, AlertId, Invalid, Status};
use watchpost_pipeline::decode::Fields;

pub(crate) const STATUS_BODY: &[Field] = &[
    Field::required(
        "status",
        Holds::OneOf(STATUSES),
        "Where it stands now, in any letter case.",
        "ACKNOWLEDGED",
    ),
    Field::optional(
        "version",
        Holds::Number,
        "The version the change is based on; refused with 409 when the alert has moved on. `If-Match` does the same.",
        "1",
    ),
    Field::optional(
        "verdict",
        Holds::OneOf(VERDICTS),
        "What it turned out to be, when it is resolved.",
        "BENIGN",
    ),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/alerts", "/api/alerts", "/api/dashboard/alerts"],
        Operation::get("listAlerts", "Alerts", "List alerts, newest first")
            .query(query::ALERTS)
            .lists::<AlertView>("A page of alerts"),
        list,
    );
    routes.add(
        &["/api/v1/alerts/{id}", "/api/alerts/{id}"],
        Operation::get("readAlert", "Alerts", "Read an alert").answers::<AlertView>(200, "The alert"),
        read,
    );
    let change_about = "Any status may follow any other. Each change is kept in the alert's history.";
    routes.add(
        &[
            "/api/v1/alerts/{id}",
            "/api/alerts/{id}",
            "/api/v1/alerts/{id}/status",
            "/api/alerts/{id}/status",
            "/api/dashboard/alerts/{id}/status",
        ],
        Operation::patch("changeAlert", "Alerts", "Change an alert's status")
            .about(change_about)
            .body(STATUS_BODY)
            .answers::<AlertView>(200, "The alert as it is now")
            .answers::<triage::Overtaken>(409, "Somebody else changed it first; with the alert as it is now"),
        change,
    );
    routes.add(
        &["/api/v1/alerts/{id}/history"],
        Operation::get("readAlertHistory", "Alerts", "What happened to an alert")
            .answers::<HistoryView>(200, "Its changes, oldest first"),
        history,
    );
    routes.add(
        &["/api/dashboard/alerts/{id}/status"],
        Operation::post("changeAlertByForm", "Alerts", "Change an alert's status")
            .about(change_about)
            .body(STATUS_BODY)
            .answers::<AlertView>(200, "The alert as it is now")
            .answers::<triage::Overtaken>(409, "Somebody else changed it first; with the alert as it is now"),
        change,
    );
}

/// An alert with the event that raised it.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertView {
    id: i64,
    /// The event that raised it.
    event: EventView,
    event_id: i64,
    event_type: String,
    source_name: String,
    /// How bad it is; as its event said, unless somebody said otherwise.
    severity: &'static str,
    /// Where it stands.
    pub(crate) status: &'static str,
    /// The rule that raised it.
    rule: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// What it is called.
    title: String,
    /// When it was first acknowledged.
    #[schema(format = DateTime)]
    acknowledged_at: Option<String>,
    /// Who first acknowledged it, as they were called then.
    acknowledged_by: Option<String>,
    /// When it was first resolved.
    #[schema(format = DateTime)]
    resolved_at: Option<String>,
    /// Who first resolved it.
    resolved_by: Option<String>,
    /// What it turned out to be.
    verdict: Option<&'static str>,
    /// The name of the user whose it is.
    assignee: Option<String>,
    /// Until when it is put off.
    #[schema(format = DateTime)]
    snoozed_until: Option<String>,
    tags: Vec<String>,
    /// Counts its changes; give it back with a change to notice when somebody else was quicker.
    version: i64,
}

/// What happened to an alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryView {
    results: Vec<ChangeView>,
}

/// One change of an alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangeView {
    #[schema(format = DateTime)]
    at: String,
    /// Who did it.
    actor: String,
    /// What was done: `raised`, `status`, `assign`, `snooze`, `tags`, `title`, `severity`, `note` or `undo`.
    action: String,
    /// What it was before, such as the status; `null` where the alert was raised.
    from: Option<String>,
    /// What it is since.
    to: String,
    /// What it turned out to be, where somebody said so.
    verdict: Option<&'static str>,
    /// Why, or the text of a note.
    why: String,
    /// The alert's version since.
    version: i64,
    /// Whether it was undone since; then no figure counts it.
    undone: bool,
}

impl ChangeView {
    pub(crate) fn new(entry: HistoryEntry) -> Self {
        Self {
            at: entry.at.to_string(),
            actor: entry.actor,
            action: entry.action,
            from: entry.from,
            to: entry.to,
            verdict: entry.verdict.map(Verdict::as_str),
            why: entry.why,
            version: entry.version,
            undone: entry.undone,
        }
    }
}

impl AlertView {
    pub(crate) fn new(alert: Alert, case: Case) -> Self {
        let title = alert.shown_title();
        Self {
            id: alert.id.get(),
            event_id: alert.event.id.get(),
            event_type: alert.event.event_type.clone(),
            source_name: alert.event.source_name.clone(),
            event: EventView::new(alert.event, case),
            severity: case.severity(alert.severity),
            status: case.status(alert.status),
            rule: alert.rule,
            created_at: alert.created_at.to_string(),
            updated_at: alert.updated_at.to_string(),
            title,
            acknowledged_at: alert.acknowledged_at.map(|at| at.to_string()),
            acknowledged_by: alert.acknowledged_by,
            resolved_at: alert.resolved_at.map(|at| at.to_string()),
            resolved_by: alert.resolved_by,
            verdict: alert.verdict.map(Verdict::as_str),
            assignee: alert.assignee.map(|assignee| assignee.name),
            snoozed_until: alert.snoozed_until.map(|until| until.to_string()),
            tags: alert.tags,
            version: alert.version,
        }
    }
}

async fn list(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, ApiError> {
    let (mut filter, page) = asked.query.alerts()?;
    asked.query.whose(&mut filter, &state, &caller).await?;
    let _place = places::for_list(&state, &caller, filter.is_search()).await?;
    let complete = state.is_searchable(filter.is_indexed()).await;
    let page = state.db.alerts(&filter, page).await?;
    let page = PageView::new(page, &asked, |alert| AlertView::new(alert, Case::Capitals))?;
    Ok(Json(page.searched(complete)).into_response())
}

pub(crate) fn with_tag(alert: Alert) -> Response {
    let version = alert.version;
    let mut response = Json(AlertView::new(alert, Case::Capitals)).into_response();
    let tag = HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes make a header");
    response.headers_mut().insert(header::ETAG, tag);
    response
}

async fn read(
    AlertReader(_): AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
) -> Result<Response, ApiError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    Ok(with_tag(alert))
}

async fn change(
    AlertChanger(caller): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    headers: HeaderMap,
    input: Input,
) -> Result<Response, ApiError> {
    change_status(&state, id, &input.fields()?, &headers, &caller).await.map(with_tag)
}

/// Moves an alert to the status that a body names: the one way, for every path.
pub(crate) async fn change_status(
    state: &AppState,
    id: AlertId,
    fields: &Fields<'_>,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Alert, ApiError> {
    let status = fields.get("status");
    let status =
        status.required().and_then(|text| Status::parse(text).ok_or_else(|| choose_from(text, STATUSES)));
    let to = status.map_err(|message| Invalid::field("status", message))?;
    let version = based_on(headers, fields)?;
    let verdict = triage::verdict(state, fields, to)?;
    triage::act(state, id, &Action::Move(to, verdict), "", version, caller).await
}

async fn history(
    AlertReader(_): AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
) -> Result<Json<HistoryView>, ApiError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    let changes = whole_history(&state, &alert).await?;
    Ok(Json(HistoryView { results: changes.into_iter().map(ChangeView::new).collect() }))
}

/// An alert's changes from the one that raised it on, oldest first. What rules raise has no row of its own for that.
pub(crate) async fn whole_history(state: &AppState, alert: &Alert) -> Result<Vec<HistoryEntry>, ApiError> {
    let written = state.db.alert_history(alert.id).await?;
    if written.first().is_some_and(|first| first.version == 1) {
        return Ok(written);
    }
    let raised = HistoryEntry {
        version: 1,
        at: alert.created_at,
        actor: alert.rule.clone(),
        action: "raised".into(),
        from: None,
        to: Status::Open.to_string(),
        verdict: None,
        why: String::new(),
        undone: false,
    };
    let mut changes = vec![raised];
    changes.extend(written);
    Ok(changes)
}
