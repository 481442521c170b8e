//! Where everybody is logged in, for Admins.

use crate::api::page::PageView;
use crate::auth::grant;
use crate::auth::guard::{Administrator, Caller};
use crate::auth::proof::Fresh;
use crate::auth::session::IDLE_SECONDS;
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::page::{Page, PageRequest};
use watchpost_pipeline::now;
use watchpost_store::{Session, SessionFilter};

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/sessions"],
        Operation::get(
            "listAllSessions",
            "Sessions",
            "Where everybody is logged in, what was used last first",
        )
        .query(query::SESSIONS)
        .lists::<OpenSession>("A page of sessions that still open something"),
        list,
    );
    routes.add(
        &["/api/v1/sessions/{session}"],
        Operation::delete("endAnySession", "Sessions", "Log somebody out somewhere")
            .about("Its cookie or its tokens open nothing any more, on every server within seconds.")
            .says(204, "Ended"),
        end,
    );
}

/// Where somebody is logged in.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenSession {
    id: String,
    /// Whose it is.
    user_id: i64,
    /// What they are called.
    username: String,
    /// `console` or `tokens`.
    kind: &'static str,
    /// From where it was begun.
    address: String,
    /// What the client said it is.
    agent: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last used: to the minute in the console, when it was last refreshed for tokens.
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// When it ends unless it goes on.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Whether it is the one that is asking.
    current: bool,
}

impl OpenSession {
    fn new(session: Session, username: String, current: Option<&str>) -> Self {
        Self {
            current: current == Some(session.id.as_str()),
            user_id: session.user.get(),
            username,
            kind: session.kind.name(),
            address: session.address,
            agent: session.agent,
            created_at: session.created_at.to_string(),
            last_seen_at: session.last_seen_at.to_string(),
            expires_at: session.expires_at.to_string(),
            id: session.id,
        }
    }
}

/// A page of sessions that still open something, each with its user's name.
pub(crate) async fn open_sessions(
    state: &AppState,
    filter: SessionFilter,
    request: PageRequest,
) -> Result<Page<(Session, String)>, ApiError> {
    let now = now();
    Ok(state.db.sessions(filter, now, now.plus_seconds(-IDLE_SECONDS), request).await?)
}

/// Ends somebody's session.
pub(crate) async fn end_any(state: &AppState, id: &str, caller: &Caller) -> Result<(), ApiError> {
    let found = if id.contains('\0') { None } else { state.db.session(id, now()).await? };
    let session = found.ok_or(ApiError::NotFound)?;
    grant::end(state, &session, caller, "session.end").await
}

async fn list(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<OpenSession>>, ApiError> {
    let (filter, request) = asked.query.sessions(&state).await?;
    let page = open_sessions(&state, filter, request).await?;
    let current = caller.session.as_deref();
    PageView::new(page, &asked, |(session, username)| OpenSession::new(session, username, current)).map(Json)
}

async fn end(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    end_any(&state, &id, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
