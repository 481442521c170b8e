//! The ids that events and alerts get next.
//!
//! Times are those of the clock; order and uniqueness come from the sequence. An event's id leads with the second it
//! came in, so ids go on behind the last one while the clock steps back a little, and go back with it when the last one is
//! far ahead: one moment of a wrong clock must not decide the times of all that comes later.

use crate::clock;
use crate::commit::MAX_BATCH_EVENTS;
use crate::intake::Refused;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};
use watchpost_model::id::{
    EVENT_IDS_PER_SECOND, MAX_ID, can_lead_event_ids, event_id_floor, event_id_second,
};
use watchpost_model::time::SECOND;
use watchpost_model::{EventId, Timestamp};
use watchpost_store::{Db, Engine, IdKind, StoreError, faults};

/// Event ids that a node takes at once where several may write: four full batches.
const SHARED_EVENT_BLOCK: i64 = 4 * MAX_BATCH_EVENTS as i64;
/// Alert ids taken at once where several may write: few, because those that a crash leaves unused make a gap that people
/// see.
const SHARED_ALERT_BLOCK: i64 = 64;
/// How far ids may be ahead of the clock, in seconds: setting a clock from the network turns it back by less.
const SLACK_SECONDS: i64 = 5;
/// Seconds of which is remembered up to where their ids are given out: far more than batches are under way.
const SECONDS_REMEMBERED: usize = 1_024;
/// How often it is said that a clock can't be right.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// What events and alerts get next.
pub(crate) struct Ids {
    pub(crate) events: EventIds,
    pub(crate) alerts: AlertIds,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let alerts = AlertIds { left: 0..0 };
        let events =
            EventIds { left: 0..0, highest: None, given: VecDeque::new(), late: false, warned: None };
        Self { events, alerts }
    }

    /// Makes sure that there are so many of both, and says at which time the events came in.
    pub(crate) async fn ensure(
        &mut self,
        db: &Db,
        events: usize,
        alerts: usize,
    ) -> Result<Timestamp, Refused> {
        let at = self.events.ensure(db, events as i64).await?;
        self.alerts.ensure(db, alerts).await?;
        Ok(at)
    }
}

/// Ids of events.
pub(crate) struct EventIds {
    /// Those that can be given out without asking again.
    left: Range<i64>,
    /// On SQLite, where nobody else gives them out: the largest that was ever given out. Nothing before the first.
    highest: Option<i64>,
    /// And the last one that was given out of a second, newest second last.
    given: VecDeque<(i64, i64)>,
    /// Whether those that are left lie behind others that were given out before.
    late: bool,
    /// When it was said last that something is wrong with the clock.
    warned: Option<Instant>,
}

impl EventIds {
    async fn ensure(&mut self, db: &Db, wanted: i64) -> Result<Timestamp, Refused> {
        // On PostgreSQL the answer tells the database's time, which may show that ours was wrong.
        for _ in 0..3 {
            let mut at = clock::now();
            if !can_lead_event_ids(at) {
                clock::follow_database_clock(db).await.map_err(refused)?;
                at = clock::now();
            }
            if !can_lead_event_ids(at) {
                self.warn(
                    || tracing::error!(clock = %at, "the clock can't be right: events are refused until it is set"),
                );
                return Err(Refused::WrongClock);
            }
            if self.left.start >= event_id_floor(at.plus_seconds(SLACK_SECONDS + 1)).get()
                && !faults::mutant("ids_never_go_back")
            {
                self.left = 0..0;
            }
            self.left.start = self.left.start.max(event_id_floor(at).get());
            if self.left.end - self.left.start >= wanted {
                return Ok(at.at_least_second_of(event_id_second(EventId::new(self.left.start))));
            }
            let asked = Instant::now();
            self.left = match db.engine() {
                Engine::Sqlite => self.next_own(db, wanted, at).await.map_err(refused)?,
                Engine::Postgres => {
                    let count = wanted.max(SHARED_EVENT_BLOCK);
                    let (taken, theirs) =
                        db.take_event_ids(count, at, SLACK_SECONDS).await.map_err(refused)?;
                    clock::heard(theirs, asked);
                    taken
                }
            };
            let jumped = clock::now().micros() - at.micros() - asked.elapsed().as_micros() as i64;
            if jumped.abs() <= SLACK_SECONDS * SECOND {
                return Ok(at.at_least_second_of(event_id_second(EventId::new(self.left.start))));
            }
        }
        // The clock jumps all the time.
        Err(Refused::Unavailable)
    }

    /// The ids that come next where nobody else gives them out.
    async fn next_own(&mut self, db: &Db, wanted: i64, at: Timestamp) -> Result<Range<i64>, StoreError> {
        let highest = match self.highest {
            Some(highest) => highest,
            None => *self.highest.insert(db.last_event(0, MAX_ID).await?),
        };
        let floor = event_id_floor(at).get();
        let far_ahead = highest >= event_id_floor(at.plus_seconds(SLACK_SECONDS + 1)).get();
        self.late = far_ahead && !faults::mutant("ids_never_go_back");
        if !self.late {
            return Ok(floor.max(highest + 1)..MAX_ID);
        }
        let last = event_id_second(EventId::new(highest));
        self.warn(|| {
            tracing::warn!(%at, %last, "the newest events are from a time that is still to come: the clock was wrong, then or now; new ones go by it")
        });
        let mut second = floor;
        while second < MAX_ID {
            let end = second + EVENT_IDS_PER_SECOND;
            let stored = db.last_event(second, end).await?;
            // What is being written can't be read yet.
            let given = self.given.iter().filter(|(of, _)| *of == second).map(|(_, last)| *last).max();
            let next = stored.max(given.unwrap_or(stored)) + 1;
            if end - next >= wanted {
                return Ok(next..end);
            }
            second = end;
        }
        Err(StoreError::Unavailable("there are no ids left".into()))
    }

    fn warn(&mut self, say: impl FnOnce()) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= BETWEEN_WARNINGS) {
            self.warned = Some(Instant::now());
            say();
        }
    }

    /// Whether the ids that come next lie behind others that were given out before.
    pub(crate) fn are_late(&self) -> bool {
        self.late
    }

    pub(crate) fn next(&mut self) -> i64 {
        let id = self.left.start;
        debug_assert!(id < self.left.end, "ensure() was asked for too few");
        self.left.start += 1;
        if let Some(highest) = &mut self.highest {
            *highest = id.max(*highest);
            let second = id - id % EVENT_IDS_PER_SECOND;
            match self.given.back_mut() {
                Some((of, last)) if *of == second => *last = id,
                _ => self.given.push_back((second, id)),
            }
            if self.given.len() > SECONDS_REMEMBERED {
                self.given.pop_front();
            }
        }
        id
    }
}

/// Ids of alerts.
pub(crate) struct AlertIds {
    left: Range<i64>,
}

impl AlertIds {
    pub(crate) async fn ensure(&mut self, db: &Db, wanted: usize) -> Result<(), Refused> {
        let wanted = wanted as i64;
        if self.left.end - self.left.start >= wanted {
            return Ok(());
        }
        let taken = match db.engine() {
            // One process writes: they go on behind those that are stored, and none is left out.
            Engine::Sqlite => db.last_alert().await.map_err(refused)? + 1..MAX_ID,
            Engine::Postgres => {
                let count = SHARED_ALERT_BLOCK.max(wanted);
                db.take_ids(IdKind::Alerts, count, clock::now()).await.map_err(refused)?
            }
        };
        // Where no other node took some in between, the last block goes on.
        let goes_on = taken.start == self.left.end && !self.left.is_empty();
        self.left = if goes_on { self.left.start..taken.end } else { taken };
        Ok(())
    }

    pub(crate) fn next(&mut self) -> i64 {
        let id = self.left.start;
        debug_assert!(id < self.left.end, "ensure() was asked for too few");
        self.left.start += 1;
        id
    }

    /// Lets go of those that were not used: the next server goes on with them.
    pub(crate) async fn give_back(&mut self, db: &Db) {
        let unused = std::mem::replace(&mut self.left, 0..0);
        if db.engine() == Engine::Sqlite || unused.is_empty() {
            return;
        }
        if let Err(error) = db.give_back_ids(IdKind::Alerts, unused).await {
            tracing::debug!(%error, "numbers of alerts were left out");
        }
    }
}

fn refused(error: StoreError) -> Refused {
    match error {
        StoreError::DiskFull(_) => return Refused::DiskFull,
        StoreError::Outdated => return Refused::Outdated,
        _ => {}
    }
    tracing::error!(%error, "no ids for events: they could not be stored");
    if error.is_temporary() { Refused::Unavailable } else { Refused::Failed }
}
