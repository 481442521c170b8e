//! Counts what happens too often to be told each time: the first of a kind is told at once, the rest as a number when
//! the minute ends. What it takes in memory and rows is bounded, and no caller takes what another one has.

use crate::throttle::network;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use watchpost_model::{Actor, KeyId, UserId};

/// What is summed up in one row.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// Rows that are written at once about a user or a key in a minute: as many kinds of things as somebody tries by hand.
const ROWS_OF_CALLER: usize = 20;
/// Rows that are written at once about an address without a credential.
const ROWS_OF_ADDRESS: usize = 3;
/// Rows that are written at once about all addresses together, and sums of single addresses.
const ROWS_OF_ADDRESSES: usize = 60;
/// Users and keys counted by themselves in a minute; further ones are counted together. Each takes one place, whatever
/// it does.
const MAX_CALLERS: usize = 10_000;
/// Addresses counted by themselves; further ones are counted together.
const MAX_ADDRESSES: usize = 1_000;

/// What is counted. What is a kind's own is told at once, or only as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Kind {
    /// The action of its rows.
    pub(crate) action: &'static str,
    /// What it is called in a sum.
    pub(crate) name: &'static str,
    /// Whether the first of a minute has a row of its own.
    pub(crate) at_once: bool,
}

/// Whose doings are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Known {
    User(UserId),
    Key(KeyId),
}

#[derive(Default)]
struct Seen {
    told: HashSet<(Kind, String)>,
    more: BTreeMap<Kind, u64>,
}

impl Seen {
    fn count(&mut self, kind: Kind) {
        *self.more.entry(kind).or_default() += 1;
    }

    /// Whether one more may be told at once; it is counted otherwise.
    fn tell(&mut self, kind: Kind, what: &str, most: usize) -> bool {
        let new = kind.at_once && self.told.len() < most && self.told.insert((kind, what.to_owned()));
        if !new {
            self.count(kind);
        }
        new
    }
}

/// What a minute left untold about one caller, or about many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) actor: Actor,
    /// From where; nothing for many callers.
    pub(crate) address: Option<IpAddr>,
    pub(crate) action: &'static str,
    /// How many.
    pub(crate) count: u64,
    /// How many of which kind, and by whom, in words.
    pub(crate) detail: String,
}

/// One minute.
#[derive(Default)]
pub(crate) struct Tally {
    begun: Option<Instant>,
    known: HashMap<Known, (Actor, IpAddr, Seen)>,
    addresses: HashMap<IpAddr, Seen>,
    told_of_addresses: usize,
    /// Callers for whom there was no place, and addresses.
    crowd: [Seen; 2],
}

impl Tally {
    /// Whether the minute is over.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now.duration_since(begun) >= MINUTE)
    }

    /// Counts something; whether it is to be told at once.
    pub(crate) fn count(
        &mut self,
        kind: Kind,
        actor: &Actor,
        peer: IpAddr,
        what: &str,
        now: Instant,
    ) -> bool {
        self.begun.get_or_insert(now);
        let known = match actor {
            Actor::User { id, .. } => Known::User(*id),
            Actor::Key { id, .. } => Known::Key(*id),
            Actor::CommandLine | Actor::Watchpost | Actor::Anonymous => {
                return self.address(kind, peer, what);
            }
        };
        if self.known.len() >= MAX_CALLERS && !self.known.contains_key(&known) {
            self.crowd[0].count(kind);
            return false;
        }
        let (_, from, seen) =
            self.known.entry(known).or_insert_with(|| (actor.clone(), peer, Seen::default()));
        *from = peer;
        seen.tell(kind, what, ROWS_OF_CALLER)
    }

    fn address(&mut self, kind: Kind, peer: IpAddr, what: &str) -> bool {
        let from = network(peer);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&from) {
            self.crowd[1].count(kind);
            return false;
        }
        let seen = self.addresses.entry(from).or_default();
        let room = ROWS_OF_ADDRESSES - self.told_of_addresses;
        let most = if room == 0 { 0 } else { ROWS_OF_ADDRESS };
        let told = seen.tell(kind, what, most);
        self.told_of_addresses += usize::from(told);
        told
    }

    /// What was left untold. The next minute begins with what is counted next.
    pub(crate) fn end(&mut self) -> Vec<Sum> {
        let Self { known, addresses, crowd, .. } = std::mem::take(self);
        let mut sums = Vec::new();
        for (actor, from, seen) in known.into_values() {
            sum(&mut sums, &actor, Some(from), &seen.more, "");
        }
        let mut addresses: Vec<_> = addresses.into_iter().filter(|(_, seen)| !seen.more.is_empty()).collect();
        // Whoever did most is told of by themselves.
        addresses.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.more.values().sum::<u64>()));
        let rest = addresses.split_off(addresses.len().min(ROWS_OF_ADDRESSES));
        for (from, seen) in addresses {
            sum(&mut sums, &Actor::Anonymous, Some(from), &seen.more, "");
        }
        let [mut callers, mut strangers] = crowd;
        let others = rest.len();
        for (kind, count) in rest.into_iter().flat_map(|(_, seen)| seen.more) {
            *strangers.more.entry(kind).or_default() += count;
        }
        let by = format!(", from more than {} other addresses", others.max(1) - 1);
        sum(&mut sums, &Actor::Anonymous, None, &std::mem::take(&mut strangers.more), &by);
        let by = format!(", by users and keys beyond the {MAX_CALLERS} that are counted one by one");
        sum(&mut sums, &Actor::Watchpost, None, &std::mem::take(&mut callers.more), &by);
        sums
    }
}

/// Adds a sum for each action.
fn sum(sums: &mut Vec<Sum>, actor: &Actor, address: Option<IpAddr>, more: &BTreeMap<Kind, u64>, by: &str) {
    let mut actions: Vec<&'static str> = more.keys().map(|kind| kind.action).collect();
    actions.dedup();
    for action in actions {
        let kinds = || more.iter().filter(|(kind, _)| kind.action == action);
        let named = kinds().map(|(kind, count)| format!("{count} {}", kind.name)).collect::<Vec<_>>();
        let count = kinds().map(|(_, count)| count).sum();
        let detail = format!("within a minute{by}: {}", named.join(", "));
        sums.push(Sum { actor: actor.clone(), address, action, count, detail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: Kind = Kind { action: "refused", name: "for the role", at_once: true };
    const KEY: Kind = Kind { action: "refused", name: "bad keys", at_once: false };
    const READ: Kind = Kind { action: "audit.read", name: "reads", at_once: true };

    fn user(id: i64) -> Actor {
        Actor::User { id: UserId::new(id), name: format!("user-{id}") }
    }

    fn peer(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    #[test]
    fn the_first_of_a_kind_is_told_and_the_rest_counted() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let mut count = |kind, id, what: &str| tally.count(kind, &user(id), peer(1), what, now);
        assert_eq!([count(ROLE, 1, "a"), count(ROLE, 1, "a"), count(ROLE, 1, "b")], [true, false, true]);
        assert_eq!([count(ROLE, 2, "a"), count(READ, 1, "a")], [true, true]);
        assert_eq!([count(KEY, 1, "a"), count(READ, 1, "a")], [false, false]);
        let mut said: Vec<_> =
            tally.end().into_iter().map(|sum| (sum.action, sum.count, sum.detail)).collect();
        said.sort();
        assert_eq!(said.len(), 2);
        assert_eq!(said[0].2, "within a minute: 1 reads");
        assert_eq!(said[1].2, "within a minute: 1 bad keys, 1 for the role");
        assert_eq!(tally.end(), [], "it was told");
    }

    #[test]
    fn a_minute_begins_with_what_is_counted_first() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        assert!(!tally.is_over(start + MINUTE));
        tally.count(ROLE, &user(1), peer(1), "a", start);
        assert!(!tally.is_over(start + MINUTE - Duration::from_secs(1)));
        assert!(tally.is_over(start + MINUTE));
    }

    #[test]
    fn one_caller_fills_no_place_but_its_own() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let told = (0..100_000).filter(|n| tally.count(ROLE, &user(1), peer(1), &n.to_string(), now)).count();
        assert_eq!(told, ROWS_OF_CALLER);
        assert!(tally.count(ROLE, &user(2), peer(1), "a", now), "others are told of");
        let sums = tally.end();
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[0].count, 100_000 - ROWS_OF_CALLER as u64);
    }

    #[test]
    fn addresses_have_few_rows_each_and_together_and_hide_no_user() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let mut told = 0;
        for n in 0..5_000 {
            for what in ["a", "b", "c", "d", "e"] {
                told += usize::from(tally.count(ROLE, &Actor::Anonymous, peer(n), what, now));
            }
        }
        assert_eq!(told, ROWS_OF_ADDRESSES);
        assert!(tally.count(ROLE, &user(2), peer(1), "a", now));
        let sums = tally.end();
        assert_eq!(sums.len(), ROWS_OF_ADDRESSES + 1);
        let all: u64 = sums.iter().map(|sum| sum.count).sum();
        assert_eq!(all, 25_000 - told as u64, "all are counted");
        assert_eq!(sums.last().map(|sum| sum.address), Some(None));
    }

    #[test]
    fn a_household_on_ipv6_is_one_address() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        for n in 0..10_u16 {
            let peer = format!("2001:db8::{n}").parse().expect("an address");
            tally.count(KEY, &Actor::Anonymous, peer, "a", now);
        }
        let sums = tally.end();
        assert_eq!((sums.len(), sums[0].count), (1, 10));
    }

    #[test]
    fn more_callers_than_there_are_places_for_are_counted_together() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        for id in 0..MAX_CALLERS as i64 + 7 {
            tally.count(ROLE, &user(id), peer(1), "a", now);
        }
        let sums = tally.end();
        assert_eq!((sums.len(), sums[0].count, &sums[0].actor), (1, 7, &Actor::Watchpost));
    }
}
