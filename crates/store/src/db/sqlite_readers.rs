//! Reading from SQLite: some threads beside the one that writes, those for heavy reads apart from the others.

use super::class::{Class, Turn, Turns, time_limit};
use super::sqlite::{BUSY_TIMEOUT, PREPARED, Reply, add_functions, closed, collect_rows, join, spawn};
use super::statement::{Row, Value};
use crate::{StoreError, faults};
use rusqlite::{CachedStatement, Connection, InterruptHandle};
use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Reading threads: enough that one slow list doesn't hold up the others.
const READERS: usize = 3;
/// Threads for heavy reads: with all of them at work, a small machine has as many cores left for everything else.
const HEAVY_READERS: usize = 2;
/// A light read that takes longer is ended, so that it can't hold back checkpoints for ever.
const READ_TIME_LIMIT: Duration = Duration::from_secs(20);
/// How many steps of SQLite's machine between looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
/// Memory for pages of each reader, in KiB.
const READER_CACHE_KIB: i64 = 4_096;

struct Query {
    sql: Cow<'static, str>,
    params: Vec<Value>,
    prepare_only: bool,
    class: Class,
    stop: Arc<Stop>,
    /// Given back when the statement has ended.
    turn: Option<Turn>,
    reply: Reply<Vec<Row>>,
}

/// Ends a statement from outside: while it runs, before it does, or never when it is over.
#[derive(Default)]
struct Stop {
    wanted: AtomicBool,
    running: Mutex<Option<Arc<InterruptHandle>>>,
}

impl Stop {
    fn running(&self) -> MutexGuard<'_, Option<Arc<InterruptHandle>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.wanted.store(true, Ordering::Release);
        // Under the lock, so that it doesn't meet the statement after this one.
        if let Some(handle) = &*self.running() {
            handle.interrupt();
        }
    }
}

/// Whoever waits for the rows. When they go away nobody needs them any more.
struct Asker(Arc<Stop>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Threads of one class, and the queue they take from.
struct Threads {
    queries: Mutex<Option<mpsc::Sender<Query>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The threads that read.
pub(super) struct Readers {
    light: Threads,
    heavy: Threads,
    turns: Turns,
}

impl Threads {
    fn start(name: &str, count: usize, path: &Path, index: &Path) -> Result<Self, StoreError> {
        let mut threads = Vec::new();
        let (queries, next_query) = mpsc::channel();
        let next_query = Arc::new(Mutex::new(next_query));
        for n in 1..=count {
            let next_query = next_query.clone();
            let mut reader = open_reader(path, index)?;
            threads.push(spawn(&format!("{name}-{n}"), move || read_loop(&mut reader, &next_query))?);
        }
        Ok(Self { queries: Mutex::new(Some(queries)), threads: Mutex::new(threads) })
    }

    fn hand(&self, query: Query) -> Result<(), StoreError> {
        let queries = self.queries.lock().map_err(|_| closed())?;
        queries.as_ref().ok_or_else(closed)?.send(query).map_err(|_| closed())
    }

    async fn close(&self) {
        self.queries.lock().map(|mut queries| queries.take()).ok();
        let threads = self.threads.lock().map(|mut threads| std::mem::take(&mut *threads));
        join(threads.unwrap_or_default()).await;
    }
}

impl Readers {
    pub(super) fn open(path: &Path, index: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            light: Threads::start("sqlite-reader", READERS, path, index)?,
            heavy: Threads::start("sqlite-heavy", HEAVY_READERS, path, index)?,
            turns: Turns::new(HEAVY_READERS),
        })
    }

    pub(super) async fn query(
        &self,
        sql: Cow<'static, str>,
        params: Vec<Value>,
        class: Class,
        prepare_only: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let (threads, turn) = match class {
            Class::Light => (&self.light, None),
            Class::Heavy => (&self.heavy, Some(self.turns.take().await?)),
        };
        let (reply, answer) = oneshot::channel();
        let stop = Arc::new(Stop::default());
        let _asker = Asker(stop.clone());
        threads.hand(Query { sql, params, prepare_only, class, stop, turn, reply })?;
        let answer = async { answer.await.map_err(|_| closed())? };
        match class {
            Class::Light => answer.await,
            // The thread looks at the clock as well, but not while it is inside of a step.
            Class::Heavy => {
                tokio::time::timeout(time_limit(), answer).await.unwrap_or(Err(StoreError::TooLong))
            }
        }
    }

    pub(super) async fn close(&self) {
        self.light.close().await;
        self.heavy.close().await;
    }
}

fn open_reader(path: &Path, index: &Path) -> Result<Connection, StoreError> {
    let reader = Connection::open(path).map_err(StoreError::from)?;
    reader.busy_timeout(BUSY_TIMEOUT)?;
    reader.set_prepared_statement_cache_capacity(PREPARED);
    add_functions(&reader)?;
    if cfg!(feature = "faults") {
        add_pause(&reader)?;
    }
    reader.execute("ATTACH DATABASE ?1 AS search", [index.to_string_lossy()])?;
    reader.pragma_update(None, "query_only", "1")?;
    reader.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(reader)
}

/// A statement that never ends and takes little of a processor, for tests.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n WHERE pause(i) = 1";

fn add_pause(reader: &Connection) -> rusqlite::Result<()> {
    reader.create_scalar_function("pause", 1, rusqlite::functions::FunctionFlags::SQLITE_UTF8, |_| {
        std::thread::sleep(Duration::from_millis(2));
        Ok(0)
    })
}

fn read_loop(reader: &mut Connection, queries: &Mutex<mpsc::Receiver<Query>>) {
    let handle = Arc::new(reader.get_interrupt_handle());
    loop {
        // The lock is held while waiting: whoever has it takes the next query, the others queue behind.
        let next = queries.lock().map(|queries| queries.recv());
        let Ok(Ok(query)) = next else { return };
        if query.reply.is_closed() {
            continue;
        }
        *query.stop.running() = Some(handle.clone());
        let result = limit_time(reader, &query).and_then(|()| {
            if query.class == Class::Heavy && faults::held("heavy", 0) {
                let mut endless = prepare(reader, ENDLESS)?;
                return collect_rows(&mut endless, &[]);
            }
            let mut prepared = prepare(reader, &query.sql)?;
            if query.prepare_only { Ok(Vec::new()) } else { collect_rows(&mut prepared, &query.params) }
        });
        *query.stop.running() = None;
        let result = result.map_err(|error| match (error, query.class) {
            (StoreError::TooLong, Class::Light) => {
                StoreError::Unavailable("the read took too long and was ended".into())
            }
            (error, _) => error,
        });
        drop(query.turn);
        drop(query.reply.send(result));
    }
}

/// Prepares a statement. One that doesn't fit the tables as this reader knows them is tried again with the tables
/// looked at anew: the writer may have changed them a moment ago.
fn prepare<'a>(reader: &'a Connection, sql: &str) -> Result<CachedStatement<'a>, StoreError> {
    match reader.prepare_cached(sql) {
        Ok(prepared) => Ok(prepared),
        Err(_) => {
            reader.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(reader.prepare_cached(sql)?)
        }
    }
}

/// Ends the next statement when it takes too long, or nobody waits for it any more.
fn limit_time(reader: &mut Connection, query: &Query) -> Result<(), StoreError> {
    let limit = if query.class == Class::Heavy { time_limit() } else { READ_TIME_LIMIT };
    let (deadline, stop) = (Instant::now() + limit, query.stop.clone());
    let ends = move || stop.is_wanted() || Instant::now() >= deadline;
    reader.progress_handler(STEPS_BETWEEN_LOOKS, Some(ends))?;
    Ok(())
}
