//! What happens on any day: more by day than by night, more on working days, now and then a lot of it.

use super::calendar::{MINUTE, WEEK, bustle, is_night};
use super::dice::Dice;
use super::facts::seen;
use super::kinds::{ALARMS, Kind, ROUTINE};
use super::sight::Sight;
use watchpost_model::time::SECOND;
use watchpost_model::{Severity, Timestamp};

/// The week in steps of so many seconds.
pub(super) const STEP: i64 = 5 * MINUTE;
/// How many those are.
pub(super) const STEPS: i64 = WEEK / STEP;
/// Of so many steps one has a burst of events.
const BURST_IN: u64 = 70;

/// How often a kind is seen at a time, next to the others.
fn share(kind: &Kind, at: Timestamp) -> u64 {
    let often = u64::from(kind.often);
    let states = |fact: &str| kind.facts.split(' ').any(|name| name == fact);
    if kind.what.starts_with("backup") {
        often * if is_night(at) { 160 } else { 6 }
    } else if states("user") {
        often * bustle(at)
    } else if states("door") || states("zone") {
        often * (15 + bustle(at) * 3 / 5)
    } else {
        often * 45
    }
}

fn shares(kinds: &[Kind], at: Timestamp) -> Vec<u64> {
    kinds.iter().map(|kind| share(kind, at)).collect()
}

/// How many events there are in each step of the week, of a kind of kinds.
fn spread(kinds: &[Kind], from: Timestamp, total: u64, dice: &mut Dice) -> Vec<u64> {
    let mut weights = Vec::with_capacity(STEPS as usize);
    let mut sum: u128 = 0;
    for step in 0..STEPS {
        let usual: u64 = shares(kinds, from.plus_seconds(step * STEP)).iter().sum();
        let burst = if dice.below(BURST_IN) == 0 { 220 } else { 100 };
        sum += u128::from(usual) * (dice.below(60) + 70) as u128 * burst;
        weights.push(sum);
    }
    let up_to = |weight: u128| (u128::from(total) * weight / sum.max(1)) as u64;
    let mut before = 0;
    weights.into_iter().map(|weight| up_to(weight) - std::mem::replace(&mut before, up_to(weight))).collect()
}

/// The ordinary events of a week.
pub(super) struct Ordinary {
    from: Timestamp,
    /// By step.
    routine: Vec<u64>,
    alarms: Vec<u64>,
    dice: Dice,
}

impl Ordinary {
    pub(super) fn new(seed: u64, from: Timestamp, routine: u64, alarms: u64) -> Self {
        let mut dice = Dice::new(seed, "spread");
        let routine = spread(ROUTINE, from, routine, &mut dice);
        let alarms = spread(ALARMS, from, alarms, &mut dice);
        Self { from, routine, alarms, dice: Dice::new(seed, "ordinary") }
    }

    /// The events of one step, in no order.
    pub(super) fn step(&mut self, step: i64) -> Vec<(Timestamp, Sight)> {
        let begins = self.from.plus_seconds(step * STEP);
        let mut events = Vec::new();
        for (raises, kinds, counts) in [(false, ROUTINE, &self.routine), (true, ALARMS, &self.alarms)] {
            let shares = shares(kinds, begins);
            for _ in 0..counts[step as usize] {
                let within = self.dice.below((STEP * SECOND) as u64) as i64;
                let kind = &kinds[self.dice.share(&shares)];
                let severity = severity(kind, raises, &mut self.dice);
                let at = Timestamp::from_micros(begins.micros() + within);
                events.push((at, seen(kind, severity, &mut self.dice)));
            }
        }
        events
    }
}

fn severity(kind: &Kind, raises: bool, dice: &mut Dice) -> Severity {
    match (raises, dice.chance(kind.worse)) {
        (false, false) => Severity::Low,
        (false, true) => Severity::Medium,
        (true, false) => Severity::High,
        (true, true) => Severity::Critical,
    }
}

/// Something that may be seen right now; so many times of a hundred something that raises an alert.
pub(super) fn one(at: Timestamp, alarms: u32, dice: &mut Dice) -> Sight {
    let raises = dice.chance(alarms);
    let kinds = if raises { ALARMS } else { ROUTINE };
    let kind = &kinds[dice.share(&shares(kinds, at))];
    let severity = severity(kind, raises, dice);
    seen(kind, severity, dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_in_its_step_and_none_is_missing() {
        let from = Timestamp::parse("2026-11-16T09:30:00Z").unwrap();
        let mut week = Ordinary::new(1, from, 20_000, 600);
        let (mut all, mut raised, mut by_day, mut by_night) = (0, 0, 0, 0);
        for step in 0..STEPS {
            for (at, sight) in week.step(step) {
                let begins = from.plus_seconds(step * STEP);
                assert!(begins <= at && at < begins.plus_seconds(STEP));
                all += 1;
                raised += u32::from(sight.severity >= Severity::High);
                by_night += u32::from(is_night(at));
                by_day += u32::from(bustle(at) > 80);
            }
        }
        assert_eq!((all, raised), (20_600, 600));
        // Of 168 hours 35 are as busy as that, and 49 are night.
        assert!(by_day * 49 > 2 * by_night * 35, "{by_day} by day, {by_night} by night");
        assert!(by_night > 1_000, "machines don't sleep");
    }
}
