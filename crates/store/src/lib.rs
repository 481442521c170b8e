//! What is remembered: the only crate of Watchpost that contains SQL.
//!
//! One SQL text serves both engines. A write is data, a [`Batch`] of statements that is carried out in
//! one transaction or not at all; nobody outside this crate holds a transaction open. A read is one
//! statement and its rows.

mod alert_list;
mod alert_ranges;
mod alerts;
mod attempts;
mod audit;
mod audit_keys;
mod audit_seals;
mod clauses;
mod confirm;
mod counters;
mod db;
mod error;
mod event_list;
mod events;
mod facets;
mod factors;
#[doc(hidden)]
pub mod faults;
mod feed;
mod feed_origin;
mod groups;
mod handover;
mod histogram;
mod ids;
mod index;
mod indexed;
mod job_bounds;
mod jobs;
mod keys;
mod late;
mod lineage;
mod migrations;
mod nodes;
mod once;
mod partitions;
mod rollups;
mod sessions;
mod shards;
mod stats;
mod triage;
mod trusted;
mod users;
mod views;
mod walk;

pub use alerts::{ByHand, NewAlert, raise_by_hand};
pub use attempts::Patience;
pub use audit::{AuditEntry, AuditFilter, AuditHead, AuditProof, AuditRow};
pub use audit_keys::{AuditKeys, seal_audit_log_with};
pub use audit_seals::{KnownSeal, Sealing};
pub use counters::AlertCounts;
pub use db::{Batch, Db, Engine, HEAVY_TIME_LIMIT, Health, Location, PostgresOptions};
pub use error::{StoreError, Whose};
#[doc(hidden)]
pub use events::ingest_apart;
pub use events::{Ingest, ingest};
pub use facets::{Facet, Facets};
pub use factors::NewFactor;
pub use feed::{FEED_KEPT_SECONDS, FeedEntry, FeedPlace};
pub use groups::{Group, GroupFilter, GroupOrder};
pub use handover::{Deeds, Handover, Told};
pub use histogram::{Counts, Effort, Histogram, Steps};
pub use ids::{Ahead, IdKind, MAX_AHEAD_COUNTED};
pub use index::{ROUND_TEXTS, Round};
pub use job_bounds::{MAX_JOBS, MAX_JOBS_OF_USER, MAX_SMALL_JOBS_OF_USER};
pub use jobs::{Doing, Job, JobResult, NewJob, NewUndo, Outcome, UNDO_SECONDS};
pub use keys::KeyRecord;
#[doc(hidden)]
pub use migrations::known_step;
pub use migrations::{LATEST, Pending};
pub use nodes::{NODE_SEEN_EVERY_SECONDS, Node};
pub use once::Piece;
pub use partitions::Misplaced;
pub use rollups::{MAX_NAMES, MINUTES_OF_NAMES_KEPT, Names, Series};
pub use sessions::{FactorShown, Rotation, Session, SessionFilter, SessionKind};
pub use stats::{Bucket, Durations};
pub use triage::{Acted, Deed};
pub use trusted::TrustedTime;
pub use users::{Credentials, Factor, NewAccount, NewPassword, UserChange, UserFilter};

/// For the suites that prove both engines alike: what only they need to reach.
#[doc(hidden)]
pub mod testing {
    use crate::clauses::Start;
    use watchpost_model::filter::{AlertFilter, EventFilter};
    use watchpost_model::page::{Cursor, Page, PageRequest};
    use watchpost_model::{Alert, Event};

    fn start(cursor: Option<Cursor>) -> Start {
        Start { cursor, skip: 0, rows: 11 }
    }

    /// The statement that a list of alerts becomes that needs no search index.
    pub fn alert_statement(db: &crate::Db, filter: &AlertFilter, cursor: Option<Cursor>) -> String {
        let severities =
            crate::alert_ranges::Severities::alike(filter).expect("suites ask for what there can be");
        crate::alert_ranges::ranges_sql(db, filter, &severities, start(cursor)).0
    }

    /// The statement that a list of events becomes that needs no search index.
    pub fn event_statement(db: &crate::Db, filter: &EventFilter, cursor: Option<Cursor>) -> String {
        crate::event_list::ranges_sql(db, filter, crate::events::EVENT_COLUMNS, start(cursor)).0
    }

    /// A page of events for which so many are looked at when some are left out.
    pub async fn events_among(
        db: &crate::Db,
        filter: &EventFilter,
        request: PageRequest,
        looked_at: i64,
    ) -> Result<Page<Event>, crate::StoreError> {
        db.events_among(filter, request, looked_at).await
    }

    /// A page of alerts for which so many are looked at when some are left out.
    pub async fn alerts_among(
        db: &crate::Db,
        filter: &AlertFilter,
        request: PageRequest,
        looked_at: i64,
    ) -> Result<Page<Alert>, crate::StoreError> {
        db.alerts_among(filter, request, looked_at).await
    }

    /// The statements that a handover reads large tables with.
    pub fn handover_statements() -> [&'static str; 7] {
        crate::handover::STATEMENTS
    }

    /// Brings a database only as far as an older Watchpost did.
    pub async fn migrate_to(
        db: &crate::Db,
        step: i64,
        now: watchpost_model::Timestamp,
    ) -> Result<(), crate::StoreError> {
        db.migrate_to(step, now).await.map(drop)
    }

    /// Lets the search index begin a new shard after so few texts.
    pub fn small_shards(texts: i64) {
        crate::index::SHARD_LIMIT.store(texts, std::sync::atomic::Ordering::Relaxed);
    }

    /// Brings the search index up to date.
    pub async fn index_all(db: &crate::Db) -> Result<(), crate::StoreError> {
        while db.index_round().await?.more {}
        Ok(())
    }

    /// Asks an engine to prepare a statement without running it.
    pub async fn prepare(db: &crate::Db, sql: &str) -> Result<(), crate::StoreError> {
        db.prepare_only(sql.to_owned()).await
    }

    /// Runs a statement as it is, for suites that spoil a database on purpose.
    pub async fn run(db: &crate::Db, sql: &str) -> Result<(), crate::StoreError> {
        db.run_script(vec![sql.to_owned()]).await
    }

    /// Computes the chain of the audit log anew, as whoever holds the database can.
    pub async fn compute_audit_chain_anew(db: &crate::Db) -> Result<(), crate::StoreError> {
        crate::audit::compute_anew(db).await
    }

    /// How SQLite would go about a statement, line by line. Parameters are taken for their numbers.
    pub async fn plan(db: &crate::Db, sql: &str) -> Result<Vec<String>, crate::StoreError> {
        let rows = db.read(format!("EXPLAIN QUERY PLAN {}", sql.replace('?', "")), Vec::new()).await?;
        rows.iter().map(|row| row.text(3)).collect()
    }
}
