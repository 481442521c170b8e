//! The second factor of users. Secrets arrive sealed, recovery codes hashed.

use crate::audit::AuditEntry;
use crate::db::Batch;
use crate::sessions::END_OTHERS;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::UserId;

/// Only for the user as they were when the secret was made, and only where none is in use.
const BEGIN: &str =
    "UPDATE users SET factor_secret = ?2, factor_step = ?3, recovery_codes = ?4, version = version + 1
     WHERE id = ?1 AND factor_secret IS NULL AND version = ?5 AND token_epoch = ?6";
/// The session in which a second factor was set up has shown it.
const SHOWN_IN: &str = "UPDATE sessions SET second_factor = 1 WHERE id = ?1 AND user_id = ?2";
/// What was shown in sessions is worth nothing any more.
const NOT_SHOWN: &str = "UPDATE sessions SET second_factor = 0 WHERE user_id = ?1 AND second_factor = 1";
const USE_STEP: &str =
    "UPDATE users SET factor_step = ?2 WHERE id = ?1 AND (factor_step IS NULL OR factor_step < ?2)";
const SET_RECOVERY: &str = "UPDATE users SET recovery_codes = ?3 WHERE id = ?1 AND recovery_codes = ?2";
const REPLACE_RECOVERY: &str =
    "UPDATE users SET recovery_codes = ?2 WHERE id = ?1 AND factor_secret IS NOT NULL";
/// The same secret, sealed with another key.
const RESEAL: &str = "UPDATE users SET factor_secret = ?3 WHERE id = ?1 AND factor_secret = ?2";
const END: &str =
    "UPDATE users SET factor_secret = NULL, factor_step = NULL, recovery_codes = NULL, version = version + 1
     WHERE id = ?1 AND factor_secret IS NOT NULL";

/// A second factor whose first code was right.
pub struct NewFactor<'a> {
    /// The secret, sealed.
    pub sealed: &'a str,
    /// The step of its first code, which is used up.
    pub step: i64,
    /// Hashes of the recovery codes.
    pub recovery: &'a [String],
    /// The user's version when the secret was made.
    pub version: i64,
    /// The user's number of tokens and sessions when the secret was made.
    pub token_epoch: i64,
    /// The session that it was set up in, unless that was a log-in.
    pub session: Option<&'a str>,
}

impl Db {
    /// Takes a second factor into use, and ends all sessions of its user but the one that it was set up in.
    /// [`StoreError::Conflict`] when the user was changed since its secret was made,
    /// or has a second factor.
    pub async fn begin_factor(
        &self,
        user: UserId,
        new: NewFactor<'_>,
        by: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(
            BEGIN,
            vec![
                user.get().into(),
                new.sealed.into(),
                new.step.into(),
                new.recovery.join(" ").into(),
                new.version.into(),
                new.token_epoch.into(),
            ],
        );
        if let Some(session) = new.session {
            batch.any(SHOWN_IN, vec![session.into(), user.get().into()]);
        }
        batch.any(END_OTHERS, vec![user.get().into(), new.session.unwrap_or_default().into()]);
        batch.audit(by, "factor.begin", format!("user:{user}"), "");
        self.write(Arc::new(batch)).await
    }

    /// Takes a code's step; whether it is newer than the last one taken.
    pub async fn use_factor_step(&self, user: UserId, step: i64) -> Result<bool, StoreError> {
        let mut batch = Batch::new();
        batch.one(USE_STEP, vec![user.get().into(), step.into()]);
        taken(self.write(Arc::new(batch)).await)
    }

    /// Uses one of the recovery codes up; whether it was there.
    pub async fn use_recovery_code(
        &self,
        user: UserId,
        known: &[String],
        used: &str,
        by: &AuditEntry,
    ) -> Result<bool, StoreError> {
        let left: Vec<&str> = known.iter().map(String::as_str).filter(|code| *code != used).collect();
        if left.len() == known.len() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.one(SET_RECOVERY, vec![user.get().into(), known.join(" ").into(), left.join(" ").into()]);
        let detail = format!("a recovery code was used, {} are left", left.len());
        batch.audit(by, "factor.recovery", format!("user:{user}"), detail);
        taken(self.write(Arc::new(batch)).await)
    }

    /// Gives new recovery codes; the old ones are worth nothing any more.
    pub async fn replace_recovery_codes(
        &self,
        user: UserId,
        recovery: &[String],
        by: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.one(REPLACE_RECOVERY, vec![user.get().into(), recovery.join(" ").into()]);
        batch.audit(by, "factor.codes", format!("user:{user}"), "new recovery codes");
        self.write(Arc::new(batch)).await
    }

    /// Keeps a secret as it is sealed now, in place of how it was; whether it was still sealed so.
    pub async fn reseal_factor(&self, user: UserId, before: &str, now: &str) -> Result<bool, StoreError> {
        let mut batch = Batch::new();
        batch.one(RESEAL, vec![user.get().into(), before.into(), now.into()]);
        taken(self.write(Arc::new(batch)).await)
    }

    /// Takes the second factor away, and ends all sessions of its user, but one perhaps: in that one none counts as
    /// shown any more, unless the provider of single sign-on said so.
    pub async fn end_factor(
        &self,
        user: UserId,
        but: Option<&str>,
        by: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(END, vec![user.get().into()]);
        batch.any(NOT_SHOWN, vec![user.get().into()]);
        batch.any(END_OTHERS, vec![user.get().into(), but.unwrap_or_default().into()]);
        batch.audit(by, "factor.end", format!("user:{user}"), "");
        self.write(Arc::new(batch)).await
    }
}

/// Whether a row was as the write expected it.
fn taken(written: Result<(), StoreError>) -> Result<bool, StoreError> {
    match written {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict) => Ok(false),
        Err(error) => Err(error),
    }
}
