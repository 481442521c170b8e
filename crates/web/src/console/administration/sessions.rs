//! Where everybody is signed in.

use super::{paged, ways};
use crate::api::sessions::{end_any, open_sessions};
use crate::auth::proof::Fresh;
use crate::console::guard::{Administrator, CameFrom, Form};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_store::Session as Record;

/// Where the page is.
const HERE: &str = "/admin/sessions";
const FILTER: &FormFields = &[("user", "User")];
/// The kinds to choose from: the value, and what it says.
const KINDS: [(&str, &str); 3] = [("", "All"), ("console", "In browsers"), ("tokens", "Programs")];

pub(super) fn session_view((session, username): (Record, String), current: Option<&str>) -> Value {
    context! {
        current => current == Some(session.id.as_str()),
        id => session.id,
        user_id => session.user.get(),
        username,
        kind => session.kind.name(),
        address => session.address,
        agent => session.agent,
        created_at => session.created_at.to_string(),
        last_seen_at => session.last_seen_at.to_string(),
        expires_at => session.expires_at.to_string(),
    }
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    said: Said,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let asked = paged(asked);
    let found = match asked.query.sessions(&state).await {
        Ok((filter, request)) => Ok(open_sessions(&state, filter, request).await?),
        Err(error) => Err(Refused::filter(error, FILTER, &asked)?),
    };
    let kind = asked.query.get("kind").unwrap_or_default();
    let kinds = KINDS.map(|(value, says)| {
        let query = asked.query.keep(|name, _| !matches!(name, "kind" | "page_size"));
        let query = if value.is_empty() { query } else { query.and("kind", value) };
        context! { says, href => format!("{HERE}{}", query.text()), chosen => value.eq_ignore_ascii_case(kind) }
    });
    let (status, refused, links, rows) = match found {
        Ok(page) => (StatusCode::OK, None, Some(ways(&page, &asked, HERE)?), page.rows),
        Err(refused) => (refused.status, Some(refused.view()), None, Vec::new()),
    };
    let current = session.caller.session.as_deref();
    let page = context! {
        title => "Sessions",
        said => said.text(),
        refused, links, kinds, kind,
        user => asked.query.get("user").unwrap_or_default(),
        sessions => rows.into_iter().map(|one| session_view(one, current)).collect::<Vec<_>>(),
    };
    let page = render(status, "sessions.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

/// Ends one session, and goes back to where it was listed.
pub(crate) async fn end(
    Fresh(Administrator(session)): Fresh<Administrator>,
    State(state): State<AppState>,
    Path(id): Path<String>,
    CameFrom(before): CameFrom,
    _: Form,
) -> Result<Response, PageError> {
    match end_any(&state, &id, &session.caller).await {
        // It has ended since the page was made.
        Ok(()) | Err(ApiError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let listed = before.filter(|page| page.starts_with("/admin/"));
    Ok(Done::SessionEnded.then(listed.as_deref().unwrap_or(HERE), &state.settings))
}
