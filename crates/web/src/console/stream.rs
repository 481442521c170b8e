//! The live stream, for the pages.

use crate::console::guard::Watcher;
use crate::console::problem::PageError;
use crate::extract::ListRequest;
use crate::state::AppState;
use crate::stream::{Door, open};
use axum::extract::{Request, State};
use axum::response::Response;

pub(crate) async fn watch(
    Watcher(session): Watcher,
    State(state): State<AppState>,
    asked: ListRequest,
    request: Request,
) -> Result<Response, PageError> {
    let (parts, _) = request.into_parts();
    Ok(open(&state, &session.caller, Door::Console, &parts, &asked.query).await?)
}
