//! The live stream of alerts and events.

use crate::auth::guard::AlertReader;
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use crate::stream::{ChangedView, CountsView, Door, ResetView, open};
use axum::extract::{Request, State};
use axum::response::Response;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/stream"],
        Operation::get("stream", "Stream", "Alerts and events as they come")
            .about(
                "Server-sent events. `alert`: one was raised, as `AlertView`. `change`: one was changed, as \
                 `ChangedView`. `event`: one came in, as `EventView`. `counts`: how many alerts there are, as \
                 `CountsView`, at most once a second. `reset`: what came behind the last id isn't known any more, as \
                 `ResetView`; load anew, the stream goes on from now. Each message has an id. Whoever is cut comes \
                 back with the last one as `Last-Event-ID`, within an hour, and misses nothing. A stream ends with the \
                 token it was asked for with, and within seconds when its reader may not read it any more.",
            )
            .query(query::STREAM)
            .streams("Messages, as long as both sides stay")
            .shows::<ChangedView>()
            .shows::<CountsView>()
            .shows::<ResetView>(),
        watch,
    );
}

async fn watch(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    open(&state, &caller, Door::Api, &parts, &asked.query).await
}
