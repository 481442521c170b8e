//! The only place where the wall clock is read, and where it is decided whose clock counts.
//!
//! On SQLite it is this machine's. On PostgreSQL it is the database's, which all nodes share: each node asks for its time
//! now and then, and in between goes on by its monotonic clock. So a node whose own clock is off, or jumps, gives the same
//! times and ids as the others.

use crate::metrics::PipelineMetrics;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use watchpost_model::Timestamp;
use watchpost_model::time::SECOND;
use watchpost_store::{Db, Engine, StoreError, faults};

/// A clock that differs more from the database's is said to be wrong: nodes that are set from the network differ by far
/// less, and nobody can set them right whom nobody tells.
pub const CLOCK_DIFFERENCE_SECONDS: i64 = 5;
/// How often the database is asked: a clock that drifts by a thousandth is off by 10 ms then.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Nearer than this two clocks show the same; beside it counts how long the answer took.
const SAME_MICROS: i64 = 50_000;
/// How often it is said that the clock is off.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);
/// No database has been asked.
const OWN_CLOCK: i64 = i64::MIN;

/// What the database's clock showed when this process's monotonic clock began.
static DATABASE_AT_START: AtomicI64 = AtomicI64::new(OWN_CLOCK);
static START: OnceLock<Instant> = OnceLock::new();

fn micros_since_start() -> i64 {
    START.get_or_init(Instant::now).elapsed().as_micros() as i64
}

/// The time now.
pub fn now() -> Timestamp {
    match DATABASE_AT_START.load(Ordering::Relaxed) {
        OWN_CLOCK => own(),
        start => Timestamp::from_micros(start + micros_since_start()),
    }
}

/// What this machine's clock shows.
fn own() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        // A clock before 1970 is wrong, but no reason to end.
        Err(_) => 0,
    };
    Timestamp::from_micros(micros)
}

/// How far this machine's clock is ahead of the one that counts, in seconds; nothing where its own counts.
pub fn clock_difference() -> Option<f64> {
    let followed = DATABASE_AT_START.load(Ordering::Relaxed) != OWN_CLOCK;
    followed.then(|| (own().micros() - now().micros()) as f64 / SECOND as f64)
}

/// Whether this machine's clock is so far off that somebody has to set it.
pub fn clock_is_off() -> bool {
    clock_difference().is_some_and(|seconds| seconds.abs() > CLOCK_DIFFERENCE_SECONDS as f64)
}

/// Takes the database's time from an answer to a question that was asked then.
pub(crate) fn heard(theirs: Timestamp, asked: Instant) {
    if faults::mutant("own_clock") {
        return;
    }
    let took = asked.elapsed().as_micros() as i64;
    // It looked at its clock some time in between.
    let start = theirs.micros() + took / 2 - micros_since_start();
    let known = DATABASE_AT_START.load(Ordering::Relaxed);
    if known == OWN_CLOCK || (start - known).abs() > SAME_MICROS + took / 2 {
        DATABASE_AT_START.store(start, Ordering::Relaxed);
    }
}

/// Goes by the database's clock from now on, where there are several nodes.
pub async fn follow_database_clock(db: &Db) -> Result<(), StoreError> {
    if db.engine() == Engine::Postgres {
        let asked = Instant::now();
        heard(db.clock().await?, asked);
    }
    Ok(())
}

/// Keeps to the database's clock, and says when this machine's is off, until it is dropped.
pub async fn watch_clock(db: Db, metrics: PipelineMetrics) {
    if db.engine() == Engine::Sqlite {
        return;
    }
    let mut warned: Option<Instant> = None;
    let mut rounds = tokio::time::interval(ASK_EVERY);
    loop {
        rounds.tick().await;
        if let Err(error) = follow_database_clock(&db).await {
            tracing::debug!(%error, "the database doesn't tell its time");
        }
        let difference = clock_difference().unwrap_or_default();
        metrics.clock_difference.set(difference);
        let quiet = warned.is_some_and(|warned| warned.elapsed() < BETWEEN_WARNINGS);
        if clock_is_off() && !quiet {
            warned = Some(Instant::now());
            tracing::warn!(
                seconds = difference,
                "this machine's clock differs from the database's, whose time is used; have both set from the network"
            );
        }
    }
}
