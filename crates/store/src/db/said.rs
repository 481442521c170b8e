//! What goes on for a while is said now and then, not each time.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// When something was said last.
#[derive(Default)]
pub(super) struct Said(Mutex<Option<Instant>>);

impl Said {
    /// Whether it is to be said now; then it was.
    pub(super) fn is_due(&self) -> bool {
        self.0.lock().is_ok_and(|mut last| {
            let is_due = last.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
            if is_due {
                *last = Some(Instant::now());
            }
            is_due
        })
    }
}
