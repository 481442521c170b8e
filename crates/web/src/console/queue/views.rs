//! Views in the queue: lists that people keep under a name.

use super::HERE;
use crate::api::views::{create_view, delete_view, seen};
use crate::auth::session::Session;
use crate::console::guard::{Form, SignedIn, filled};
use crate::console::problem::PageError;
use crate::console::said::Done;
use crate::extract::Id;
use crate::query::Query;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::access::allows;
use watchpost_model::page::PageRequest;
use watchpost_model::view::View;
use watchpost_model::{Action, ViewId};
use watchpost_pipeline::decode::{Fields, Format};

/// Views in the menu: all that one may have, and as many of others.
const SHOWN: u32 = 200;

fn address(view: &View) -> String {
    if view.query.is_empty() { HERE.to_owned() } else { format!("{HERE}?{}", view.query) }
}

/// The views somebody sees, with the one that shows this list marked.
pub(super) async fn menu(state: &AppState, session: &Session, query: &Query) -> Result<Value, PageError> {
    let user = session.caller.user()?;
    let kept = Query::list_of_alerts(&query.text()).ok().map(|(query, filter)| query.kept(&filter));
    let page = state.db.views(user, PageRequest::numbered(1, SHOWN)).await?;
    let one = |view: &View| {
        context! {
            id => view.id.get(),
            name => view.name.as_str(),
            href => address(view),
            owner => (view.owner != user).then_some(view.owner_name.as_str()),
            shared => view.shared,
            mine => view.is_kept_by(user, session.caller.rank),
            chosen => Some(&view.query) == kept.as_ref(),
        }
    };
    let views: Vec<Value> = page.rows.iter().map(one).collect();
    let chosen = page.rows.iter().find(|view| Some(&view.query) == kept.as_ref());
    Ok(context! {
        views,
        chosen => chosen.map(|view| view.name.as_str()),
        query => kept,
        may_share => allows(session.caller.rank, Action::ChangeAlerts),
    })
}

/// Keeps the list that is shown under a name, and goes there.
pub(crate) async fn create(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let body = serde_json::json!({
        "name": filled(&fields, "name"),
        "query": filled(&fields, "query"),
        "shared": filled(&fields, "shared") == "1",
    })
    .to_string();
    let body = Fields::decode(Format::Json, body.as_bytes()).map_err(|_| crate::error::ApiError::Internal)?;
    let view = create_view(&state, &body, &session.caller).await?;
    Ok(Done::ViewKept.then(&address(&view), &state.settings))
}

/// Deletes a view; the list it showed stays where it is.
pub(crate) async fn delete(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    Id(id): Id<ViewId>,
    sent: Form,
) -> Result<Response, PageError> {
    sent.fields()?;
    let view = seen(&state, id, &session.caller).await?;
    delete_view(&state, id, &session.caller).await?;
    Ok(Done::ViewDeleted.then(&address(&view), &state.settings))
}
