//! How many jobs may be under way, and how they end otherwise than by being done: stopped, and forgotten.

use crate::audit::AuditEntry;
use crate::db::{Batch, Value};
use crate::error::Whose;
use crate::jobs::{FINISH, Job, NewJob};
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::{Timestamp, UserId};

/// Jobs of one user that aren't done: enough to go on working while two long ones run.
pub const MAX_JOBS_OF_USER: i64 = 3;
/// Jobs of all users that aren't done. Each has a piece of 500 alerts to write at any time, and writers of events wait
/// for each piece.
pub const MAX_JOBS: i64 = 20;
/// A job with no more alerts than this is one transaction, like a single change, and counts among the small ones.
const SMALL: i64 = 500;
/// Small jobs of one user that aren't done: many of them are as much work as a large one.
pub const MAX_SMALL_JOBS_OF_USER: i64 = 10;
/// How long jobs are remembered.
const KEPT_SECONDS: i64 = 7 * 86_400;
/// Jobs forgotten in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 20;

/// Whoever begins another job of this user waits for the first to commit, on whichever node: their counts differ.
const HOLD_USER: &str = "UPDATE users SET version = version WHERE id = ?1";
const UNFINISHED: &str =
    "SELECT COUNT(CASE WHEN total > ?2 THEN 1 END), COUNT(CASE WHEN total > ?2 AND user_id = ?1 THEN 1 END),
         COUNT(CASE WHEN total <= ?2 AND user_id = ?1 THEN 1 END)
     FROM jobs WHERE finished_at IS NULL";
const STOP: &str =
    "UPDATE jobs SET finished_at = ?2, stopped = ?3 WHERE id = ?1 AND finished_at IS NULL AND done < total";
/// What was taken back in part may be taken back again: what is done already has moved on.
const LET_UNDO: &str = "UPDATE jobs SET undone_by = NULL WHERE undone_by = ?1";
const OLD: &str = "SELECT id FROM jobs WHERE created_at < ?1 ORDER BY created_at LIMIT ?2";
const FORGET_ALERTS: &str = "DELETE FROM job_alerts WHERE job = ?1";
const FORGET: &str = "DELETE FROM jobs WHERE id = ?1";

fn is_small(new: &NewJob) -> bool {
    new.alerts.len() as i64 <= SMALL
}

/// Makes others who begin a job of the same user wait; the parameters that say how many there may be.
pub(crate) fn hold(batch: &mut Batch, new: &NewJob) -> [Value; 4] {
    if let Some(user) = new.user {
        batch.any(HOLD_USER, vec![user.get().into()]);
    }
    let most = if is_small(new) { MAX_SMALL_JOBS_OF_USER } else { MAX_JOBS_OF_USER };
    [i64::from(!is_small(new)).into(), most.into(), MAX_JOBS.into(), SMALL.into()]
}

impl Db {
    /// Why a job was not begun, when something was in its way.
    pub(crate) async fn why_not_begun(&self, new: &NewJob) -> Result<StoreError, StoreError> {
        let params = vec![new.user.map_or(0, UserId::get).into(), SMALL.into()];
        let row = self.read_one(UNFINISHED, params).await?.ok_or(StoreError::NotFound)?;
        let (all, own, own_small) = (row.int(0)?, row.int(1)?, row.int(2)?);
        Ok(match is_small(new) {
            false if own >= MAX_JOBS_OF_USER => StoreError::TooMany(Whose::Own),
            false if all >= MAX_JOBS => StoreError::TooMany(Whose::Everybodys),
            true if own_small >= MAX_SMALL_JOBS_OF_USER => StoreError::TooMany(Whose::Own),
            _ => StoreError::Conflict,
        })
    }

    /// Ends a job with the rest of its alerts left as they are; whether it had not ended before.
    pub async fn stop_job(&self, job: &Job, why: &str, by: &AuditEntry) -> Result<bool, StoreError> {
        let id = job.id.as_str();
        let mut batch = Batch::new();
        batch.one(STOP, vec![id.into(), by.at.micros().into(), why.into()]);
        batch.any(LET_UNDO, vec![id.into()]);
        batch.audit(by, "alerts.bulk.stop", format!("job:{id}"), format!("{}: {why}", job.action));
        match self.write(Arc::new(batch)).await {
            Ok(()) => Ok(true),
            // Nothing was left to do, or another node was quicker.
            Err(StoreError::Conflict) => {
                let mut batch = Batch::new();
                batch.any(FINISH, vec![id.into(), by.at.micros().into()]);
                self.write(Arc::new(batch)).await.map(|()| false)
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets jobs that nobody asks for any more; whether there may be more of them.
    pub async fn forget_jobs(&self, now: Timestamp) -> Result<bool, StoreError> {
        let before = now.plus_seconds(-KEPT_SECONDS);
        let rows = self.read(OLD, vec![before.micros().into(), FORGOTTEN_AT_ONCE.into()]).await?;
        let mut batch = Batch::new();
        for row in &rows {
            let id = row.text(0)?;
            batch.any(FORGET_ALERTS, vec![id.as_str().into()]);
            batch.any(FORGET, vec![id.into()]);
        }
        self.write(Arc::new(batch)).await?;
        Ok(rows.len() as i64 == FORGOTTEN_AT_ONCE)
    }
}
