//! What stories are made of: scenes, each some events alike, and what was done about the alerts they raised.

use super::calendar::{HOUR, MINUTE, midnight, workday_before};
use super::cast::{STAFF, Who};
use super::dice::Dice;
use super::sight::{Sight, filled};
use super::tales::{CAMERA, FLOODING, TALES};
use watchpost_model::time::SECOND;
use watchpost_model::triage::Verdict;
use watchpost_model::{Severity, Timestamp};

/// When a story begins.
pub(super) enum Begins {
    /// On the last working day that is so many days ago, at this minute of it.
    Workday(i64, i64),
    /// So many days ago, at this minute of the day.
    Day(i64, i64),
    /// So many minutes ago.
    Ago(i64),
}

impl Begins {
    fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Workday(days, minute) => workday_before(now, *days).plus_seconds(minute * MINUTE),
            Self::Day(days, minute) => midnight(now).plus_seconds(minute * MINUTE - days * 24 * HOUR),
            Self::Ago(minutes) => now.plus_seconds(-minutes * MINUTE),
        }
    }
}

/// What somebody does with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Acknowledges,
    /// Makes it their own.
    Takes,
    /// Gives it to somebody.
    Gives(Who),
    /// Adds tags, separated by blanks.
    Tags(&'static str),
    Notes(&'static str),
    Calls(&'static str),
    Rates(Severity, &'static str),
    Resolves(Verdict, &'static str),
    Reopens(&'static str),
    /// Puts it off for so many hours.
    Snoozes(i64, &'static str),
}

/// Who did what with an alert, and how many minutes after it was raised.
pub(super) type Told = (i64, Who, Does);

/// Events alike.
pub(super) struct Scene {
    /// Minutes after the story began.
    pub(super) after: i64,
    /// How many, and how many seconds lie between two of them.
    pub(super) times: (i64, i64),
    pub(super) by: &'static str,
    pub(super) what: &'static str,
    pub(super) severity: Severity,
    /// `{staff}` is another one of the staff each time, `{laptop}` theirs.
    pub(super) text: &'static str,
    /// `name=value`, separated by blanks; `host`, `user`, `src` and `dst` are fields of their own.
    pub(super) facts: &'static str,
    /// What was done with each alert.
    pub(super) then: &'static [Told],
}

pub(super) struct Tale {
    pub(super) begins: Begins,
    pub(super) scenes: &'static [Scene],
}

/// An event of a story, and what becomes of its alert.
pub(super) struct Happening {
    pub(super) at: Timestamp,
    pub(super) sight: Sight,
    pub(super) then: &'static [Told],
}

impl Scene {
    /// The events, so many and so far apart. Sensors aren't as regular as tables.
    fn events(&self, begins: Timestamp, (times, gap): (i64, i64), dice: &mut Dice) -> Vec<Happening> {
        let begins = begins.micros() + self.after * MINUTE * SECOND + dice.between(0, 40 * SECOND);
        let late = (gap * SECOND / 3).clamp(0, 5 * SECOND);
        let at = |n| Timestamp::from_micros(begins + n * gap + dice.between(0, late));
        (0..times).map(at).zip(0..).map(|(at, n)| self.nth(n, at)).collect()
    }

    fn nth(&self, n: i64, at: Timestamp) -> Happening {
        let (name, laptop) = STAFF[n as usize % STAFF.len()];
        let value = |wanted: &str| match wanted {
            "staff" => Some(name.to_owned()),
            "laptop" => Some(laptop.to_owned()),
            _ => None,
        };
        let mut sight = Sight::new(self.by, self.what, self.severity);
        sight.text = filled(self.text, value);
        for (fact, stated) in self.facts.split_whitespace().filter_map(|fact| fact.split_once('=')) {
            let stated = filled(stated, value);
            match fact {
                "host" => sight.host = Some(stated),
                "user" => sight.user = Some(stated),
                "src" => sight.src = Some(stated),
                "dst" => sight.dst = Some(stated),
                fact => sight.add(fact, &stated),
            }
        }
        Happening { at, sight, then: self.then }
    }
}

/// How long the camera floods, in seconds.
const FLOOD: i64 = 130 * MINUTE;

/// Every event of every story between two times, in their order; of the camera's flood as many as asked for.
pub(super) fn happenings(seed: u64, from: Timestamp, now: Timestamp, flooding: u64) -> Vec<Happening> {
    let mut dice = Dice::new(seed, "stories");
    let mut all = Vec::new();
    for tale in TALES {
        let begins = tale.begins.at(now);
        for scene in tale.scenes {
            let (times, gap) = scene.times;
            all.extend(scene.events(begins, (times, gap * SECOND), &mut dice));
        }
    }
    let flooding = flooding.max(1) as i64;
    let mut flood = FLOODING.events(CAMERA.at(now), (flooding, FLOOD * SECOND / flooding), &mut dice);
    // Somebody looks at the first one; the others wait to be folded.
    flood.iter_mut().skip(1).for_each(|one| one.then = &[]);
    all.extend(flood);
    all.retain(|one| from <= one.at && one.at < now);
    all.sort_by_key(|one| one.at);
    all
}

#[cfg(test)]
mod tests {
    use super::super::calendar::WEEK;
    use super::super::cast::SERVERS;
    use super::*;
    use std::collections::BTreeSet;
    use watchpost_model::text::Given;
    use watchpost_model::triage::{check_tags, check_title};

    #[test]
    fn stories_fit_into_any_week_that_ends_at_any_hour() {
        let start = Timestamp::parse("2026-11-16T00:10:00Z").unwrap();
        for hour in 0..7 * 24 {
            let now = start.plus_seconds(hour * HOUR);
            let all = happenings(1, now.plus_seconds(-WEEK), now, 3_000);
            let told: i64 = TALES.iter().flat_map(|tale| tale.scenes).map(|scene| scene.times.0).sum();
            assert_eq!(all.len() as i64, told + 3_000, "at hour {hour}");
            assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
        }
    }

    #[test]
    fn what_is_told_is_well_formed() {
        let now = Timestamp::parse("2026-11-20T14:00:00Z").unwrap();
        let mut verdicts = BTreeSet::new();
        for one in happenings(1, now.plus_seconds(-WEEK), now, 50) {
            let event = one.sight.event(one.at);
            assert_eq!(event.findings.len(), usize::from(one.sight.severity >= Severity::High));
            assert!(one.then.is_empty() || !event.findings.is_empty(), "{}", one.sight.text);
            assert!(one.then.is_sorted_by_key(|told| told.0), "{}", one.sight.text);
            let own = SERVERS.iter().find(|(name, _)| one.sight.host.as_deref() == Some(name));
            assert!(
                own.is_none_or(|(_, address)| {
                    one.sight
                        .dst
                        .as_deref()
                        .is_none_or(|dst| dst == *address || one.sight.src.as_deref() == Some(address))
                }),
                "{}",
                one.sight.text
            );
            for (_, _, does) in one.then {
                match does {
                    Does::Tags(tags) => assert!(check_tags(&Given::Text((*tags).into())).is_ok(), "{tags}"),
                    Does::Calls(title) => assert!(check_title(&Given::Text((*title).into())).is_ok()),
                    Does::Resolves(verdict, _) => drop(verdicts.insert(*verdict)),
                    _ => {}
                }
            }
        }
        assert_eq!(verdicts.len(), Verdict::ALL.len(), "every verdict is given in some story");
    }
}
