//! One suite for the store, on both engines: what one promises, the other promises as well.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod alerts;
mod audit;
mod engines;
mod explore;
mod feed;
mod handover;
mod ingest;
mod jobs;
mod lists;
mod migrations;
mod model;
mod once;
mod people;
mod sessions;
mod statements;
mod stats;
mod triage;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use watchpost_model::event::Origin;
use watchpost_model::text::Given;
use watchpost_model::triage::Action;
use watchpost_model::{
    Actor, AlertId, DetailsDraft, Event, EventDraft, EventId, NewEvent, Severity, Status, Timestamp, UserId,
};
use watchpost_store::{
    Acted, AuditEntry, Db, Ingest, Location, Names, NewAlert, PostgresOptions, StoreError, ingest,
};

/// Makes two tests of each case: one on SQLite, one on PostgreSQL.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { $crate::run($crate::Place::sqlite(), super::$name); })*
        }
        mod postgres {
            $(#[test] fn $name() { $crate::run($crate::Place::postgres(), super::$name); })*
        }
    };
}
pub(crate) use on_both_engines;

/// Where a database of one's own is.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) location: Location,
    /// Deleted when the last one goes.
    _folder: Option<Arc<TempDir>>,
    name: String,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let location = Location::Sqlite(folder.path().join("watchpost.db"));
        Self { location, _folder: Some(Arc::new(folder)), name: String::new() }
    }

    pub(crate) fn postgres() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("store_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        administer(&format!("CREATE DATABASE {name}"));
        Self { location: postgres_at(&format!("{}/{name}", base())), _folder: None, name }
    }

    /// The address of the database on PostgreSQL.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", base(), self.name)
    }

    pub(crate) async fn open(&self) -> Db {
        Db::open(&self.location).await.unwrap()
    }
}

pub(crate) fn base() -> String {
    std::env::var("WATCHPOST_TEST_POSTGRES")
        .expect("PostgreSQL is needed for this test: run `cargo xtask test`")
}

pub(crate) fn postgres_at(url: &str) -> Location {
    Location::Postgres(PostgresOptions { url: url.to_owned(), authority: None, connections: 6 })
}

/// Runs a statement as the owner of the cluster.
pub(crate) fn administer(statement: &str) {
    let statement = statement.to_owned();
    // A thread of its own: the caller may be inside a runtime.
    let done = std::thread::spawn(move || {
        runtime().block_on(async {
            let url = format!("{}/postgres", base());
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&statement).await.unwrap();
        });
    });
    done.join().unwrap();
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a case on a migrated database.
pub(crate) fn run<F: Future<Output = ()>>(place: Place, case: fn(Db, Place) -> F) {
    runtime().block_on(async {
        let db = place.open().await;
        db.migrate(at(0)).await.unwrap();
        case(db.clone(), place.clone()).await;
        db.close().await;
    });
    if !place.name.is_empty() {
        administer(&format!("DROP DATABASE {} WITH (FORCE)", place.name));
    }
}

/// A time so many seconds after one in November 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_795_000_000_000_000).plus_seconds(seconds)
}

fn actor(name: &str) -> Actor {
    Actor::User { id: UserId::new(1), name: name.to_owned() }
}

pub(crate) fn by(name: &str, seconds: i64) -> AuditEntry {
    AuditEntry::local(at(seconds), actor(name))
}

pub(crate) fn event(id: i64, severity: Severity, source: &str, kind: &str, description: &str) -> Event {
    let text = |text: &str| Given::Text(text.to_owned().into());
    let draft = EventDraft {
        source_name: text(source),
        event_type: text(kind),
        severity: text(severity.as_str()),
        description: text(description),
        details: DetailsDraft::default(),
    };
    stored(&draft, id)
}

/// The event that a draft becomes under an id; the larger the id, the later it came in.
pub(crate) fn stored(draft: &EventDraft<'_>, id: i64) -> Event {
    NewEvent::check(draft).unwrap().stored(EventId::new(id), at(id), Origin::User(UserId::new(1)))
}

/// Moves an alert to a status, as the plain change does.
pub(crate) async fn move_to(
    db: &Db,
    id: AlertId,
    to: Status,
    version: Option<i64>,
    by: &AuditEntry,
) -> Result<Acted, StoreError> {
    db.act(id, &Action::Move(to, None), "", version, by).await
}

/// Stores events; those of HIGH and CRITICAL raise an alert with the event's number.
pub(crate) async fn store(db: &Db, events: &[Event]) -> Result<(), StoreError> {
    let raises = |event: &&Event| event.severity >= Severity::High;
    let alert = |event: &Event| NewAlert {
        id: AlertId::new(event.id.get()),
        event: event.id,
        rule: "builtin.severity".into(),
    };
    let alerts = events.iter().filter(raises).map(alert).collect();
    let content = Ingest { events: Arc::new(events.to_vec()), alerts, pieces: Vec::new(), late: false };
    db.write(Arc::new(ingest(db.engine(), content, &mut Names::default(), 0))).await
}
