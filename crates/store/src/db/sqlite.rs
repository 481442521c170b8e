//! The built-in engine: one thread writes and checkpoints, a few threads read.

use super::binding::Alone;
use super::class::Class;
use super::guard::{network_file_system, real_path};
use super::index_file;
use super::space::Space;
use super::sqlite_log::LOG_KEPT_BYTES;
use super::sqlite_readers::Readers;
use super::sqlite_writer::{Desk, Job, Writer};
use super::statement::{Batch, Row, Statement, Value};
use crate::audit::sha256_hex;
use crate::{StoreError, faults};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};
use std::borrow::Cow;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How long a statement waits for another process (the command line) to finish writing.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Memory for pages of the writer, in KiB.
const WRITER_CACHE_KIB: i64 = 16_384;
/// Prepared statements a connection keeps.
pub(super) const PREPARED: usize = 128;
/// The first SQLite without the bug that could corrupt a database when its log is reset; 3.52.0 has it again.
const OLDEST_GOOD: i32 = 3_051_003;
const KNOWN_BAD: i32 = 3_052_000;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What is added to the message of a database that no longer is one.
const DAMAGED: &str = "restore a backup; `watchpost doctor` says more";
/// How long a server looks at its database before it begins: all of it takes `doctor`.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How many steps of SQLite's machine between looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

pub(super) struct Sqlite {
    data: Writer,
    index: Writer,
    readers: Readers,
    pub(super) space: Arc<Space>,
    pub(super) path: PathBuf,
    /// Whether the index knows which database it goes on with: see `lineage.rs`.
    pub(super) index_joined: AtomicBool,
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the database was closed".into())
}

impl Sqlite {
    /// Opens the database. To serve means to look at it first, and to keep a reserve for when the disk is full.
    pub(super) fn open(
        path: &Path,
        serve: bool,
        report_disk: watch::Sender<Option<String>>,
    ) -> Result<Self, StoreError> {
        check_library()?;
        let path = real_path(path)?;
        let space = Arc::new(Space::of(&path));
        let opened = match Self::try_open(&path, serve, &space, &report_disk) {
            // What SQLite needs beside the file is little: there is room for it in the reserve.
            Err(StoreError::DiskFull(_)) if space.give_up_reserve() => {
                Self::try_open(&path, serve, &space, &report_disk)?
            }
            opened => opened?,
        };
        if serve {
            space.keep();
        }
        Ok(opened)
    }

    fn try_open(
        path: &Path,
        serve: bool,
        space: &Arc<Space>,
        report_disk: &watch::Sender<Option<String>>,
    ) -> Result<Self, StoreError> {
        let (mut writer, alone) = open_writer(path, space)?;
        if serve {
            first_look(&mut writer, path)?;
        }
        let index_path = index_file::beside(path);
        let (index, beside_index) = index_file::open(&index_path, &writer)?;
        let readers = Readers::open(path, &index_path)?;
        let desk = |name, connection, report_disk, alone| Desk {
            name,
            connection,
            space: space.clone(),
            report_disk,
            alone,
        };
        Ok(Self {
            data: Writer::start(desk("writer", writer, Some(report_disk.clone()), alone))?,
            index: Writer::start(desk("index", index, None, beside_index))?,
            readers,
            space: space.clone(),
            path: path.to_owned(),
            index_joined: AtomicBool::new(false),
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
        class: Class,
    ) -> Result<Vec<Row>, StoreError> {
        self.readers.query(sql, params, class, false).await
    }

    pub(super) async fn prepare_only(&self, sql: String) -> Result<(), StoreError> {
        self.readers.query(sql.into(), Vec::new(), Class::Light, true).await.map(drop)
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

fn open_writer(path: &Path, space: &Space) -> Result<(Connection, Option<Alone>), StoreError> {
    let directory: PathBuf = path.parent().map_or_else(|| ".".into(), Into::into);
    if let Some(kind) = network_file_system(&directory) {
        return Err(StoreError::Unfit(format!(
            "{} is on a network file system ({kind}), where SQLite can lose data; use a local disk or PostgreSQL",
            directory.display()
        )));
    }
    let unusable = |error: rusqlite::Error| match (error.sqlite_error_code(), StoreError::from(error)) {
        (Some(ErrorCode::NotADatabase), _) => {
            StoreError::Unfit(format!("{} is not a database of SQLite", path.display()))
        }
        (Some(ErrorCode::DatabaseCorrupt), error) => {
            StoreError::Unfit(format!("{} is damaged: {error}; {DAMAGED}", path.display()))
        }
        (_, full @ StoreError::DiskFull(_)) => full,
        _ if space.lacks_room() => StoreError::DiskFull(String::new()),
        (_, error) => StoreError::Unavailable(format!("can't open {}: {error}", path.display())),
    };
    let alone = Alone::open(path)?;
    let writer = Connection::open(path).map_err(unusable)?;
    // Before anything else is done with it.
    match alone.as_ref().map_or(Ok(()), |alone| alone.check(&writer)) {
        // Closing it would play the log into the file; the process ends without.
        Err(unfit @ StoreError::Unfit(_)) => {
            std::mem::forget(writer);
            return Err(unfit);
        }
        checked => checked?,
    }
    let synchronous = if faults::mutant("synchronous_normal") { "1" } else { "2" };
    configure(&writer, synchronous).map_err(|error| match error {
        Unset::Sqlite(error) => unusable(error),
        Unset::Refused(pragma, wanted, found) => StoreError::Unfit(format!(
            "SQLite did not take {pragma}={wanted} (it says {found}); without it an acknowledged event could be lost"
        )),
    })?;
    Ok((writer, alone))
}

/// Looks whether a database is whole, as far as that goes in a moment.
fn first_look(writer: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let deadline = Instant::now() + FIRST_LOOK;
    writer.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() >= deadline))?;
    let said = writer.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    writer.progress_handler(0, None::<fn() -> bool>)?;
    match said {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => Err(StoreError::Unfit(format!("{} is damaged: {said}; {DAMAGED}", path.display()))),
        Err(error) => match error.sqlite_error_code() {
            // What was seen of it is good.
            Some(ErrorCode::OperationInterrupted) => Ok(()),
            Some(ErrorCode::DatabaseCorrupt) => {
                Err(StoreError::Unfit(format!("{} is damaged: {error}; {DAMAGED}", path.display())))
            }
            _ => Err(error.into()),
        },
    }
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
    let kept = if faults::mutant("log_never_shrinks") { -1 } else { LOG_KEPT_BYTES };
    let set = [
        ("journal_mode", "wal".to_owned()),
        ("synchronous", synchronous.to_owned()),
        ("foreign_keys", "1".to_owned()),
        // The writer does it by itself, and looks at what comes of it.
        ("wal_autocheckpoint", "0".to_owned()),
        ("journal_size_limit", kept.to_string()),
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
            Some(ErrorCode::DiskFull) => Self::DiskFull(String::new()),
            Some(ErrorCode::OperationInterrupted) => Self::TooLong,
            Some(ErrorCode::SystemIoFailure) if may_lack_room(&error) => Self::DiskFull(text),
            Some(ErrorCode::SystemIoFailure) => Self::DiskFailed(text),
            _ => Self::Internal(text),
        }
    }
}

/// Whether a failure is one that a full disk brings about as well as a broken one: SQLite doesn't say for what it keeps
/// beside its files, nor when a quota is used up. A sync that fails is always taken for a broken disk.
fn may_lack_room(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_error().map(|error| error.extended_code);
    [
        ffi::SQLITE_IOERR_SHMOPEN,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_SHMMAP,
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_TRUNCATE,
    ]
    .map(Some)
    .contains(&code)
}
