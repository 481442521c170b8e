//! What happened since somebody last looked: for whoever takes over from others.

use crate::api::stats::TopView;
use crate::auth::guard::{Caller, Oneself};
use crate::body::{Field, Holds};
use crate::error::ApiError;
use crate::extract::{Input, ListRequest};
use crate::openapi::Operation;
use crate::params::any;
use crate::places;
use crate::query::Param;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use watchpost_model::page::Count;
use watchpost_model::text::Given;
use watchpost_model::triage::Verdict;
use watchpost_model::{Invalid, Severity, Timestamp};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Db, Deeds, Handover, Told};

/// From when on for those who never looked: a shift.
const FIRST_SECONDS: i64 = 12 * 3_600;
/// What is longer ago than a month is a report, not a handover.
const MAX_SECONDS: i64 = 31 * 86_400;

const PATH: &str = "/api/v1/handover";
const SINCE: Param = any(
    "since",
    "From when on, instead of when one last looked: RFC 3339, a date, or before now, such as `-12h`; at most 31 days ago.",
);
const READ: &[Param] = &[SINCE];
const SEE: &[Field] = &[Field::optional(
    "until",
    Holds::Text,
    "Up to when one has seen everything, such as `until` of the answer; now when left out.",
    "2026-11-20T22:05:45Z",
)];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &[PATH],
        Operation::get("readHandover", "Handover", "What happened since one last looked")
            .about(
                "Without `since` from when one last said so; at first the last 12 hours. Counts that were not counted to their end \
                 are at least so many, and have a field beside them that says so (`…_is_minimum`); lists that go on have one, too (`…_more`).",
            )
            .query(READ)
            .answers::<HandoverView>(200, "What happened, and how things stand"),
        read,
    );
    routes.add(
        &[PATH],
        Operation::post("seeHandover", "Handover", "Say up to when one has seen what happened")
            .about("It only moves forward, and never beyond now.")
            .body(SEE)
            .answers::<SeenView>(200, "Up to when one has seen it now"),
        see,
    );
}

/// Up to when somebody has seen what happened.
#[derive(Serialize, ToSchema)]
struct SeenView {
    #[schema(format = DateTime)]
    seen_until: String,
}

/// What happened in some time, and how things stand at its end.
#[derive(Serialize, ToSchema)]
struct HandoverView {
    /// It is told from here on,
    #[schema(format = DateTime)]
    since: String,
    /// and up to here.
    #[schema(format = DateTime)]
    until: String,
    /// Up to when one said that one has seen it; `null` when one never did.
    #[schema(format = DateTime)]
    seen_until: Option<String>,
    /// Alerts that were raised, by how bad they are now.
    raised: BTreeMap<&'static str, i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    raised_is_minimum: bool,
    /// Alerts that were taken on.
    acknowledged: i64,
    /// Alerts that were resolved.
    resolved: i64,
    /// Alerts that were resolved and are no more.
    reopened: i64,
    /// Whether these three, and those by person, were counted only for the newest changes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    done_is_minimum: bool,
    /// Alerts that are open now, by how bad they are.
    still_open: BTreeMap<&'static str, i64>,
    /// Alerts that are open now and nobody's.
    unassigned_open: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unassigned_open_is_minimum: bool,
    /// Alerts that are open now and one's own.
    mine_open: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mine_open_is_minimum: bool,
    /// Alerts that came back by themselves and are not resolved.
    snoozes_ended: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snoozes_ended_is_minimum: bool,
    /// Where most of the alerts that were raised come from.
    top_sources: Vec<TopView>,
    top_sources_more: bool,
    /// Whether sources were counted only for the newest alerts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    top_sources_is_minimum: bool,
    /// The last 50 changes, newest first. What was undone since counts nowhere.
    changes: Vec<ToldView>,
    changes_more: bool,
    /// Who did what, by what they were called then: the 50 who did most.
    by_person: BTreeMap<String, DeedsView>,
    by_person_more: bool,
    /// The last 20 notes, newest first.
    notes: Vec<ToldNoteView>,
    notes_more: bool,
}

/// What somebody did.
#[derive(Serialize, ToSchema)]
struct DeedsView {
    acknowledged: i64,
    resolved: i64,
    reopened: i64,
    notes: i64,
    /// Changes of any kind, these included.
    changes: i64,
}

/// A change of an alert.
#[derive(Serialize, ToSchema)]
struct ToldView {
    #[schema(format = DateTime)]
    at: String,
    /// Which alert.
    alert: i64,
    /// What it is called now.
    title: String,
    /// How bad it is now.
    severity: &'static str,
    /// Who did it, as they were called then.
    actor: String,
    /// What was done, as in the alert's history.
    action: String,
    from: Option<String>,
    to: String,
    verdict: Option<&'static str>,
    /// Why, or the text of a note.
    why: String,
    /// The alert's version since.
    version: i64,
}

/// A note about an alert.
#[derive(Serialize, ToSchema)]
struct ToldNoteView {
    #[schema(format = DateTime)]
    at: String,
    /// Which alert.
    alert: i64,
    /// What it is called now.
    title: String,
    /// How bad it is now.
    severity: &'static str,
    /// Whose it is, as they were called then.
    author: String,
    text: String,
}

impl ToldView {
    fn new(told: Told) -> Self {
        let Told { alert, entry } = told;
        Self {
            at: entry.at.to_string(),
            alert: alert.id.get(),
            title: alert.shown_title(),
            severity: alert.severity.as_str(),
            actor: entry.actor,
            action: entry.action,
            from: entry.from,
            to: entry.to,
            verdict: entry.verdict.map(Verdict::as_str),
            why: entry.why,
            version: entry.version,
        }
    }
}

impl ToldNoteView {
    fn new(told: Told) -> Self {
        let ToldView { at, alert, title, severity, actor: author, why: text, .. } = ToldView::new(told);
        Self { at, alert, title, severity, author, text }
    }
}

/// What happened in some time for somebody.
pub(crate) struct Report {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// Up to when they said that they have seen it.
    pub(crate) seen_until: Option<Timestamp>,
    pub(crate) handover: Handover,
}

impl HandoverView {
    fn new(report: Report) -> Self {
        let Report { since, until, seen_until, handover } = report;
        let by_severity = |counts: BTreeMap<Severity, i64>| {
            counts.into_iter().map(|(severity, n)| (severity.as_str(), n)).collect()
        };
        let is_minimum = |count: Count| matches!(count, Count::AtLeast(_));
        let deeds = |(name, deeds): (String, Deeds)| {
            let Deeds { acknowledged, resolved, reopened, notes, changes } = deeds;
            (name, DeedsView { acknowledged, resolved, reopened, notes, changes })
        };
        Self {
            since: since.to_string(),
            until: until.to_string(),
            seen_until: seen_until.map(|seen| seen.to_string()),
            raised: by_severity(handover.raised),
            raised_is_minimum: handover.raised_is_minimum,
            acknowledged: handover.done.acknowledged,
            resolved: handover.done.resolved,
            reopened: handover.done.reopened,
            done_is_minimum: handover.done_is_minimum,
            still_open: by_severity(handover.still_open),
            unassigned_open: handover.unassigned_open.number(),
            unassigned_open_is_minimum: is_minimum(handover.unassigned_open),
            mine_open: handover.mine_open.number(),
            mine_open_is_minimum: is_minimum(handover.mine_open),
            snoozes_ended: handover.snoozes_ended.number(),
            snoozes_ended_is_minimum: is_minimum(handover.snoozes_ended),
            top_sources: handover
                .top_sources
                .into_iter()
                .map(|(value, count)| TopView { value, count })
                .collect(),
            top_sources_more: handover.top_sources_more,
            top_sources_is_minimum: handover.top_sources_is_minimum,
            changes: handover.changes.into_iter().map(ToldView::new).collect(),
            changes_more: handover.changes_more,
            by_person: handover.by_person.into_iter().map(deeds).collect(),
            by_person_more: handover.by_person_more,
            notes: handover.notes.into_iter().map(ToldNoteView::new).collect(),
            notes_more: handover.notes_more,
        }
    }
}

/// What happened for the caller up to now since a time, or since they last looked.
pub(crate) async fn report(
    db: &Db,
    since: Option<Timestamp>,
    until: Timestamp,
    caller: &Caller,
) -> Result<Report, ApiError> {
    let user = caller.user()?;
    let oldest = until.plus_seconds(-MAX_SECONDS);
    let wrong = |message: &str| ApiError::from(Invalid::field("since", message));
    if since.is_some_and(|since| since > until) {
        return Err(wrong("A time that has passed is expected."));
    }
    if since.is_some_and(|since| since < oldest) {
        return Err(wrong("At most 31 days ago are expected."));
    }
    let seen_until = db.seen_until(user).await?;
    let seen = seen_until.map(|seen| seen.clamp(oldest, until));
    let since = since.or(seen).unwrap_or(until.plus_seconds(-FIRST_SECONDS));
    let handover = db.handover(user, since, until).await?;
    Ok(Report { since, until, seen_until, handover })
}

/// Remembers up to when the caller has seen what happened; up to when that is now.
pub(crate) async fn see_until(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<Timestamp, ApiError> {
    let now = now();
    let wrong = |message: String| ApiError::from(Invalid::field("until", message));
    let until = match fields.get("until") {
        Given::Missing | Given::Null => now,
        given => match given.required().map_err(wrong)?.trim() {
            "" => now,
            text => Timestamp::parse_relative(text, now).ok_or_else(|| {
                wrong(
                    "A time such as 2026-11-20T22:05:45Z, or one before now such as -1h is expected.".into(),
                )
            })?,
        },
    };
    Ok(state.db.see_until(caller.user()?, until.min(now)).await?)
}

async fn read(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<HandoverView>, ApiError> {
    let mut wrong = Invalid::new();
    asked.query.name_unknown(READ, &mut wrong);
    let now = now();
    let span = asked.query.span(now, &mut wrong);
    wrong.into_result()?;
    let _place = places::for_search(&state, &caller).await?;
    Ok(Json(HandoverView::new(report(&state.db.heavy(), span.since, now, &caller).await?)))
}

async fn see(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<SeenView>, ApiError> {
    let seen_until = see_until(&state, &input.fields()?, &caller).await?;
    Ok(Json(SeenView { seen_until: seen_until.to_string() }))
}
