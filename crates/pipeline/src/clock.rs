//! The only place where the wall clock is read.

use std::time::{SystemTime, UNIX_EPOCH};
use watchpost_model::Timestamp;

/// The time now.
pub fn now() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        // A clock before 1970 is wrong, but no reason to stop taking in events.
        Err(_) => 0,
    };
    Timestamp::from_micros(micros)
}
