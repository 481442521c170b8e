//! One alert: what happened, why it was raised, what was done.

use crate::api::alerts::whole_history;
use crate::api::triage::act;
use crate::auth::session::Session;
use crate::console::alerts::view;
use crate::console::guard::{AlertChanger, AlertReader, CameFrom, Form, filled, own_path, version};
use crate::console::page::{HOME, render};
use crate::console::problem::PageError;
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::Id;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::alert::HistoryEntry;
use watchpost_model::event::Origin;
use watchpost_model::triage::{Action, Verdict};
use watchpost_model::{Alert, AlertId, Invalid, Status, invalid};
use watchpost_pipeline::now;

/// The page around an alert.
struct Around {
    status: StatusCode,
    /// Why something that was asked for was not done; empty when it was.
    problem: String,
    said: Said,
    /// The list to go back to, with its filters.
    list: String,
}

/// The list that somebody was on, with its filters.
fn list(page: Option<String>) -> String {
    page.filter(|page| page.starts_with("/?")).unwrap_or_else(|| HOME.to_owned())
}

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    said: Said,
    CameFrom(page): CameFrom,
) -> Result<Response, PageError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    let history = whole_history(&state, &alert).await?;
    let around = Around { status: StatusCode::OK, problem: String::new(), said, list: list(page) };
    Ok(page_of(&state, &session, &alert, &history, around))
}

fn page_of(
    state: &AppState,
    session: &Session,
    alert: &Alert,
    history: &[HistoryEntry],
    around: Around,
) -> Response {
    let change = |entry: &HistoryEntry| {
        context! {
            at => entry.at.to_string(),
            says => says(entry),
            why => entry.why.as_str(),
        }
    };
    let event = &alert.event;
    let page = context! {
        title => format!("Alert {}", alert.id),
        said => around.said.text(),
        problem => around.problem,
        list => around.list,
        alert => view(alert),
        rule => alert.rule.as_str(),
        name => alert.title.clone().unwrap_or_else(|| event.event_type.clone()),
        assignee => alert.assignee.as_ref().map(|assignee| assignee.name.clone()),
        verdict => alert.verdict.map(Verdict::title),
        tags => alert.tags.clone(),
        snoozed_until => alert.snoozed_until.filter(|until| *until > now()).map(|until| until.to_string()),
        event_id => event.id.get(),
        received => event.created_at.to_string(),
        description => event.description.as_str(),
        submitted_by => match event.origin {
            Origin::User(user) => format!("user {user}"),
            Origin::Key(key) => format!("sensor key {key}"),
        },
        changes => history.iter().map(change).collect::<Vec<Value>>(),
        here => format!("/alerts/{}", alert.id),
    };
    around.said.on(render(around.status, "alert.html", Some(session), page), &state.settings)
}

/// Moves an alert on, and goes back to where the button was.
pub(crate) async fn change(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let wanted = filled(&fields, "status");
    let to =
        Status::parse(&wanted).ok_or_else(|| Invalid::field("status", invalid::not_a_choice(&wanted)))?;
    let back = filled(&fields, "back");
    match act(&state, id, &Action::Move(to, None), "", version(&fields)?, &session.caller).await {
        Ok(_) => Ok(Done::Alert(id, to).then(own_path(&back), &state.settings)),
        Err(ApiError::Overtaken(_) | ApiError::Conflict(..)) => {
            let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
            let history = whole_history(&state, &alert).await?;
            let problem = too_late(&history, to);
            let around =
                Around { status: StatusCode::CONFLICT, problem, said: Said::NOTHING, list: list(Some(back)) };
            Ok(page_of(&state, &session, &alert, &history, around))
        }
        Err(error) => Err(error.into()),
    }
}

/// What happened, in words.
fn says(entry: &HistoryEntry) -> String {
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
fn too_late(history: &[HistoryEntry], wanted: Status) -> String {
    let moved = history.iter().rev().find_map(|entry| match entry.action.as_str() {
        "status" => Some((&entry.actor, Status::parse(&entry.to)?)),
        _ => None,
    });
    let Some((who, stands)) = moved else { return "Somebody else was quicker.".to_owned() };
    let now = stands.title();
    match stands == wanted {
        true => format!("Somebody else was quicker: {who} has already set it to {now}."),
        false => format!(
            "Somebody else was quicker: {who} set it to {now}, so it was not set to {}. This is how it stands now.",
            wanted.title()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::Timestamp;

    #[test]
    fn whoever_is_too_late_hears_what_happened() {
        let change = |actor: &str, action: &str, to: &str| HistoryEntry {
            version: 2,
            at: Timestamp::from_micros(0),
            actor: actor.into(),
            action: action.into(),
            from: Some("OPEN".into()),
            to: to.into(),
            verdict: None,
            why: String::new(),
        };
        let history = [
            change("ana", "status", "ACKNOWLEDGED"),
            change("rob", "status", "RESOLVED"),
            change("joe", "note", ""),
        ];
        assert!(too_late(&history, Status::Resolved).ends_with("rob has already set it to Resolved."));
        assert!(
            too_late(&history, Status::Open).contains("rob set it to Resolved, so it was not set to Open.")
        );
    }

    #[test]
    fn only_a_list_is_gone_back_to() {
        assert_eq!(list(Some("/?status=OPEN".into())), "/?status=OPEN");
        for other in
            [None, Some("/alerts/7".to_owned()), Some("//evil.example".to_owned()), Some("/login".to_owned())]
        {
            assert_eq!(list(other), "/");
        }
    }
}
