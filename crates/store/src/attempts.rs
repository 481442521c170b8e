//! Attempts to log in that didn't end well. Nodes count together, and an attempt is counted before its password is
//! looked at, so that many at once are no way around waiting.

use crate::db::{Batch, Row};
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::{Timestamp, UserId};

const READ: &str = "SELECT attempts, last_at, wait_until FROM login_attempts WHERE subject = ?1";
/// Counts one more, unless somebody else did since the number was read.
const COUNT: &str =
    "INSERT INTO login_attempts (subject, attempts, last_at, wait_until) VALUES (?1, ?3, ?4, ?5)
     ON CONFLICT (subject) DO UPDATE SET attempts = ?3, last_at = ?4, wait_until = ?5
     WHERE login_attempts.attempts = ?2 AND (login_attempts.wait_until <= ?4 OR login_attempts.wait_until > ?6)";
const FORGET: &str = "DELETE FROM login_attempts WHERE subject = ?1";
const FORGET_OLD: &str = "DELETE FROM login_attempts WHERE last_at < ?1 AND wait_until < ?1";
const KNOWN: &str = "SELECT last_at FROM login_networks WHERE user_id = ?1 AND network = ?2 AND last_at > ?3";
const REMEMBER: &str = "INSERT INTO login_networks (user_id, network, last_at) VALUES (?1, ?2, ?3)
     ON CONFLICT (user_id, network) DO UPDATE SET last_at = ?3";
const FORGET_NETWORKS: &str = "DELETE FROM login_networks WHERE last_at < ?1";

/// How often an attempt is tried to be counted while others count theirs.
const TRIES: usize = 20;
/// After so long without another, attempts are forgotten.
const ATTEMPTS_KEPT_SECONDS: i64 = 3_600;
/// How long a place from where somebody logged in is remembered.
const NETWORKS_KEPT_SECONDS: i64 = 60 * 86_400;

/// How attempts with something in common are slowed down: so many are free, each further one makes the next wait
/// twice as long, up to a limit.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts without waiting.
    pub free: i64,
    /// The longest wait, in seconds.
    pub longest: i64,
}

impl Patience {
    /// How long to wait after so many attempts, in seconds.
    fn wait(self, attempts: i64) -> i64 {
        match attempts - self.free {
            over if over <= 0 => 0,
            over => (1_i64 << (over - 1).min(30)).min(self.longest),
        }
    }
}

fn counted(row: Option<&Row>, now: Timestamp) -> Result<(i64, i64, Timestamp), StoreError> {
    let Some(row) = row else { return Ok((0, 0, Timestamp::from_micros(0))) };
    let (stored, last) = (row.int(0)?, Timestamp::from_micros(row.int(1)?));
    let fresh = last.plus_seconds(ATTEMPTS_KEPT_SECONDS) > now;
    Ok((stored, if fresh { stored } else { 0 }, Timestamp::from_micros(row.int(2)?)))
}

impl Db {
    /// Counts an attempt for each of these subjects, or says until when to wait. Either all are counted or none.
    pub async fn attempt(
        &self,
        subjects: &[(String, Patience)],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            let mut wait: Option<Timestamp> = None;
            for (subject, patience) in subjects {
                let row = self.read_one(READ, vec![subject.as_str().into()]).await?;
                let (stored, attempts, until) = counted(row.as_ref(), now)?;
                // Nobody waits longer than the longest wait: a clock was ahead when that was written.
                let longest = now.plus_seconds(patience.longest);
                if until > now && until <= longest {
                    wait = wait.max(Some(until));
                }
                let attempts = attempts + 1;
                // Not "until now": whoever looks at the same time may be a moment behind.
                let until = match patience.wait(attempts) {
                    0 => Timestamp::from_micros(0),
                    seconds => now.plus_seconds(seconds),
                };
                let params = vec![
                    subject.as_str().into(),
                    stored.into(),
                    attempts.into(),
                    now.micros().into(),
                    until.micros().into(),
                    longest.micros().into(),
                ];
                batch.one(COUNT, params);
            }
            if wait.is_some() {
                return Ok(wait);
            }
            match self.write(Arc::new(batch)).await {
                Ok(()) => return Ok(None),
                // Somebody else counted in between: look again.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(now.plus_seconds(1)))
    }

    /// Whether a user has logged in from a network of late.
    pub async fn knows_network(
        &self,
        user: UserId,
        network: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let since = now.plus_seconds(-NETWORKS_KEPT_SECONDS).micros();
        Ok(self.read_one(KNOWN, vec![user.get().into(), network.into(), since.into()]).await?.is_some())
    }

    /// Forgets the attempts of somebody who got in, and remembers from where they did.
    pub async fn forgive(
        &self,
        subjects: &[String],
        user: UserId,
        network: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for subject in subjects {
            batch.any(FORGET, vec![subject.as_str().into()]);
        }
        batch.any(REMEMBER, vec![user.get().into(), network.into(), now.micros().into()]);
        self.write(Arc::new(batch)).await
    }
}

impl Batch {
    pub(crate) fn forget_attempts(&mut self, now: Timestamp) {
        self.any(FORGET_OLD, vec![now.plus_seconds(-ATTEMPTS_KEPT_SECONDS).micros().into()]);
        self.any(FORGET_NETWORKS, vec![now.plus_seconds(-NETWORKS_KEPT_SECONDS).micros().into()]);
    }
}
