//! The only writer of events: takes what waits, writes it in one transaction, hands out receipts.
//!
//! There is no timer. When idle an event is committed at once; under load the next batch fills while those before it
//! are flushed: one on SQLite, a few on PostgreSQL.

use crate::certain::{FIND_OUT_WITHIN, Found, Writing, write_for_certain};
use crate::clock::now;
use crate::ids::IdBlock;
use crate::index::Indexing;
use crate::intake::{Detected, Keyed, Load, Queue, Raise, Receipt, Refused, Room, Submission};
use crate::metrics::PipelineMetrics;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use watchpost_detect::Finding;
use watchpost_model::alert::RAISED_BY_HAND;
use watchpost_model::event::Origin;
use watchpost_model::{AlertId, Event, EventId, Severity, Timestamp};
use watchpost_store::{
    AuditEntry, Batch, ByHand, Db, Ingest, Names, NewAlert, Piece, StoreError, faults, ingest, ingest_apart,
    raise_by_hand,
};

/// Events in one transaction: more don't make it cheaper per event, and the first would wait longer.
pub const MAX_BATCH_EVENTS: usize = 4_096;
/// Bytes in one transaction: what a disk takes in well under a tenth of a second.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
/// Counts are kept in so many lanes, so that nodes that write at once rarely wait for each other.
const LANES: usize = 16;
/// While something is written, how often to look for who has waited too long for it to end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until every [`crate::Intake`] is gone and what waited is written.
pub async fn commit_loop(db: Db, queue: Queue, indexing: Indexing) {
    let Queue { receiver, raises, load, metrics } = queue;
    let names = Names::load(&db).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the names that have counts of their own could not be read");
        Names::default()
    });
    load.worth_another.store(db.engine().worth_another_batch(), Ordering::Relaxed);
    let first_lane = rand::random_range(0..LANES);
    let lanes = (0..db.engine().batches_in_flight()).map(|n| ((first_lane + n) % LANES) as i64).collect();
    let names = Arc::new(Mutex::new(names));
    let target = Target { db: db.clone(), metrics, names, indexing, ids_taken: Arc::default() };
    let writer = Writer { target, events: IdBlock::events(db.engine()), alerts: IdBlock::alerts() };
    let open = true;
    Loop { receiver, raises, load, open, pending: VecDeque::new(), lanes, running: JoinSet::new(), writer }
        .run()
        .await;
}

struct Loop {
    receiver: mpsc::UnboundedReceiver<Submission>,
    /// Alerts that people raise.
    raises: mpsc::Receiver<Raise>,
    load: Arc<Load>,
    /// Whether more may come.
    open: bool,
    /// What was received and waits for a batch.
    pending: VecDeque<Submission>,
    /// The lanes that nobody writes to.
    lanes: Vec<i64>,
    /// What is being written; batches of events give their lane back.
    running: JoinSet<Option<i64>>,
    writer: Writer,
}

impl Loop {
    async fn run(mut self) {
        loop {
            self.receive();
            self.refuse_stale();
            while let Ok(raise) = self.raises.try_recv() {
                self.raise(raise).await;
            }
            let worth_it = self.running.is_empty()
                || self.load.queued() >= self.writer.target.db.engine().worth_another_batch();
            if !self.pending.is_empty()
                && worth_it
                && let Some(lane) = self.lanes.pop()
            {
                let submissions = self.gather();
                match self.writer.begin(submissions, lane).await {
                    Some(writing) => drop(self.running.spawn(async move {
                        writing.await;
                        Some(lane)
                    })),
                    None => self.lanes.push(lane),
                }
                continue;
            }
            if self.running.is_empty() {
                tokio::select! {
                    submission = self.receiver.recv() => match submission {
                        Some(submission) => self.pending.push_back(submission),
                        None => return,
                    },
                    Some(raise) = self.raises.recv() => self.raise(raise).await,
                }
                continue;
            }
            let load = self.load.clone();
            tokio::select! {
                done = self.running.join_next() => match done {
                    Some(Ok(lane)) => self.lanes.extend(lane),
                    // A write that panicked: its senders were told that nobody knows. Its lane is lost.
                    Some(Err(error)) => tracing::error!(%error, "a batch of events came to a bad end"),
                    None => {}
                },
                () = load.plenty.notified(), if !self.lanes.is_empty() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(raise) = self.raises.recv() => self.raise(raise).await,
            }
            if self.lanes.is_empty() && self.running.is_empty() {
                self.lanes.push(0);
            }
        }
    }

    /// Hands an alert over that somebody raises. Its id is one of those that rules' alerts get, and it is written in
    /// their order: the search index goes by it.
    async fn raise(&mut self, raise: Raise) {
        let Raise { event, severity, title, why, by, reply } = raise;
        let by = AuditEntry { at: now(), ..by };
        let target = self.writer.target.clone();
        if let Err(refused) = self.writer.alerts.ensure(&target.db, 1, by.at).await {
            let error = match refused {
                Refused::DiskFull => StoreError::DiskFull(String::new()),
                _ => StoreError::Unavailable("there is no id for the alert".into()),
            };
            reply.send(Err(error)).ok();
            return;
        }
        let id = AlertId::new(self.writer.alerts.next());
        let alert = ByHand { id, event, severity, title, why };
        let batch = {
            let mut names = target.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            raise_by_hand(target.db.engine(), &alert, &mut names, &by)
        };
        let writing = target.db.write(Arc::new(batch));
        self.running.spawn(async move {
            let written = writing.await;
            target.indexing.committed();
            if written.is_ok() {
                target.metrics.alerts.inc();
                log_alert(id, &alert.event, severity, RAISED_BY_HAND, &by.actor);
            }
            // Whoever raised it may have gone away: it is there all the same.
            reply.send(written.map(|()| id)).ok();
            None
        });
    }

    fn receive(&mut self) {
        while self.open {
            match self.receiver.try_recv() {
                Ok(submission) => self.pending.push_back(submission),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => self.open = false,
            }
        }
    }

    /// Refuses what has waited too long for a batch that doesn't end: it isn't stored, and its senders may know.
    fn refuse_stale(&mut self) {
        let patience = faults::within("FIND_OUT", FIND_OUT_WITHIN);
        while self.pending.front().is_some_and(|next| next.since.elapsed() > patience) {
            let Some(mut stale) = self.pending.pop_front() else { return };
            self.load.begun(stale.room.events);
            self.writer.target.metrics.failed.inc_by(stale.events.len() as u64);
            answer(&mut stale.reply, Err(Refused::Unavailable));
            self.load.oldest_is(self.pending.front().map(|next| next.since));
        }
    }

    /// What goes into the next batch.
    fn gather(&mut self) -> Vec<Submission> {
        let (mut events, mut bytes) = (0, 0);
        let mut submissions: Vec<Submission> = Vec::new();
        while let Some(next) = self.pending.front() {
            let (more, heavier) = (events + next.room.events, bytes + next.room.bytes);
            if !submissions.is_empty() && (more > MAX_BATCH_EVENTS || heavier > MAX_BATCH_BYTES) {
                break;
            }
            (events, bytes) = (more, heavier);
            submissions.extend(self.pending.pop_front());
        }
        self.load.begun(events);
        self.load.oldest_is(self.pending.front().map(|next| next.since));
        submissions
    }
}

/// A submission whose events have their ids.
struct Numbered {
    /// Where its events and alerts are in the batch.
    events: std::ops::Range<usize>,
    alerts: std::ops::Range<usize>,
    receipts: Vec<Receipt>,
    piece: Option<Piece>,
    origin: Origin,
    reply: Option<oneshot::Sender<Result<Vec<Receipt>, Refused>>>,
    _room: Room,
}

struct Writer {
    target: Target,
    events: IdBlock,
    alerts: IdBlock,
}

/// What every batch is written with.
#[derive(Clone)]
struct Target {
    db: Db,
    metrics: PipelineMetrics,
    names: Arc<Mutex<Names>>,
    indexing: Indexing,
    /// Ids that were taken turned out to be somebody else's: the next batch takes new ones.
    ids_taken: Arc<AtomicBool>,
}

/// Everything in one batch.
struct Content {
    events: Arc<Vec<Event>>,
    alerts: Vec<NewAlert>,
    submissions: Vec<Numbered>,
}

impl Writer {
    /// Numbers submissions and hands their batch to the database; what is left to do is to wait for it. Nothing when
    /// there are no ids for them, of which they were told.
    async fn begin(
        &mut self,
        submissions: Vec<Submission>,
        lane: i64,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let count: usize = submissions.iter().map(|s| s.events.len()).sum();
        let raised: usize = submissions.iter().flat_map(|s| s.events.iter()).map(|d| d.findings.len()).sum();
        let (db, at) = (&self.target.db, now());
        if self.target.ids_taken.swap(false, Ordering::AcqRel) {
            (self.events, self.alerts) = (IdBlock::events(db.engine()), IdBlock::alerts());
        }
        let numbers = async {
            self.events.ensure(db, count, at).await?;
            self.alerts.ensure(db, raised, at).await
        };
        // Taking ids is a commit, too, and may wait for a standby that is away: nothing is stored yet.
        let patience = faults::within("FIND_OUT", FIND_OUT_WITHIN);
        let ready = tokio::time::timeout(patience, numbers).await.unwrap_or(Err(Refused::Unavailable));
        if let Err(refused) = ready {
            for mut submission in submissions {
                self.target.metrics.failed.inc_by(submission.events.len() as u64);
                answer(&mut submission.reply, Err(refused.clone()));
            }
            return None;
        }
        let content = self.number(submissions, at);
        let target = self.target.clone();
        let started = Instant::now();
        // Handed over here, in the order of the ids: on SQLite batches are committed in this order.
        let batches = target.batches(&content, 0..content.submissions.len(), lane);
        let first = target.db.write(batches.0.clone());
        Some(async move {
            let found = target.find_out(first, &batches.0, &content.events[0]).await;
            if let (Ok(()), Some(second)) = (&found.outcome, batches.1) {
                target.db.write(second).await.ok();
            }
            let mut unended: Vec<Writing> = found.unended.into_iter().collect();
            target.finish(content, found.outcome, lane, started, &mut unended).await;
            // Its senders were answered, but its lane and its connection are taken until it ends.
            for writing in unended {
                writing.await.ok();
                target.indexing.committed();
            }
        })
    }

    /// Gives every event and alert its id, in the order they came.
    fn number(&mut self, submissions: Vec<Submission>, at: Timestamp) -> Content {
        // Times never go back behind what ids have said already.
        let at =
            at.at_least_second_of(watchpost_model::id::event_id_second(EventId::new(self.events.peek())));
        let (mut events, mut alerts) = (Vec::new(), Vec::new());
        let mut all = Vec::with_capacity(submissions.len());
        for Submission { events: own, origin, keyed, reply, room, .. } in submissions {
            let (first_event, first_alert) = (events.len(), alerts.len());
            let mut receipts = Vec::with_capacity(own.len());
            for detected in own {
                let id = EventId::new(self.events.next());
                let (event, raised) = numbered(detected, id, at, origin, || self.alerts.next());
                receipts.push(Receipt {
                    event: id,
                    created_at: at,
                    alerts: raised.iter().map(|alert| alert.id).collect(),
                });
                events.push(event);
                alerts.extend(raised);
            }
            let piece = keyed.zip(receipts.first()).map(|(keyed, first)| {
                let Keyed { scope, piece, body_hash, last } = keyed;
                let (first_event, events) = (first.event, receipts.len() as i64);
                Piece { scope, number: piece, body_hash, last, first_event, events, at }
            });
            all.push(Numbered {
                events: first_event..events.len(),
                alerts: first_alert..alerts.len(),
                receipts,
                piece,
                origin,
                reply,
                _room: room,
            });
        }
        Content { events: Arc::new(events), alerts, submissions: all }
    }
}

/// An event under its id, and the alerts it raises.
pub(crate) fn numbered(
    detected: Detected,
    id: EventId,
    at: Timestamp,
    origin: Origin,
    mut next_alert: impl FnMut() -> i64,
) -> (Event, Vec<NewAlert>) {
    let raise = |finding: Finding| NewAlert {
        id: AlertId::new(next_alert()),
        event: id,
        rule: finding.rule.to_owned(),
    };
    let alerts = detected.findings.into_iter().map(raise).collect();
    (detected.event.stored(id, at, origin), alerts)
}

impl Target {
    /// The batch of some submissions; a second one only when that mistake is asked for.
    fn batches(
        &self,
        content: &Content,
        submissions: std::ops::Range<usize>,
        lane: i64,
    ) -> (Arc<Batch>, Option<Arc<Batch>>) {
        let own = &content.submissions[submissions];
        let events = match own {
            [one] if content.submissions.len() > 1 => Arc::new(content.events[one.events.clone()].to_vec()),
            _ => content.events.clone(),
        };
        let alerts = own.iter().flat_map(|one| &content.alerts[one.alerts.clone()]).cloned().collect();
        let pieces = own.iter().filter_map(|one| one.piece.clone()).collect();
        let mut names = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stored = Ingest { events, alerts, pieces };
        if faults::mutant("alert_apart") {
            let (first, second) = ingest_apart(self.db.engine(), stored, &mut names, lane);
            return (Arc::new(first), Some(Arc::new(second)));
        }
        (Arc::new(ingest(self.db.engine(), stored, &mut names, lane)), None)
    }

    /// Waits for a batch, and finds out what came of it.
    async fn find_out(
        &self,
        first: impl Future<Output = Result<(), StoreError>> + Send + 'static,
        batch: &Arc<Batch>,
        event: &Event,
    ) -> Found {
        let found = write_for_certain(&self.db, first, batch, event).await;
        if found.ids_taken {
            self.ids_taken.store(true, Ordering::Release);
        }
        found
    }

    /// Tells everybody what came of a batch.
    async fn finish(
        &self,
        mut content: Content,
        written: Result<(), Refused>,
        lane: i64,
        started: Instant,
        unended: &mut Vec<Writing>,
    ) {
        self.indexing.committed();
        match written {
            Ok(()) => {
                faults::point("reply.before");
                self.metrics.batch_events.observe(content.events.len() as f64);
                self.metrics.batch_seconds.observe(started.elapsed().as_secs_f64());
                for place in 0..content.submissions.len() {
                    self.stored(&mut content, place);
                }
                faults::point("reply.after");
            }
            // One submission that the database won't take must not cost the others theirs.
            Err(Refused::Failed | Refused::Repeated) if content.submissions.len() > 1 => {
                for place in 0..content.submissions.len() {
                    let (batch, _) = self.batches(&content, place..place + 1, lane);
                    let event = &content.events[content.submissions[place].events.start];
                    let found = self.find_out(self.db.write(batch.clone()), &batch, event).await;
                    unended.extend(found.unended);
                    match found.outcome {
                        Ok(()) => self.stored(&mut content, place),
                        Err(refused) => self.refused(&mut content.submissions[place], refused),
                    }
                }
                self.indexing.committed();
            }
            Err(refused) => {
                for submission in &mut content.submissions {
                    self.refused(submission, refused.clone());
                }
            }
        }
    }

    fn refused(&self, submission: &mut Numbered, refused: Refused) {
        self.metrics.failed.inc_by(submission.events.len() as u64);
        answer(&mut submission.reply, Err(refused));
    }

    fn stored(&self, content: &mut Content, place: usize) {
        let submission = &mut content.submissions[place];
        let events = &content.events[submission.events.clone()];
        let alerts = &content.alerts[submission.alerts.clone()];
        events.iter().for_each(|event| self.metrics.count_stored(event.severity));
        self.metrics.alerts.inc_by(alerts.len() as u64);
        log_alerts(events, alerts, submission.origin);
        answer(&mut submission.reply, Ok(std::mem::take(&mut submission.receipts)));
    }
}

fn answer(
    reply: &mut Option<oneshot::Sender<Result<Vec<Receipt>, Refused>>>,
    result: Result<Vec<Receipt>, Refused>,
) {
    if let Some(reply) = reply.take() {
        // A sender that stopped waiting is no failure: its events are stored all the same.
        reply.send(result).ok();
    }
}

fn log_alerts(events: &[Event], alerts: &[NewAlert], origin: Origin) {
    let mut events = events.iter();
    let mut event = events.next();
    for alert in alerts {
        // Both are in the order of the events' ids.
        while event.is_some_and(|event| event.id != alert.event) {
            event = events.next();
        }
        let Some(event) = event else { return };
        log_alert(alert.id, event, event.severity, &alert.rule, &origin);
    }
}

fn log_alert(id: AlertId, event: &Event, severity: Severity, rule: &str, by: &dyn std::fmt::Display) {
    tracing::info!(
        alert.id = id.get(),
        event.id = event.id.get(),
        severity = %severity,
        source = event.source_name,
        event.kind = event.event_type,
        rule,
        by = %by,
        "alert raised"
    );
}
