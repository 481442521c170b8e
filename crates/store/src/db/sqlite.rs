//! The built-in engine: one thread writes and checkpoints, a few threads read.

use super::dialect::Engine;
use super::guard::network_file_system;
use super::index_file;
use super::sqlite_readers::Readers;
use super::statement::{Batch, Bulk, Cell, Expect, Row, Statement, Value, Write};
use crate::audit::sha256_hex;
use crate::{StoreError, faults};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, TransactionBehavior, params_from_iter};
use std::borrow::Cow;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long a statement waits for another process (the command line) to finish writing.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of the log (4 KiB each) after which the writer copies them into the database.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Memory for pages of the writer, in KiB.
const WRITER_CACHE_KIB: i64 = 16_384;
/// Prepared statements a connection keeps.
pub(super) const PREPARED: usize = 128;
/// The first SQLite without the bug that could corrupt a database when its log is reset; 3.52.0 has it again.
const OLDEST_GOOD: i32 = 3_051_003;
const KNOWN_BAD: i32 = 3_052_000;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Write(Arc<Batch>, Reply<()>),
    Returning(Statement, Reply<Vec<Row>>),
    Script(Vec<String>, Reply<()>),
}

pub(super) struct Sqlite {
    data: Writer,
    index: Writer,
    readers: Readers,
}

/// A thread that writes one file.
struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    fn start(
        name: &str,
        connection: Connection,
        report_disk: watch::Sender<Option<String>>,
    ) -> Result<Self, StoreError> {
        let (jobs, next_job) = mpsc::channel();
        let thread = spawn(name, move || write_loop(connection, &next_job, &report_disk))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a job; false when the file was closed.
    fn hand(&self, job: Job) -> bool {
        self.jobs.lock().is_ok_and(|jobs| jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok()))
    }

    async fn job<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        if !self.hand(job(reply)) {
            return Err(closed());
        }
        answer.await.map_err(|_| closed())?
    }

    async fn close(&self) {
        self.jobs.lock().map(|mut jobs| jobs.take()).ok();
        let thread = self.thread.lock().map(|mut thread| thread.take());
        join(thread.ok().flatten().into_iter().collect()).await;
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the database was closed".into())
}

impl Sqlite {
    pub(super) fn open(path: &Path, report_disk: watch::Sender<Option<String>>) -> Result<Self, StoreError> {
        check_library()?;
        let writer = open_writer(path)?;
        let index_path = index_file::beside(path);
        let index = index_file::open(&index_path, &writer)?;
        let readers = Readers::open(path, &index_path)?;
        Ok(Self {
            data: Writer::start("sqlite-writer", writer, report_disk.clone())?,
            index: Writer::start("sqlite-index", index, report_disk)?,
            readers,
        })
    }

    /// Batches are written in the order of the calls.
    pub(super) fn write(
        &self,
        batch: Arc<Batch>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let handed = self.data.hand(Job::Write(batch, reply));
        async move { if handed { answer.await.map_err(|_| closed())? } else { Err(closed()) } }
    }

    pub(super) async fn write_index(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        self.index.job(|reply| Job::Write(batch, reply)).await
    }

    pub(super) async fn write_returning(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        self.data.job(|reply| Job::Returning(statement, reply)).await
    }

    pub(super) async fn run_script(&self, script: Vec<String>) -> Result<(), StoreError> {
        self.data.job(|reply| Job::Script(script, reply)).await
    }

    pub(super) async fn index_script(&self, script: Vec<String>) -> Result<(), StoreError> {
        self.index.job(|reply| Job::Script(script, reply)).await
    }

    pub(super) async fn read(
        &self,
        sql: Cow<'static, str>,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.readers.query(sql, params, false).await
    }

    pub(super) async fn prepare_only(&self, sql: String) -> Result<(), StoreError> {
        self.readers.query(sql.into(), Vec::new(), true).await.map(drop)
    }

    /// Ends the threads after what they have begun: the readers first, so that the writer is the last and leaves
    /// one file behind.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.index.close().await;
        self.data.close().await;
    }
}

pub(super) async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    joined.await.ok();
}

pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| StoreError::Unavailable(format!("can't start a thread: {error}")))
}

fn check_library() -> Result<(), StoreError> {
    let version = rusqlite::version_number();
    if version < OLDEST_GOOD || version == KNOWN_BAD {
        let found = rusqlite::version();
        return Err(StoreError::Unfit(format!(
            "SQLite {found} can corrupt its log; build with 3.51.3 or later"
        )));
    }
    Ok(())
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let directory: PathBuf = path.parent().map_or_else(|| ".".into(), Into::into);
    if let Some(kind) = network_file_system(&directory) {
        return Err(StoreError::Unfit(format!(
            "{} is on a network file system ({kind}), where SQLite can lose data; use a local disk or PostgreSQL",
            directory.display()
        )));
    }
    let unusable = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            StoreError::Unfit(format!("{} is not a database of SQLite", path.display()))
        }
        _ => StoreError::Unavailable(format!("can't open {}: {error}", path.display())),
    };
    let writer = Connection::open(path).map_err(unusable)?;
    let synchronous = if faults::mutant("synchronous_normal") { "1" } else { "2" };
    configure(&writer, synchronous).map_err(|error| match error {
        Unset::Sqlite(error) => unusable(error),
        Unset::Refused(pragma, wanted, found) => StoreError::Unfit(format!(
            "SQLite did not take {pragma}={wanted} (it says {found}); without it an acknowledged event could be lost"
        )),
    })?;
    Ok(writer)
}

/// A setting that a connection doesn't have.
pub(super) enum Unset {
    Sqlite(rusqlite::Error),
    Refused(&'static str, String, String),
}

impl From<rusqlite::Error> for Unset {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Gives a writing connection its settings and reads them back.
pub(super) fn configure(writer: &Connection, synchronous: &str) -> Result<(), Unset> {
    writer.busy_timeout(BUSY_TIMEOUT)?;
    writer.set_prepared_statement_cache_capacity(PREPARED);
    add_functions(writer)?;
    let set = [
        ("journal_mode", "wal".to_owned()),
        ("synchronous", synchronous.to_owned()),
        ("foreign_keys", "1".to_owned()),
        ("wal_autocheckpoint", CHECKPOINT_PAGES.to_string()),
        ("cache_size", (-WRITER_CACHE_KIB).to_string()),
    ];
    for (pragma, wanted) in set {
        writer.pragma_update(None, pragma, &wanted)?;
        let found = writer.pragma_query_value(None, pragma, |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(n) => n.to_string(),
                other => other.as_str().unwrap_or_default().to_owned(),
            })
        })?;
        if found != wanted {
            return Err(Unset::Refused(pragma, wanted, found));
        }
    }
    Ok(())
}

/// What PostgreSQL brings along.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("sha256_hex", 1, flags, |context| {
        Ok(sha256_hex(context.get_raw(0).as_str()?))
    })
}

fn write_loop(
    mut writer: Connection,
    jobs: &mpsc::Receiver<Job>,
    report_disk: &watch::Sender<Option<String>>,
) {
    let mut disk_failed: Option<String> = None;
    while let Ok(job) = jobs.recv() {
        // A disk that failed once may say "done" the next time and lose what was acknowledged.
        if let Some(reason) = &disk_failed {
            refuse(job, &StoreError::DiskFailed(reason.clone()));
            continue;
        }
        let failed = match job {
            Job::Write(batch, reply) => answer(reply, run_batch(&mut writer, &batch)),
            Job::Returning(statement, reply) => answer(reply, run_returning(&mut writer, &statement)),
            Job::Script(script, reply) => answer(reply, run_script(&mut writer, &script)),
        };
        if let Some(reason) = failed {
            report_disk.send_replace(Some(reason.clone()));
            disk_failed = Some(reason);
        }
    }
    // A clean end leaves one file; if another process still reads, the log stays, which is as good.
    writer.close().ok();
}

fn refuse(job: Job, error: &StoreError) {
    let error = error.clone();
    match job {
        Job::Write(_, reply) | Job::Script(_, reply) => drop(reply.send(Err(error))),
        Job::Returning(_, reply) => drop(reply.send(Err(error))),
    }
}

/// Hands the result over; the reason when it was a failing disk. That the asker went away changes nothing.
fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) -> Option<String> {
    let failed = match &result {
        Err(StoreError::DiskFailed(reason)) => Some(reason.clone()),
        _ => None,
    };
    drop(reply.send(result));
    failed
}

fn run_batch(writer: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
    transaction.commit()?;
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

fn run_returning(writer: &mut Connection, statement: &Statement) -> Result<Vec<Row>, StoreError> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rows = {
        let mut prepared = transaction.prepare_cached(statement.sql)?;
        collect_rows(&mut prepared, &statement.params)?
    };
    if statement.expect == Expect::One && rows.len() != 1 {
        return Err(StoreError::Conflict);
    }
    transaction.commit()?;
    Ok(rows)
}

fn run_script(writer: &mut Connection, script: &[String]) -> Result<(), StoreError> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for statements in script {
        transaction.execute_batch(statements)?;
    }
    transaction.commit().map_err(Into::into)
}

pub(super) fn collect_rows(
    prepared: &mut rusqlite::Statement<'_>,
    params: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let width = prepared.column_count();
    let mut rows = prepared.query(params_from_iter(params))?;
    let mut collected = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..width).map(|column| value(row.get_ref(column)?)).collect::<Result<_, _>>()?;
        collected.push(Row(values));
    }
    Ok(collected)
}

fn value(found: ValueRef<'_>) -> Result<Value, StoreError> {
    match found {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(n) => Ok(Value::Int(n)),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(_) => Err(StoreError::Internal("a stored text isn't UTF-8".into())),
        },
        ValueRef::Real(_) | ValueRef::Blob(_) => {
            Err(StoreError::Internal("a column holds what Watchpost never stores".into()))
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => match text.split_once("UNIQUE constraint failed: ") {
                // "users.username_key" here, "users_username_key" on PostgreSQL: one name for both.
                Some((_, columns)) => {
                    Self::Taken(columns.split(", ").next().unwrap_or_default().replace('.', "_"))
                }
                None => Self::Internal(text),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Unavailable("another process holds the database for too long".into())
            }
            Some(ErrorCode::DiskFull) => Self::Unavailable("the disk is full".into()),
            Some(ErrorCode::OperationInterrupted) => {
                Self::Unavailable("the read took too long and was ended".into())
            }
            Some(ErrorCode::SystemIoFailure) => Self::DiskFailed(text),
            _ => Self::Internal(text),
        }
    }
}
