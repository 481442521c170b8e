//! One token bucket for each caller, kept as a single number: the time at which the bucket is full again.

use crate::settings::Rates;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use watchpost_model::net::Rate;
use watchpost_model::{KeyId, UserId};

/// Callers remembered at once, over all shards. When there are more, those whose buckets are full are forgotten,
/// which changes nothing for them.
const MAX_CALLERS: usize = 100_000;
/// Locks, so that callers rarely wait for each other.
const SHARDS: usize = 16;

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Anonymous(IpAddr),
    LogIn(IpAddr),
    User(UserId),
    /// A user whose account was made by sign-up.
    SignedUp(UserId),
    Key(KeyId),
}

pub(crate) struct Throttle {
    rates: Option<Rates>,
    started: Instant,
    hasher: RandomState,
    shards: [Mutex<HashMap<Caller, u64>>; SHARDS],
}

impl Throttle {
    pub(crate) fn new(rates: Option<Rates>) -> Self {
        Self { rates, started: Instant::now(), hasher: RandomState::new(), shards: Default::default() }
    }

    /// Takes one request from the caller's bucket, which may have a rate of its own; when it is empty, how long until
    /// one is there.
    pub(crate) fn take(&self, caller: Caller, own: Option<Rate>) -> Result<(), Duration> {
        let Some(rates) = &self.rates else { return Ok(()) };
        let (caller, rate) = match caller {
            Caller::Anonymous(address) => (Caller::Anonymous(network(address)), rates.anonymous),
            Caller::LogIn(address) => (Caller::LogIn(network(address)), rates.login),
            Caller::User(_) => (caller, rates.user),
            Caller::SignedUp(_) => (caller, rates.signed_up),
            Caller::Key(_) => (caller, rates.key),
        };
        let rate = own.unwrap_or(rate);
        // The monotonic clock: setting the wall clock neither frees nor locks out anybody.
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let shard = &self.shards[self.hasher.hash_one(caller) as usize % SHARDS];
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_CALLERS / SHARDS && !buckets.contains_key(&caller) {
            make_room(&mut buckets, now);
        }
        take_from(buckets.entry(caller), now, rate)
    }
}

/// Forgets full buckets; if none is, the fullest: its caller gains the least.
fn make_room(buckets: &mut HashMap<Caller, u64>, now: u64) {
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() >= MAX_CALLERS / SHARDS
        && let Some(fullest) = buckets.iter().min_by_key(|(_, full_at)| **full_at).map(|(caller, _)| *caller)
    {
        buckets.remove(&fullest);
    }
}

fn take_from(bucket: Entry<'_, Caller, u64>, now: u64, rate: Rate) -> Result<(), Duration> {
    const SECOND: u64 = 1_000_000_000;
    let whole = u64::from(rate.per_seconds) * SECOND;
    let one = (whole / u64::from(rate.count.max(1))).max(1);
    let full_at = bucket.or_insert(now);
    let after = (*full_at).max(now) + one;
    if after - now > whole.max(one) {
        return Err(Duration::from_nanos(after - now - whole));
    }
    *full_at = after;
    Ok(())
}

/// A household on IPv6 has a whole /64: its addresses are one caller.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 3, per_seconds: 3 };
    const SECOND: u64 = 1_000_000_000;

    fn taken(buckets: &mut HashMap<Caller, u64>, now: u64) -> bool {
        take_from(buckets.entry(Caller::User(UserId::new(1))), now, RATE).is_ok()
    }

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let mut buckets = HashMap::new();
        assert_eq!([0, 0, 0, 0].map(|now| taken(&mut buckets, now)), [true, true, true, false]);
        let wait = take_from(buckets.entry(Caller::User(UserId::new(1))), 0, RATE);
        assert_eq!(wait, Err(Duration::from_secs(1)));
        assert!(taken(&mut buckets, SECOND));
        assert!(!taken(&mut buckets, SECOND));
        let rested: Vec<_> = (0..4).map(|_| taken(&mut buckets, 100 * SECOND)).collect();
        assert_eq!(rested, [true, true, true, false], "a long rest fills it, and no more");
    }

    #[test]
    fn one_household_is_one_caller_and_others_are_not() {
        let address = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn room_is_made_by_forgetting_full_buckets_first() {
        let mut buckets = HashMap::new();
        for n in 0..MAX_CALLERS / SHARDS {
            buckets.insert(Caller::User(UserId::new(n as i64)), if n == 7 { 50 } else { 10 });
        }
        make_room(&mut buckets, 20);
        assert_eq!(buckets.len(), 1, "only the bucket that isn't full is remembered");
    }
}
