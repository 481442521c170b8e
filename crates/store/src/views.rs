//! Lists that people keep under a name.

use crate::audit::AuditEntry;
use crate::clauses::Clauses;
use crate::db::{Batch, Row};
use crate::ids::IdKind;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::page::{Count, Page, PageRequest};
use watchpost_model::view::{MAX_VIEWS, View, ViewDraft};
use watchpost_model::{Timestamp, UserId, ViewId};

const READ: &str = "SELECT v.id, v.user_id, u.username, v.name, v.query, v.shared, v.created_at, v.version FROM views v JOIN users u ON u.id = v.user_id WHERE v.id = ?1";
/// Whoever makes two views at once makes one after the other, so that none is one too many.
const ONE_BY_ONE: &str = "UPDATE users SET id = id WHERE id = ?1";
const CREATE: &str = "INSERT INTO views (id, user_id, name, name_key, query, shared, created_at, version)
     SELECT CAST(?1 AS BIGINT), CAST(?2 AS BIGINT), CAST(?3 AS TEXT), CAST(?4 AS TEXT), CAST(?5 AS TEXT), CAST(?6 AS BIGINT), CAST(?7 AS BIGINT), 1
     WHERE (SELECT COUNT(*) FROM views WHERE user_id = ?2) < ?8";
const CHANGE: &str = "UPDATE views SET name = ?3, name_key = ?4, query = ?5, shared = ?6, version = version + 1 WHERE id = ?1 AND version = ?2";
const DELETE: &str = "DELETE FROM views WHERE id = ?1 AND version = ?2";

/// The form of a name that is unique.
fn name_key(name: &str) -> String {
    name.to_lowercase()
}

fn view(row: &Row) -> Result<View, StoreError> {
    Ok(View {
        id: ViewId::new(row.int(0)?),
        owner: UserId::new(row.int(1)?),
        owner_name: row.text(2)?,
        name: row.text(3)?,
        query: row.text(4)?,
        shared: row.int(5)? != 0,
        created_at: Timestamp::from_micros(row.int(6)?),
        version: row.int(7)?,
    })
}

/// What the audit log says of a view: what only its owner sees stays so.
fn said(name: &str, shared: bool) -> String {
    if shared { format!("{name}, for all") } else { "for oneself".to_owned() }
}

impl Db {
    /// A page of the views that a user sees, by their names: their own, and those for all.
    pub async fn views(&self, user: UserId, request: PageRequest) -> Result<Page<View>, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        clauses.with("(v.user_id = {} OR v.shared = 1)", user.get());
        let count = Count::Exact(self.count_up_to("views v", &clauses, i64::MAX).await?);
        let (matching, name) = (clauses.sql(), self.engine().by_bytes("v.name_key"));
        let (rows, skipped) = (clauses.param(i64::from(request.size) + 1), clauses.param(request.offset()));
        let sql = format!(
            "SELECT v.id, v.user_id, u.username, v.name, v.query, v.shared, v.created_at, v.version
             FROM views v JOIN users u ON u.id = v.user_id{matching} ORDER BY {name}, v.id LIMIT ?{rows} OFFSET ?{skipped}"
        );
        self.page_of(sql, clauses.params, count, request, view).await
    }

    /// One view, whoever sees it.
    pub async fn view(&self, id: ViewId) -> Result<Option<View>, StoreError> {
        self.read_one(READ, vec![id.get().into()]).await?.map(|row| view(&row)).transpose()
    }

    /// Makes a view for whoever does it. [`StoreError::Taken`] when its owner has one by this name, [`StoreError::Conflict`] when they
    /// have as many as one may have.
    pub async fn create_view(
        &self,
        owner: UserId,
        draft: &ViewDraft,
        by: &AuditEntry,
    ) -> Result<View, StoreError> {
        let id = self.take_ids(IdKind::Views, 1, by.at).await?.start;
        let mut batch = Batch::new();
        batch.one(ONE_BY_ONE, vec![owner.get().into()]);
        batch.one(
            CREATE,
            vec![
                id.into(),
                owner.get().into(),
                draft.name.as_str().into(),
                name_key(&draft.name).into(),
                draft.query.as_str().into(),
                draft.shared.into(),
                by.at.micros().into(),
                MAX_VIEWS.into(),
            ],
        );
        batch.audit(by, "view.create", format!("view:{id}"), said(&draft.name, draft.shared));
        self.write(Arc::new(batch)).await?;
        let ViewDraft { name, query, shared } = draft.clone();
        let (id, owner_name) = (ViewId::new(id), by.actor.to_string());
        Ok(View { id, owner, owner_name, name, query, shared, created_at: by.at, version: 1 })
    }

    /// Makes a view what it is to be from now on, if nobody changed it since.
    pub async fn change_view(
        &self,
        before: &View,
        after: &ViewDraft,
        by: &AuditEntry,
    ) -> Result<View, StoreError> {
        let mut batch = Batch::new();
        batch.one(
            CHANGE,
            vec![
                before.id.get().into(),
                before.version.into(),
                after.name.as_str().into(),
                name_key(&after.name).into(),
                after.query.as_str().into(),
                after.shared.into(),
            ],
        );
        let detail = match (before.shared, after.shared) {
            (true, false) => format!("{}, for its owner alone", before.name),
            (_, shared) => said(&after.name, shared),
        };
        batch.audit(by, "view.update", format!("view:{}", before.id), detail);
        self.write(Arc::new(batch)).await?;
        let ViewDraft { name, query, shared } = after.clone();
        Ok(View { name, query, shared, version: before.version + 1, ..before.clone() })
    }

    /// Deletes a view, if nobody changed it since.
    pub async fn delete_view(&self, view: &View, by: &AuditEntry) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.one(DELETE, vec![view.id.get().into(), view.version.into()]);
        batch.audit(by, "view.delete", format!("view:{}", view.id), said(&view.name, view.shared));
        self.write(Arc::new(batch)).await
    }
}
