//! One database behind one type, whichever engine it is.

mod binding;
mod class;
pub(crate) mod dialect;
mod examine;
mod guard;
mod index_file;
mod pool;
mod postgres;
mod postgres_reads;
mod said;
mod space;
mod sqlite;
mod sqlite_log;
mod sqlite_readers;
mod sqlite_writer;
mod statement;

use crate::{LATEST, StoreError};
use class::Class;
pub use class::HEAVY_TIME_LIMIT;
pub use dialect::Engine;
pub use pool::PostgresOptions;
pub use statement::Batch;
pub(crate) use statement::Expect;
pub(crate) use statement::{Cell, Row, Rows, Statement, Table, Target, Value};
use std::borrow::Cow;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;
use watchpost_model::Timestamp;

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of the built-in SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(PostgresOptions),
}

impl Location {
    /// The files that the data lies in here: the database and its search index, with what SQLite puts beside each.
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(database) = self.database_file() else { return Vec::new() };
        let index = index_file::beside(&database);
        let beside = |path: PathBuf| ["", "-wal", "-shm"].map(|ending| binding::beside(&path, ending));
        [database, index].into_iter().flat_map(beside).collect()
    }
}

impl Location {
    /// The file of the database, without the links that lead to it.
    pub fn database_file(&self) -> Option<PathBuf> {
        let Self::Sqlite(database) = self else { return None };
        Some(guard::real_path(database).unwrap_or_else(|_| database.clone()))
    }
}

/// The database. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Db {
    inner: Inner,
    disk_failed: watch::Receiver<Option<String>>,
    class: Class,
}

#[derive(Clone)]
enum Inner {
    Sqlite(Arc<sqlite::Sqlite>),
    Postgres(Arc<postgres::Postgres>),
}

/// What `doctor` and the readiness check want to know about a database.
#[derive(Clone, Debug)]
pub struct Health {
    /// The engine's name and version.
    pub version: String,
    /// The newest migration step in the database.
    pub step: i64,
    /// The step that nodes have to know to be let write.
    pub least_step: i64,
}

impl Db {
    /// Opens the database and checks that its settings keep the promise. Creates the file of SQLite if need be;
    /// doesn't migrate.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        Self::open_for(location, false).await
    }

    /// Opens the database for a server: a file of SQLite is looked at for damage, as far as that goes in a second, and
    /// a reserve is kept beside it for when the disk is full.
    pub async fn open_to_serve(location: &Location) -> Result<Self, StoreError> {
        Self::open_for(location, true).await
    }

    async fn open_for(location: &Location, serve: bool) -> Result<Self, StoreError> {
        let (report_disk, disk_failed) = watch::channel(None);
        let inner = match location {
            Location::Sqlite(path) => {
                let path = path.clone();
                let opened =
                    tokio::task::spawn_blocking(move || sqlite::Sqlite::open(&path, serve, report_disk));
                let sqlite = opened.await.map_err(|e| StoreError::Internal(e.to_string()))??;
                Inner::Sqlite(Arc::new(sqlite))
            }
            Location::Postgres(options) => {
                Inner::Postgres(Arc::new(postgres::Postgres::open(options.clone()).await?))
            }
        };
        Ok(Self { inner, disk_failed, class: Class::Light })
    }

    /// The same database, whose reads wait for their turn among those that take long, and are ended when they take too
    /// long: for whoever may read far more than is shown. Others are read beside them.
    pub fn heavy(&self) -> Self {
        Self { class: Class::Heavy, ..self.clone() }
    }

    /// The same for a list, where its filter makes it a search.
    pub(crate) fn for_list(&self, is_search: bool) -> Cow<'_, Self> {
        if is_search { Cow::Owned(self.heavy()) } else { Cow::Borrowed(self) }
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Carries out a batch in one transaction. It runs to its end even when the caller goes away. On SQLite batches
    /// are carried out in the order of the calls, whenever they are awaited.
    pub fn write(&self, batch: Arc<Batch>) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let told = batch.clone();
        let (sqlite, postgres) = match &self.inner {
            Inner::Sqlite(db) => (Some(db.write(batch)), None),
            Inner::Postgres(db) => (None, Some((db.clone(), batch))),
        };
        async move {
            let written = match (sqlite, postgres) {
                (Some(written), _) => written.await,
                (None, Some((db, batch))) => db.write(batch).await,
                (None, None) => unreachable!("a database is one or the other"),
            };
            told.tell_of_audited(&written);
            written
        }
    }

    /// Carries out a batch whose clean commit proves something, see [`crate::confirm`]; a few at once at most.
    pub(crate) async fn confirm(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.write(batch).await,
            Inner::Postgres(db) => db.confirm(batch).await,
        }
    }

    /// Carries out a batch for the search index.
    pub(crate) async fn write_index(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.write_index(batch).await,
            Inner::Postgres(db) => db.write(batch).await,
        }
    }

    /// Changes the shape of the search index.
    pub(crate) async fn index_script(&self, script: Vec<String>) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.index_script(script).await,
            Inner::Postgres(db) => db.run_script(script).await,
        }
    }

    /// Runs statements of PostgreSQL that must not be in a transaction, one after the other.
    pub(crate) async fn run_outside(&self, statements: Vec<String>) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.run_script(statements).await,
            Inner::Postgres(db) => db.run_outside(statements).await,
        }
    }

    /// Carries out one statement in a transaction of its own and returns the rows it gives back.
    pub(crate) async fn write_returning(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.write_returning(statement).await,
            Inner::Postgres(db) => db.write_returning(statement).await,
        }
    }

    /// The rows of one statement that changes nothing.
    pub(crate) async fn read(
        &self,
        sql: impl Into<Cow<'static, str>>,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into();
        match &self.inner {
            Inner::Sqlite(db) => db.read(sql, params, self.class).await,
            Inner::Postgres(db) => db.read(sql, params, self.class).await,
        }
    }

    /// The first row, if there is one.
    pub(crate) async fn read_one(
        &self,
        sql: impl Into<Cow<'static, str>>,
        params: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.read(sql, params).await?.into_iter().next())
    }

    /// Runs the statements of a migration step, each in one transaction with the row that records it.
    pub(crate) async fn run_script(&self, script: Vec<String>) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.run_script(script).await,
            Inner::Postgres(db) => db.run_script(script).await,
        }
    }

    pub(crate) async fn prepare_only(&self, sql: String) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Sqlite(db) => db.prepare_only(sql).await,
            Inner::Postgres(db) => db.prepare_only(sql).await,
        }
    }

    /// Whether the database answers, and with what.
    pub async fn health(&self) -> Result<Health, StoreError> {
        let sql = match self.engine() {
            Engine::Sqlite => "SELECT 'SQLite ' || sqlite_version()",
            Engine::Postgres => "SELECT 'PostgreSQL ' || current_setting('server_version')",
        };
        let row = self.read_one(sql, vec![]).await?.ok_or(StoreError::NotFound)?;
        let step = self.applied_step().await?;
        // A database that lacks steps may lack the table as well.
        let least_step = if step < LATEST { 0 } else { self.least_step().await? };
        Ok(Health { version: row.text(0)?, step, least_step })
    }

    /// What time the database thinks it is.
    pub async fn clock(&self) -> Result<Timestamp, StoreError> {
        let sql = match self.engine() {
            Engine::Sqlite => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Engine::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        };
        let row = self.read_one(sql, vec![]).await?.ok_or(StoreError::NotFound)?;
        Ok(Timestamp::from_micros(row.int(0)?))
    }

    /// Whether the disk is full: people can go on, events are refused.
    pub fn is_full(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(db) => db.space.is_full(),
            Inner::Postgres(_) => false,
        }
    }

    /// Copies a database of SQLite as it is now into a new file, while others write; the size of the copy in bytes.
    pub async fn back_up(&self, copy: &Path) -> Result<u64, StoreError> {
        let Inner::Sqlite(db) = &self.inner else {
            return Err(StoreError::Unfit("PostgreSQL is backed up by its own means".into()));
        };
        let (database, copy) = (db.path.clone(), copy.to_owned());
        let copied = tokio::task::spawn_blocking(move || examine::back_up(&database, &copy)).await;
        copied.map_err(|error| StoreError::Internal(error.to_string()))?
    }

    /// Looks at every page and row of a database of SQLite and of its index, and says how far it is; what is wrong.
    /// PostgreSQL has means of its own for that, and nothing is looked at.
    pub async fn examine(
        &self,
        told: impl FnMut(String) + Send + 'static,
    ) -> Result<Vec<String>, StoreError> {
        let Inner::Sqlite(db) = &self.inner else { return Ok(Vec::new()) };
        let database = db.path.clone();
        let looked_at = tokio::task::spawn_blocking(move || {
            examine::examine(&database, &index_file::beside(&database), told)
        });
        looked_at.await.map_err(|error| StoreError::Internal(error.to_string()))?
    }

    /// The cluster of PostgreSQL that the database is in, and which of its databases; nothing on SQLite.
    pub(crate) fn cluster(&self) -> Option<String> {
        match &self.inner {
            Inner::Sqlite(_) => None,
            Inner::Postgres(db) => db.cluster(),
        }
    }

    /// Which of its feeds the database has now, see [`Db::settle_feed`].
    pub(crate) fn feed_generation(&self) -> i64 {
        match &self.inner {
            Inner::Sqlite(_) => 0,
            Inner::Postgres(db) => db.feed_generation.load(Ordering::Acquire),
        }
    }

    pub(crate) fn set_feed_generation(&self, generation: i64) {
        if let Inner::Postgres(db) = &self.inner {
            db.feed_generation.store(generation, Ordering::Release);
        }
    }

    pub(crate) fn index_has_joined(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(db) => db.index_joined.load(Ordering::Acquire),
            Inner::Postgres(_) => true,
        }
    }

    pub(crate) fn set_index_joined(&self) {
        if let Inner::Sqlite(db) = &self.inner {
            db.index_joined.store(true, Ordering::Release);
        }
    }

    /// Resolves when the disk failed under a write and the process has to stop; with the reason.
    pub async fn disk_failed(&self) -> String {
        let mut receiver = self.disk_failed.clone();
        let failed = match receiver.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        match failed {
            Some(reason) => reason,
            // The writer is gone without a failure: the database was closed, nothing will fail any more.
            None => std::future::pending().await,
        }
    }

    /// Finishes what is under way and lets go of the database.
    pub async fn close(&self) {
        match &self.inner {
            Inner::Sqlite(db) => db.close().await,
            Inner::Postgres(db) => db.close(),
        }
    }
}
