//! Whether the sender of a request is known: what carries the request gives a body of a stranger little time.

use axum::http::request::Parts;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Goes along with a request, among its extensions; whoever put it there looks when the body is read.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    /// Whether the request's credential was found to be good, and enough.
    pub fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that it was.
    pub fn note(parts: &Parts) {
        if let Some(known) = parts.extensions.get::<Self>() {
            known.0.store(true, Ordering::Relaxed);
        }
    }
}
