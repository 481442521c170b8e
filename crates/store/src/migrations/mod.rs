//! The steps that bring a database to the shape this binary needs, one file a step for both engines.

mod indexes;
pub(crate) mod writers;

use crate::audit::sha256_hex;
use crate::db::Engine;
use crate::{Db, StoreError, faults};
use watchpost_model::Timestamp;

struct Step {
    number: i64,
    name: &'static str,
    text: &'static str,
}

impl Step {
    /// All that is run for it, in one transaction, with the row that records it.
    fn script(&self, engine: Engine, now: Timestamp) -> Vec<String> {
        let record = format!(
            "INSERT INTO schema_migrations (version, name, hash, applied_at) VALUES ({}, '{}', '{}', {})",
            self.number,
            self.name,
            sha256_hex(self.text),
            now.micros()
        );
        let guarded = WRITERS_MUST_KNOW.contains(&self.name);
        let mut script = vec![engine.migration(RECORD_TABLE), record];
        script.extend(writers::before(engine).filter(|_| guarded));
        script.push(engine.migration(self.text));
        script.extend(writers::behind(engine, self.number).filter(|_| guarded));
        script
    }
}

/// In order; a step that was released is never edited: its hash is checked.
const STEPS: &[Step] = &[
    Step { number: 1, name: "house", text: include_str!("0001_house.sql") },
    Step { number: 2, name: "speed", text: include_str!("0002_speed.sql") },
    Step { number: 3, name: "identity", text: include_str!("0003_identity.sql") },
    Step { number: 4, name: "triage", text: include_str!("0004_triage.sql") },
    Step { number: 5, name: "jobs", text: include_str!("0005_jobs.sql") },
    Step { number: 6, name: "groups", text: include_str!("0006_groups.sql") },
    Step { number: 7, name: "teamwork", text: include_str!("0007_teamwork.sql") },
    Step { number: 8, name: "people", text: include_str!("0008_people.sql") },
    Step { number: 9, name: "proofs", text: include_str!("0009_proofs.sql") },
    Step { number: 10, name: "bounds", text: include_str!("0010_bounds.sql") },
    Step { number: 11, name: "undone", text: include_str!("0011_undone.sql") },
    Step { number: 12, name: "lineage", text: include_str!("0012_lineage.sql") },
    Step { number: 13, name: "seals", text: include_str!("0013_seals.sql") },
    Step { number: 14, name: "clock", text: include_str!("0014_clock.sql") },
    Step { number: 15, name: "nodes", text: include_str!("0015_nodes.sql") },
];

/// Steps without which a node leaves something out when it writes: one that doesn't know them is refused from then on,
/// see [`writers`].
const WRITERS_MUST_KNOW: &[&str] = &["nodes"];

/// The newest step this binary knows.
pub const LATEST: i64 = STEPS[STEPS.len() - 1].number;

/// The newest step this node says it knows; a test has it be an older one.
pub fn known_step() -> i64 {
    faults::number("FAULT_KNOWN_STEP", LATEST)
}

const RECORD_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (version {int} NOT NULL PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, applied_at {int} NOT NULL)";

/// A step that hasn't been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub number: i64,
    /// What it is called.
    pub name: &'static str,
}

impl Db {
    async fn applied(&self) -> Result<Vec<(i64, String)>, StoreError> {
        let exists = match self.engine() {
            Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE name = 'schema_migrations'",
            Engine::Postgres => {
                "SELECT tablename FROM pg_tables WHERE tablename = 'schema_migrations' AND schemaname = current_schema()"
            }
        };
        if self.read_one(exists, vec![]).await?.is_none() {
            return Ok(Vec::new());
        }
        let sql = "SELECT version, hash FROM schema_migrations ORDER BY version";
        self.read(sql, vec![]).await?.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
    }

    /// Whether there is nothing in the database, not even a table of somebody else.
    pub async fn is_bare(&self) -> Result<bool, StoreError> {
        let any = match self.engine() {
            Engine::Sqlite => "SELECT name FROM sqlite_schema LIMIT 1",
            Engine::Postgres => "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LIMIT 1",
        };
        Ok(self.read_one(any, vec![]).await?.is_none())
    }

    /// Whether Watchpost has made its tables here.
    pub async fn is_ours(&self) -> Result<bool, StoreError> {
        Ok(self.applied_step().await? > 0)
    }

    /// The newest step in the database, 0 when it is empty.
    pub(crate) async fn applied_step(&self) -> Result<i64, StoreError> {
        Ok(self.applied().await?.last().map_or(0, |(number, _)| *number))
    }

    /// The steps that are missing, after checking that those applied are the ones this binary knows.
    pub async fn pending_migrations(&self) -> Result<Vec<Pending>, StoreError> {
        let applied = self.applied().await?;
        if let Some((found, _)) = applied.iter().find(|(number, _)| *number > LATEST) {
            return Err(StoreError::Newer { found: *found, known: LATEST });
        }
        for step in STEPS {
            let recorded = applied.iter().find(|(number, _)| *number == step.number);
            if let Some((number, recorded)) = recorded
                && *recorded != sha256_hex(step.text)
            {
                return Err(StoreError::Unfit(format!(
                    "step {number} ({}) of the database was made by other text than this Watchpost's; restore a backup or ask before going on",
                    step.name
                )));
            }
        }
        let missing = |step: &&Step| !applied.iter().any(|(number, _)| *number == step.number);
        Ok(STEPS.iter().filter(missing).map(|s| Pending { number: s.number, name: s.name }).collect())
    }

    /// Applies what is missing and says what it did. Several nodes may do it at once.
    pub async fn migrate(&self, now: Timestamp) -> Result<Vec<Pending>, StoreError> {
        let pending = self.migrate_to(LATEST, now).await?;
        self.build_indexes().await?;
        Ok(pending)
    }

    /// Applies the steps that are missing up to one.
    pub(crate) async fn migrate_to(&self, last: i64, now: Timestamp) -> Result<Vec<Pending>, StoreError> {
        let mut pending = self.pending_migrations().await?;
        pending.retain(|step| step.number <= last);
        for step in STEPS.iter().filter(|step| pending.iter().any(|p| p.number == step.number)) {
            match self.run_script(step.script(self.engine(), now)).await {
                // Another node recorded the step first, which is as good.
                Ok(()) | Err(StoreError::Taken(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.prepare_partitions(now).await?;
        Ok(pending)
    }
}
