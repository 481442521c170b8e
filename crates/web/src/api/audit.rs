//! The audit log, for Admins.

use crate::api::export::{self, Exported, Permit, csv_field};
use crate::api::page::PageView;
use crate::auth::checkpoint::Checkpoint;
use crate::auth::guard::{Administrator, Caller};
use crate::auth::proof::Fresh;
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::places;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use watchpost_model::Action;
use watchpost_pipeline::now;
use watchpost_store::{AuditProof, AuditRow};

/// Rows that are looked at for whoever asks over the network: a second or so.
const MAX_PROVEN_ROWS: i64 = 100_000;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/audit"],
        Operation::get("listAudit", "Audit", "Who did what, newest first")
            .about(
                "Log-ins and attempts, changes of users, keys and alerts, refusals, exports. Each row carries the hash \
                 of itself and the row before it, and a seal that only the server can make: `watchpost audit verify` shows that \
                 none was changed or taken out.",
            )
            .query(query::AUDIT)
            .lists::<AuditView>("A page of the audit log"),
        list,
    );
    routes.add(
        &["/api/v1/audit/export"],
        Operation::get("exportAudit", "Audit", "The whole audit log, or a part of it, oldest first")
            .about("As lines of JSON, or as CSV that no spreadsheet takes for formulas. The export is in the log, too.")
            .query(query::AUDIT_EXPORT)
            .says(200, "The rows, as they are read"),
        export,
    );
    routes.add(
        &["/api/v1/audit/checkpoint"],
        Operation::get("checkpointAudit", "Audit", "Where the audit log stands, signed")
            .about(
                "Keep it somewhere else: `watchpost audit verify --checkpoint FILE` shows later that what was written \
                 before is still there.",
            )
            .answers::<Checkpoint>(200, "What the log ends with now"),
        checkpoint,
    );
    routes.add(
        &["/api/v1/audit/verify"],
        Operation::get("verifyAudit", "Audit", "Whether the newest rows are what was written")
            .about(
                "Follows the chain of hashes through the newest 100,000 rows. `watchpost audit verify` follows all of \
                 it, and with a checkpoint shows that nothing was cut off its end.",
            )
            .answers::<ProofView>(200, "What was found")
            .says(503, "Somebody else is having it looked at on this server"),
        verify,
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
    /// From where; empty for what was done on the server itself.
    address: String,
    /// What was done.
    #[schema(example = "user.create")]
    action: String,
    /// To what.
    #[schema(example = "user:7")]
    object: String,
    detail: String,
    /// The hash of this row and the one before it; empty for rows from before there were hashes.
    hash: String,
    /// Who, by what doesn't change; empty for what older versions wrote.
    #[schema(example = "user:7")]
    actor_id: String,
    /// What only a server with the secret can make of this row; empty for what older versions wrote.
    seal: String,
}

impl AuditView {
    fn new(row: AuditRow) -> Self {
        let AuditRow { id, at, actor, address, action, object, detail, hash, actor_id, seal } = row;
        Self { id, at: at.to_string(), actor, address, action, object, detail, hash, actor_id, seal }
    }
}

async fn list(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<AuditView>>, ApiError> {
    let (filter, request) = asked.query.audit()?;
    let _place = places::for_search(&state, &caller).await?;
    let page = state.db.heavy().audit_log(&filter, request).await?;
    state.refusals.note_reading(&caller, "list");
    PageView::new(page, &asked, AuditView::new).map(Json)
}

impl Exported for AuditView {
    const CSV_HEAD: &'static str = "id,at,actor,address,action,object,detail,hash,actor_id,seal";

    fn csv(&self, text: &mut String) {
        text.push_str(&self.id.to_string());
        let Self { at, actor, address, action, object, detail, hash, actor_id, seal, .. } = self;
        for field in [at, actor, address, action, object, detail, hash, actor_id, seal] {
            text.push(',');
            csv_field(field, text);
        }
    }
}

async fn export(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    asked: ListRequest,
) -> Result<Response, ApiError> {
    exported(state, &caller, query, &asked).await
}

/// The rows that a query asks for, as a file; that they were handed out is in the log.
pub(crate) async fn exported(
    state: AppState,
    caller: &Caller,
    query: Option<String>,
    asked: &ListRequest,
) -> Result<Response, ApiError> {
    let (filter, format) = asked.query.audit_export()?;
    let permit = Permit::of(&state, caller, Action::Administer).await?;
    let entry = caller.entry();
    let which = query.filter(|query| !query.is_empty()).unwrap_or_else(|| "all of it".into());
    state.db.note(&entry, "audit.export", "audit", which).await?;
    let next = move |after: i64| {
        let (state, filter) = (state.clone(), filter.clone());
        async move {
            let rows = state.db.heavy().audit_after(&filter, after).await?;
            let last = rows.last().map(|row| row.id);
            Ok((rows.into_iter().map(AuditView::new).collect(), last))
        }
    };
    Ok(export::answer("audit", format, entry.at, permit, 0, next))
}

async fn checkpoint(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
) -> Result<Json<Checkpoint>, ApiError> {
    state.db.note(&caller.entry(), "audit.checkpoint", "audit", "").await?;
    let head = state.db.audit_head().await?;
    Ok(Json(Checkpoint::sign(&head, now(), &state.settings.secret_key)))
}

/// What looking at the chain found.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProofView {
    /// Whether every row that was looked at follows from the one before it.
    pub(crate) intact: bool,
    /// The first row that was looked at.
    pub(crate) first: i64,
    /// The last row there was.
    pub(crate) last: i64,
    /// Whether that was all of the chain.
    pub(crate) complete: bool,
    /// Where it breaks.
    pub(crate) broken_at: Option<i64>,
    /// How it breaks.
    pub(crate) why: Option<&'static str>,
}

/// Looks at the newest rows of the chain. One at a time: it reads a lot.
pub(crate) async fn proof(state: &AppState, caller: &Caller) -> Result<ProofView, ApiError> {
    let Ok(_one) = state.proving.try_lock() else {
        let detail = "The audit log is being looked at already.";
        return Err(ApiError::Unavailable(detail, Duration::from_secs(2)));
    };
    state.refusals.note_reading(caller, "verify");
    let head = state.db.audit_head().await?;
    let (proof, first) = state.db.heavy().prove_newest_audit(MAX_PROVEN_ROWS).await?;
    let (last, broken) = match proof {
        AuditProof::Intact(found) => (found.last_id, None),
        AuditProof::Broken(row, why) | AuditProof::Unvouched(row, why) => (head.last_id, Some((row, why))),
    };
    if let Some((row, why)) = broken {
        tracing::error!(row, why, "the audit log isn't what was written");
    }
    Ok(ProofView {
        intact: broken.is_none(),
        first,
        last,
        complete: first == head.first_id,
        broken_at: broken.map(|(row, _)| row),
        why: broken.map(|(_, why)| why),
    })
}

async fn verify(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
) -> Result<Json<ProofView>, ApiError> {
    proof(&state, &caller).await.map(Json)
}
