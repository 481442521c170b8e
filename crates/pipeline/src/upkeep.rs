//! What has to be done now and then, whatever happens.

use crate::clock::now;
use std::time::Duration;
use watchpost_store::{Db, FEED_KEPT_SECONDS};

/// Between two rounds: far more often than a month begins.
const EVERY: Duration = Duration::from_secs(3_600);

/// How long what came in under an `Idempotency-Key` is remembered: a long weekend.
pub const KEYS_KEPT_SECONDS: i64 = 72 * 3_600;

/// Forgets what has expired and prepares the places of coming events, every hour until it is dropped.
pub async fn upkeep(db: Db) {
    let mut rounds = tokio::time::interval(EVERY);
    loop {
        rounds.tick().await;
        if let Err(error) = db.forget_expired(now()).await {
            tracing::warn!(%error, "expired tokens and sessions could not be forgotten");
        }
        if let Err(error) = db.forget_fine_counts(now()).await {
            tracing::warn!(%error, "counts by the minute of long ago could not be forgotten");
        }
        loop {
            match db.forget_pieces(now().plus_seconds(-KEYS_KEPT_SECONDS)).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "old idempotency keys could not be forgotten");
                    break;
                }
            }
        }
        loop {
            match db.forget_feed(now().plus_seconds(-FEED_KEPT_SECONDS)).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "old entries of the feed could not be forgotten");
                    break;
                }
            }
        }
        if let Err(error) = db.prepare_partitions(now()).await {
            tracing::warn!(%error, "the places for the coming months could not be prepared");
        }
    }
}
