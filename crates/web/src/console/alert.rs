//! One alert: what happened, why it was raised, what was done.

use crate::api::alerts::{set_status, whole_history};
use crate::auth::session::Session;
use crate::console::alerts::view;
use crate::console::guard::{AlertChanger, AlertReader, Form, own_path};
use crate::console::page::{PageError, render};
use crate::error::ApiError;
use crate::extract::Id;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::context;
use watchpost_model::text::Given;
use watchpost_model::{AlertId, Invalid, Status, invalid};

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
) -> Result<Response, PageError> {
    page(&state, &session, id, StatusCode::OK, "").await
}

async fn page(
    state: &AppState,
    session: &Session,
    id: AlertId,
    status: StatusCode,
    notice: &str,
) -> Result<Response, PageError> {
    let alert = state.db.alert(id).await?.ok_or(ApiError::NotFound)?;
    let history = whole_history(state, &alert).await?;
    let changes: Vec<_> = history
        .iter()
        .map(|change| {
            context! {
                at => change.at.to_string(),
                actor => change.actor.as_str(),
                from => change.from.map(Status::title),
                to => change.to.title(),
            }
        })
        .collect();
    let event = &alert.event;
    let page = context! {
        title => format!("Alert {id}"),
        notice,
        alert => view(&alert),
        rule => alert.rule,
        event_id => event.id.get(),
        received => event.created_at.to_string(),
        description => event.description.as_str(),
        submitted_by => match event.origin {
            watchpost_model::event::Origin::User(user) => format!("user {user}"),
            watchpost_model::event::Origin::Key(key) => format!("sensor key {key}"),
        },
        changes,
        here => format!("/alerts/{id}"),
    };
    Ok(render(status, "alert.html", Some(session), page))
}

/// Moves an alert on, and goes back to where the button was.
pub(crate) async fn change(
    AlertChanger(session): AlertChanger,
    State(state): State<AppState>,
    Id(id): Id<AlertId>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let text = |name| match fields.get(name) {
        Given::Text(text) => text.into_owned(),
        _ => String::new(),
    };
    let wanted = text("status");
    let to = Status::parse(&wanted)
        .ok_or_else(|| ApiError::from(Invalid::field("status", invalid::not_a_choice(&wanted))))?;
    let version = text("version").parse().ok();
    match set_status(&state, id, to, version, &session.caller).await {
        Ok(_) => Ok(Redirect::to(own_path(&text("back"))).into_response()),
        Err(ApiError::Conflict(..)) => {
            let notice = format!(
                "Somebody else was quicker, so it was not set to {}. This is how it stands now.",
                to.title()
            );
            page(&state, &session, id, StatusCode::CONFLICT, &notice).await
        }
        Err(error) => Err(error.into()),
    }
}
