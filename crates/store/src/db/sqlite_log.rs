//! The log of a SQLite file: when it is copied into the file, what comes of a failure, and how file and log know that
//! they belong together.
//!
//! Two numbers lie in the first page of the file (see [`Marks`]). Before the log is copied and begun anew, the *seal* gets
//! a new random value; the first transaction of the new log takes that value over as the *origin* of the log. So a log goes
//! with a file whose seal it begins from, or whose origin is its own.

use super::sqlite::BUSY_TIMEOUT;
use crate::{StoreError, faults};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Pages of the log (4 KiB each) after which the writer copies them into the database.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Pages that are added before a checkpoint is tried again that a reader held up.
const PAGES_BETWEEN_TRIES: i64 = 1_000;
/// And how long is waited at least, or at most when nothing is written.
pub(super) const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// How long the writer waits for readers who hold up a checkpoint: most need a few milliseconds.
const READERS_WAIT: Duration = Duration::from_millis(25);
/// What the log keeps of the disk when it begins anew: the room for what comes until the next checkpoint, so that
/// its pages are written over and needn't be found on the disk.
pub(super) const LOG_KEPT_BYTES: i64 = (CHECKPOINT_PAGES + 100) * (4_096 + 24);
/// A log that grows past this is held by somebody who reads for long.
const LARGE_LOG_PAGES: i64 = 65_536;
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// The two numbers in the first page that bind file and log to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// What the next log begins from: `user_version`.
    pub(super) seal: i64,
    /// What the last log began from: `application_id`.
    pub(super) origin: i64,
}

impl Marks {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self { seal: pragma("user_version")?, origin: pragma("application_id")? })
    }

    /// Whether a log with these marks goes with a file that has those by itself.
    pub(super) fn go_with(self, file: Self) -> bool {
        self.origin == file.seal || self.origin == file.origin
    }
}

/// What a checkpoint came to.
struct Outcome {
    /// Pages in the log, and how many of them are in the file now.
    pages: i64,
    copied: i64,
    /// Somebody reads, or another process writes: it has to be tried again.
    held_up: bool,
}

/// The log of one file, in the hands of the thread that writes it.
pub(super) struct Log {
    name: &'static str,
    /// How many pages are in it, as the last commit said.
    pages: Arc<AtomicI64>,
    /// Whether it was looked at since the file was opened.
    looked_at: bool,
    /// Whether the next transaction may be the first of a new log.
    begins: bool,
    /// When a checkpoint was held up, and how many pages there were.
    held_up: Option<(Instant, i64)>,
    warned: Option<Instant>,
    /// Pages after which the log is copied.
    enough: i64,
}

impl Log {
    /// Takes checkpoints over from SQLite, which would not say when one fails.
    pub(super) fn new(name: &'static str, writer: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicI64::new(0));
        let counted = pages.clone();
        writer.wal_hook(Some(move |_: &mut _, pages| {
            counted.store(i64::from(pages), Ordering::Relaxed);
            Ok(())
        }))?;
        let enough = faults::number("FAULT_CHECKPOINT_PAGES", CHECKPOINT_PAGES);
        Ok(Self { name, pages, looked_at: false, begins: false, held_up: None, warned: None, enough })
    }

    /// Begins a transaction, which says where the log comes from if it is the first in it.
    pub(super) fn begin<'a>(&mut self, writer: &'a mut Connection) -> Result<Transaction<'a>, StoreError> {
        if !self.looked_at {
            self.look(writer)?;
        }
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.begins {
            let marks = Marks::read(&transaction)?;
            transaction.pragma_update(None, "application_id", marks.seal)?;
        }
        Ok(transaction)
    }

    pub(super) fn committed(&mut self) {
        self.begins = false;
    }

    /// Before the first write: a log that is empty begins with it, and the file gets a seal that no other log began from.
    fn look(&mut self, writer: &mut Connection) -> Result<(), StoreError> {
        let (pages, _, _) = checkpoint(writer, "NOOP")?;
        self.pages.store(pages, Ordering::Relaxed);
        self.looked_at = true;
        if pages == 0 {
            self.reset(writer)?;
        }
        Ok(())
    }

    /// Whether it is time for a checkpoint.
    pub(super) fn is_due(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        match self.held_up {
            None => pages >= self.enough,
            Some((since, then)) => since.elapsed() >= BETWEEN_TRIES || pages >= then + PAGES_BETWEEN_TRIES,
        }
    }

    /// Whether one is owed that a reader held up.
    pub(super) fn is_held_up(&self) -> bool {
        self.held_up.is_some()
    }

    /// Copies the log into the file, and has the next transaction begin a new log.
    pub(super) fn copy(&mut self, writer: &mut Connection) -> Result<(), StoreError> {
        if faults::mutant("checkpoint_ignored") {
            checkpoint(writer, "RESTART").ok();
            self.pages.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let outcome = self.reset(writer)?;
        self.held_up = outcome.held_up.then(|| (Instant::now(), outcome.pages));
        if !outcome.held_up {
            self.pages.store(0, Ordering::Relaxed);
        } else if outcome.pages >= LARGE_LOG_PAGES
            && self.warned.is_none_or(|warned| warned.elapsed() >= BETWEEN_WARNINGS)
        {
            self.warned = Some(Instant::now());
            tracing::warn!(
                file = self.name,
                pages = outcome.pages,
                copied = outcome.copied,
                "the log grows because another program reads the database for long"
            );
        }
        Ok(())
    }

    fn reset(&mut self, writer: &mut Connection) -> Result<Outcome, StoreError> {
        match faults::mutant("log_unbound") {
            true => {}
            // On a full disk making room comes first: this once the file keeps its seal.
            false => match seal(writer) {
                Ok(()) | Err(StoreError::DiskFull(_)) => {}
                Err(error) => return Err(error),
            },
        }
        writer.busy_timeout(READERS_WAIT)?;
        let outcome = checkpoint(writer, "RESTART");
        writer.busy_timeout(BUSY_TIMEOUT)?;
        let (pages, copied, busy) = outcome?;
        // All is copied: the next transaction begins a new log as soon as the last reader lets go of this one. No pages are
        // counted when another process was at it.
        self.begins = pages >= 0 && pages == copied && !faults::mutant("log_unbound");
        Ok(Outcome { pages, copied, held_up: busy })
    }
}

/// Gives the file a new seal, which the next log begins from.
fn seal(writer: &mut Connection) -> Result<(), StoreError> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seal: i64 = transaction.query_row("SELECT abs(random() % 2147483646) + 1", [], |row| row.get(0))?;
    transaction.pragma_update(None, "user_version", seal)?;
    transaction.commit().map_err(Into::into)
}

/// Runs a checkpoint: pages in the log, those of them in the file, and whether somebody was in the way.
fn checkpoint(writer: &Connection, mode: &str) -> Result<(i64, i64, bool), StoreError> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?, row.get::<_, i64>(0)? != 0));
    Ok(writer.query_row(&format!("PRAGMA main.wal_checkpoint({mode})"), [], row)?)
}
