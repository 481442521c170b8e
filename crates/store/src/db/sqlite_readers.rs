//! Reading from SQLite: a few threads beside the one that writes.

use super::sqlite::{BUSY_TIMEOUT, PREPARED, Reply, add_functions, closed, collect_rows, join, spawn};
use super::statement::{Row, Value};
use crate::StoreError;
use rusqlite::{CachedStatement, Connection};
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Reading threads: enough that one slow list doesn't hold up the others.
const READERS: usize = 3;
/// A read that takes longer is ended, so that it can't hold back checkpoints for ever.
const READ_TIME_LIMIT: Duration = Duration::from_secs(20);
/// How many steps of SQLite's machine between looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
/// Memory for pages of each reader, in KiB.
const READER_CACHE_KIB: i64 = 4_096;

struct Query {
    sql: Cow<'static, str>,
    params: Vec<Value>,
    prepare_only: bool,
    reply: Reply<Vec<Row>>,
}

/// The threads that read, and the queue they take from.
pub(super) struct Readers {
    queries: Mutex<Option<mpsc::Sender<Query>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn open(path: &Path, index: &Path) -> Result<Self, StoreError> {
        let mut threads = Vec::new();
        let (queries, next_query) = mpsc::channel();
        let next_query = Arc::new(Mutex::new(next_query));
        for n in 1..=READERS {
            let next_query = next_query.clone();
            let mut reader = open_reader(path, index)?;
            threads.push(spawn(&format!("sqlite-reader-{n}"), move || read_loop(&mut reader, &next_query))?);
        }
        Ok(Self { queries: Mutex::new(Some(queries)), threads: Mutex::new(threads) })
    }

    pub(super) async fn query(
        &self,
        sql: Cow<'static, str>,
        params: Vec<Value>,
        prepare_only: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let queries = self.queries.lock().map_err(|_| closed())?;
            let query = Query { sql, params, prepare_only, reply };
            queries.as_ref().ok_or_else(closed)?.send(query).map_err(|_| closed())?;
        }
        answer.await.map_err(|_| closed())?
    }

    pub(super) async fn close(&self) {
        self.queries.lock().map(|mut queries| queries.take()).ok();
        let threads = self.threads.lock().map(|mut threads| std::mem::take(&mut *threads));
        join(threads.unwrap_or_default()).await;
    }
}

fn open_reader(path: &Path, index: &Path) -> Result<Connection, StoreError> {
    let reader = Connection::open(path).map_err(StoreError::from)?;
    reader.busy_timeout(BUSY_TIMEOUT)?;
    reader.set_prepared_statement_cache_capacity(PREPARED);
    add_functions(&reader)?;
    reader.execute("ATTACH DATABASE ?1 AS search", [index.to_string_lossy()])?;
    reader.pragma_update(None, "query_only", "1")?;
    reader.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(reader)
}

fn read_loop(reader: &mut Connection, queries: &Mutex<mpsc::Receiver<Query>>) {
    loop {
        // The lock is held while waiting: whoever has it takes the next query, the others queue behind.
        let next = queries.lock().map(|queries| queries.recv());
        let Ok(Ok(query)) = next else { return };
        if query.reply.is_closed() {
            continue;
        }
        let result = limit_time(reader).and_then(|()| {
            let mut prepared = prepare(reader, &query.sql)?;
            if query.prepare_only { Ok(Vec::new()) } else { collect_rows(&mut prepared, &query.params) }
        });
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

fn limit_time(reader: &mut Connection) -> Result<(), StoreError> {
    let deadline = Instant::now() + READ_TIME_LIMIT;
    reader.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() >= deadline))?;
    Ok(())
}
