//! Where checked events wait for the commit loop: bounded in events and in bytes, refusing before it accepts.

use crate::metrics::PipelineMetrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use watchpost_detect::Finding;
use watchpost_model::event::Origin;
use watchpost_model::{AlertId, EventDraft, EventId, Invalid, NewEvent, Timestamp};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that wait for their commit.
    pub events: usize,
    /// Memory that they may take, in bytes.
    pub bytes: usize,
}

impl Default for Limits {
    /// Ten full batches of events, and a third of the memory the whole server may use.
    fn default() -> Self {
        Self { events: 10 * crate::commit::MAX_BATCH_EVENTS, bytes: 64 << 20 }
    }
}

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

/// Why events were not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Too much is waiting; nothing was stored, trying again later helps.
    #[error("too many events are waiting to be stored")]
    Full,
    /// The database can't be written; nothing was stored, trying again later helps.
    #[error("events can't be stored right now")]
    Unavailable,
    /// The database went away during the commit: the events may or may not be stored.
    #[error("whether the events were stored isn't known")]
    OutcomeUnknown,
    /// The database would not take these events; trying again doesn't help.
    #[error("the events could not be stored")]
    Failed,
}

/// What one caller hands in: stored in one transaction.
pub(crate) struct Submission {
    pub(crate) events: Arc<[Detected]>,
    pub(crate) origin: Origin,
    /// Taken when the answer is given.
    pub(crate) reply: Option<oneshot::Sender<Result<Vec<Receipt>, Refused>>>,
    weight: usize,
    load: Arc<Load>,
}

impl Drop for Submission {
    /// Whatever became of it, it no longer waits.
    fn drop(&mut self) {
        self.load.events.fetch_sub(self.events.len(), Ordering::AcqRel);
        self.load.bytes.fetch_sub(self.weight, Ordering::AcqRel);
    }
}

impl Submission {
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

#[derive(Default)]
struct Load {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// The door for events. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    sender: mpsc::UnboundedSender<Submission>,
    load: Arc<Load>,
    limits: Limits,
    metrics: PipelineMetrics,
}

/// The other end, for the commit loop.
pub struct Queue {
    pub(crate) receiver: mpsc::UnboundedReceiver<Submission>,
    pub(crate) metrics: PipelineMetrics,
}

/// Makes an intake and its queue.
pub fn intake(limits: Limits, metrics: PipelineMetrics) -> (Intake, Queue) {
    // Unbounded in itself; what bounds it is the load, which counts events and bytes rather than callers.
    let (sender, receiver) = mpsc::unbounded_channel();
    let intake = Intake { sender, load: Arc::default(), limits, metrics: metrics.clone() };
    (intake, Queue { receiver, metrics })
}

impl Intake {
    /// Hands in events and waits until they are on disk. They are stored even if the caller stops waiting.
    pub async fn submit(&self, events: Arc<[Detected]>, origin: Origin) -> Result<Vec<Receipt>, Refused> {
        let count = events.len();
        let weight: usize = events.iter().map(|detected| detected.event.weight()).sum();
        let waiting = self.load.events.fetch_add(count, Ordering::AcqRel) + count;
        let bytes = self.load.bytes.fetch_add(weight, Ordering::AcqRel) + weight;
        let (reply, answer) = oneshot::channel();
        // From here on the load is given back when the submission is dropped, wherever that happens.
        let submission = Submission { events, origin, reply: Some(reply), weight, load: self.load.clone() };
        if waiting > self.limits.events || bytes > self.limits.bytes {
            self.metrics.refused.inc_by(count as u64);
            return Err(Refused::Full);
        }
        self.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if self.sender.send(submission).is_err() {
            return Err(Refused::Unavailable);
        }
        // A commit loop that dies with the submission in hand leaves its outcome open.
        answer.await.unwrap_or(Err(Refused::OutcomeUnknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::UserId;
    use watchpost_model::text::Given;

    fn event(description: &str) -> Detected {
        let text = |text: &str| Given::Text(text.to_owned().into());
        let draft = EventDraft {
            source_name: text("fw"),
            event_type: text("scan"),
            severity: text("LOW"),
            description: text(description),
        };
        Detected::check(&draft).expect("a complete event")
    }

    #[tokio::test]
    async fn past_the_limit_is_refused_and_room_comes_back() {
        let limits = Limits { events: 2, bytes: 1 << 20 };
        let (intake, mut queue) = intake(limits, PipelineMetrics::default());
        let origin = Origin::User(UserId::new(1));
        let submit = |n: usize| {
            let (intake, events) = (intake.clone(), vec![event("x"); n].into());
            tokio::spawn(async move { intake.submit(events, origin).await })
        };
        let first = submit(2);
        let waiting = queue.receiver.recv().await.expect("the first is waiting");
        assert_eq!(submit(1).await.expect("no panic"), Err(Refused::Full));
        drop(waiting);
        assert_eq!(first.await.expect("no panic"), Err(Refused::OutcomeUnknown));
        let second = submit(2);
        queue.receiver.recv().await.expect("there is room again");
        second.await.expect("no panic").expect_err("it was dropped, too");
    }

    #[tokio::test]
    async fn bytes_are_bounded_as_well() {
        let limits = Limits { events: 100, bytes: 1_000 };
        let (intake, _queue) = intake(limits, PipelineMetrics::default());
        let events = vec![event(&"x".repeat(2_000))].into();
        assert_eq!(intake.submit(events, Origin::User(UserId::new(1))).await, Err(Refused::Full));
    }
}
