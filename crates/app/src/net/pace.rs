//! How long the other side of a connection may keep us waiting: it has a time for pauses, which waiting takes from and
//! every byte adds to. One byte now and then doesn't hold a place for ever; a slow line that goes on isn't cut.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The time that the other side has left.
struct Credit {
    /// How much the other side may keep us waiting from here on.
    left: Duration,
    /// It never has more than that, however much it sent.
    most: Duration,
    /// And all its pauses together are no longer than that, where there is such a limit.
    in_all: Option<Duration>,
    /// Bytes that add a second.
    rate: u64,
    waiting_since: Option<Instant>,
}

impl Credit {
    /// We wait for the other side now: until when at most; nothing when we do already.
    fn wait(&mut self, now: Instant) -> Option<Instant> {
        if self.waiting_since.is_some() {
            return None;
        }
        self.waiting_since = Some(now);
        Some(now + self.in_all.map_or(self.left, |in_all| in_all.min(self.left)))
    }

    fn went_on(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            let waited = now - since;
            self.left = self.left.saturating_sub(waited);
            self.in_all = self.in_all.map(|in_all| in_all.saturating_sub(waited));
        }
        let earned = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / self.rate;
        self.left = self.left.saturating_add(Duration::from_micros(earned)).min(self.most);
    }
}

pub(super) struct Pace {
    credit: Credit,
    /// Most have what they are waited for ready, and never need a timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// For pauses of so long, at a rate of so many bytes a second.
    pub(super) fn new(most: Duration, rate: u64) -> Self {
        let credit = Credit { left: most, most, in_all: None, rate: rate.max(1), waiting_since: None };
        Self { credit, timer: None }
    }

    /// The same, with a limit for all pauses together.
    pub(super) fn within(most: Duration, rate: u64, in_all: Duration) -> Self {
        let mut pace = Self::new(most, rate);
        pace.credit.in_all = Some(in_all);
        pace
    }

    /// The other side gave, or took, so many bytes. Until it is waited for the next time, no time passes for it: what
    /// takes us long is not its fault.
    pub(super) fn went_on(&mut self, bytes: usize) {
        self.credit.went_on(Instant::now(), bytes);
    }

    /// Waits for the other side; ready when it has had its time.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begun = self.credit.wait(Instant::now());
        match (&mut self.timer, begun) {
            (Some(timer), Some(until)) => timer.as_mut().reset(until),
            (timer @ None, until) => {
                *timer = Some(Box::pin(tokio::time::sleep_until(until.unwrap_or_else(Instant::now))));
            }
            (Some(_), None) => {}
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_024;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A side that gives so many bytes after each pause: how long that goes well, for at most so many pauses, when
    /// each piece takes us so long.
    fn lasts(pace: &mut Pace, bytes: usize, pause: Duration, pauses: u32, ours: Duration) -> Duration {
        let (begun, credit) = (Instant::now(), &mut pace.credit);
        let mut now = begun;
        for _ in 0..pauses {
            let until = credit.wait(now).expect("nobody waits yet");
            if now + pause >= until {
                return until - begun;
            }
            now += pause;
            credit.went_on(now, bytes);
            now += ours;
        }
        now - begun
    }

    #[test]
    fn a_byte_now_and_then_keeps_no_place() {
        let lasted = lasts(&mut Pace::new(seconds(30), RATE), 1, seconds(12), 1_000, Duration::ZERO);
        assert_eq!(lasted.as_secs(), 30);
        // Nor does much that was sent before.
        let mut pace = Pace::new(seconds(30), RATE);
        pace.went_on(1 << 30);
        assert_eq!(lasts(&mut pace, 1, seconds(12), 1_000, Duration::ZERO).as_secs(), 30);
    }

    #[test]
    fn a_slow_line_that_goes_on_is_not_cut() {
        let mut slow = Pace::new(seconds(30), RATE);
        assert_eq!(lasts(&mut slow, 20 * 1_024, seconds(20), 5_000, Duration::ZERO), seconds(100_000));
        let mut too_slow = Pace::new(seconds(30), RATE);
        let lasted = lasts(&mut too_slow, 15 * 1_024, seconds(20), 5_000, Duration::ZERO);
        assert!(lasted < seconds(200), "{lasted:?}");
    }

    #[test]
    fn all_pauses_of_one_who_isnt_known_have_a_limit() {
        let mut pace = Pace::within(seconds(5), RATE, seconds(30));
        assert_eq!(lasts(&mut pace, 4 * 1_024, seconds(2), 5_000, Duration::ZERO), seconds(30));
        let mut pace = Pace::within(seconds(5), RATE, seconds(30));
        assert_eq!(lasts(&mut pace, 1, seconds(10), 5_000, Duration::ZERO), seconds(5));
    }

    #[test]
    fn what_takes_us_long_doesnt_count() {
        let mut pace = Pace::new(seconds(30), RATE);
        let lasted = lasts(&mut pace, 1_024, seconds(1), 1_000, seconds(1_000));
        assert_eq!(lasted, seconds(1_001_000));
    }
}
