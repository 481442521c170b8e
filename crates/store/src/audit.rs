//! Who changed what about people, keys and settings. A row is written in the transaction of its change.

use crate::clauses::Clauses;
use crate::db::{Batch, Row};
use crate::{Db, StoreError};
use watchpost_model::page::{Page, PageRequest};
use watchpost_model::{Actor, Timestamp};

const WRITE: &str = "INSERT INTO audit (at, actor, action, object, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
const LIST: &str =
    "SELECT id, at, actor, action, object, detail FROM audit ORDER BY id DESC LIMIT ?1 OFFSET ?2";

/// What is to be remembered of a change.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
}

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the log.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who, as they were called then.
    pub actor: String,
    /// What was done, such as `user.create`.
    pub action: String,
    /// To what, such as `user:7`.
    pub object: String,
    /// What else there is to say.
    pub detail: String,
}

impl Batch {
    pub(crate) fn audit(&mut self, entry: &AuditEntry, action: &str, object: String, detail: String) {
        let params = vec![
            entry.at.micros().into(),
            entry.actor.to_string().into(),
            action.into(),
            object.into(),
            detail.into(),
        ];
        self.one(WRITE, params);
    }
}

impl Db {
    /// A page of the audit log, newest first.
    pub async fn audit_log(&self, request: PageRequest) -> Result<Page<AuditRow>, StoreError> {
        let count = self.bounded_count("audit", &Clauses::new(self.engine())).await?;
        self.plain_page(LIST, count, request, audit_row).await
    }
}

fn audit_row(row: &Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        id: row.int(0)?,
        at: Timestamp::from_micros(row.int(1)?),
        actor: row.text(2)?,
        action: row.text(3)?,
        object: row.text(4)?,
        detail: row.text(5)?,
    })
}
