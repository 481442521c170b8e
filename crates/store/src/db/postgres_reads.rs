//! Reading from PostgreSQL: heavy reads hold a part of the connections at most, and are ended by the server when they
//! take too long or nobody waits for them any more.

use super::class::{Class, Turn, Turns, time_limit};
use super::pool::{Connection, Pool};
use super::postgres::{lost, read_rows, refused, rows_of};
use super::statement::{Row, Value};
use crate::{StoreError, faults};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::CancelToken;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

/// Of so many connections heavy reads hold one at a time at most.
const SHARE: usize = 4;
/// More heavy reads at once only slow each other down.
const MOST: usize = 8;
/// How much longer than its limit a heavy read is waited for, before the connection counts as lost.
const ANSWER: Duration = Duration::from_secs(5);
/// A statement that never ends, for tests.
const ENDLESS: &str = "SELECT 1 FROM pg_sleep(3600)";

/// How many heavy reads there may be at once with so many connections.
pub(super) fn turns(connections: usize) -> Turns {
    Turns::new((connections / SHARE).clamp(1, MOST))
}

/// Ends the statement of a connection that is left in the middle of it. The server would go on otherwise.
struct Abandoned {
    pool: Arc<Pool>,
    token: Option<CancelToken>,
    /// Others wait until it has ended.
    turn: Option<Turn>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let (pool, turn) = (self.pool.clone(), self.turn.take());
        if let (Some(token), Ok(runtime)) = (self.token.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                pool.cancel(token).await;
                drop(turn);
            });
        }
    }
}

pub(super) async fn read(
    pool: &Arc<Pool>,
    turns: &Turns,
    sql: Cow<'static, str>,
    params: Vec<Value>,
    class: Class,
) -> Result<Vec<Row>, StoreError> {
    let mut turn = match class {
        Class::Light => None,
        Class::Heavy => Some(turns.take().await?),
    };
    for last_try in [false, true] {
        let mut loan = pool.lend().await?;
        let found = match turn.take() {
            None => read_rows(&mut loan.connection, &sql, &params).await,
            Some(own) => {
                let token = Some(loan.connection.client.cancel_token());
                let mut abandoned = Abandoned { pool: pool.clone(), token, turn: Some(own) };
                let reading = heavy_rows(&mut loan.connection, &sql, &params);
                let found = tokio::time::timeout(time_limit() + ANSWER, reading).await;
                // No answer at all: the connection is closed, and what it does ended.
                let Ok(found) = found else { return Err(StoreError::TooLong) };
                abandoned.token = None;
                turn = abandoned.turn.take();
                found
            }
        };
        match found {
            Ok(rows) => {
                pool.give_back(loan);
                return Ok(rows);
            }
            // The server was restarted while connections lay idle: a read may simply be asked again.
            Err(error) if lost(&error, &loan.connection) && !last_try => {
                drop(loan);
                pool.forget_idle();
            }
            Err(error) => {
                if !lost(&error, &loan.connection) {
                    pool.give_back(loan);
                }
                let ended = error.code() == Some(&SqlState::QUERY_CANCELED) && class == Class::Heavy;
                return Err(if ended { StoreError::TooLong } else { refused(error) });
            }
        }
    }
    Err(StoreError::Unavailable("the server ends its connections".into()))
}

/// The rows of a statement that is given less time than others. The limit is sent with it, and taken back behind it.
async fn heavy_rows(
    connection: &mut Connection,
    sql: &str,
    params: &[Value],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let held = faults::held("heavy", 0);
    let prepared = connection.prepare(if held { ENDLESS } else { sql }).await?;
    let params: Vec<&(dyn ToSql + Sync)> = match held {
        true => Vec::new(),
        false => params.iter().map(|value| value as _).collect(),
    };
    let (client, limit) = (&connection.client, time_limit().as_millis());
    let limit = format!("SET statement_timeout = {limit}");
    // Polled in this order, they are sent in this order.
    let (limited, found, freed) = tokio::join!(
        biased;
        client.batch_execute(&limit),
        client.query(&prepared, &params),
        client.batch_execute(super::pool::STATEMENT_LIMIT)
    );
    limited?;
    let found = found?;
    freed?;
    rows_of(&found)
}
