//! Fills a database with a week: events in the order of their times, and in between what people did about them.

use super::calendar::{MINUTE, WEEK};
use super::dice::Dice;
use super::habits::{Done, course};
use super::ordinary::{Ordinary, STEP, STEPS};
use super::sight::Sight;
use super::stories::{Told, happenings};
use super::team::Team;
use crate::Outcome;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;
use watchpost_model::id::event_id_floor;
use watchpost_model::time::SECOND;
use watchpost_model::{AlertId, Timestamp};
use watchpost_pipeline::{MAX_BATCH_EVENTS, Past, PastEvent};
use watchpost_store::Db;

/// Of so many events one comes from the camera that floods, up to this many.
const FLOOD_OF: u64 = 13;
const MAX_FLOOD: u64 = 3_000;
/// Of a thousand events so many raise an alert on ordinary days. A team that has more to do than that in a week would
/// silence something, so of those beyond it there are fewer.
const ALARMS_OF_THOUSAND: u64 = 16;
const MIN_ALARMS: u64 = 150;
const MANY_ALARMS: u64 = 1_200;
const ALARMS_OF_THOUSAND_BEYOND: u64 = 2;
/// What people do is written in transactions of so many.
const DEEDS_AT_ONCE: usize = 500;

/// A week to be made.
pub(crate) struct Week {
    pub(crate) seed: u64,
    /// How many events.
    pub(crate) events: u64,
    /// When it ends.
    pub(crate) until: Timestamp,
}

impl Week {
    /// When it begins.
    pub(crate) fn from(&self) -> Timestamp {
        self.until.plus_seconds(-WEEK)
    }

    /// Whether events that came in then could have ids.
    pub(crate) fn has_ids(&self) -> bool {
        event_id_floor(self.from()).get() > 0
    }

    fn flood(&self) -> u64 {
        (self.events / FLOOD_OF).min(MAX_FLOOD)
    }

    fn alarms(&self) -> u64 {
        let usual = self.events * ALARMS_OF_THOUSAND / 1_000;
        let many = usual.saturating_sub(MANY_ALARMS) * ALARMS_OF_THOUSAND_BEYOND / ALARMS_OF_THOUSAND;
        usual.clamp(MIN_ALARMS, MANY_ALARMS) + many
    }
}

/// What becomes of the alert of an event.
enum Then {
    /// What the team does on any day.
    Usual(Timestamp, Sight),
    /// What is told.
    Told(Timestamp, &'static [Told]),
}

/// All events of the week in their order, step by step.
struct Events {
    ordinary: Ordinary,
    stories: Peekable<IntoIter<super::stories::Happening>>,
    from: Timestamp,
    /// How far the sensors' clocks and wires are behind.
    delays: Dice,
}

impl Events {
    fn new(week: &Week) -> Self {
        let stories = happenings(week.seed, week.from(), week.until, week.flood());
        let alarms = week.alarms();
        let routine = week.events.saturating_sub(alarms + stories.len() as u64);
        let ordinary = Ordinary::new(week.seed, week.from(), routine, alarms);
        let (stories, delays) = (stories.into_iter().peekable(), Dice::new(week.seed, "delays"));
        Self { ordinary, stories, from: week.from(), delays }
    }

    /// The events of a step.
    fn step(&mut self, step: i64, team: &Team) -> Vec<(PastEvent, Then)> {
        let ends = self.from.plus_seconds((step + 1) * STEP);
        let ordinary = self.ordinary.step(step).into_iter();
        let mut seen: Vec<(Timestamp, Sight, Option<&'static [Told]>)> =
            ordinary.map(|(at, sight)| (at, sight, None)).collect();
        while let Some(one) = self.stories.next_if(|one| one.at < ends) {
            seen.push((one.at, one.sight, Some(one.then)));
        }
        seen.sort_by_key(|(at, ..)| *at);
        let event = |(at, sight, told): (Timestamp, Sight, Option<&'static [Told]>)| {
            let behind = self.delays.between(SECOND / 25, 2 * SECOND);
            let detected = sight.event(Timestamp::from_micros(at.micros() - behind));
            let origin = team.origin(&sight.by).expect("the team has a key for every source");
            let then = match told {
                Some(told) => Then::Told(at, told),
                None => Then::Usual(at, sight),
            };
            (PastEvent { at, detected, origin }, then)
        };
        seen.into_iter().map(event).collect()
    }
}

/// What people will have done, in the order of its times; what is done at once in the order it was thought of.
struct Agenda {
    waiting: BTreeMap<(Timestamp, u64), (AlertId, Done)>,
    number: u64,
    dice: Dice,
    until: Timestamp,
}

impl Agenda {
    /// An alert was raised.
    fn add(&mut self, alert: AlertId, then: Then) {
        let done = match then {
            Then::Usual(at, sight) => course(&sight, at, self.until, &mut self.dice),
            Then::Told(at, told) => {
                let mut at = |after| at.plus_seconds(after * MINUTE + self.dice.between(0, MINUTE - 1));
                told.iter().map(|(after, who, does)| (at(after), *who, *does)).collect()
            }
        };
        for (at, who, does) in done {
            self.number += 1;
            let at = Timestamp::from_micros(at.micros() + self.dice.between(0, SECOND - 1));
            self.waiting.insert((at, self.number), (alert, (at, who, does)));
        }
    }

    /// Does what is done by a time.
    async fn carry_out(&mut self, db: &Db, team: &Team, by: Timestamp) -> Outcome<()> {
        loop {
            let mut deeds = Vec::new();
            while deeds.len() < DEEDS_AT_ONCE
                && let Some(first) = self.waiting.first_entry()
                && first.key().0 <= by
            {
                let (alert, done) = first.remove();
                deeds.push(team.deed(alert, done));
            }
            if deeds.is_empty() {
                return Ok(());
            }
            db.act_together(&deeds).await?;
        }
    }
}

/// Fills an empty database that is up to date; says how many events are stored on the way.
pub(crate) async fn fill(db: &Db, week: &Week, mut stored: impl FnMut(u64)) -> Outcome<()> {
    let team = Team::make(db, week.from()).await?;
    let mut past = Past::since(db, week.from()).await?;
    let mut events = Events::new(week);
    let dice = Dice::new(week.seed, "habits");
    let mut agenda = Agenda { waiting: BTreeMap::new(), number: 0, dice, until: week.until };
    let (mut batch, mut count) = (Vec::new(), 0);
    for step in 0..STEPS {
        batch.extend(events.step(step, &team));
        let last = step == STEPS - 1;
        if batch.len() < MAX_BATCH_EVENTS && !last {
            continue;
        }
        let (told, thens): (Vec<PastEvent>, Vec<Then>) = std::mem::take(&mut batch).into_iter().unzip();
        count += told.len() as u64;
        let receipts = past.store(told).await?;
        for (receipt, then) in receipts.iter().zip(thens) {
            if let Some(alert) = receipt.alerts.first() {
                agenda.add(*alert, then);
            }
        }
        let so_far = if last { week.until } else { week.from().plus_seconds((step + 1) * STEP) };
        agenda.carry_out(db, &team, so_far).await?;
        stored(count);
    }
    team.complete(db, week.until).await
}
