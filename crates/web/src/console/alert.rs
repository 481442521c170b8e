//! One alert: what happened, why it was raised, what was done, and everything that can be done.

use crate::api::alerts::whole_history;
use crate::api::triage::{act, named, said};
use crate::auth::session::Session;
use crate::console::event_facts::{facts, origin};
use crate::console::guard::{AlertChanger, AlertReader, CameFrom, Form, filled, own_path, version};
use crate::console::neighbours::around;
use crate::console::page::{QUEUE, render};
use crate::console::problem::PageError;
use crate::console::queue::{self, bulk, view};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::Id;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use watchpost_model::alert::HistoryEntry;
use watchpost_model::triage::{Action, Verdict};
use watchpost_model::{Alert, AlertId, Severity, Status};
use watchpost_pipeline::decode::{Fields, Format};

/// The page around an alert.
struct Around {
    status: StatusCode,
    /// Why something that was asked for was not done; empty when it was.
    problem: String,
    said: Said,
    /// The list to go back to, with its filters.
    list: String,
    /// A note that wasn't taken, so that nobody writes it twice.
    note: String,
}

/// The list that somebody was on, with its filters.
fn list(page: Option<String>) -> String {
    let is_list = |page: &String| page == queue::HERE || page.starts_with("/alerts?");
    page.filter(is_list).unwrap_or_else(|| QUEUE.to_owned())
}

/// The list that an address carries along.
fn carried(query: Option<&str>) -> Option<String> {
    let found = form_urlencoded::parse(query?.as_bytes()).find(|(name, _)| name == "list");
    found.map(|(_, list)| own_path(&list).to_owned())
}

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    said: Said,
    (CameFrom(page), RawQuery(query)): (CameFrom, RawQuery),
) -> Result<Response, PageError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    let list = list(carried(query.as_deref()).or(page));
    let around = Around { status: StatusCode::OK, problem: String::new(), said, list, note: String::new() };
    page_of(&state, &session, &alert, around).await
}

async fn page_of(
    state: &AppState,
    session: &Session,
    alert: &Alert,
    page: Around,
) -> Result<Response, PageError> {
    let history = whole_history(state, alert).await?;
    let change = |entry: &HistoryEntry| {
        context! {
            at => entry.at.to_string(),
            says => says(entry),
            why => entry.why.as_str(),
            note => entry.action == "note",
            undone => entry.undone,
        }
    };
    let event = &alert.event;
    let shown = context! {
        title => format!("Alert {}", alert.id),
        said => page.said.text(),
        problem => page.problem,
        note => page.note,
        list => page.list,
        alert => view(alert),
        rule => alert.rule.as_str(),
        own_severity => (alert.severity != event.severity).then(|| event.severity.title()),
        // What was acknowledged and reopened is in the history: here is how things stand.
        acknowledged => alert.acknowledged_at.filter(|_| alert.status != Status::Open).zip(alert.acknowledged_by.clone()).map(|(at, by)| context! { at => at.to_string(), by }),
        resolved => alert.resolved_at.filter(|_| alert.status == Status::Resolved).zip(alert.resolved_by.clone()).map(|(at, by)| context! { at => at.to_string(), by }),
        event_id => event.id.get(),
        received => event.created_at.to_string(),
        occurred => event.details.occurred_at.map(|at| at.to_string()),
        description => event.description.as_str(),
        submitted_by => origin(event),
        facts => facts(event, session),
        around => around(state, session, event, Some(alert.id)).await?,
        changes => history.iter().map(change).collect::<Vec<Value>>(),
        notes => history.iter().filter(|entry| entry.action == "note").count(),
        people => bulk::choices(state).await?,
        verdicts => Verdict::ALL.map(|verdict| context! { value => verdict.as_str(), says => verdict.title() }),
        snoozes => bulk::SNOOZES.map(|(until, says)| context! { until, says }),
        verdict_required => state.settings.verdict_required,
        severities => Severity::ALL.map(|one| context! { value => one.as_str(), says => one.title(), chosen => one == alert.severity }),
        here => format!("/alerts/{}", alert.id),
    };
    Ok(page.said.on(render(page.status, "alert.html", Some(session), shown), &state.settings))
}

/// What was done, as the page says it.
fn done(action: &Action, alert: &Alert) -> Done {
    match action {
        Action::Acknowledge | Action::Unacknowledge | Action::Reopen | Action::Move(..) => {
            Done::Alert(alert.id, alert.status)
        }
        Action::Note => Done::Noted,
        _ => Done::AlertChanged,
    }
}

/// Does something with an alert, and comes back to it.
pub(crate) async fn change(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (list, caller) = (list(Some(filled(&fields, "list"))), &session.caller);
    let name = filled(&fields, "action");
    let body = bulk::body(&fields, &name);
    let body = Fields::decode(Format::Json, body.as_bytes()).map_err(|_| ApiError::Internal)?;
    let action = named(&state, &name, &body, caller).await?.ok_or(ApiError::NotFound)?;
    let why = said(&body, &action)?;
    let version = version(&fields)?;
    match act(&state, id, &action, &why, version, caller).await {
        Ok(alert) => {
            let list = utf8_percent_encode(&list, NON_ALPHANUMERIC);
            Ok(done(&action, &alert).then(&format!("/alerts/{id}?list={list}"), &state.settings))
        }
        Err(ApiError::Overtaken(_) | ApiError::Conflict(..)) => {
            let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
            let history = whole_history(&state, &alert).await?;
            let around = Around {
                status: StatusCode::CONFLICT,
                problem: too_late(&history, version),
                said: Said::NOTHING,
                list,
                note: filled(&fields, "text"),
            };
            page_of(&state, &session, &alert, around).await
        }
        Err(error) => Err(error.into()),
    }
}

/// What happened, in words.
pub(super) fn says(entry: &HistoryEntry) -> String {
    let who = &entry.actor;
    let (from, to) = (entry.from.as_deref().unwrap_or_default(), entry.to.as_str());
    match (entry.action.as_str(), from, to) {
        ("raised", ..) => format!("Raised by {who}"),
        ("status", ..) => {
            let title =
                |name: &str| Status::parse(name).map_or_else(|| name.to_owned(), |s| s.title().to_owned());
            let verdict = entry.verdict.map(|verdict| format!(" ({})", Verdict::title(verdict)));
            format!("{} → {}{} by {who}", title(from), title(to), verdict.unwrap_or_default())
        }
        ("severity", ..) => {
            let title = |name: &str| {
                Severity::parse(name).map_or_else(|| name.to_owned(), |severity| severity.title().to_owned())
            };
            format!("Severity {} → {} by {who}", title(from), title(to))
        }
        ("undo", ..) => format!("Undone by {who}"),
        ("note", ..) => format!("Note by {who}"),
        ("assign", _, "") => format!("Given to nobody by {who}"),
        ("assign", ..) => format!("Given to {to} by {who}"),
        ("snooze", _, "") => format!("No longer put off by {who}"),
        ("snooze", ..) => format!("Put off until {to} by {who}"),
        ("title", _, "") => format!("Called by what it is again by {who}"),
        ("title", ..) => format!("Called \"{to}\" by {who}"),
        (_, "", to) => format!("Tagged {to} by {who}"),
        (_, from, "") => format!("No longer tagged {from} by {who}"),
        (_, from, to) => format!("Tagged {to} instead of {from} by {who}"),
    }
}

/// Who was quicker, and what came of it.
fn too_late(history: &[HistoryEntry], seen: Option<i64>) -> String {
    let news = history.iter().filter(|entry| seen.is_none_or(|seen| entry.version > seen));
    let said: Vec<String> = news.filter(|entry| entry.action != "raised").map(says).collect();
    match said.is_empty() {
        true => "That can't be done as it stands now.".to_owned(),
        false => format!(
            "Somebody else was quicker: {}. Nothing of yours was changed; this is how it stands now.",
            said.join("; ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::Timestamp;

    #[test]
    fn whoever_is_too_late_hears_what_happened() {
        let change = |version: i64, actor: &str, action: &str, from: &str, to: &str| HistoryEntry {
            version,
            at: Timestamp::from_micros(0),
            actor: actor.into(),
            action: action.into(),
            from: Some(from.into()),
            to: to.into(),
            verdict: None,
            why: String::new(),
            undone: false,
        };
        let history = [
            change(2, "ana", "status", "OPEN", "ACKNOWLEDGED"),
            change(3, "rob", "status", "ACKNOWLEDGED", "RESOLVED"),
            change(4, "joe", "severity", "HIGH", "LOW"),
        ];
        let said = too_late(&history, Some(2));
        assert!(said.contains("Acknowledged → Resolved by rob; Severity High → Low by joe."), "{said}");
        assert!(!said.contains("ana"), "{said}");
        assert_eq!(too_late(&history[..1], Some(2)), "That can't be done as it stands now.");
    }

    #[test]
    fn only_a_list_is_gone_back_to() {
        for own in ["/alerts", "/alerts?status=OPEN"] {
            assert_eq!(list(Some(own.into())), own);
        }
        for other in
            [None, Some("/alerts/7".to_owned()), Some("//evil.example".to_owned()), Some("/login".to_owned())]
        {
            assert_eq!(list(other), QUEUE);
        }
        assert_eq!(carried(Some("list=%2Falerts%3Fstatus%3DOPEN")).as_deref(), Some("/alerts?status=OPEN"));
        assert_eq!(carried(Some("list=%2F%2Fevil.example")).as_deref(), Some("/"));
    }
}
