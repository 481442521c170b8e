//! Which database a search index goes on with. On SQLite the index lies in a file of its own, so that one of the two can
//! be replaced without the other: by a backup, or by what belongs to another installation.
//!
//! Each run of the server that indexes leaves a random token in the database, and then in the index. An index is one of a
//! database whose tokens include the index's: a database from before that run, or of another installation, has never had it.

use crate::db::Batch;
use crate::{Db, StoreError, faults};
use std::sync::Arc;

/// The table, on SQLite alone: on PostgreSQL the index lies beside the data, in the same transactions.
pub(crate) const TABLE: &str =
    "CREATE TABLE lineage (number INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL) STRICT;";
/// Runs that are remembered. An index that stood still for longer is made anew.
const FORGET: &str = "DELETE FROM lineage WHERE number <= (SELECT MAX(number) FROM lineage) - 1000";
const ADD: &str = "INSERT INTO lineage (token) VALUES (lower(hex(randomblob(16))))";
const NEWEST: &str = "SELECT token FROM lineage ORDER BY number DESC LIMIT 1";
const JOIN: &str = "UPDATE search_origin SET token = ?1";
const DISOWN: &str = "DELETE FROM lineage";

impl Db {
    /// Lets the index go on with this database, once a run and before anything is indexed.
    pub(crate) async fn join_index(&self) -> Result<(), StoreError> {
        if self.index_has_joined() || faults::mutant("index_unbound") {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.any(ADD, vec![]);
        batch.any(FORGET, vec![]);
        self.write(Arc::new(batch)).await?;
        let token = self.read_one(NEWEST, vec![]).await?.ok_or(StoreError::NotFound)?.text(0)?;
        let mut batch = Batch::new();
        batch.one(JOIN, vec![token.into()]);
        self.write_index(Arc::new(batch)).await?;
        self.set_index_joined();
        Ok(())
    }

    /// Has the index made anew at the next start: the disk failed under it.
    pub(crate) async fn disown_index(&self) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(DISOWN, vec![]);
        self.write(Arc::new(batch)).await
    }
}
