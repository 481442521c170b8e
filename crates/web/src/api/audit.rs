//! The audit log, for Admins.

use crate::api::page::PageView;
use crate::auth::guard::Administrator;
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_store::AuditRow;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/audit"],
        Operation::get("listAudit", "Audit", "Who changed what about users and keys, newest first")
            .query(query::PAGES)
            .lists::<AuditView>("A page of the audit log"),
        list,
    );
}

/// One row of the audit log.
#[derive(Serialize, ToSchema)]
struct AuditView {
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    /// Who, as they were called then.
    actor: String,
    /// What was done.
    #[schema(example = "user.create")]
    action: String,
    /// To what.
    #[schema(example = "user:7")]
    object: String,
    detail: String,
}

async fn list(
    _: Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<AuditView>>, ApiError> {
    let page = state.db.audit_log(asked.query.plain()?).await?;
    let view = |row: AuditRow| AuditView {
        id: row.id,
        at: row.at.to_string(),
        actor: row.actor,
        action: row.action,
        object: row.object,
        detail: row.detail,
    };
    PageView::new(page, &asked, view).map(Json)
}
