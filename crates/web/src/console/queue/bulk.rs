//! What is done with many alerts at once, or with one from the list: always a job, so it can always be taken back.

use super::HERE;
use crate::api::jobs::{self, Wanted};
use crate::auth::session::Session;
use crate::console::guard::{AlertChanger, Form, filled, own_path};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::query::Query;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::{Value, context};
use std::time::Duration;
use watchpost_model::page::PageRequest;
use watchpost_model::{AlertId, Invalid};
use watchpost_pipeline::decode::{Fields, Format};
use watchpost_pipeline::now;
use watchpost_store::{Job, Outcome, UserFilter};

/// How long a page waits for a job before it shows how far it is instead.
const PATIENCE: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// People that alerts are given to from a list.
const PEOPLE: u32 = 100;
/// Alerts that a job shows as left as they were.
const SHOWN: u32 = 100;

/// Until when alerts can be put off from a list; the last brings them back.
pub(crate) const SNOOZES: [(&str, &str); 6] = [
    ("+1h", "for an hour"),
    ("+4h", "for four hours"),
    ("+1d", "for a day"),
    ("+3d", "for three days"),
    ("+7d", "for a week"),
    ("", "no longer"),
];

/// Whom alerts can be given to.
pub(crate) async fn choices(state: &AppState) -> Result<Vec<String>, PageError> {
    let users = state.db.users(&UserFilter::default(), PageRequest::numbered(1, PEOPLE)).await?;
    Ok(users.rows.into_iter().filter(|user| user.active).map(|user| user.username).collect())
}

/// What a form says, as the API takes it: fields that nobody filled in are left out.
pub(crate) fn body(fields: &Fields<'_>, action: &str) -> String {
    let given = |name: &str| Some(filled(fields, name)).filter(|text| !text.trim().is_empty());
    serde_json::json!({
        "action": action,
        "verdict": given("verdict"),
        "assignee": filled(fields, "assignee"),
        "until": filled(fields, "until"),
        "add": given("add"),
        "remove": given("remove"),
        "severity": filled(fields, "severity"),
        "title": filled(fields, "title"),
        "why": filled(fields, "why"),
        "text": filled(fields, "text"),
    })
    .to_string()
}

/// What a form wants done, and with which alerts.
async fn asked(
    state: &AppState,
    session: &Session,
    fields: &Fields<'_>,
) -> Result<(Wanted, Vec<AlertId>), PageError> {
    let one = filled(fields, "one");
    let (action, ids) = match one.split_once(' ') {
        // A row's own button: what to do and with which alert, whatever is chosen beside it.
        Some((action, id)) => (action.to_owned(), vec![id.to_owned()]),
        None => (filled(fields, "action"), fields.all("ids").map(str::to_owned).collect()),
    };
    let group = filled(fields, "group");
    let body = match action.split_once(' ') {
        // A button that says until when, too.
        Some(("snooze", until)) => serde_json::json!({"action": "snooze", "until": until}).to_string(),
        _ => body(fields, &action),
    };
    let body = Fields::decode(Format::Json, body.as_bytes()).map_err(|_| ApiError::Internal)?;
    let wanted = Wanted::read(state, &body, &session.caller).await?;
    let list = match (group.is_empty(), filled(fields, "all") == "1") {
        (false, _) => Some(Query::parse(&group)?),
        (true, true) => Some(Query::parse(filled(fields, "filter").trim_start_matches('?'))?),
        (true, false) => None,
    };
    if let (Some(list), true) = (list, one.is_empty()) {
        return Ok((wanted, jobs::of_list(state, &list, &session.caller).await?));
    }
    let numbers: Option<Vec<AlertId>> = ids.iter().map(|id| id.parse().ok()).collect();
    let mut alerts = numbers.unwrap_or_default();
    alerts.sort_unstable();
    alerts.dedup();
    match alerts.is_empty() {
        true => Err(Invalid::field("ids", "Choose at least one alert.").into()),
        false => Ok((wanted, alerts)),
    }
}

/// Does it, and goes back to where the button was; or to the job, when it takes longer.
pub(crate) async fn change(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (wanted, alerts) = asked(&state, &session, &fields).await?;
    let job = jobs::start(&state, &session.caller, wanted, alerts).await?;
    shown(&state, job, &filled(&fields, "back")).await
}

/// Takes a job back.
pub(crate) async fn take_back(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    Path(id): Path<String>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let job = jobs::take_back(&state, &session.caller, &id).await?;
    shown(&state, job, &filled(&fields, "back")).await
}

async fn shown(state: &AppState, job: Job, back: &str) -> Result<Response, PageError> {
    let id = job.id.clone();
    let finished = async {
        while state.db.job(&id).await?.is_some_and(|job| job.finished_at.is_none()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok::<(), PageError>(())
    };
    let back = if own_path(back).starts_with(HERE) { own_path(back) } else { HERE };
    match tokio::time::timeout(PATIENCE, finished).await {
        Ok(result) => {
            result?;
            Ok(Done::Job(id).then(back, &state.settings))
        }
        Err(_) => Ok(Redirect::to(&format!("/alerts/jobs/{id}")).into_response()),
    }
}

/// What was done, in words.
fn says(job: &Job) -> String {
    let many = |n: i64| if n == 1 { "1 alert".to_owned() } else { format!("{n} alerts") };
    let changed = many(job.changed);
    let done = match (job.undoes.is_some(), job.action.as_str()) {
        (true, _) => format!("Undone for {changed}."),
        (_, "ack") => format!("{changed} acknowledged."),
        (_, "unack") => format!("{changed} given back."),
        (_, "resolve") => format!("{changed} resolved."),
        (_, "reopen") => format!("{changed} reopened."),
        (_, "assign") => format!("{changed} assigned."),
        (_, "snooze") => format!("{changed} put off."),
        (_, "tags") => format!("{changed} tagged."),
        (_, "severity") => format!("{changed} rated anew."),
        (_, _) => format!("{changed} changed."),
    };
    match job.total - job.changed {
        0 => done,
        rest => match &job.stopped {
            Some(why) => format!("Stopped: {why}. {done} {} stayed as they were.", many(rest)),
            None => {
                format!("{done} {} stayed as before: already so, or somebody else was quicker.", many(rest))
            }
        },
    }
}

/// What the job before this page did, with the way to take it back.
pub(super) async fn undo(
    state: &AppState,
    session: &Session,
    said: &Said,
) -> Result<Option<Value>, PageError> {
    let Some(id) = said.job() else { return Ok(None) };
    let Some(job) = state.db.job(id).await? else { return Ok(None) };
    let mine = job.user == session.caller.user().ok();
    let possible = mine && job.changed > 0 && job.undo_until().is_some_and(|until| until > now());
    Ok(Some(context! { id, says => says(&job), possible, same => job.changed < job.total }))
}

/// How far a job is, and what came of it.
pub(crate) async fn show(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    Path(id): Path<String>,
    said: Said,
) -> Result<Response, PageError> {
    let job = jobs::known(&state, &id).await?;
    let results = state.db.job_results(&job, PageRequest::numbered(1, SHOWN)).await?;
    let left = results.rows.iter().filter(|one| !matches!(one.outcome, Outcome::Changed));
    let left = left.map(|one| context! { alert => one.alert.get(), why => why(one.outcome) });
    let running = job.finished_at.is_none();
    let mine = job.user == session.caller.user().ok();
    let page = context! {
        title => match (running, &job.stopped) {
            (true, _) => "Many alerts, under way",
            (false, None) => "Many alerts, done",
            (false, Some(_)) => "Many alerts, stopped",
        },
        said => said.text(),
        running,
        says => says(&job),
        action => job.action.as_str(),
        actor => job.actor.as_str(),
        done => job.done,
        total => job.total,
        left => left.collect::<Vec<_>>(),
        undo => (!running && mine && job.changed > 0 && job.undo_until().is_some_and(|until| until > now())).then_some(&job.id),
    };
    let page = render(StatusCode::OK, "job.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

fn why(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Changed => "was changed",
        Outcome::Same => "was so already",
        Outcome::NotNow => "can't be done as it stands",
        Outcome::MovedOn => "was changed by somebody else since",
        Outcome::Missing => "is not there",
    }
}
