//! Writing to SQLite: one thread for each file, which copies the log as well and knows what a disk can do.

use super::binding::Alone;
use super::dialect::Engine;
use super::space::{BETWEEN_LOOKS, Space};
use super::sqlite::{Reply, closed, collect_rows, join, spawn};
use super::sqlite_log::{BETWEEN_TRIES, Log};
use super::statement::{Batch, Bulk, Cell, Expect, Row, Statement, Write};
use crate::{StoreError, faults};
use rusqlite::{Connection, params_from_iter};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::watch;

pub(super) enum Job {
    Write(Arc<Batch>, Reply<()>),
    Returning(Statement, Reply<Vec<Row>>),
    Script(Vec<String>, Reply<()>),
}

/// A thread that writes one file.
pub(super) struct Writer {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a writing thread works with.
pub(super) struct Desk {
    /// What the file is called.
    pub(super) name: &'static str,
    pub(super) connection: Connection,
    pub(super) space: Arc<Space>,
    /// Where a failing disk is reported that the server must not go on with; none for what can be made again.
    pub(super) report_disk: Option<watch::Sender<Option<String>>>,
    /// The file beside the connection, open as long as that is.
    pub(super) alone: Option<Alone>,
}

impl Writer {
    pub(super) fn start(mut desk: Desk) -> Result<Self, StoreError> {
        let (jobs, next_job) = channel();
        let log = Log::new(desk.name, &mut desk.connection)?;
        let name = format!("sqlite-{}", desk.name);
        let thread = spawn(&name, move || Writing { desk, log, disk_failed: None }.run(&next_job))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a job; false when the file was closed.
    pub(super) fn hand(&self, job: Job) -> bool {
        self.jobs.lock().is_ok_and(|jobs| jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok()))
    }

    pub(super) async fn job<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        if !self.hand(job(reply)) {
            return Err(closed());
        }
        answer.await.map_err(|_| closed())?
    }

    pub(super) async fn close(&self) {
        self.jobs.lock().map(|mut jobs| jobs.take()).ok();
        let thread = self.thread.lock().map(|mut thread| thread.take());
        join(thread.ok().flatten().into_iter().collect()).await;
    }
}

struct Writing {
    desk: Desk,
    log: Log,
    disk_failed: Option<String>,
}

impl Writing {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let next = match (self.log.is_held_up(), self.desk.space.is_full()) {
                (false, false) => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                _ => jobs.recv_timeout(BETWEEN_TRIES.min(BETWEEN_LOOKS)),
            };
            match next {
                Ok(job) => self.carry_out(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.desk.space.look();
            if self.disk_failed.is_none() && self.log.is_due() {
                // What was acknowledged is in the log and stays there, whatever comes of this.
                let copied = self.log.copy(&mut self.desk.connection);
                self.judge(copied).ok();
            }
        }
        self.close();
    }

    /// Closes the file. That copies the log into it and takes the log away, which must not happen once the disk has failed:
    /// it may say "done" the next time and lose what it was given before. On a full disk files that are there already
    /// are what the next start needs.
    fn close(self) {
        let Desk { connection, space, alone, .. } = self.desk;
        if self.disk_failed.is_some() || space.is_full() {
            std::mem::forget((connection, alone));
        } else {
            // If another process still reads, the log stays, which is as good.
            connection.close().ok();
        }
    }

    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Write(batch, reply) => {
                let can_wait = batch.can_wait_for_room();
                let written = self.attempt(can_wait, |c, log| run_batch(c, log, &batch));
                // That the asker went away changes nothing.
                reply.send(written).ok();
            }
            Job::Returning(statement, reply) => {
                drop(reply.send(self.attempt(false, |c, log| run_returning(c, log, &statement))));
            }
            Job::Script(script, reply) => {
                drop(reply.send(self.attempt(false, |c, log| run_script(c, log, &script))));
            }
        }
    }

    /// Writes, or says why not. On a full disk only what people wait for is tried, with the room of the reserve.
    fn attempt<T>(
        &mut self,
        can_wait: bool,
        write: impl Fn(&mut Connection, &mut Log) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // A disk that failed once may say "done" the next time and lose what was acknowledged.
        if let Some(reason) = &self.disk_failed {
            return Err(StoreError::DiskFailed(reason.clone()));
        }
        if can_wait && self.desk.space.is_full() {
            self.desk.space.look();
            if self.desk.space.is_full() {
                return Err(StoreError::DiskFull(String::new()));
            }
        }
        let written = write(&mut self.desk.connection, &mut self.log);
        match self.judge(written) {
            Err(StoreError::DiskFull(_)) if !can_wait => {
                let again = write(&mut self.desk.connection, &mut self.log);
                self.judge(again)
            }
            judged => judged,
        }
    }

    /// Finds out what a failure of the disk means, and does what has to be done about it.
    fn judge<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let result = result.map_err(|error| self.without_doubt(error));
        match &result {
            Err(StoreError::DiskFull(_)) => {
                self.desk.space.ran_out();
                // With the room of the reserve, the room in the log can be had again. That it can't is no news, but a
                // disk that fails at it is.
                let copied = self.log.copy(&mut self.desk.connection);
                if let Err(StoreError::DiskFailed(reason)) = copied.map_err(|error| self.without_doubt(error))
                {
                    self.failed(&reason);
                }
            }
            Err(StoreError::DiskFailed(reason)) => self.failed(reason),
            _ => {}
        }
        result
    }

    /// SQLite says the same of some writes whether they failed for want of room or not.
    fn without_doubt(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::DiskFull(doubt) if !doubt.is_empty() && !self.desk.space.lacks_room() => {
                StoreError::DiskFailed(doubt)
            }
            error => error,
        }
    }

    fn failed(&mut self, reason: &str) {
        tracing::error!(file = self.desk.name, reason, "the disk failed: nothing more is written");
        self.disk_failed = Some(reason.to_owned());
        if let Some(report) = &self.desk.report_disk {
            report.send_replace(Some(reason.to_owned()));
        }
    }
}

fn run_batch(writer: &mut Connection, log: &mut Log, batch: &Batch) -> Result<(), StoreError> {
    let transaction = log.begin(writer)?;
    batch.point("begin");
    for write in &batch.writes {
        match write {
            Write::Statement(statement) => {
                let mut prepared = transaction.prepare_cached(statement.sql)?;
                let touched = prepared.execute(params_from_iter(&statement.params))?;
                if statement.expect == Expect::One && touched != 1 {
                    return Err(StoreError::Conflict);
                }
            }
            Write::Bulk(bulk) => insert_rows(&transaction, bulk)?,
        }
        batch.point(write.name());
    }
    batch.point("commit.before");
    match transaction.commit() {
        Err(_) if faults::mutant("failed_commit_acknowledged") => {}
        committed => committed?,
    }
    log.committed();
    batch.point("commit.after");
    Ok(())
}

fn insert_rows(connection: &Connection, bulk: &Bulk) -> Result<(), StoreError> {
    let mut prepared = connection.prepare_cached(&Engine::Sqlite.bulk_insert(&bulk.into))?;
    let columns = Engine::columns(&bulk.into).len();
    for row in 0..bulk.rows.len() {
        for column in 0..columns {
            let place = column + 1;
            match bulk.rows.cell(row, column) {
                Cell::Null => prepared.raw_bind_parameter(place, rusqlite::types::Null)?,
                Cell::Int(n) => prepared.raw_bind_parameter(place, n)?,
                Cell::Text(text) => prepared.raw_bind_parameter(place, text)?,
            }
        }
        prepared.raw_execute()?;
    }
    Ok(())
}

fn run_returning(
    writer: &mut Connection,
    log: &mut Log,
    statement: &Statement,
) -> Result<Vec<Row>, StoreError> {
    let transaction = log.begin(writer)?;
    let rows = {
        let mut prepared = transaction.prepare_cached(statement.sql)?;
        collect_rows(&mut prepared, &statement.params)?
    };
    if statement.expect == Expect::One && rows.len() != 1 {
        return Err(StoreError::Conflict);
    }
    transaction.commit()?;
    log.committed();
    Ok(rows)
}

fn run_script(writer: &mut Connection, log: &mut Log, script: &[String]) -> Result<(), StoreError> {
    let transaction = log.begin(writer)?;
    for statements in script {
        transaction.execute_batch(statements)?;
    }
    transaction.commit()?;
    log.committed();
    Ok(())
}
