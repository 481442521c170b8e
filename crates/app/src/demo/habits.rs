//! What the team does with alerts on any day: quickly with some, not at all with others.

use super::calendar::{DAY, HOUR, MINUTE, at_desk};
use super::cast::Who;
use super::dice::Dice;
use super::sight::Sight;
use super::stories::Does;
use super::words::{Words, words_for};
use watchpost_model::triage::Verdict;
use watchpost_model::{Severity, Timestamp};

/// How long it usually takes until somebody looks at an alert, in seconds, by how bad it is.
const LOOKED_AT: [i64; 2] = [32 * MINUTE, 7 * MINUTE];
/// And from there until it is done with.
const WORKED_AT: i64 = 75 * MINUTE;
/// So many of a hundred CRITICAL alerts wake somebody.
const WAKES: u32 = 80;

/// Something somebody does with an alert.
pub(super) type Done = (Timestamp, Who, Does);

/// What comes of one alert.
struct Course<'a> {
    dice: &'a mut Dice,
    words: &'static Words,
    now: Timestamp,
    done: Vec<Done>,
}

/// How many of a hundred alerts nobody has looked at by now, by their age.
fn left_alone(age: i64) -> u32 {
    match age {
        age if age < 3 * HOUR => 72,
        age if age < 20 * HOUR => 16,
        age if age < 2 * DAY => 3,
        _ => 0,
    }
}

/// What the team does with an alert. Some of it may lie in the future and never comes.
pub(super) fn course(sight: &Sight, raised: Timestamp, now: Timestamp, dice: &mut Dice) -> Vec<Done> {
    let age = now.seconds() - raised.seconds();
    let mut course = Course { words: words_for(&sight.what), dice, now, done: Vec::new() };
    if !course.dice.chance(left_alone(age)) {
        course.look_at(sight.severity, raised);
    }
    course.done
}

impl Course<'_> {
    fn add(&mut self, at: Timestamp, who: Who, does: Does) {
        self.done.push((at, who, does));
    }

    /// A little later, in the same sitting.
    fn soon(&mut self, at: Timestamp) -> Timestamp {
        at.plus_seconds(self.dice.around(90) + 4)
    }

    fn look_at(&mut self, severity: Severity, raised: Timestamp) {
        let critical = severity == Severity::Critical;
        let woken = critical && self.dice.chance(WAKES);
        let begins = if woken { raised } else { at_desk(raised) };
        let looked = begins.plus_seconds(self.dice.around(LOOKED_AT[usize::from(critical)]));
        // Ana comes early, Rob stays late.
        let early = looked.seconds().rem_euclid(DAY) < 12 * HOUR;
        let who = if self.dice.chance(if early { 70 } else { 35 }) { Who::Ana } else { Who::Rob };
        self.add(looked, who, Does::Acknowledges);
        let mut at = looked;
        if self.dice.chance(35) {
            at = self.soon(at);
            let other = if who == Who::Ana { Who::Rob } else { Who::Ana };
            let to = if self.dice.chance(20) { Does::Gives(other) } else { Does::Takes };
            self.add(at, who, to);
        }
        if self.dice.chance(22) {
            at = self.soon(at);
            let tags = self.dice.pick(self.words.tags);
            self.add(at, who, Does::Tags(tags));
        }
        if self.dice.chance(30) {
            at = self.soon(at);
            let note = self.dice.pick(self.words.notes);
            self.add(at, who, Does::Notes(note));
        }
        if self.dice.chance(7) {
            at = self.soon(at);
            self.rate(at, who, severity);
        }
        if self.dice.chance(4) {
            at = self.soon(at);
            let title = self.dice.pick(self.words.titles);
            self.add(at, who, Does::Calls(title));
        }
        self.finish(at, who, self.now.seconds() - raised.seconds());
    }

    fn rate(&mut self, at: Timestamp, who: Who, severity: Severity) {
        let (to, why) = match severity {
            Severity::Critical => (Severity::High, "Nothing behind it that has to be done tonight."),
            _ if self.dice.chance(30) => (Severity::Critical, "It is on a machine that matters."),
            _ => (Severity::Medium, "Caught before it could do anything."),
        };
        self.add(at, who, Does::Rates(to, why));
    }

    /// How it ends, if it does.
    fn finish(&mut self, at: Timestamp, who: Who, age: i64) {
        // The older it is, the less likely it still waits for somebody.
        if self.dice.chance(if age < DAY { 22 } else { 3 }) {
            if self.dice.chance(40) {
                let at = self.soon(at);
                let hours = self.dice.between(6, 70) + age / HOUR;
                self.add(at, who, Does::Snoozes(hours, "Waits for the maintenance window."));
            }
            return;
        }
        let resolved = at_desk(at).max(at).plus_seconds(self.dice.around(WORKED_AT));
        let verdict = self.verdict();
        let why = self.dice.pick(self.words.why(verdict));
        self.add(resolved, who, Does::Resolves(verdict, why));
        if self.dice.chance(3) {
            let again = at_desk(resolved.plus_seconds(self.dice.around(5 * HOUR)));
            self.add(again, who, Does::Reopens("It happened again, on the same machine."));
            let ended = again.plus_seconds(self.dice.around(WORKED_AT));
            let why = self.dice.pick(self.words.why(Verdict::TruePositive));
            self.add(ended, who, Does::Resolves(Verdict::TruePositive, why));
        }
    }

    fn verdict(&mut self) -> Verdict {
        let verdicts = [
            Verdict::FalsePositive,
            Verdict::Benign,
            Verdict::TruePositive,
            Verdict::Duplicate,
            Verdict::Expected,
        ];
        verdicts[self.dice.share(&[34, 26, 19, 12, 9])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn courses(severity: Severity, raised: &str, now: &str) -> Vec<Vec<Done>> {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let mut dice = Dice::new(5, "habits");
        let sight = Sight::new("edr-laptops", "malware_detected", severity);
        (0..1_000).map(|_| course(&sight, at(raised), at(now), &mut dice)).collect()
    }

    #[test]
    fn old_alerts_are_done_with_and_new_ones_mostly_open() {
        let now = "2026-11-20T14:00:00Z";
        let at = Timestamp::parse(now).unwrap();
        let touched = |courses: &[Vec<Done>]| {
            courses.iter().filter(|course| course.iter().any(|(then, ..)| *then <= at)).count()
        };
        let resolved = |courses: &[Vec<Done>]| {
            let ends = |(then, _, does): &Done| *then <= at && matches!(does, Does::Resolves(..));
            courses.iter().filter(|course| course.iter().any(ends)).count()
        };
        let old = courses(Severity::High, "2026-11-17T09:00:00Z", now);
        assert!(touched(&old) == 1_000 && (940..1_000).contains(&resolved(&old)), "{}", resolved(&old));
        let night = courses(Severity::High, "2026-11-20T02:00:00Z", now);
        assert!((780..880).contains(&touched(&night)), "{}", touched(&night));
        let new = courses(Severity::High, "2026-11-20T13:00:00Z", now);
        assert!((120..280).contains(&touched(&new)), "{}", touched(&new));
    }

    #[test]
    fn things_are_done_one_after_the_other_and_at_night_for_a_reason() {
        let night = |severity| courses(severity, "2026-11-18T02:00:00Z", "2026-11-20T14:00:00Z");
        let early = Timestamp::parse("2026-11-18T06:00:00Z").unwrap();
        let woken = |courses: Vec<Vec<Done>>| {
            assert!(courses.iter().all(|course| course.is_sorted_by_key(|(at, ..)| *at)));
            courses.iter().filter(|course| course.first().is_some_and(|(at, ..)| *at < early)).count()
        };
        assert_eq!(woken(night(Severity::High)), 0);
        assert!((700..880).contains(&woken(night(Severity::Critical))));
    }
}
