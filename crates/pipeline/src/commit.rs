//! The only writer of events: takes what waits, writes it in one transaction, hands out receipts.
//!
//! There is no timer. When idle an event is committed at once; under load the next batch fills while those before it
//! are flushed: one on SQLite, a few on PostgreSQL.

use crate::certain::{FIND_OUT_WITHIN, Found, Writing, write_for_certain};
use crate::clock::now;
use crate::ids::Ids;
use crate::index::Indexing;
use crate::intake::{Load, Queue, Raise, Receipt, Refused, Submission};
use crate::metrics::PipelineMetrics;
use crate::numbering::{Content, Numbered};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use watchpost_model::alert::RAISED_BY_HAND;
use watchpost_model::event::Origin;
use watchpost_model::{AlertId, Event, Severity};
use watchpost_store::{
    AuditEntry, Batch, ByHand, Db, Engine, Ingest, Names, NewAlert, StoreError, faults, ingest, ingest_apart,
    raise_by_hand,
};

/// Events in one transaction: more don't make it cheaper per event, and the first would wait longer.
pub const MAX_BATCH_EVENTS: usize = 4_096;
/// Bytes in one transaction: what a disk takes in well under a tenth of a second.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
/// Counts are kept in so many lanes, so that nodes that write at once rarely wait for each other.
const LANES: usize = 16;
/// How often a batch gets other ids when those it has are taken: each time there are fewer that can be.
const NUMBERED_ANEW: usize = 5;
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
    let ids = Arc::new(tokio::sync::Mutex::new(Ids::new()));
    let target = Target { db: db.clone(), metrics, names, indexing, ids: ids.clone() };
    let (open, pending, running) = (true, VecDeque::new(), JoinSet::new());
    Loop { receiver, raises, load, open, pending, lanes, running, target }.run().await;
    ids.lock().await.alerts.give_back(&db).await;
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
    target: Target,
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
                || self.load.queued() >= self.target.db.engine().worth_another_batch();
            if !self.pending.is_empty()
                && worth_it
                && let Some(lane) = self.lanes.pop()
            {
                let submissions = self.gather();
                match self.target.begin(submissions, lane).await {
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
        let target = self.target.clone();
        let mut ids = target.ids.lock().await;
        if let Err(refused) = ids.alerts.ensure(&target.db, 1).await {
            let error = match refused {
                Refused::DiskFull => StoreError::DiskFull(String::new()),
                _ => StoreError::Unavailable("there is no id for the alert".into()),
            };
            reply.send(Err(error)).ok();
            return;
        }
        let id = AlertId::new(ids.alerts.next());
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
            self.target.metrics.failed.inc_by(stale.events.len() as u64);
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

/// What every batch is written with.
#[derive(Clone)]
struct Target {
    db: Db,
    metrics: PipelineMetrics,
    names: Arc<Mutex<Names>>,
    indexing: Indexing,
    ids: Arc<tokio::sync::Mutex<Ids>>,
}

/// The batch of some submissions; a second one only when that mistake is asked for.
type Batches = (Arc<Batch>, Option<Arc<Batch>>);

impl Target {
    /// Numbers submissions and hands their batch to the database; what is left to do is to wait for it. Nothing when
    /// there are no ids for them, of which they were told.
    async fn begin(
        &self,
        submissions: Vec<Submission>,
        lane: i64,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let count: usize = submissions.iter().map(|s| s.events.len()).sum();
        let raised: usize = submissions.iter().flat_map(|s| s.events.iter()).map(|d| d.findings.len()).sum();
        let mut ids = self.ids.lock().await;
        let at = match self.within_patience(ids.ensure(&self.db, count, raised)).await {
            Ok(at) => at,
            Err(refused) => {
                for mut submission in submissions {
                    self.metrics.failed.inc_by(submission.events.len() as u64);
                    answer(&mut submission.reply, Err(refused.clone()));
                }
                return None;
            }
        };
        let mut content = Content::number(submissions, &mut ids, at);
        drop(ids);
        let target = self.clone();
        let started = Instant::now();
        // Handed over here, in the order of the ids: on SQLite batches are committed in this order.
        let mut batches = target.batches(&content, 0..content.submissions.len(), lane);
        let first = target.db.write(batches.0.clone());
        Some(async move {
            let mut found = target.find_out(first, &batches.0, &content.events[0]).await;
            // Another node's clock was turned back to a second that ids were given out of, or a failover did the same to
            // the database: nothing is stored, and other ids do.
            for _ in 0..NUMBERED_ANEW {
                if !found.ids_taken || target.db.engine() == Engine::Sqlite {
                    break;
                }
                if let Err(refused) = target.number_anew(&mut content).await {
                    found.outcome = Err(refused);
                    break;
                }
                batches = target.batches(&content, 0..content.submissions.len(), lane);
                let again = target.db.write(batches.0.clone());
                found = target.find_out(again, &batches.0, &content.events[0]).await;
            }
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

    /// Taking ids is a commit, too, and may wait for a standby that is away: nothing is stored yet.
    async fn within_patience<T>(&self, ids: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
        let patience = faults::within("FIND_OUT", FIND_OUT_WITHIN);
        tokio::time::timeout(patience, ids).await.unwrap_or(Err(Refused::Unavailable))
    }

    /// Gives a batch other ids than those that turned out to be taken.
    async fn number_anew(&self, content: &mut Content) -> Result<(), Refused> {
        let mut ids = self.ids.lock().await;
        *ids = Ids::new();
        let (events, alerts) = (content.events.len(), content.alerts.len());
        let at = self.within_patience(ids.ensure(&self.db, events, alerts)).await?;
        content.number_anew(&mut ids, at);
        Ok(())
    }

    fn batches(&self, content: &Content, submissions: std::ops::Range<usize>, lane: i64) -> Batches {
        let own = &content.submissions[submissions];
        let events = match own {
            [one] if content.submissions.len() > 1 => Arc::new(content.events[one.events.clone()].to_vec()),
            _ => content.events.clone(),
        };
        let alerts = own.iter().flat_map(|one| &content.alerts[one.alerts.clone()]).cloned().collect();
        let pieces = own.iter().filter_map(|one| one.piece.clone()).collect();
        let mut names = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stored = Ingest { events, alerts, pieces, late: content.late };
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
        if found.ids_taken && self.db.engine() == Engine::Sqlite {
            *self.ids.lock().await = Ids::new();
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
