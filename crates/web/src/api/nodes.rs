//! The nodes that run on the database, for Admins.

use crate::auth::guard::Administrator;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_pipeline::now;
use watchpost_store::StoreError;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/nodes"],
        Operation::get("listNodes", "Settings", "The nodes that run")
            .about(
                "The servers that share the database, oldest first. On PostgreSQL each says every 15 seconds that it runs, and is \
                 listed for a minute after it last did. One whose schema is older than the database's writers need answers 503 to \
                 everything that writes until it is upgraded.",
            )
            .answers_all::<NodeView>("All of them"),
        list,
    );
}

/// A node.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeView {
    /// Its machine and port.
    #[schema(example = "web-1:8000")]
    pub(crate) name: String,
    /// Its version of Watchpost.
    pub(crate) version: String,
    /// The newest step of the schema that it knows.
    pub(crate) step: i64,
    /// Whether it knows enough of the schema to write.
    pub(crate) may_write: bool,
    /// When it started.
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    /// When it last said that it runs.
    #[schema(format = DateTime)]
    pub(crate) seen_at: String,
}

/// What the list and the page of settings show.
pub(crate) async fn nodes(state: &AppState) -> Result<Vec<NodeView>, StoreError> {
    let (least, nodes) = (state.db.least_step().await?, state.db.nodes(now()).await?);
    let view = |node: watchpost_store::Node| NodeView {
        name: node.name,
        version: node.version,
        step: node.step,
        may_write: node.step >= least,
        started_at: node.started_at.to_string(),
        seen_at: node.seen_at.to_string(),
    };
    Ok(nodes.into_iter().map(view).collect())
}

async fn list(_: Administrator, State(state): State<AppState>) -> Result<Json<Vec<NodeView>>, ApiError> {
    Ok(Json(nodes(&state).await?))
}
