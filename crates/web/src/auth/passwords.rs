//! Passwords: the one place that hashes them and the one place that checks them.

use crate::error::ApiError;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use watchpost_model::password::MAX_PASSWORD_CHARS;

/// 19 MiB, two passes, one lane: the parameters OWASP names for argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
/// So many at once, each with its 19 MiB: logging in never takes all cores from taking in events.
const AT_ONCE: usize = 2;
/// Who waits longer for a turn is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is checked when there is no such user, so that it takes as long: a hash of nothing anybody knows.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$d2F0Y2hwb3N0LW5vYm9keQ$Ksy0iPzmqhBsl2j4Ew2oHFWX1qJpZzWvF1l3Qz0k6Yw";

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password with a salt of its own. Takes tens of milliseconds of a core.
pub fn hash_password(password: &str) -> String {
    let hash = argon2().hash_password(password.as_bytes());
    hash.expect("argon2 hashes any password of bounded length").to_string()
}

/// Whether a hash was made with other parameters than those of today.
pub(crate) fn is_dated(hash: &str) -> bool {
    let today = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$");
    !hash.starts_with(&today)
}

fn verify(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    argon2().verify_password(password.as_bytes(), &hash).is_ok()
}

pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs work on a thread for slow work, when it is its turn.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy = ApiError::Unavailable("Too many people are logging in right now.", Duration::from_secs(2));
        let waiting = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned());
        let Ok(Ok(turn)) = waiting.await else { return Err(busy) };
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "hashing a password failed");
            ApiError::Internal
        })
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.in_turn(move || hash_password(&password)).await
    }

    /// Whether this is the password behind a hash. Without a hash the answer is no, after the same time.
    pub(crate) async fn matches(&self, password: String, hash: Option<String>) -> Result<bool, ApiError> {
        if password.is_empty() || password.chars().count() > MAX_PASSWORD_CHARS {
            return Ok(false);
        }
        self.in_turn(move || {
            let known = hash.is_some();
            let right = verify(&password, hash.as_deref().unwrap_or(NOBODY));
            known && right
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_only() {
        let hash = hash_password("correct horse battery");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse battery", &hash));
        assert!(!verify("correct horse batterx", &hash));
        assert!(!verify("correct horse battery", "nonsense"));
        assert!(
            !is_dated(&hash)
                && is_dated(&hash.replace("t=2", "t=1"))
                && is_dated(&hash.replace("v=19", "v=16"))
        );
        assert_ne!(hash, hash_password("correct horse battery"), "every hash has its own salt");
    }

    #[test]
    fn the_hash_of_nobody_is_well_formed_so_that_checking_it_takes_as_long() {
        assert!(PasswordHash::new(NOBODY).is_ok());
    }
}
