//! The only writer of events: takes what waits, writes it in one transaction, hands out receipts.
//!
//! There is no timer. When idle an event is committed at once; under load the next batch fills while this one
//! is flushed.

use crate::clock::now;
use crate::intake::{Queue, Receipt, Refused, Submission};
use crate::metrics::PipelineMetrics;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use watchpost_model::{AlertId, Event, EventId, Severity, Timestamp};
use watchpost_store::{Batch, Db, IdKind, NewAlert, StoreError, ingest};

/// Events in one transaction: more don't make it cheaper per event, and the first would wait longer.
pub(crate) const MAX_BATCH_EVENTS: usize = 4_096;
/// Bytes in one transaction: what a disk takes in well under a tenth of a second.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Event ids taken at once: four full batches.
const EVENT_BLOCK: i64 = 4 * MAX_BATCH_EVENTS as i64;
/// Alert ids taken at once: few, because those that a restart leaves unused make a gap that people see.
const ALERT_BLOCK: i64 = 64;
/// Counters are kept in so many lanes, so that nodes that write at once rarely wait for each other.
const LANES: i64 = 16;
/// How long a write whose outcome is unknown is tried again before its senders are told so.
const FIND_OUT_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until every [`crate::Intake`] is gone and what waited is written.
pub async fn commit_loop(db: Db, queue: Queue) {
    let Queue { mut receiver, metrics } = queue;
    let mut writer =
        Writer { db, metrics, events: IdBlock::new(IdKind::Events), alerts: IdBlock::new(IdKind::Alerts) };
    while let Some(first) = receiver.recv().await {
        let submissions = gather(first, &mut receiver);
        writer.store(submissions).await;
    }
}

fn gather(first: Submission, receiver: &mut mpsc::UnboundedReceiver<Submission>) -> Vec<Submission> {
    let (mut events, mut bytes) = (first.events.len(), first.weight());
    let mut submissions = vec![first];
    while events < MAX_BATCH_EVENTS && bytes < MAX_BATCH_BYTES {
        let Ok(next) = receiver.try_recv() else { break };
        events += next.events.len();
        bytes += next.weight();
        submissions.push(next);
    }
    submissions
}

struct Writer {
    db: Db,
    metrics: PipelineMetrics,
    events: IdBlock,
    alerts: IdBlock,
}

impl Writer {
    async fn store(&mut self, submissions: Vec<Submission>) {
        match self.write(&submissions).await {
            Ok(receipts) => {
                for (submission, receipts) in submissions.into_iter().zip(receipts) {
                    log_alerts(&submission, &receipts);
                    answer(submission, Ok(receipts));
                }
            }
            // One submission that the database won't take must not cost the others theirs.
            Err(Refused::Failed) if submissions.len() > 1 => {
                for submission in submissions {
                    let alone = [submission];
                    let result = self.write(&alone).await;
                    let [submission] = alone;
                    let result = result.map(|mut receipts| receipts.pop().unwrap_or_default());
                    if let Ok(receipts) = &result {
                        log_alerts(&submission, receipts);
                    }
                    self.answer_counted(submission, result);
                }
            }
            Err(refused) => {
                for submission in submissions {
                    self.answer_counted(submission, Err(refused.clone()));
                }
            }
        }
    }

    fn answer_counted(&self, submission: Submission, result: Result<Vec<Receipt>, Refused>) {
        if result.is_err() {
            self.metrics.failed.inc_by(submission.events.len() as u64);
        }
        answer(submission, result);
    }

    /// Writes submissions in one transaction; the receipts of each, in order.
    async fn write(&mut self, submissions: &[Submission]) -> Result<Vec<Vec<Receipt>>, Refused> {
        let started = Instant::now();
        let count: usize = submissions.iter().map(|s| s.events.len()).sum();
        let raised: usize = submissions.iter().flat_map(|s| s.events.iter()).map(|d| d.findings.len()).sum();
        let at = now();
        self.events.ensure(&self.db, count, EVENT_BLOCK, at).await?;
        self.alerts.ensure(&self.db, raised, ALERT_BLOCK, at).await?;
        let lane = (self.events.taken_from / EVENT_BLOCK) % LANES;
        let (events, alerts, receipts) = self.number(submissions, at);
        let severities: Vec<Severity> = events.iter().map(|event| event.severity).collect();
        write_for_certain(&self.db, Arc::new(ingest(events, alerts, lane))).await?;
        severities.into_iter().for_each(|severity| self.metrics.count_stored(severity));
        self.metrics.alerts.inc_by(raised as u64);
        self.metrics.batch_events.observe(count as f64);
        self.metrics.batch_seconds.observe(started.elapsed().as_secs_f64());
        Ok(receipts)
    }

    /// Gives every event and alert its id, in the order they came.
    fn number(
        &mut self,
        submissions: &[Submission],
        at: Timestamp,
    ) -> (Vec<Event>, Vec<NewAlert>, Vec<Vec<Receipt>>) {
        let (mut events, mut alerts, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for submission in submissions {
            let mut receipts = Vec::with_capacity(submission.events.len());
            for detected in submission.events.iter() {
                let id = EventId::new(self.events.next());
                let mut raised = Vec::with_capacity(detected.findings.len());
                for finding in &detected.findings {
                    let alert = AlertId::new(self.alerts.next());
                    alerts.push(NewAlert { id: alert, event: id, rule: finding.rule.to_owned() });
                    raised.push(alert);
                }
                events.push(detected.event.clone().stored(id, at, submission.origin));
                receipts.push(Receipt { event: id, created_at: at, alerts: raised });
            }
            all.push(receipts);
        }
        (events, alerts, all)
    }
}

/// Writes a batch and finds out whether it was written when the connection breaks around the commit.
///
/// The ids in the batch are nobody else's: when a second try finds one taken, the first try did it, and as it was
/// one transaction it did all of it.
async fn write_for_certain(db: &Db, batch: Arc<Batch>) -> Result<(), Refused> {
    let started = Instant::now();
    let mut in_doubt = false;
    loop {
        let error = match db.write(batch.clone()).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Taken(_)) if in_doubt => return Ok(()),
            Err(error) => error,
        };
        match &error {
            StoreError::OutcomeUnknown(_) => in_doubt = true,
            StoreError::Unavailable(_) if in_doubt => {}
            StoreError::Unavailable(_) => {
                tracing::error!(%error, "events could not be stored");
                return Err(Refused::Unavailable);
            }
            // What a failing disk kept of the commit shows only after the restart.
            StoreError::DiskFailed(_) => {
                tracing::error!(%error, "events could not be stored");
                return Err(Refused::OutcomeUnknown);
            }
            _ => {
                tracing::error!(%error, "events could not be stored");
                return Err(if in_doubt { Refused::OutcomeUnknown } else { Refused::Failed });
            }
        }
        if started.elapsed() > FIND_OUT_WITHIN {
            tracing::error!(%error, "whether events were stored could not be found out");
            return Err(Refused::OutcomeUnknown);
        }
        tracing::warn!(%error, "trying again to find out whether events were stored");
        tokio::time::sleep(PAUSE).await;
    }
}

fn answer(mut submission: Submission, result: Result<Vec<Receipt>, Refused>) {
    if let Some(reply) = submission.reply.take() {
        // A sender that stopped waiting is no failure: its events are stored all the same.
        reply.send(result).ok();
    }
}

fn log_alerts(submission: &Submission, receipts: &[Receipt]) {
    for (detected, receipt) in submission.events.iter().zip(receipts) {
        for (alert, finding) in receipt.alerts.iter().zip(&detected.findings) {
            tracing::info!(
                alert.id = alert.get(),
                event.id = receipt.event.get(),
                severity = %detected.event.severity(),
                source = detected.event.source_name(),
                event.kind = detected.event.event_type(),
                rule = finding.rule,
                by = %submission.origin,
                "alert raised"
            );
        }
    }
}

/// Ids that were taken and not yet given out.
struct IdBlock {
    kind: IdKind,
    left: Range<i64>,
    taken_from: i64,
    taken_at: Timestamp,
}

impl IdBlock {
    fn new(kind: IdKind) -> Self {
        Self { kind, left: 0..0, taken_from: 0, taken_at: Timestamp::from_micros(0) }
    }

    /// Makes sure that so many ids can be given out, and that they are young enough to sort by time.
    async fn ensure(&mut self, db: &Db, wanted: usize, block: i64, at: Timestamp) -> Result<(), Refused> {
        let wanted = wanted as i64;
        let age = at.seconds() - self.taken_at.seconds();
        let stale = self.kind == IdKind::Events && !(0..=db.engine().max_block_age_seconds()).contains(&age);
        if wanted == 0 || (self.left.end - self.left.start >= wanted && !stale) {
            return Ok(());
        }
        let taken = db.take_ids(self.kind, block.max(wanted), at).await;
        let taken = taken.map_err(|error| {
            tracing::error!(%error, "no ids for events: they could not be stored");
            if error.is_temporary() { Refused::Unavailable } else { Refused::Failed }
        })?;
        self.taken_from = taken.start;
        self.taken_at = at;
        self.left = taken;
        Ok(())
    }

    fn next(&mut self) -> i64 {
        let id = self.left.start;
        debug_assert!(id < self.left.end, "ensure() was asked for too few");
        self.left.start += 1;
        id
    }
}
