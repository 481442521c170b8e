//! The engine for production: pooled connections, writes that are never cancelled.

use super::class::{Class, Turns};
use super::dialect::Engine;
use super::pool::{Connection, Loan, Pool, PostgresOptions, with_causes};
use super::postgres_reads;
use super::said::Said;
use super::statement::{Batch, Bulk, Cell, Expect, Row, Statement, Value, Write};
use crate::StoreError;
use crate::migrations::writers::OUTDATED;
use futures_util::future::join_all;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use tokio::sync::Semaphore;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, private::BytesMut, to_sql_checked};

/// A lock that all nodes take while they migrate; the number only has to be ours.
const MIGRATION_LOCK: i64 = 0x7761_7463_6870;

/// A lock of whoever builds indexes.
const BUILDING_LOCK: i64 = MIGRATION_LOCK + 1;

/// Commits that confirm something and may be under way at once: while a standby is away each holds a connection until
/// it is back.
const CONFIRMING: usize = 2;

pub(super) struct Postgres {
    pool: Arc<Pool>,
    turns: Turns,
    confirming: Arc<Semaphore>,
    outdated: Said,
    pub(super) feed_generation: AtomicI64,
}

impl Postgres {
    pub(super) async fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let pool = Arc::new(Pool::new(&options)?);
        let loan = pool.lend().await?;
        pool.give_back(loan);
        Ok(Self {
            pool,
            turns: postgres_reads::turns(options.connections),
            confirming: Arc::new(Semaphore::new(CONFIRMING)),
            outdated: Said::default(),
            feed_generation: AtomicI64::new(0),
        })
    }

    /// Runs a write in a task of its own, so that an asker that goes away doesn't cut it off.
    async fn uncancelled<T: Send + 'static>(&self, work: impl Work<T>) -> Result<T, StoreError> {
        let pool = self.pool.clone();
        let task = tokio::spawn(async move { run(&pool, work).await });
        self.heeded(task.await.map_err(|error| StoreError::Internal(error.to_string()))?)
    }

    /// Says that this node is refused, but not each time.
    fn heeded<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(written, Err(StoreError::Outdated)) && self.outdated.is_due() {
            tracing::error!(
                "this node is older than the schema of the database needs: it writes nothing until it is upgraded"
            );
        }
        written
    }

    /// Carries out a batch on one connection, its commit behind all that it sees. Whoever stops waiting doesn't cut
    /// it off.
    pub(super) async fn confirm(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        let closed = |_| StoreError::Unavailable("the database was closed".into());
        let place = self.confirming.clone().acquire_owned().await.map_err(closed)?;
        let pool = self.pool.clone();
        let task = tokio::spawn(async move {
            let confirmed = run(&pool, RunBatch(batch)).await;
            drop(place);
            confirmed
        });
        task.await.map_err(|error| StoreError::Internal(error.to_string()))?
    }

    pub(super) async fn write(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        if batch.is_unconditional() {
            let pool = self.pool.clone();
            let task = tokio::spawn(async move { write_at_once(&pool, &batch).await });
            return self.heeded(task.await.map_err(|error| StoreError::Internal(error.to_string()))?);
        }
        self.uncancelled(RunBatch(batch)).await
    }

    /// Statements that PostgreSQL runs in no transaction, such as building an index beside writers; a conflict when
    /// another node is at such a thing.
    pub(super) async fn run_outside(&self, statements: Vec<String>) -> Result<(), StoreError> {
        let pool = self.pool.clone();
        let task = tokio::spawn(async move {
            let loan = pool.lend().await?;
            let client = &loan.connection.client;
            client.batch_execute("SET statement_timeout = 0").await.map_err(refused)?;
            client.batch_execute("SET lock_timeout = 0").await.map_err(refused)?;
            // Tried and not waited for: building an index beside writers waits for everybody who waits for something.
            let locked = client.query_one("SELECT pg_try_advisory_lock($1)", &[&BUILDING_LOCK]).await;
            if !locked.and_then(|row| row.try_get::<_, bool>(0)).map_err(refused)? {
                return Err(StoreError::Conflict);
            }
            for statement in &statements {
                client.batch_execute(statement).await.map_err(refused)?;
            }
            // The connection has other limits now: it is closed, not lent again.
            Ok(())
        });
        task.await.map_err(|error| StoreError::Internal(error.to_string()))?
    }

    pub(super) async fn write_returning(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        self.uncancelled(RunReturning(statement)).await
    }

    pub(super) async fn run_script(&self, script: Vec<String>) -> Result<(), StoreError> {
        self.uncancelled(RunScript(script)).await
    }

    pub(super) async fn read(
        &self,
        sql: Cow<'static, str>,
        params: Vec<Value>,
        class: Class,
    ) -> Result<Vec<Row>, StoreError> {
        postgres_reads::read(&self.pool, &self.turns, sql, params, class).await
    }

    pub(super) async fn prepare_only(&self, sql: String) -> Result<(), StoreError> {
        let mut loan = self.pool.lend().await?;
        loan.connection.prepare(&sql).await.map_err(refused)?;
        self.pool.give_back(loan);
        Ok(())
    }

    pub(super) fn cluster(&self) -> Option<String> {
        self.pool.cluster.get().cloned()
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Does a piece of work in a transaction on a connection of the pool.
async fn run<T>(pool: &Pool, work: impl Work<T>) -> Result<T, StoreError> {
    let mut loan = begun(pool).await?;
    let result = work.run(&mut loan).await;
    // Whatever went wrong, a connection inside a transaction isn't lent again; one in doubt is closed.
    let reusable = match &result {
        Ok(_) => true,
        Err(StoreError::OutcomeUnknown(_)) => false,
        Err(_) => loan.connection.client.batch_execute("ROLLBACK").await.is_ok(),
    };
    if reusable {
        pool.give_back(loan);
    }
    result
}

/// One piece of work on a lent connection.
trait Work<T>: Send + 'static {
    fn run(self, loan: &mut Loan) -> impl Future<Output = Result<T, StoreError>> + Send;
}

struct RunBatch(Arc<Batch>);
struct RunReturning(Statement);
struct RunScript(Vec<String>);

impl Work<()> for RunBatch {
    async fn run(self, loan: &mut Loan) -> Result<(), StoreError> {
        let connection = &mut loan.connection;
        for write in &self.0.writes {
            match write {
                Write::Statement(statement) => {
                    let touched = execute(connection, statement).await?;
                    if statement.expect == Expect::One && touched != 1 {
                        return Err(StoreError::Conflict);
                    }
                }
                Write::Bulk(bulk) => {
                    let prepared = connection
                        .prepare(&Engine::Postgres.bulk_insert(&bulk.into))
                        .await
                        .map_err(refused)?;
                    let arrays = arrays(bulk);
                    let arrays: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
                    connection.client.execute(&prepared, &arrays).await.map_err(refused)?;
                }
            }
        }
        commit(connection).await
    }
}

impl Work<Vec<Row>> for RunReturning {
    async fn run(self, loan: &mut Loan) -> Result<Vec<Row>, StoreError> {
        let connection = &mut loan.connection;
        let rows = read_rows(connection, self.0.sql, &self.0.params).await.map_err(refused)?;
        if self.0.expect == Expect::One && rows.len() != 1 {
            return Err(StoreError::Conflict);
        }
        commit(connection).await?;
        Ok(rows)
    }
}

impl Work<()> for RunScript {
    async fn run(self, loan: &mut Loan) -> Result<(), StoreError> {
        let connection = &mut loan.connection;
        // A step of a migration may take its time, and waits for the node that is at it already.
        let ready = format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        );
        connection.client.batch_execute(&ready).await.map_err(refused)?;
        for statements in &self.0 {
            connection.client.batch_execute(statements).await.map_err(refused)?;
        }
        commit(connection).await
    }
}

/// Sends a whole transaction, from BEGIN to COMMIT, without waiting for the answers in between: one way to the server
/// and back. For batches of which nothing has to be looked at before the commit.
async fn write_at_once(pool: &Pool, batch: &Batch) -> Result<(), StoreError> {
    let mut loan = pool.lend().await?;
    let connection = &mut loan.connection;
    connection.take_doubt();
    batch.point("begin");
    let mut statements = Vec::with_capacity(batch.writes.len());
    for write in &batch.writes {
        let prepared = match write {
            Write::Statement(statement) => connection.prepare(statement.sql).await,
            Write::Bulk(bulk) => connection.prepare(&Engine::Postgres.bulk_insert(&bulk.into)).await,
        };
        match prepared {
            Ok(prepared) => statements.push((prepared, parameters(write))),
            Err(error) => {
                // Nothing was begun. A connection that the server ended while it lay idle has company.
                pool.forget_idle();
                return Err(refused(error));
            }
        }
    }
    let client = &connection.client;
    let inserts =
        join_all(batch.writes.iter().zip(&statements).map(|(write, (prepared, values))| async move {
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            let done = client.execute(prepared, &values).await.map(drop);
            batch.point(write.name());
            done
        }));
    batch.point("commit.before");
    // Polled in this order, they are sent in this order.
    let (begun, inserted, committed) =
        tokio::join!(biased; client.batch_execute("BEGIN"), inserts, client.batch_execute("COMMIT"));
    batch.point("commit.after");
    let refusal = begun.err().into_iter().chain(inserted.into_iter().filter_map(Result::err)).next();
    let error = match (refusal, committed) {
        (None, Ok(())) if connection.take_doubt() => {
            return Err(StoreError::OutcomeUnknown(
                "PostgreSQL committed without knowing whether its standby has the data".into(),
            ));
        }
        (None, Ok(())) => {
            pool.give_back(loan);
            return Ok(());
        }
        (Some(error), _) | (None, Err(error)) => error,
    };
    if lost(&error, connection) || error.as_db_error().is_none() {
        // COMMIT may have arrived although no answer did.
        pool.forget_idle();
        return Err(StoreError::OutcomeUnknown(with_causes(&error)));
    }
    // The server lives and said no to one of them, so the COMMIT behind it was a ROLLBACK.
    pool.give_back(loan);
    Err(refused(error))
}

/// A parameter of a statement that is sent: one value, or all values of a column.
#[derive(Debug)]
enum Parameter<'a> {
    One(&'a Value),
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
}

fn parameters(write: &Write) -> Vec<Parameter<'_>> {
    match write {
        Write::Statement(statement) => statement.params.iter().map(Parameter::One).collect(),
        Write::Bulk(bulk) => arrays(bulk),
    }
}

/// The rows to insert, by column.
fn arrays(bulk: &Bulk) -> Vec<Parameter<'_>> {
    let rows = 0..bulk.rows.len();
    let column = |(column, (_, text)): (usize, &(&str, bool))| match text {
        true => Parameter::Texts(
            rows.clone()
                .map(|row| match bulk.rows.cell(row, column) {
                    Cell::Text(text) => Some(text),
                    Cell::Null | Cell::Int(_) => None,
                })
                .collect(),
        ),
        false => Parameter::Ints(
            rows.clone()
                .map(|row| match bulk.rows.cell(row, column) {
                    Cell::Int(n) => Some(n),
                    Cell::Null | Cell::Text(_) => None,
                })
                .collect(),
        ),
    };
    Engine::columns(&bulk.into).iter().enumerate().map(column).collect()
}

/// A connection with a transaction begun. One that the server has ended meanwhile is replaced: nothing has been
/// asked of it yet.
async fn begun(pool: &Pool) -> Result<Loan, StoreError> {
    for last_try in [false, true] {
        let loan = pool.lend().await?;
        loan.connection.take_doubt();
        match loan.connection.client.batch_execute("BEGIN").await {
            Ok(()) => return Ok(loan),
            Err(error) if last_try => return Err(StoreError::Unavailable(with_causes(&error))),
            Err(_) => pool.forget_idle(),
        }
    }
    Err(StoreError::Unavailable("the server ends its connections".into()))
}

/// Whether an error means that the connection is gone, rather than that the statement was refused.
pub(super) fn lost(error: &tokio_postgres::Error, connection: &Connection) -> bool {
    let ended = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    match error.code() {
        Some(code) => ended.contains(code),
        None => error.is_closed() || connection.client.is_closed(),
    }
}

async fn commit(connection: &mut Connection) -> Result<(), StoreError> {
    match connection.client.batch_execute("COMMIT").await {
        Ok(()) if connection.take_doubt() => Err(StoreError::OutcomeUnknown(
            "PostgreSQL committed without knowing whether its standby has the data".into(),
        )),
        Ok(()) => Ok(()),
        // Ended while it committed, perhaps after it had: PostgreSQL may even say why, and still have the data.
        Err(error) if lost(&error, connection) || error.as_db_error().is_none() => {
            Err(StoreError::OutcomeUnknown(with_causes(&error)))
        }
        // The server lives and says no: nothing was written.
        Err(error) => Err(refused(error)),
    }
}

async fn execute(connection: &mut Connection, statement: &Statement) -> Result<u64, StoreError> {
    let prepared = connection.prepare(statement.sql).await.map_err(refused)?;
    let params: Vec<&(dyn ToSql + Sync)> = statement.params.iter().map(|value| value as _).collect();
    connection.client.execute(&prepared, &params).await.map_err(refused)
}

pub(super) async fn read_rows(
    connection: &mut Connection,
    sql: &str,
    params: &[Value],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let prepared = connection.prepare(sql).await?;
    let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
    rows_of(&connection.client.query(&prepared, &params).await?)
}

/// Rows as they are told to whoever asked.
pub(super) fn rows_of(rows: &[tokio_postgres::Row]) -> Result<Vec<Row>, tokio_postgres::Error> {
    rows.iter()
        .map(|row| (0..row.len()).map(|i| row.try_get::<_, Value>(i)).collect::<Result<_, _>>().map(Row))
        .collect()
}

/// Sorts an error that came before COMMIT was sent: nothing was written.
pub(super) fn refused(error: tokio_postgres::Error) -> StoreError {
    let Some(reason) = error.as_db_error() else {
        return match error.is_closed() {
            true => StoreError::Unavailable(with_causes(&error)),
            false if error.to_string().contains("communicating") => {
                StoreError::Unavailable(with_causes(&error))
            }
            false => StoreError::Internal(with_causes(&error)),
        };
    };
    let code = reason.code();
    if code.code() == OUTDATED {
        return StoreError::Outdated;
    }
    if *code == SqlState::UNIQUE_VIOLATION {
        return StoreError::Taken(reason.constraint().unwrap_or_default().to_owned());
    }
    // Class 08 connection, 40 rolled back by the server, 53 no resources, 55P03 lock not had in time,
    // 57 taken down by the operator or by a time limit.
    let temporary = ["08", "40", "53", "57"].iter().any(|class| code.code().starts_with(class));
    if temporary || *code == SqlState::LOCK_NOT_AVAILABLE {
        return StoreError::Unavailable(reason.message().to_owned());
    }
    StoreError::Internal(format!("{} ({})", reason.message(), code.code()))
}

type Boxed = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(n) if *ty == Type::INT2 => i16::try_from(*n)?.to_sql(ty, out),
            Self::Int(n) if *ty == Type::INT4 => i32::try_from(*n)?.to_sql(ty, out),
            Self::Int(n) => n.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
        }
    }

    accepts!(INT2, INT4, INT8, TEXT, VARCHAR);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        Ok(match *ty {
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::BOOL => Self::Int(bool::from_sql(ty, raw)?.into()),
            _ => Self::Text(String::from_sql(ty, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Boxed> {
        Ok(Self::Null)
    }

    accepts!(INT2, INT4, INT8, BOOL, TEXT, VARCHAR, NAME);
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self {
            Self::One(value) => value.to_sql(ty, out),
            Self::Ints(values) => values.to_sql(ty, out),
            Self::Texts(values) => values.to_sql(ty, out),
        }
    }

    accepts!(INT2, INT4, INT8, TEXT, VARCHAR, INT8_ARRAY, TEXT_ARRAY);
    to_sql_checked!();
}
