//! Sessions of the console, by the hash of their cookie.

use crate::db::Batch;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::{Timestamp, UserId};

const OPEN: &str =
    "INSERT INTO sessions (id_hash, user_id, token_epoch, created_at, last_seen_at, expires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const FIND: &str = "SELECT user_id, token_epoch, created_at, last_seen_at, expires_at FROM sessions
     WHERE id_hash = ?1 AND expires_at > ?2 AND last_seen_at > ?3";
const SEEN: &str = "UPDATE sessions SET last_seen_at = ?2 WHERE id_hash = ?1";
const END: &str = "DELETE FROM sessions WHERE id_hash = ?1";
pub(crate) const END_SESSIONS_OF: &str = "DELETE FROM sessions WHERE user_id = ?1";
pub(crate) const FORGET_EXPIRED: &str = "DELETE FROM sessions WHERE expires_at <= ?1";

/// A session of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Whose it is.
    pub user: UserId,
    /// The user's number when it began; when the user's has moved on, the session is dead.
    pub token_epoch: i64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen_at: Timestamp,
    /// When it ends, used or not.
    pub expires_at: Timestamp,
}

impl Db {
    /// Remembers a new session.
    pub async fn open_session(&self, id_hash: &str, session: &SessionRecord) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.one(
            OPEN,
            vec![
                id_hash.into(),
                session.user.get().into(),
                session.token_epoch.into(),
                session.created_at.micros().into(),
                session.last_seen_at.micros().into(),
                session.expires_at.micros().into(),
            ],
        );
        self.write(Arc::new(batch)).await
    }

    /// A session that has neither ended nor been left alone since `idle_since`.
    pub async fn session(
        &self,
        id_hash: &str,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let params = vec![id_hash.into(), now.micros().into(), idle_since.micros().into()];
        let Some(row) = self.read_one(FIND, params).await? else { return Ok(None) };
        Ok(Some(SessionRecord {
            user: UserId::new(row.int(0)?),
            token_epoch: row.int(1)?,
            created_at: Timestamp::from_micros(row.int(2)?),
            last_seen_at: Timestamp::from_micros(row.int(3)?),
            expires_at: Timestamp::from_micros(row.int(4)?),
        }))
    }

    /// Notes that a session was used.
    pub async fn note_session_use(&self, id_hash: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(SEEN, vec![id_hash.into(), now.micros().into()]);
        self.write(Arc::new(batch)).await
    }

    /// Ends a session.
    pub async fn end_session(&self, id_hash: &str) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(END, vec![id_hash.into()]);
        self.write(Arc::new(batch)).await
    }
}
