//! Where checked events wait for the commit loop: bounded in events, in bytes and in age, refusing before it accepts.

use crate::metrics::PipelineMetrics;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use watchpost_detect::Finding;
use watchpost_model::event::Origin;
use watchpost_model::{AlertId, Event, EventDraft, EventId, Invalid, NewEvent, Severity, Timestamp};
use watchpost_store::{AuditEntry, StoreError, faults};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that wait for their commit.
    pub events: usize,
    /// Memory that they may take, in bytes.
    pub bytes: usize,
    /// How long the oldest of them may have waited: whoever comes after it would wait longer.
    pub age: Duration,
}

impl Default for Limits {
    /// Ten full batches of events, and a third of the memory the whole server may use. An answer within a second,
    /// or none: three quarters of it may pass in the queue.
    fn default() -> Self {
        Self {
            events: 10 * crate::commit::MAX_BATCH_EVENTS,
            bytes: 64 << 20,
            age: Duration::from_millis(750),
        }
    }
}

/// Alerts by hand that may wait: each is somebody who waits for an answer.
const MAX_RAISES: usize = 64;

/// How long a patient sender waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(30);

/// A checked event and what was found in it.
#[derive(Clone, Debug)]
pub struct Detected {
    /// The event.
    pub event: NewEvent,
    /// What raises alerts.
    pub findings: Vec<Finding>,
}

impl Detected {
    /// Checks a draft and looks for what is suspicious; on failure every wrong field is named.
    pub fn check(draft: &EventDraft<'_>) -> Result<Self, Invalid> {
        let event = NewEvent::check(draft)?;
        let findings = watchpost_detect::findings(&event);
        Ok(Self { event, findings })
    }
}

/// The proof that an event is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id.
    pub event: EventId,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// The alerts it raised.
    pub alerts: Vec<AlertId>,
}

/// Under which key a piece of a body comes in; stored with its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Whose key, hashed.
    pub scope: String,
    /// Which piece, from 0.
    pub piece: i64,
    /// The hash of the body up to the end of the piece.
    pub body_hash: String,
    /// Whether the body ends with it.
    pub last: bool,
}

/// Why events were not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Too much is waiting; nothing was stored, trying again later helps.
    #[error("too many events are waiting to be stored")]
    Full,
    /// The database can't be written; nothing was stored, trying again later helps.
    #[error("events can't be stored right now")]
    Unavailable,
    /// The disk is full; nothing was stored, trying again helps when there is room.
    #[error("the disk is full")]
    DiskFull,
    /// This node is too old for the schema to write; nothing was stored.
    #[error("this node is older than the schema needs")]
    Outdated,
    /// The clock shows a time that can't be; nothing was stored, trying again helps when it is set.
    #[error("the server's clock is wrong")]
    WrongClock,
    /// The database went away during the commit: the events may or may not be stored.
    #[error("whether the events were stored isn't known")]
    OutcomeUnknown,
    /// The same key came in at the same time, on another node; nothing was stored.
    #[error("the same key is being stored by somebody else")]
    Repeated,
    /// The database would not take these events; trying again doesn't help.
    #[error("the events could not be stored")]
    Failed,
}

/// What one caller hands in: stored in one transaction.
pub(crate) struct Submission {
    pub(crate) events: Vec<Detected>,
    pub(crate) origin: Origin,
    pub(crate) keyed: Option<Keyed>,
    pub(crate) reply: Option<oneshot::Sender<Result<Vec<Receipt>, Refused>>>,
    pub(crate) since: Instant,
    /// Gives the room back when it is dropped.
    pub(crate) room: Room,
}

/// An alert that somebody raises for an event that is stored.
pub(crate) struct Raise {
    pub(crate) event: Event,
    pub(crate) severity: Severity,
    pub(crate) title: Option<String>,
    pub(crate) why: String,
    pub(crate) by: AuditEntry,
    pub(crate) reply: oneshot::Sender<Result<AlertId, StoreError>>,
}

/// The room that a submission takes while it waits and is written.
pub(crate) struct Room {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    load: Arc<Load>,
}

impl Drop for Room {
    /// Whatever became of it, it no longer waits.
    fn drop(&mut self) {
        self.load.events.fetch_sub(self.events, Ordering::AcqRel);
        self.load.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.load.freed.notify_waiters();
    }
}

/// What waits, seen from both ends.
pub(crate) struct Load {
    events: AtomicUsize,
    bytes: AtomicUsize,
    /// When the oldest that waits came, in microseconds since `start`; [`NOBODY`] when none waits.
    oldest: AtomicU64,
    start: Instant,
    /// Events that nobody has begun to write.
    queued: AtomicUsize,
    /// Told when so many are queued that another batch is worth it.
    pub(crate) plenty: Notify,
    pub(crate) worth_another: AtomicUsize,
    freed: Notify,
    /// Keys whose bodies are being taken in.
    keys: Mutex<HashSet<String>>,
}

const NOBODY: u64 = u64::MAX;

impl Load {
    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.start).as_micros()).unwrap_or(NOBODY - 1)
    }

    /// Says who is the oldest that waits.
    pub(crate) fn oldest_is(&self, since: Option<Instant>) {
        let oldest = since.map_or(NOBODY, |since| self.micros(since));
        self.oldest.store(oldest, Ordering::Release);
    }

    /// Takes events off the queue, to write them.
    pub(crate) fn begun(&self, events: usize) {
        self.queued.fetch_sub(events, Ordering::AcqRel);
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    fn age(&self) -> Duration {
        match self.oldest.load(Ordering::Acquire) {
            NOBODY => Duration::ZERO,
            oldest => Duration::from_micros(self.micros(Instant::now()).saturating_sub(oldest)),
        }
    }
}

/// The door for events. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    sender: mpsc::UnboundedSender<Submission>,
    raises: mpsc::Sender<Raise>,
    load: Arc<Load>,
    limits: Limits,
    metrics: PipelineMetrics,
}

/// The other end, for the commit loop.
pub struct Queue {
    pub(crate) receiver: mpsc::UnboundedReceiver<Submission>,
    pub(crate) raises: mpsc::Receiver<Raise>,
    pub(crate) load: Arc<Load>,
    pub(crate) metrics: PipelineMetrics,
}

/// Makes an intake and its queue.
pub fn intake(limits: Limits, metrics: PipelineMetrics) -> (Intake, Queue) {
    // Unbounded in itself; what bounds it is the load, which counts events and bytes rather than callers.
    let (sender, receiver) = mpsc::unbounded_channel();
    let load = Arc::new(Load {
        events: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        oldest: AtomicU64::new(NOBODY),
        start: Instant::now(),
        queued: AtomicUsize::new(0),
        plenty: Notify::new(),
        worth_another: AtomicUsize::new(usize::MAX),
        freed: Notify::new(),
        keys: Mutex::new(HashSet::new()),
    });
    let (raise, raises) = mpsc::channel(MAX_RAISES);
    let intake = Intake { sender, raises: raise, load: load.clone(), limits, metrics: metrics.clone() };
    (intake, Queue { receiver, raises, load, metrics })
}

/// While it lives, nobody else takes in a body under the key.
pub struct KeyInUse {
    scope: String,
    load: Arc<Load>,
}

impl Drop for KeyInUse {
    fn drop(&mut self) {
        if let Ok(mut keys) = self.load.keys.lock() {
            keys.remove(&self.scope);
        }
    }
}

impl Intake {
    /// Whether an event that came now would be taken: asked before a body is read.
    pub fn has_room(&self) -> bool {
        self.load.events.load(Ordering::Acquire) < self.limits.events && self.load.age() <= self.limits.age
    }

    /// Begins to take in a body under a key; nothing when somebody else is at it.
    pub fn begin(&self, scope: &str) -> Option<KeyInUse> {
        let mut keys = self.load.keys.lock().ok()?;
        keys.insert(scope.to_owned()).then(|| KeyInUse { scope: scope.to_owned(), load: self.load.clone() })
    }

    /// Hands in events and waits until they are on disk. They are stored even if the caller stops waiting.
    pub async fn submit(
        &self,
        events: Vec<Detected>,
        origin: Origin,
        keyed: Option<Keyed>,
    ) -> Result<Vec<Receipt>, Refused> {
        let count = events.len();
        match self.make_room(&events, self.limits) {
            Some(room) => self.hand_over(events, origin, keyed, room).await,
            None => {
                self.metrics.refused.inc_by(count as u64);
                Err(Refused::Full)
            }
        }
    }

    /// As [`Intake::submit`] for those who have more coming: waits for room, and leaves half of it to others.
    pub async fn submit_patiently(
        &self,
        events: Vec<Detected>,
        origin: Origin,
        keyed: Option<Keyed>,
    ) -> Result<Vec<Receipt>, Refused> {
        let Limits { events: most, bytes, age } = self.limits;
        let half = Limits { events: most / 2, bytes: bytes / 2, age: age / 2 };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let room = loop {
            let freed = self.load.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(room) = self.make_room(&events, half) {
                break room;
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                self.metrics.refused.inc_by(events.len() as u64);
                return Err(Refused::Full);
            }
        };
        self.hand_over(events, origin, keyed, room).await
    }

    /// Raises an alert by hand for an event that is stored, and waits until it is on disk. It goes the way of events,
    /// because ids of alerts are given out there in the order in which they are committed.
    pub async fn raise(
        &self,
        event: Event,
        severity: Severity,
        title: Option<String>,
        why: String,
        by: AuditEntry,
    ) -> Result<AlertId, StoreError> {
        let (reply, answer) = oneshot::channel();
        let closed = || StoreError::Unavailable("the commit loop has ended".into());
        let raise = Raise { event, severity, title, why, by, reply };
        self.raises.send(raise).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(StoreError::OutcomeUnknown("nobody answered".into())))
    }

    fn make_room(&self, events: &[Detected], limits: Limits) -> Option<Room> {
        let count = events.len();
        let weight: usize = events.iter().map(|detected| detected.event.weight()).sum();
        let waiting = self.load.events.fetch_add(count, Ordering::AcqRel) + count;
        let bytes = self.load.bytes.fetch_add(weight, Ordering::AcqRel) + weight;
        // What is larger than the limit by itself is taken when nothing else waits.
        let alone = waiting == count;
        let fits =
            (waiting <= limits.events && bytes <= limits.bytes) || (alone && bytes <= self.limits.bytes);
        if fits && self.load.age() <= limits.age {
            // From here on the load is given back when the room is dropped, wherever that happens.
            return Some(Room { events: count, bytes: weight, load: self.load.clone() });
        }
        // Nobody is told: those who wait for room would only wake each other.
        self.load.events.fetch_sub(count, Ordering::AcqRel);
        self.load.bytes.fetch_sub(weight, Ordering::AcqRel);
        None
    }

    async fn hand_over(
        &self,
        events: Vec<Detected>,
        origin: Origin,
        keyed: Option<Keyed>,
        room: Room,
    ) -> Result<Vec<Receipt>, Refused> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let (count, since) = (events.len(), Instant::now());
        self.metrics.waiting.set(self.load.events.load(Ordering::Acquire) as i64);
        let now = self.load.micros(since);
        // Unless somebody waits already.
        self.load.oldest.compare_exchange(NOBODY, now, Ordering::AcqRel, Ordering::Acquire).ok();
        let before = self.load.queued.fetch_add(count, Ordering::AcqRel);
        let worth = self.load.worth_another.load(Ordering::Relaxed);
        let submission = Submission { events, origin, keyed, reply: Some(reply), since, room };
        faults::point("enqueue.before");
        if self.sender.send(submission).is_err() {
            return Err(Refused::Unavailable);
        }
        faults::point("enqueue.after");
        if before < worth && before + count >= worth {
            self.load.plenty.notify_one();
        }
        // A commit loop that dies with the submission in hand leaves its outcome open.
        answer.await.unwrap_or(Err(Refused::OutcomeUnknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::text::Given;
    use watchpost_model::{DetailsDraft, UserId};

    fn event(description: &str) -> Detected {
        let text = |text: &str| Given::Text(text.to_owned().into());
        let draft = EventDraft {
            source_name: text("fw"),
            event_type: text("scan"),
            severity: text("LOW"),
            description: text(description),
            details: DetailsDraft::default(),
        };
        Detected::check(&draft).expect("a complete event")
    }

    fn limits(events: usize, bytes: usize) -> Limits {
        Limits { events, bytes, age: Duration::from_secs(3_600) }
    }

    const ORIGIN: Origin = Origin::User(UserId::new(1));

    #[tokio::test]
    async fn past_the_limit_is_refused_and_room_comes_back() {
        let (intake, mut queue) = intake(limits(2, 1 << 20), PipelineMetrics::default());
        let submit = |n: usize| {
            let (intake, events) = (intake.clone(), vec![event("x"); n]);
            tokio::spawn(async move { intake.submit(events, ORIGIN, None).await })
        };
        let first = submit(2);
        let waiting = queue.receiver.recv().await.expect("the first is waiting");
        assert!(!intake.has_room());
        assert_eq!(submit(1).await.expect("no panic"), Err(Refused::Full));
        drop(waiting);
        assert_eq!(first.await.expect("no panic"), Err(Refused::OutcomeUnknown));
        assert!(intake.has_room());
        let second = submit(2);
        queue.receiver.recv().await.expect("there is room again");
        second.await.expect("no panic").expect_err("it was dropped, too");
    }

    #[tokio::test]
    async fn bytes_are_bounded_as_well() {
        let (intake, _queue) = intake(limits(100, 1_000), PipelineMetrics::default());
        let events = vec![event(&"x".repeat(2_000))];
        assert_eq!(intake.submit(events, ORIGIN, None).await, Err(Refused::Full));
    }

    #[tokio::test]
    async fn nobody_joins_a_queue_that_stands_still() {
        let aged = Limits { age: Duration::ZERO, ..limits(100, 1 << 20) };
        let (intake, mut queue) = intake(aged, PipelineMetrics::default());
        let first = {
            let intake = intake.clone();
            tokio::spawn(async move { intake.submit(vec![event("x")], ORIGIN, None).await })
        };
        let waiting = queue.receiver.recv().await.expect("the first is taken");
        assert_eq!(intake.submit(vec![event("x")], ORIGIN, None).await, Err(Refused::Full));
        queue.load.oldest_is(None);
        assert!(intake.has_room(), "nobody waits any more");
        drop(waiting);
        first.await.expect("no panic").expect_err("it was dropped");
    }

    #[tokio::test]
    async fn the_patient_wait_for_room_and_leave_half_of_it() {
        let (intake, mut queue) = intake(limits(4, 1 << 20), PipelineMetrics::default());
        let patient = |n: usize| {
            let (intake, events) = (intake.clone(), vec![event("x"); n]);
            tokio::spawn(async move { intake.submit_patiently(events, ORIGIN, None).await })
        };
        let first = patient(2);
        let waiting = queue.receiver.recv().await.expect("half of the room is theirs");
        let second = patient(1);
        let single = {
            let intake = intake.clone();
            tokio::spawn(async move { intake.submit(vec![event("y")], ORIGIN, None).await })
        };
        let next = queue.receiver.recv().await.expect("the other half is for others");
        assert_eq!(next.events[0].event.description(), "y");
        drop((waiting, next));
        queue.receiver.recv().await.expect("now there is room");
        for task in [first, second, single] {
            task.await.expect("no panic").expect_err("they were dropped");
        }
    }

    #[test]
    fn a_key_is_used_by_one_at_a_time() {
        let (intake, _queue) = intake(Limits::default(), PipelineMetrics::default());
        let first = intake.begin("a").expect("nobody has it");
        assert!(intake.begin("a").is_none());
        assert!(intake.begin("b").is_some());
        drop(first);
        assert!(intake.begin("a").is_some());
    }
}
