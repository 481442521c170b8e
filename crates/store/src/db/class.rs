//! Two classes of reads, so that those that take long don't take the readers from those that everything waits for:
//! who is asking, whether the server is ready, pages and lists that read what they show.

use crate::{StoreError, faults};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Which readers a read goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Reads what it gives, or little more.
    Light,
    /// May read far more than it gives: searches, counts over rows, exports.
    Heavy,
}

/// A heavy statement that takes longer is ended. With ten million events searches take hundredths of a second; what
/// takes seconds is a question that nobody should wait for, or comes when too much is asked.
pub const HEAVY_TIME_LIMIT: Duration = Duration::from_secs(5);
/// The same, or what a test says.
pub(super) fn time_limit() -> Duration {
    faults::seconds("FAULT_HEAVY_SECONDS").map_or(HEAVY_TIME_LIMIT, Duration::from_secs)
}

/// How long a heavy statement waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Heavy statements that wait for their turn.
const MAX_WAITING: usize = 128;

/// Whose turn it is among heavy reads: first come, first served.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Heavy reads may begin once more when this is dropped: when the statement has ended, whoever waits for it or not.
pub(super) type Turn = OwnedSemaphorePermit;

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turns {
    /// So many at once.
    pub(super) fn new(at_once: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0) }
    }

    pub(super) async fn take(&self) -> Result<Turn, StoreError> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= MAX_WAITING {
            return Err(StoreError::Crowded);
        }
        match tokio::time::timeout(PATIENCE, self.free.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(StoreError::Unavailable("the database was closed".into())),
            Err(_) => Err(StoreError::Crowded),
        }
    }
}
