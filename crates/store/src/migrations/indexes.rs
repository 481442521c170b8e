//! Indexes of tables that grow large. They are built after the steps, without holding up writers on PostgreSQL, and
//! looked for on every start: one whose building was interrupted is built again.

use crate::db::Engine;
use crate::{Db, StoreError};
use std::time::Duration;

struct Index {
    name: &'static str,
    table: &'static str,
    /// With `{folded:column}` as in the steps.
    columns: &'static str,
    /// The rows that are in it; empty for all.
    only: &'static str,
}

const INDEXES: &[Index] = &[
    Index { name: "events_severity", table: "events", columns: "severity, id", only: "" },
    Index {
        name: "alerts_source_place",
        table: "alerts",
        columns: "{folded:source_name}, status, severity, created_at, id",
        only: "",
    },
    Index {
        name: "alerts_type_place",
        table: "alerts",
        columns: "{folded:event_type}, status, severity, created_at, id",
        only: "",
    },
    // Few alerts are somebody's, put off or judged: their indexes hold only those.
    Index {
        name: "alerts_assignee",
        table: "alerts",
        columns: "assignee_id, created_at, id",
        only: "assignee_id IS NOT NULL",
    },
    Index {
        name: "alerts_verdict",
        table: "alerts",
        columns: "verdict, created_at, id",
        only: "verdict IS NOT NULL",
    },
    Index {
        name: "alerts_snoozed",
        table: "alerts",
        columns: "snoozed_until",
        only: "snoozed_until IS NOT NULL",
    },
    Index {
        name: "alerts_rated",
        table: "alerts",
        columns: "event_severity, created_at, id",
        only: "event_severity IS NOT NULL",
    },
    // What was undone counts nowhere.
    Index {
        name: "alert_history_counted",
        table: "alert_history",
        columns: "at, alert_id, version",
        only: "undone IS NULL",
    },
];

impl Index {
    /// What stands behind the table's name.
    fn on(&self, engine: Engine) -> String {
        let columns = engine.migration(self.columns);
        match self.only {
            "" => format!("({columns})"),
            only => format!("({columns}) WHERE {only}"),
        }
    }
}

/// Between two looks whether another node has finished.
const PAUSE: Duration = Duration::from_millis(50);

const PARTITIONS: &str = "SELECT CAST(c.relname AS TEXT) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST('events' AS regclass) ORDER BY 1";

const HAS_INDEX: &str = "SELECT CASE WHEN x.indisvalid THEN 1 ELSE 0 END FROM pg_class c JOIN pg_index x ON x.indexrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE CAST(c.relname AS TEXT) = ?1 AND n.nspname = current_schema()";

impl Db {
    pub(super) async fn build_indexes(&self) -> Result<(), StoreError> {
        for index in INDEXES {
            let columns = index.on(self.engine());
            match (self.engine(), index.table) {
                (Engine::Sqlite, table) => {
                    let name = index.name;
                    self.run_script(vec![format!("CREATE INDEX IF NOT EXISTS {name} ON {table} {columns}")])
                        .await?;
                }
                (Engine::Postgres, "events") => self.build_partitioned(index.name, &columns).await?,
                (Engine::Postgres, table) => self.build_beside(index.name, table, &columns).await?,
            }
        }
        Ok(())
    }

    /// Whether an index is there and whole.
    async fn is_whole(&self, name: &str) -> Result<Option<bool>, StoreError> {
        let found = self.read_one(HAS_INDEX, vec![name.into()]).await?;
        found.map(|row| Ok(row.int(0)? == 1)).transpose()
    }

    /// Builds an index while others write to the table.
    async fn build_beside(&self, name: &str, table: &str, columns: &str) -> Result<(), StoreError> {
        loop {
            let mut statements =
                vec![format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {columns}")];
            match self.is_whole(name).await? {
                Some(true) => return Ok(()),
                // Its building was interrupted, or another node is at it: then this one doesn't get to it.
                Some(false) => statements.insert(0, format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")),
                None => {}
            }
            match self.run_outside(statements).await {
                Ok(()) | Err(StoreError::Conflict) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// As before for the table in partitions, where the parts are built one by one and then put together.
    async fn build_partitioned(&self, name: &str, columns: &str) -> Result<(), StoreError> {
        if self.is_whole(name).await? == Some(true) {
            return Ok(());
        }
        self.run_script(vec![format!("CREATE INDEX IF NOT EXISTS {name} ON ONLY events {columns}")]).await?;
        for row in self.read(PARTITIONS, vec![]).await? {
            let partition = row.text(0)?;
            let part = format!("{partition}_{}", name.trim_start_matches("events_"));
            self.build_beside(&part, &partition, columns).await?;
            self.run_script(vec![format!("ALTER INDEX {name} ATTACH PARTITION {part}")]).await?;
        }
        Ok(())
    }
}
