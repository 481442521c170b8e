//! The nodes that run on the database: each says so now and then, and which step of the schema it knows.

use crate::db::{Batch, Row};
use crate::migrations::known_step;
use crate::{Db, Engine, StoreError};
use std::sync::Arc;
use watchpost_model::Timestamp;

/// How often a node says that it runs.
pub const NODE_SEEN_EVERY_SECONDS: i64 = 15;
/// One that was silent for so long counts as gone.
const SILENT_SECONDS: i64 = 4 * NODE_SEEN_EVERY_SECONDS;
/// And its row goes after so long.
const FORGOTTEN_SECONDS: i64 = 3_600;

const REPORT: &str =
    "INSERT INTO nodes (id, name, version, step, started_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
     ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at";
const FORGET: &str = "DELETE FROM nodes WHERE seen_at < ?1";
const FORGET_OTHERS: &str = "DELETE FROM nodes WHERE id <> ?1";
const LEAVE: &str = "DELETE FROM nodes WHERE id = ?1";
const LIST: &str = "SELECT id, name, version, step, started_at, seen_at FROM nodes WHERE seen_at >= ?1 ORDER BY started_at, id";
const LEAST_STEP: &str = "SELECT least_step FROM writers";

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What tells it from all others, its own earlier runs included.
    pub id: String,
    /// Its machine and address, for people.
    pub name: String,
    /// Its version of Watchpost.
    pub version: String,
    /// The newest step of the schema that it knows.
    pub step: i64,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last said that it runs.
    pub seen_at: Timestamp,
}

fn node(row: &Row) -> Result<Node, StoreError> {
    Ok(Node {
        id: row.text(0)?,
        name: row.text(1)?,
        version: row.text(2)?,
        step: row.int(3)?,
        started_at: Timestamp::from_micros(row.int(4)?),
        seen_at: Timestamp::from_micros(row.int(5)?),
    })
}

impl Node {
    /// A node of this binary that starts now.
    pub fn starting(id: String, name: String, version: &str, now: Timestamp) -> Self {
        Self { id, name, version: version.to_owned(), step: known_step(), started_at: now, seen_at: now }
    }
}

impl Db {
    /// Says that a node runs. On SQLite there is no other.
    pub async fn report_node(&self, node: &Node, now: Timestamp) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(
            REPORT,
            vec![
                node.id.as_str().into(),
                node.name.as_str().into(),
                node.version.as_str().into(),
                node.step.into(),
                node.started_at.micros().into(),
                now.micros().into(),
            ],
        );
        match self.engine() {
            Engine::Sqlite => batch.any(FORGET_OTHERS, vec![node.id.as_str().into()]),
            Engine::Postgres => {
                batch.any(FORGET, vec![now.plus_seconds(-FORGOTTEN_SECONDS).micros().into()]);
            }
        }
        self.write(Arc::new(batch)).await
    }

    /// Says that a node stops.
    pub async fn forget_node(&self, node: &Node) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(LEAVE, vec![node.id.as_str().into()]);
        self.write(Arc::new(batch)).await
    }

    /// The nodes that run, oldest first.
    pub async fn nodes(&self, now: Timestamp) -> Result<Vec<Node>, StoreError> {
        let since = match self.engine() {
            Engine::Sqlite => 0,
            Engine::Postgres => now.plus_seconds(-SILENT_SECONDS).micros(),
        };
        self.read(LIST, vec![since.into()]).await?.iter().map(node).collect()
    }

    /// The step that nodes have to know to be let write.
    pub async fn least_step(&self) -> Result<i64, StoreError> {
        match self.engine() {
            Engine::Sqlite => Ok(0),
            Engine::Postgres => self.read_one(LEAST_STEP, vec![]).await?.ok_or(StoreError::NotFound)?.int(0),
        }
    }
}
