//! Counts TLS handshakes that fail, and says so once a minute: one line tells of a scanner as well as ten thousand.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that are told apart within a minute.
const MAX_ADDRESSES: usize = 1_000;

#[derive(Default)]
struct Counted {
    begun: Option<Instant>,
    count: u64,
    addresses: HashSet<IpAddr>,
    last: Option<(IpAddr, String)>,
}

/// The handshakes that failed within a minute.
#[derive(Default)]
pub(super) struct Failures(Mutex<Counted>);

impl Failures {
    pub(super) fn note(&self, peer: IpAddr, why: &str) {
        tracing::debug!(%peer, why, "a TLS handshake failed");
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.begun.get_or_insert_with(Instant::now);
        counted.count += 1;
        if counted.addresses.len() < MAX_ADDRESSES {
            counted.addresses.insert(peer);
        }
        counted.last = Some((peer, why.to_owned()));
    }

    /// Says how many there were, once the minute is over or at once.
    pub(super) fn tell(&self, at_once: bool) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |begun: Instant| at_once || begun.elapsed() >= MINUTE;
        if !counted.begun.is_some_and(over) {
            return;
        }
        let Counted { count, addresses, last, .. } = std::mem::take(&mut *counted);
        if let Some((peer, why)) = last {
            let addresses = addresses.len();
            tracing::warn!(count, addresses, last_peer = %peer, last_reason = why, "TLS handshakes failed");
        }
    }
}
