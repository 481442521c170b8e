//! What people do with an alert: each thing a path of its own, beside the plain change of its status.

use crate::api::Case;
use crate::api::alerts::{AlertView, with_tag};
use crate::auth::guard::{AlertChanger, AlertReader, Caller};
use crate::body::{Field, Holds, SEVERITIES, VERDICTS};
use crate::error::{ApiError, choose_from};
use crate::extract::{Id, Input, based_on};
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::alert::HistoryEntry;
use watchpost_model::text::Given;
use watchpost_model::triage::{
    Action, Assignee, MAX_SNOOZE_SECONDS, Verdict, check_note, check_tags, check_title,
};
use watchpost_model::{Actor, Alert, AlertId, Invalid, Severity, Status, Timestamp, User, invalid};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::StoreError;

const WHY: Field = Field::optional("why", Holds::Text, "Why; kept in the history.", "Being looked into");
const VERSION: Field = Field::optional(
    "version",
    Holds::Number,
    "The version it is based on; refused with 409 when the alert has moved on. `If-Match` does the same.",
    "1",
);
const PLAIN: &[Field] = &[WHY, VERSION];
const RESOLVE: &[Field] = &[
    Field::optional("verdict", Holds::OneOf(VERDICTS), "What it turned out to be.", "FALSE_POSITIVE"),
    WHY,
    VERSION,
];
const ASSIGN: &[Field] = &[
    Field::optional("assignee", Holds::Text, "A user's name, or `me`; nobody when left empty.", "me"),
    WHY,
    VERSION,
];
const SNOOZE: &[Field] = &[
    Field::optional(
        "until",
        Holds::Text,
        "Until when, as RFC 3339 or from now on as `+4h` (s, m, h, d, w), at most 90 days; not any longer when left empty.",
        "+4h",
    ),
    WHY,
    VERSION,
];
const TAGS: &[Field] = &[
    Field::optional(
        "add",
        Holds::Texts,
        "Tags to add: a list, or a text with commas between them.",
        r#"["vpn"]"#,
    ),
    Field::optional("remove", Holds::Texts, "Tags to take away.", r#"["triage"]"#),
    WHY,
    VERSION,
];
const SEVERITY: &[Field] = &[
    Field::required("severity", Holds::OneOf(SEVERITIES), "How bad it is, in any letter case.", "MEDIUM"),
    WHY,
    VERSION,
];
const TITLE: &[Field] = &[
    Field::optional("title", Holds::Text, "What to call it; by itself when left empty.", "Scan from the lab"),
    WHY,
    VERSION,
];
const NOTE: &[Field] = &[
    Field::required("text", Holds::Text, "The note, up to 10,000 characters.", "Called the owner."),
    VERSION,
];

fn action(id: &'static str, summary: &'static str, body: &'static [Field]) -> Operation {
    Operation::post(id, "Alerts", summary)
        .about("What is so already changes nothing and is no error. Each change is in the history, with who and why.")
        .body(body)
        .answers::<AlertView>(200, "The alert as it is now")
        .answers::<Overtaken>(409, "Somebody else changed it first, or it can't be done as the alert stands")
}

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/alerts/{id}/ack"],
        action("acknowledgeAlert", "Take an alert on", PLAIN),
        acknowledge,
    );
    routes.add(
        &["/api/v1/alerts/{id}/unack"],
        action("unacknowledgeAlert", "Give an alert back", PLAIN),
        unacknowledge,
    );
    routes.add(
        &["/api/v1/alerts/{id}/resolve"],
        action("resolveAlert", "Resolve an alert", RESOLVE),
        resolve,
    );
    routes.add(&["/api/v1/alerts/{id}/reopen"], action("reopenAlert", "Open an alert again", PLAIN), reopen);
    routes.add(
        &["/api/v1/alerts/{id}/assign"],
        action("assignAlert", "Give an alert to somebody", ASSIGN),
        assign,
    );
    routes.add(
        &["/api/v1/alerts/{id}/snooze"],
        action("snoozeAlert", "Put an alert off; it comes back by itself", SNOOZE),
        snooze,
    );
    routes.add(&["/api/v1/alerts/{id}/tags"], action("tagAlert", "Change an alert's tags", TAGS), tag);
    routes.add(&["/api/v1/alerts/{id}/title"], action("titleAlert", "Call an alert something", TITLE), title);
    routes.add(
        &["/api/v1/alerts/{id}/severity"],
        action("rateAlert", "Say how bad an alert is, whatever its event said", SEVERITY),
        rate,
    );
    routes.add(
        &["/api/v1/alerts/{id}/notes"],
        action("noteAlert", "Say something about an alert", NOTE),
        note,
    );
    routes.add(
        &["/api/v1/alerts/{id}/notes"],
        Operation::get("listAlertNotes", "Alerts", "What was said about an alert")
            .answers_all::<NoteView>("Its notes, oldest first"),
        notes,
    );
}

/// Why an alert wasn't changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Overtaken {
    /// What is wrong, in words.
    detail: String,
    /// `conflict` when somebody else was quicker, `not_now` when it can't be done as the alert stands.
    code: &'static str,
    /// The alert as it is now, when somebody else was quicker.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<AlertView>,
}

/// A note.
#[derive(Serialize, ToSchema)]
struct NoteView {
    #[schema(format = DateTime)]
    at: String,
    /// Whose it is, as they were called then.
    author: String,
    text: String,
}

/// Does something with an alert: the one way, for every path.
pub(crate) async fn act(
    state: &AppState,
    id: AlertId,
    action: &Action,
    why: &str,
    version: Option<i64>,
    caller: &Caller,
) -> Result<Alert, ApiError> {
    let acted = match state.db.act(id, action, why, version, &caller.entry()).await {
        Err(StoreError::Conflict) => return Err(overtaken(state, id).await?),
        acted => acted?,
    };
    if acted.changed() {
        let step = &acted.step;
        tracing::info!(alert.id = id.get(), action = step.action, from = step.from, to = step.to, by = %caller.actor, "alert changed");
    }
    Ok(acted.step.alert)
}

/// What to say to whoever was too late: how the alert is now.
async fn overtaken(state: &AppState, id: AlertId) -> Result<ApiError, ApiError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    let current = serde_json::to_value(AlertView::new(alert, Case::Capitals)).unwrap_or_default();
    Ok(ApiError::Overtaken(Box::new(current)))
}

/// The verdict that a body names. Where one is required, resolving without it is refused.
pub(crate) fn verdict(state: &AppState, fields: &Fields<'_>, to: Status) -> Result<Option<Verdict>, Invalid> {
    let given = fields.get("verdict");
    let wrong = |message: String| Invalid::field("verdict", message);
    let text = match &given {
        Given::Missing | Given::Null => "",
        given => given.required().map_err(wrong)?.trim(),
    };
    match Verdict::parse(text) {
        Some(_) if to != Status::Resolved => Err(wrong("Only what is resolved has a verdict.".into())),
        Some(verdict) => Ok(Some(verdict)),
        None if !text.is_empty() => Err(wrong(choose_from(text, VERDICTS))),
        None if state.settings.verdict_required && to == Status::Resolved => {
            Err(wrong(invalid::REQUIRED.into()))
        }
        None => Ok(None),
    }
}

/// The action that a path or a job names, with what it takes from the body.
pub(crate) async fn named(
    state: &AppState,
    name: &str,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<Option<Action>, ApiError> {
    let field = |name: &'static str| move |message: String| Invalid::field(name, message);
    Ok(Some(match name {
        "ack" => Action::Acknowledge,
        "unack" => Action::Unacknowledge,
        "reopen" => Action::Reopen,
        "resolve" => Action::Move(Status::Resolved, verdict(state, fields, Status::Resolved)?),
        "assign" => Action::Assign(assignee(state, &fields.get("assignee"), caller).await?),
        "snooze" => Action::Snooze(until(&fields.get("until"), now()).map_err(field("until"))?),
        "title" => Action::Title(check_title(&fields.get("title")).map_err(field("title"))?),
        "severity" => Action::Rate(severity(&fields.get("severity"))?),
        "notes" => Action::Note,
        "tags" => {
            let mut wrong = Invalid::new();
            let add = wrong.take("add", check_tags(&fields.get("add")));
            let remove = wrong.take("remove", check_tags(&fields.get("remove")));
            wrong.into_result()?;
            Action::Tag { add: add.unwrap_or_default(), remove: remove.unwrap_or_default() }
        }
        _ => return Ok(None),
    }))
}

fn severity(given: &Given<'_>) -> Result<Severity, Invalid> {
    let read = |text: &str| Severity::parse(text).ok_or_else(|| choose_from(text, SEVERITIES));
    given.required().and_then(read).map_err(|message| Invalid::field("severity", message))
}

/// What goes into the history beside the action: why, or the note itself.
pub(crate) fn said(fields: &Fields<'_>, action: &Action) -> Result<String, Invalid> {
    if *action != Action::Note {
        return check_note(&fields.get("why")).map_err(|message| Invalid::field("why", message));
    }
    let given = fields.get("text");
    let text = given.required().and_then(|_| check_note(&given)).and_then(|text| match text.is_empty() {
        true => Err(invalid::BLANK.to_owned()),
        false => Ok(text),
    });
    text.map_err(|message| Invalid::field("text", message))
}

macro_rules! actions {
    ($($handler:ident => $name:literal;)*) => {$(
        async fn $handler(
            AlertChanger(caller): AlertChanger,
            State(state): State<AppState>,
            Id(id): Id<AlertId>,
            headers: HeaderMap,
            input: Input,
        ) -> Result<Response, ApiError> {
            let fields = input.fields()?;
            let action = named(&state, $name, &fields, &caller).await?.ok_or(ApiError::NotFound)?;
            let (said, version) = (said(&fields, &action)?, based_on(&headers, &fields)?);
            act(&state, id, &action, &said, version, &caller).await.map(with_tag)
        }
    )*};
}

actions! {
    acknowledge => "ack";
    unacknowledge => "unack";
    resolve => "resolve";
    reopen => "reopen";
    assign => "assign";
    snooze => "snooze";
    tag => "tags";
    title => "title";
    rate => "severity";
    note => "notes";
}

/// The user that a name stands for; `me` is whoever asks.
pub(crate) async fn person(state: &AppState, name: &str, caller: &Caller) -> Result<User, ApiError> {
    let found = match &caller.actor {
        Actor::User { id, .. } if name.eq_ignore_ascii_case("me") => state.db.credentials(*id).await?,
        _ if name.contains('\0') => None,
        _ => state.db.credentials_by_name(name).await?,
    };
    let shown: String = name.chars().take(150).collect();
    let nobody = || Invalid::field("assignee", format!("There is no user {shown}."));
    Ok(found.map(|found| found.user).ok_or_else(nobody)?)
}

/// Whom a body gives an alert to.
async fn assignee(
    state: &AppState,
    given: &Given<'_>,
    caller: &Caller,
) -> Result<Option<Assignee>, ApiError> {
    let name = match given {
        Given::Missing | Given::Null => "",
        given => given.required().map_err(|message| Invalid::field("assignee", message))?.trim(),
    };
    match name {
        "" => Ok(None),
        name => match person(state, name, caller).await? {
            User { id, username: name, active: true, .. } => Ok(Some(Assignee { id, name })),
            _ => Err(Invalid::field("assignee", "This user is deactivated.").into()),
        },
    }
}

fn until(given: &Given<'_>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let text = match given {
        Given::Missing | Given::Null => "",
        given => given.required()?.trim(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match Timestamp::parse_relative(text, now) {
        None => {
            Err("A time such as 2026-11-20T22:05:45Z, or one from now on such as +4h is expected.".into())
        }
        Some(until) if until <= now => Err("A time to come is expected.".into()),
        Some(until) if until > now.plus_seconds(MAX_SNOOZE_SECONDS) => {
            Err("At most 90 days from now are expected.".into())
        }
        Some(until) => Ok(Some(until)),
    }
}

async fn notes(
    AlertReader(_): AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
) -> Result<Json<Vec<NoteView>>, ApiError> {
    state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    let history = state.db.alert_history(id).await?;
    let view =
        |entry: HistoryEntry| NoteView { at: entry.at.to_string(), author: entry.actor, text: entry.why };
    Ok(Json(history.into_iter().filter(|entry| entry.action == "note").map(view).collect()))
}
