//! What is remembered: the only crate of Watchpost that contains SQL.
//!
//! One SQL text serves both engines. A write is data, a [`Batch`] of statements that is carried out in
//! one transaction or not at all; nobody outside this crate holds a transaction open. A read is one
//! statement and its rows.

mod alerts;
mod audit;
mod counters;
mod db;
mod error;
mod events;
mod ids;
mod keys;
mod migrations;
mod search;
mod sessions;
mod tokens;
mod users;

pub use alerts::{Changed, NewAlert};
pub use audit::{AuditEntry, AuditRow};
pub use counters::AlertCounts;
pub use db::{Batch, Db, Engine, Health, Location, PostgresOptions};
pub use error::StoreError;
pub use events::ingest;
pub use ids::IdKind;
pub use keys::KeyRecord;
pub use migrations::{LATEST, Pending};
pub use sessions::SessionRecord;
pub use tokens::{RefreshGrant, Rotation};
pub use users::{Credentials, UserChange};

/// For the suites that prove both engines alike: what only they need to reach.
#[doc(hidden)]
pub mod testing {
    use watchpost_model::filter::{AlertFilter, EventFilter};

    /// The list and the count that a filter of alerts becomes.
    pub fn alert_statements(engine: crate::Engine, filter: &AlertFilter) -> [String; 2] {
        let (list, count, _) = crate::search::alert_list_sql(engine, filter);
        [list, count]
    }

    /// The list and the count that a filter of events becomes.
    pub fn event_statements(engine: crate::Engine, filter: &EventFilter) -> [String; 2] {
        let (list, count, _) = crate::search::event_list_sql(engine, filter);
        [list, count]
    }

    /// Asks an engine to prepare a statement without running it.
    pub async fn prepare(db: &crate::Db, sql: &str) -> Result<(), crate::StoreError> {
        db.prepare_only(sql.to_owned()).await
    }

    /// Runs a statement as it is, for suites that spoil a database on purpose.
    pub async fn run(db: &crate::Db, sql: &str) -> Result<(), crate::StoreError> {
        db.run_script(vec![sql.to_owned()]).await
    }

    /// How SQLite would go about a statement, line by line. Parameters are taken for their numbers.
    pub async fn plan(db: &crate::Db, sql: &str) -> Result<Vec<String>, crate::StoreError> {
        let rows = db.read(format!("EXPLAIN QUERY PLAN {}", sql.replace('?', "")), Vec::new()).await?;
        rows.iter().map(|row| row.text(3)).collect()
    }
}
