//! Which cluster of PostgreSQL the feed was written in. Its order is that of transaction numbers, and those mean nothing
//! in another cluster: after a dump was restored there, entries with larger numbers would be told of again when the
//! cluster comes to them, and entries with smaller ones would lie before what readers have seen.
//!
//! So each start looks whether the database is still where the feed was written. If it isn't, the feed begins anew: its
//! entries are forgotten, and it becomes another generation, whose number is part of every place in it. Readers who come
//! with a place of an earlier one are told to load everything again. What indexing still has to do goes by ids, not by
//! transactions, and is as good there as it was.

use crate::{Db, StoreError};

/// The table, on PostgreSQL alone.
pub(crate) const TABLE: &str = "
CREATE TABLE feed_origin (one BIGINT PRIMARY KEY, cluster TEXT NOT NULL, generation BIGINT NOT NULL);
INSERT INTO feed_origin (one, cluster, generation) VALUES (1, '', 0);";

// An entry that the cluster hasn't come to yet shows that the feed isn't its own, wherever it says it is from.
const STATE: &str = "SELECT o.cluster, o.generation, COALESCE((SELECT MAX(f.xact) FROM feed f)
        >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT), FALSE)
     FROM feed_origin o";
/// Nodes that start together find it done by the first.
const BEGIN_ANEW: [&str; 2] = [
    "DELETE FROM feed WHERE EXISTS (SELECT 1 FROM feed_origin WHERE generation = {seen})",
    "UPDATE feed_origin SET cluster = '{here}', generation = CAST(1 + floor(random() * 2000000000) AS BIGINT)
     WHERE generation = {seen}",
];
const SETTLE: &str = "UPDATE feed_origin SET cluster = '{here}' WHERE cluster = ''";

impl Db {
    /// Has the feed begin anew where the database was moved to another cluster; to be called on start, before anybody
    /// follows it. Whether it did.
    pub async fn settle_feed(&self) -> Result<bool, StoreError> {
        let Some(here) = self.cluster() else { return Ok(false) };
        let mut began = false;
        loop {
            let row = self.read_one(STATE, vec![]).await?.ok_or(StoreError::NotFound)?;
            let (cluster, generation, ahead) = (row.text(0)?, row.int(1)?, row.int(2)? != 0);
            let fill = |sql: &str| sql.replace("{here}", &here).replace("{seen}", &generation.to_string());
            match cluster.as_str() {
                own if own == here && !ahead => {
                    self.set_feed_generation(generation);
                    return Ok(began);
                }
                "" if !ahead => self.run_script(vec![fill(SETTLE)]).await?,
                _ => {
                    began = true;
                    self.run_script(BEGIN_ANEW.map(fill).to_vec()).await?;
                }
            }
        }
    }
}
