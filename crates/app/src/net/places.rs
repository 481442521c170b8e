//! Places for connections: so many in all, and so many for each address, which are fewer the fewer are left. A few
//! addresses don't take all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use watchpost_model::net::Network;

/// Who has how many.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// What an address may have however few places are left.
const FEW: usize = 16;

pub(super) struct Places {
    all: Arc<Semaphore>,
    size: usize,
    per_address: usize,
    uncounted: Vec<Network>,
    counts: Counts,
}

/// Room for one connection, until it is dropped.
pub(super) struct Place {
    _one_of_all: OwnedSemaphorePermit,
    counted: Option<(IpAddr, Counts)>,
}

/// What counts as one address: a network of IPv6 belongs to one customer.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !0 << 64).into(),
        v4 => v4,
    }
}

impl Places {
    pub(super) fn new(all: usize, per_address: usize, uncounted: Vec<Network>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            size: all,
            per_address,
            uncounted,
            counts: Counts::default(),
        }
    }

    /// How many places one address may have as things stand: its share of those that are left, so that each who takes
    /// all it can leaves the greater part to others. Where one may have all, the operator wants it so.
    fn share(&self) -> usize {
        if self.per_address >= self.size {
            return self.per_address;
        }
        // With the one that is being given away.
        let left = self.all.available_permits() + 1;
        let share = self.per_address.saturating_mul(left).div_ceil(self.size.max(1));
        share.max(FEW).min(self.per_address)
    }

    /// Waits until there is room at all.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.all.clone().acquire_owned().await.ok()
    }

    /// Room for one more from an address, unless it has enough.
    pub(super) fn take(&self, one: OwnedSemaphorePermit, from: IpAddr) -> Option<Place> {
        if self.uncounted.iter().any(|network| network.contains(from)) {
            return Some(Place { _one_of_all: one, counted: None });
        }
        let address = whole(from);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.share() {
            return None;
        }
        *count += 1;
        Some(Place { _one_of_all: one, counted: Some((address, self.counts.clone())) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((address, counts)) = &self.counted else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_addresses_dont_take_all_places() {
        let (all, per_address) = (4_096, 1_024);
        let places = Places::new(all, per_address, Vec::new());
        let mut taken = Vec::new();
        for n in 1..=20 {
            let from = IpAddr::from([192, 0, 2, n]);
            let before = taken.len();
            loop {
                let one = places.free().await.expect("there is room");
                let Some(place) = places.take(one, from) else { break };
                taken.push(place);
            }
            assert!(taken.len() - before >= FEW, "address {n} gets {}", taken.len() - before);
            match n {
                1 => assert!(taken.len() > per_address / 2, "one alone has room: {}", taken.len()),
                4 => assert!(taken.len() < all * 2 / 3, "four took {} of {all}", taken.len()),
                _ => {}
            }
        }
        let open = Places::new(40, 40, Vec::new());
        let mut taken = Vec::new();
        for _ in 0..40 {
            let one = open.free().await.expect("there is room");
            taken.push(open.take(one, IpAddr::from([192, 0, 2, 1])).expect("one may have all"));
        }
    }

    #[tokio::test]
    async fn an_address_has_so_many_and_proxies_as_many_as_there_are() {
        let places = Places::new(9, 2, vec!["10.0.0.0/8".parse().expect("a network")]);
        let take = async |from: &str| {
            let one = places.free().await.expect("there is room");
            places.take(one, from.parse().expect("an address"))
        };
        let first = take("192.0.2.1").await;
        let second = take("::ffff:192.0.2.1").await;
        assert!(first.is_some() && second.is_some() && take("192.0.2.1").await.is_none());
        assert!(take("192.0.2.2").await.is_some());
        drop(first);
        assert!(take("192.0.2.1").await.is_some(), "whoever leaves makes room");
        let network = [take("2001:db8::1").await, take("2001:db8::2").await, take("2001:db8::3").await];
        assert_eq!(network.map(|place| place.is_some()), [true, true, false], "a network counts as one");
        let proxy = [take("10.0.0.1").await, take("10.0.0.1").await, take("10.0.0.1").await];
        assert!(proxy.iter().all(Option::is_some));
        drop((second, proxy));
        assert!(places.counts.lock().expect("not poisoned").is_empty(), "nobody is remembered for ever");
    }
}
