//! The audit log, for Admins.

use crate::api::page::PageView;
use crate::auth::checkpoint::Checkpoint;
use crate::auth::guard::{Administrator, Caller};
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use watchpost_pipeline::now;
use watchpost_store::{AuditFilter, AuditProof, AuditRow, StoreError};

/// Rows that are looked at for whoever asks over the network: a second or so.
const MAX_PROVEN_ROWS: i64 = 100_000;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/audit"],
        Operation::get("listAudit", "Audit", "Who did what, newest first")
            .about(
                "Log-ins and attempts, changes of users, keys and alerts, refusals, exports. Each row carries the hash \
                 of itself and the row before it: `watchpost audit verify` shows that none was changed or taken out.",
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
}

impl AuditView {
    fn new(row: AuditRow) -> Self {
        let AuditRow { id, at, actor, address, action, object, detail, hash } = row;
        Self { id, at: at.to_string(), actor, address, action, object, detail, hash }
    }
}

async fn list(
    _: Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<AuditView>>, ApiError> {
    let (filter, request) = asked.query.audit()?;
    let page = state.db.audit_log(&filter, request).await?;
    PageView::new(page, &asked, AuditView::new).map(Json)
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    Csv,
    Ndjson,
}

const CSV_HEAD: &str = "id,at,actor,address,action,object,detail,hash\r\n";

impl ExportFormat {
    const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn write(self, row: AuditRow, text: &mut String) {
        let view = AuditView::new(row);
        match self {
            Self::Ndjson => {
                text.push_str(
                    &serde_json::to_string(&view).expect("texts and numbers can be written as JSON"),
                );
                text.push('\n');
            }
            Self::Csv => {
                text.push_str(&view.id.to_string());
                for field in [
                    &view.at,
                    &view.actor,
                    &view.address,
                    &view.action,
                    &view.object,
                    &view.detail,
                    &view.hash,
                ] {
                    text.push(',');
                    csv_field(field, text);
                }
                text.push_str("\r\n");
            }
        }
    }
}

/// A field of CSV. What a spreadsheet would take for a formula is made a text by the apostrophe before it.
fn csv_field(field: &str, text: &mut String) {
    text.push('"');
    if field.trim_start().starts_with(['=', '+', '-', '@']) || field.starts_with(['\t', '\r', '\n']) {
        text.push('\'');
    }
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

/// Pieces of an export, as the client takes them.
fn pieces(
    state: AppState,
    filter: AuditFilter,
    format: ExportFormat,
) -> impl stream::Stream<Item = Result<Bytes, StoreError>> {
    stream::unfold(Some((state, filter, 0_i64, true)), move |before| async move {
        let (state, filter, after, first) = before?;
        let rows = match state.db.audit_after(&filter, after).await {
            Ok(rows) => rows,
            // The connection breaks off: what is there so far must not look complete.
            Err(error) => return Some((Err(error), None)),
        };
        let mut text = String::new();
        if first && format == ExportFormat::Csv {
            text.push_str(CSV_HEAD);
        }
        let last = rows.last().map(|row| row.id);
        rows.into_iter().for_each(|row| format.write(row, &mut text));
        match last {
            Some(last) => Some((Ok(text.into()), Some((state, filter, last, false)))),
            None if text.is_empty() => None,
            None => Some((Ok(text.into()), None)),
        }
    })
}

async fn export(
    Administrator(caller): Administrator,
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
    let entry = caller.entry();
    let which = query.filter(|query| !query.is_empty()).unwrap_or_else(|| "all of it".into());
    state.db.note(&entry, "audit.export", "audit", which).await?;
    let day = entry.at.to_string().chars().take("2026-11-20".len()).collect::<String>();
    let name = format!("attachment; filename=\"watchpost-audit-{day}.{}\"", format.name());
    let headers =
        [(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(pieces(state, filter, format))).into_response())
}

async fn checkpoint(_: Administrator, State(state): State<AppState>) -> Result<Json<Checkpoint>, ApiError> {
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
pub(crate) async fn proof(state: &AppState) -> Result<ProofView, ApiError> {
    let Ok(_one) = state.proving.try_lock() else {
        let detail = "The audit log is being looked at already.";
        return Err(ApiError::Unavailable(detail, Duration::from_secs(2)));
    };
    let head = state.db.audit_head().await?;
    let (proof, first) = state.db.prove_newest_audit(MAX_PROVEN_ROWS).await?;
    let (last, broken) = match proof {
        AuditProof::Intact(found) => (found.last_id, None),
        AuditProof::Broken(row, why) => (head.last_id, Some((row, why))),
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

async fn verify(_: Administrator, State(state): State<AppState>) -> Result<Json<ProofView>, ApiError> {
    proof(&state).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_csv_is_a_formula_or_ends_its_row() {
        let written = |field: &str| {
            let mut text = String::new();
            csv_field(field, &mut text);
            text
        };
        assert_eq!(written("plain, \"said\"\r\nx"), "\"plain, \"\"said\"\"\r\nx\"");
        for formula in ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\rx"] {
            assert_eq!(written(formula), format!("\"'{formula}\""));
        }
        assert_eq!(written(""), "\"\"");
    }
}
