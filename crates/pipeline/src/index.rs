//! Keeps the search index up with what is committed, behind everybody's back.

use crate::metrics::PipelineMetrics;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use watchpost_store::{Db, StoreError};

/// Without news it looks all the same: other nodes commit, too.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After something went wrong.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is said that something goes on being wrong.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);
/// While events keep coming, indexing rests so many times as long as it worked: storing comes first.
const REST: u32 = 9;
/// And at least so long: many small rounds cost more than a large one.
const BREATH: Duration = Duration::from_millis(50);

/// How far committing and indexing are. Cheap to clone.
#[derive(Clone)]
pub struct Indexing(Arc<Progress>);

struct Progress {
    /// Grows with every batch.
    committed: watch::Sender<u64>,
    /// What `committed` was when everything before it was found indexed.
    indexed: watch::Sender<u64>,
}

impl Default for Indexing {
    fn default() -> Self {
        // What was there before this node started counts as committed: some of it may not be indexed yet.
        let (committed, indexed) = (watch::Sender::new(1), watch::Sender::new(0));
        Self(Arc::new(Progress { committed, indexed }))
    }
}

impl Indexing {
    /// Says that something was committed.
    pub fn committed(&self) {
        self.0.committed.send_modify(|n| *n += 1);
    }

    /// Waits until everything that this node has committed, or found when it started, can be found, but no longer than
    /// this; whether it can.
    pub async fn caught_up(&self, within: Duration) -> bool {
        let wanted = *self.0.committed.borrow();
        let mut indexed = self.0.indexed.subscribe();
        let found = indexed.wait_for(|indexed| *indexed >= wanted);
        tokio::time::timeout(within, found).await.is_ok_and(|found| found.is_ok())
    }

    /// Indexes what is committed until it is dropped.
    pub async fn run(self, db: Db, metrics: PipelineMetrics) {
        let mut news = self.0.committed.subscribe();
        let mut behind_since: Option<Instant> = None;
        let mut warned: Option<Instant> = None;
        loop {
            let seen = *news.borrow_and_update();
            let started = Instant::now();
            match db.index_round().await {
                Ok(round) => {
                    metrics.indexed.inc_by(round.texts as u64);
                    if round.more {
                        let since = *behind_since.get_or_insert(started);
                        metrics.index_lag.set(since.elapsed().as_secs_f64());
                    } else {
                        behind_since = None;
                        metrics.index_lag.set(0.0);
                        self.0.indexed.send_replace(seen);
                    }
                    let busy = news.has_changed().unwrap_or(false);
                    if busy {
                        tokio::time::sleep((started.elapsed() * REST).max(BREATH)).await;
                    }
                    if round.more || busy {
                        continue;
                    }
                }
                // Another node took the same; whoever is left over goes on.
                Err(StoreError::Conflict | StoreError::Taken(_)) => tokio::time::sleep(PAUSE / 10).await,
                Err(error) => {
                    // Until it has caught up once more, searches say that they may miss something.
                    self.0.indexed.send_replace(0);
                    let quiet = warned.is_some_and(|warned| warned.elapsed() < BETWEEN_WARNINGS);
                    // The store says these by itself.
                    if !quiet && !matches!(error, StoreError::DiskFull(_) | StoreError::Outdated) {
                        warned = Some(Instant::now());
                        tracing::warn!(%error, "the search index could not be brought up to date");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            tokio::time::timeout(LOOK_EVERY, news.changed()).await.ok();
        }
    }
}
