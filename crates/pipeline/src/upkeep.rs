//! What has to be done now and then, whatever happens.

use crate::clock::now;
use crate::metrics::PipelineMetrics;
use std::time::Duration;
use watchpost_model::Timestamp;
use watchpost_store::{Db, FEED_KEPT_SECONDS, FeedPlace, StoreError, TrustedTime, faults};

/// Between two rounds: far more often than a month begins.
const EVERY: Duration = Duration::from_secs(FEED_KEPT_SECONDS as u64);

/// How long what came in under an `Idempotency-Key` is remembered: a long weekend.
pub const KEYS_KEPT_SECONDS: i64 = 72 * 3_600;

/// Forgets what has expired and prepares the places of coming events, every hour until it is dropped.
pub async fn upkeep(db: Db, metrics: PipelineMetrics) {
    let mut rounds = tokio::time::interval(EVERY);
    let mut trusted = TrustedTime::of(db.clone());
    // What was there a round ago has been there for as long as the feed is kept, whatever clocks say.
    let mut a_round_ago: Option<FeedPlace> = None;
    loop {
        rounds.tick().await;
        let end = db.feed_end().await.ok();
        match trusted.follow(now()).await {
            Ok(trusted) => {
                let trusted = if faults::mutant("forget_by_clock") { now() } else { trusted };
                forget(&db, trusted, a_round_ago).await;
            }
            Err(error) => tracing::warn!(%error, "nothing is forgotten: what the time is can't be told"),
        }
        a_round_ago = end;
        if let Err(error) = db.prepare_partitions(now()).await {
            tracing::warn!(%error, "the places for the coming months could not be prepared");
        }
        metrics.upkeep_rounds.inc();
    }
}

/// Forgets what is old by a time that no jump of a clock has moved.
async fn forget(db: &Db, trusted: Timestamp, seen: Option<FeedPlace>) {
    let failed = |error: StoreError, what: &str| tracing::warn!(%error, "{what} could not be forgotten");
    if let Err(error) = db.forget_expired(trusted).await {
        failed(error, "expired tokens and sessions");
    }
    if let Err(error) = db.forget_fine_counts(trusted).await {
        failed(error, "counts by the minute of long ago");
    }
    loop {
        match db.forget_pieces(trusted.plus_seconds(-KEYS_KEPT_SECONDS)).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                failed(error, "old idempotency keys");
                break;
            }
        }
    }
    loop {
        match db.forget_feed(trusted.plus_seconds(-FEED_KEPT_SECONDS), seen).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                failed(error, "old entries of the feed");
                break;
            }
        }
    }
}
