//! Refresh tokens: each can be used once, and using one twice ends the whole family it belongs to.

use crate::db::Batch;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::{Timestamp, UserId};

const GRANT: &str =
    "INSERT INTO refresh_tokens (jti_hash, family, user_id, expires_at) VALUES (?1, ?2, ?3, ?4)";
const USE: &str =
    "UPDATE refresh_tokens SET used_at = ?2 WHERE jti_hash = ?1 AND used_at IS NULL AND expires_at > ?2";
const FAMILY_OF: &str = "SELECT family FROM refresh_tokens WHERE jti_hash = ?1";
const IS_LIVE: &str =
    "SELECT family FROM refresh_tokens WHERE jti_hash = ?1 AND used_at IS NULL AND expires_at > ?2";
const FORGET_FAMILY: &str = "DELETE FROM refresh_tokens WHERE family = ?1";
const FORGET_EXPIRED: &str = "DELETE FROM refresh_tokens WHERE expires_at <= ?1";
pub(crate) const FORGET_TOKENS_OF: &str = "DELETE FROM refresh_tokens WHERE user_id = ?1";

/// A refresh token as it is stored.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    /// The hash of its id.
    pub jti_hash: String,
    /// What all tokens that follow from one log-in share.
    pub family: String,
    /// Whose it is.
    pub user: UserId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What became of an attempt to swap a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The old one is used up, the new one holds.
    Rotated,
    /// The old one had been used before: somebody has a copy. The family is ended.
    Reused,
    /// There is no such token (any more).
    Unknown,
}

impl Db {
    /// Stores a new refresh token.
    pub async fn grant_refresh(&self, grant: &RefreshGrant) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.grant(grant);
        self.write(Arc::new(batch)).await
    }

    /// The family of a refresh token that can still be used.
    pub async fn refresh_family(&self, jti_hash: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let row = self.read_one(IS_LIVE, vec![jti_hash.into(), now.micros().into()]).await?;
        row.map(|row| row.text(0)).transpose()
    }

    /// Swaps a refresh token for a new one of its family. Of many attempts at once exactly one succeeds.
    pub async fn rotate_refresh(
        &self,
        old_jti_hash: &str,
        new_jti_hash: &str,
        user: UserId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Rotation, StoreError> {
        let Some(row) = self.read_one(FAMILY_OF, vec![old_jti_hash.into()]).await? else {
            return Ok(Rotation::Unknown);
        };
        let family = row.text(0)?;
        let mut batch = Batch::new();
        batch.one(USE, vec![old_jti_hash.into(), now.micros().into()]);
        batch.grant(&RefreshGrant {
            jti_hash: new_jti_hash.to_owned(),
            family: family.clone(),
            user,
            expires_at,
        });
        match self.write(Arc::new(batch)).await {
            Ok(()) => Ok(Rotation::Rotated),
            Err(StoreError::Conflict) => {
                let mut batch = Batch::new();
                batch.any(FORGET_FAMILY, vec![family.into()]);
                self.write(Arc::new(batch)).await?;
                Ok(Rotation::Reused)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a refresh token and all that share its log-in.
    pub async fn end_refresh_family(&self, jti_hash: &str) -> Result<bool, StoreError> {
        let Some(row) = self.read_one(FAMILY_OF, vec![jti_hash.into()]).await? else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        batch.any(FORGET_FAMILY, vec![row.text(0)?.into()]);
        self.write(Arc::new(batch)).await?;
        Ok(true)
    }

    /// Forgets tokens and sessions that have ended anyway.
    pub async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(FORGET_EXPIRED, vec![now.micros().into()]);
        batch.any(crate::sessions::FORGET_EXPIRED, vec![now.micros().into()]);
        self.write(Arc::new(batch)).await
    }
}

impl Batch {
    fn grant(&mut self, grant: &RefreshGrant) {
        self.one(
            GRANT,
            vec![
                grant.jti_hash.as_str().into(),
                grant.family.as_str().into(),
                grant.user.get().into(),
                grant.expires_at.micros().into(),
            ],
        );
    }
}
