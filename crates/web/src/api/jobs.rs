//! One thing done with many alerts: counted first, done in pieces with how far it is, and taken back for a while.

use crate::api::page::PageView;
use crate::api::running::Running;
use crate::api::triage::{named, said};
use crate::auth::guard::{AlertChanger, Caller};
use crate::auth::refusals::{Asked, Refused};
use crate::auth::secret::random_text;
use crate::body::{Field, Holds, SEVERITIES, VERDICTS};
use crate::error::{ApiError, choose_from};
use crate::extract::{Input, ListRequest};
use crate::openapi::Operation;
use crate::places;
use crate::query::{self, Query};
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::filter::AlertFilter;
use watchpost_model::page::PageRequest;
use watchpost_model::text::Given;
use watchpost_model::triage::Action;
use watchpost_model::{AlertId, Invalid, Rank, Role};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Job, JobResult, NewJob, NewUndo, StoreError};

/// Alerts in one job: more than that is a filter that says too little.
const MAX_ALERTS: usize = 100_000;
/// Alerts of a filter that are looked at together.
const READ_AT_ONCE: u32 = 1_000;
/// Alerts that are named one by one.
const MAX_IDS: usize = 10_000;
const ACTIONS: &[&str] =
    &["ack", "unack", "resolve", "reopen", "assign", "snooze", "tags", "severity", "notes"];
const BODY: &[Field] = &[
    Field::required("action", Holds::OneOf(ACTIONS), "What to do, as by the path of that name.", "resolve"),
    Field::optional("ids", Holds::Texts, "With these alerts, by their numbers.", r#"["17", "18"]"#),
    Field::optional(
        "filter",
        Holds::Text,
        "With all that this list has: the query of its address. Either this or `ids`.",
        "status=OPEN&source_name=edge-firewall-1",
    ),
    Field::optional("dry_run", Holds::Flag, "Only count them.", "false"),
    Field::optional("verdict", Holds::OneOf(VERDICTS), "For `resolve`.", "FALSE_POSITIVE"),
    Field::optional("assignee", Holds::Text, "For `assign`.", "me"),
    Field::optional("until", Holds::Text, "For `snooze`.", "+4h"),
    Field::optional("add", Holds::Texts, "For `tags`.", r#"["vpn"]"#),
    Field::optional("remove", Holds::Texts, "For `tags`.", r#"["triage"]"#),
    Field::optional("severity", Holds::OneOf(SEVERITIES), "For `severity`.", "LOW"),
    Field::optional("text", Holds::Text, "For `notes`.", "One of many."),
    Field::optional("why", Holds::Text, "Why; kept in the history of each.", "A test of the scanner"),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/alerts/bulk"],
        Operation::post("changeManyAlerts", "Alerts", "Do something with many alerts")
            .about(
                "With `dry_run` the answer is how many they are. Otherwise it is a job, which goes on by itself: ask for it to \
                 see how far it is. At most 10,000 alerts by numbers and 100,000 by a filter, and at most three jobs with \
                 more than 500 alerts and ten smaller ones at a time. A job whose user may no longer change alerts, or whose session has ended, \
                 is stopped: what it did until then can be taken back by an Admin.",
            )
            .body(BODY)
            .answers::<CountView>(200, "How many there are (`dry_run`)")
            .answers::<JobView>(202, "The job that was begun")
            .says(503, "Too many jobs are under way; `Retry-After` says when to try again"),
        begin,
    );
    routes.add(
        &["/api/v1/alerts/bulk/{job}"],
        Operation::get("readJob", "Alerts", "How far a job is").answers::<JobView>(200, "The job"),
        read,
    );
    routes.add(
        &["/api/v1/alerts/bulk/{job}/results"],
        Operation::get("listJobResults", "Alerts", "What came of each alert of a job")
            .query(query::PAGES)
            .lists::<ResultView>("A page of results"),
        results,
    );
    routes.add(
        &["/api/v1/alerts/bulk/{job}/undo"],
        Operation::post("undoJob", "Alerts", "Take back what a job did")
            .about("For ten minutes after it ended, by whoever began it or an Admin. Alerts that were changed since stay as they are.")
            .answers::<JobView>(202, "The job that takes it back")
            .says(409, "It is too late, or was taken back already"),
        undo,
    );
}

/// How many alerts there are.
#[derive(Serialize, ToSchema)]
struct CountView {
    count: i64,
}

/// How far something is that is done with many alerts.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobView {
    pub(crate) id: String,
    /// What is done.
    action: String,
    /// Who began it.
    actor: String,
    /// `running`, `done` or `stopped`.
    state: &'static str,
    /// Why it was stopped, with its other alerts left as they were.
    stopped: Option<String>,
    /// How many alerts.
    total: i64,
    /// How many are done with.
    done: i64,
    /// How many of those were changed.
    changed: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Until when it can be taken back.
    #[schema(format = DateTime)]
    undo_until: Option<String>,
    /// The job that it takes back.
    undoes: Option<String>,
    /// The job that takes it back.
    undone_by: Option<String>,
}

/// What came of an alert.
#[derive(Serialize, ToSchema)]
struct ResultView {
    alert: i64,
    /// `changed`, `same`, `not_now`, `moved_on` or `missing`.
    outcome: &'static str,
}

impl JobView {
    fn new(job: Job) -> Self {
        Self {
            state: match (&job.finished_at, &job.stopped) {
                (None, _) => "running",
                (Some(_), None) => "done",
                (Some(_), Some(_)) => "stopped",
            },
            undo_until: job.undo_until().filter(|until| *until > now()).map(|until| until.to_string()),
            id: job.id,
            action: job.action,
            actor: job.actor,
            total: job.total,
            done: job.done,
            changed: job.changed,
            created_at: job.created_at.to_string(),
            finished_at: job.finished_at.map(|at| at.to_string()),
            undoes: job.undoes,
            undone_by: job.undone_by,
            stopped: job.stopped,
        }
    }
}

/// The action that a body names, and its name.
pub(super) async fn action(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<(Action, String), ApiError> {
    let given = fields.get("action");
    let name = given.required().map_err(|message| Invalid::field("action", message))?;
    let name = name.trim().to_ascii_lowercase();
    let known = ACTIONS.contains(&name.as_str());
    let action = if known { named(state, &name, fields, caller).await? } else { None };
    let unknown = || Invalid::field("action", choose_from(&name, ACTIONS));
    Ok((action.ok_or_else(unknown)?, name.clone()))
}

fn too_many(field: &str, most: usize) -> Invalid {
    Invalid::field(field, format!("At most {most} alerts are expected."))
}

/// All alerts of the list that a query asks for.
pub(crate) async fn of_list(
    state: &AppState,
    query: &Query,
    caller: &Caller,
) -> Result<Vec<AlertId>, ApiError> {
    let (mut filter, _) = query.alerts()?;
    query.whose(&mut filter, state, caller).await?;
    let _place = places::for_search(state, caller).await?;
    state.is_searchable(filter.is_indexed()).await;
    all_of(state, &filter).await?.ok_or_else(|| too_many("filter", MAX_ALERTS).into())
}

/// The alerts that a body means.
async fn alerts(state: &AppState, fields: &Fields<'_>, caller: &Caller) -> Result<Vec<AlertId>, ApiError> {
    match (fields.get("ids"), fields.get("filter")) {
        (Given::Missing | Given::Null, Given::Missing | Given::Null) => {
            Err(Invalid::field("ids", "Either `ids` or `filter` is required.").into())
        }
        (Given::Missing | Given::Null, filter) => {
            let text = filter.required().map_err(|message| Invalid::field("filter", message))?;
            of_list(state, &Query::parse(text.trim_start_matches('?'))?, caller).await
        }
        (ids, Given::Missing | Given::Null) => {
            let texts: Vec<String> = match &ids {
                Given::List(texts) => texts.iter().map(|text| text.to_string()).collect(),
                ids => {
                    let text = ids.required().map_err(|message| Invalid::field("ids", message))?;
                    text.split([',', ' ']).filter(|id| !id.is_empty()).map(str::to_owned).collect()
                }
            };
            let wrong = || Invalid::field("ids", "Numbers of alerts are expected.");
            let mut ids = Vec::new();
            for text in texts {
                ids.push(text.trim().parse::<AlertId>().map_err(|_| wrong())?);
            }
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                return Err(wrong().into());
            }
            if ids.len() > MAX_IDS {
                return Err(too_many("ids", MAX_IDS).into());
            }
            Ok(ids)
        }
        _ => Err(Invalid::field("filter", "Either `ids` or `filter` is expected, not both.").into()),
    }
}

/// The alerts of a list, whatever its length; nothing when there are too many.
async fn all_of(state: &AppState, filter: &AlertFilter) -> Result<Option<Vec<AlertId>>, ApiError> {
    let mut ids = Vec::new();
    let mut request = PageRequest::numbered(1, READ_AT_ONCE);
    loop {
        let page = state.db.heavy().alerts(filter, request).await?;
        ids.extend(page.rows.iter().map(|alert| alert.id));
        if ids.len() > MAX_ALERTS {
            return Ok(None);
        }
        match page.next.filter(|_| page.more) {
            Some(cursor) => request = PageRequest { cursor: Some(cursor), ..request },
            None => break,
        }
    }
    // One that moved while the list was read may have come twice.
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}

async fn begin(
    AlertChanger(caller): AlertChanger,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let fields = input.fields()?;
    let wanted = Wanted::read(&state, &fields, &caller).await?;
    let dry_run = fields.get("dry_run").flag().map_err(|message| Invalid::field("dry_run", message))?;
    let alerts = alerts(&state, &fields, &caller).await?;
    if dry_run == Some(true) {
        return Ok(Json(CountView { count: alerts.len() as i64 }).into_response());
    }
    start(&state, &caller, wanted, alerts).await.map(begun)
}

/// What a body wants done.
pub(crate) struct Wanted {
    action: Action,
    name: String,
    said: String,
    request: String,
}

impl Wanted {
    pub(crate) async fn read(
        state: &AppState,
        fields: &Fields<'_>,
        caller: &Caller,
    ) -> Result<Self, ApiError> {
        let (action, name) = action(state, fields, caller).await?;
        let said = said(fields, &action)?;
        Ok(Self { action, name, said, request: request(fields) })
    }
}

/// Begins a job, which goes on by itself.
pub(crate) async fn start(
    state: &AppState,
    caller: &Caller,
    wanted: Wanted,
    alerts: Vec<AlertId>,
) -> Result<Job, ApiError> {
    let Wanted { action, name, said, request } = wanted;
    let (id, session) = (random_text(16), caller.session.clone());
    let new = NewJob { id, user: caller.user().ok(), action: name, session, request, alerts };
    state.db.begin_job(&new, &caller.entry()).await.map_err(|error| not_begun(state, error))?;
    let job = state.db.job(&new.id).await?.ok_or(ApiError::NotFound)?;
    let running = Running { job: job.clone(), action: Some(action), said, entry: caller.entry() };
    tokio::spawn(running.run(state.clone()));
    Ok(job)
}

fn not_begun(state: &AppState, error: StoreError) -> ApiError {
    if matches!(error, StoreError::TooMany(_)) {
        state.metrics.busy("job");
    }
    error.into()
}

fn begun(job: Job) -> Response {
    let place = [(header::LOCATION, format!("/api/v1/alerts/bulk/{}", job.id))];
    (StatusCode::ACCEPTED, place, Json(JobView::new(job))).into_response()
}

/// The fields that say what to do, as JSON, for whoever goes on with the job.
fn request(fields: &Fields<'_>) -> String {
    let names = ["action", "verdict", "assignee", "until", "add", "remove", "severity", "text", "why"];
    let value = |given: Given<'_>| match given {
        Given::Text(text) => Some(serde_json::Value::from(text.into_owned())),
        Given::List(texts) => Some(texts.into_iter().map(|text| text.into_owned()).collect()),
        _ => None,
    };
    let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), value(fields.get(name))?)));
    serde_json::Value::Object(kept.collect()).to_string()
}

pub(crate) async fn known(state: &AppState, id: &str) -> Result<Job, ApiError> {
    let found = if id.contains('\0') { None } else { state.db.job(id).await? };
    found.ok_or(ApiError::NotFound)
}

async fn read(
    _: AlertChanger,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    known(&state, &id).await.map(JobView::new).map(Json)
}

async fn results(
    _: AlertChanger,
    State(state): State<AppState>,
    Path(id): Path<String>,
    asked: ListRequest,
) -> Result<Json<PageView<ResultView>>, ApiError> {
    let job = known(&state, &id).await?;
    let page = state.db.job_results(&job, asked.query.plain()?).await?;
    let view = |one: JobResult| ResultView { alert: one.alert.get(), outcome: one.outcome.name() };
    PageView::new(page, &asked, view).map(Json)
}

async fn undo(
    AlertChanger(caller): AlertChanger,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    take_back(&state, &caller, &id).await.map(begun)
}

/// Begins to take a job back.
pub(crate) async fn take_back(state: &AppState, caller: &Caller, id: &str) -> Result<Job, ApiError> {
    let undone = known(state, id).await?;
    if undone.user != caller.user().ok() && caller.rank != Rank::User(Role::Admin) {
        let job = Asked::to(format!("job:{}", undone.id));
        state.refusals.note(state, caller, Refused::OthersJob, job).await;
        let detail = "Only whoever did it, or an Admin, takes it back.";
        return Err(ApiError::NotAllowed(detail.into()));
    }
    let job = random_text(16);
    let by = NewUndo { id: job.clone(), user: caller.user().ok(), session: caller.session.clone() };
    match state.db.begin_undo(&undone, by, &caller.entry()).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => {
            let detail = "It isn't done yet, was taken back already, or is too long ago.";
            return Err(ApiError::Conflict("no_undo", detail.into()));
        }
        Err(error) => return Err(not_begun(state, error)),
    }
    let job = state.db.job(&job).await?.ok_or(ApiError::NotFound)?;
    let running = Running { job: job.clone(), action: None, said: String::new(), entry: caller.entry() };
    tokio::spawn(running.run(state.clone()));
    Ok(job)
}
