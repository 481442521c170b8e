//! One alert: what happened, why it was raised, what was done.

use crate::api::alerts::{set_status, whole_history};
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
use watchpost_model::alert::StatusChange;
use watchpost_model::event::Origin;
use watchpost_model::{Alert, AlertId, Invalid, Status, invalid};

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
    history: &[StatusChange],
    around: Around,
) -> Response {
    let change = |change: &StatusChange| {
        context! {
            at => change.at.to_string(),
            actor => change.actor.as_str(),
            from => change.from.map(Status::title),
            to => change.to.title(),
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
    match set_status(&state, id, to, version(&fields)?, &session.caller).await {
        Ok(_) => Ok(Done::Alert(id, to).then(own_path(&back), &state.settings)),
        Err(ApiError::Conflict(..)) => {
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

/// Who was quicker, and what came of it.
fn too_late(history: &[StatusChange], wanted: Status) -> String {
    let Some(last) = history.last() else { return "Somebody else was quicker.".to_owned() };
    let (who, now) = (&last.actor, last.to.title());
    match last.to == wanted {
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
        let change = |actor: &str, to| StatusChange {
            at: Timestamp::from_micros(0),
            actor: actor.into(),
            from: Some(Status::Open),
            to,
        };
        let history = [change("ana", Status::Acknowledged), change("rob", Status::Resolved)];
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
