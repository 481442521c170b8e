//! The first run: what somebody does who has nothing yet, and how far they are. It goes by itself a while after the
//! first event.

use crate::auth::session::Session;
use crate::console::problem::PageError;
use crate::console::snippets::{SOME_KEY, snippets};
use crate::state::AppState;
use minijinja::{Value, context};
use watchpost_model::access::allows;
use watchpost_model::filter::{AlertFilter, EventFilter};
use watchpost_model::key::KeyLimits;
use watchpost_model::page::PageRequest;
use watchpost_model::{Action, Alert, Event};
use watchpost_pipeline::now;

/// As long as nothing is older than this, it is the first run.
const SECONDS: i64 = 15 * 60;

/// The steps and how they stand; nothing when the first run is over.
pub(super) async fn steps(
    state: &AppState,
    session: &Session,
    base: &str,
    stored: i64,
) -> Result<Option<Value>, PageError> {
    let long_ago = now().plus_seconds(-SECONDS);
    if stored > 0 && state.db.oldest_event().await?.is_some_and(|oldest| oldest < long_ago) {
        return Ok(None);
    }
    let may = |action| allows(session.caller.rank, action);
    let newest = PageRequest::numbered(1, 1);
    let alert = state.db.alerts(&AlertFilter::default(), newest).await?.rows.pop();
    let event = match stored > 0 && may(Action::ReadEvents) {
        true => state.db.events(&EventFilter::default(), newest).await?.rows.pop(),
        false => None,
    };
    Ok(Some(context! {
        has_key => state.db.has_keys(now()).await?,
        arrived => stored > 0,
        one => stored == 1,
        event => event.as_ref().map(event_view),
        alert => alert.as_ref().map(alert_view),
        snippets => snippets(base, SOME_KEY, &KeyLimits::default()),
    }))
}

fn event_view(event: &Event) -> Value {
    context! {
        id => event.id.get(),
        source_name => event.source_name.as_str(),
        event_type => event.event_type.as_str(),
        created_at => event.created_at.to_string(),
    }
}

fn alert_view(alert: &Alert) -> Value {
    context! { id => alert.id.get(), title => alert.title.as_deref().unwrap_or(&alert.event.event_type) }
}
