//! Counts that are kept in the transaction that changes what they count.

use crate::db::{Batch, Value};
use crate::{Db, StoreError};
use watchpost_model::{Severity, Status};

const ADD: &str = "INSERT INTO counters (name, lane, n) VALUES (?1, ?2, ?3)
     ON CONFLICT (name, lane) DO UPDATE SET n = counters.n + excluded.n";

const READ: &str =
    "SELECT name, CAST(SUM(n) AS BIGINT) FROM counters WHERE name >= ?1 AND name < ?2 GROUP BY name";

const READ_ACCESS: &str = "SELECT n FROM counters WHERE name = 'access.changes' AND lane = 0";

const BUMP_ACCESS: &str = "UPDATE counters SET n = n + 1 WHERE name = 'access.changes' AND lane = 0";

fn alert_counter(status: Status, severity: Severity) -> String {
    format!("alerts.{status}.{severity}")
}

impl Batch {
    pub(crate) fn count_events(&mut self, lane: i64, severity: Severity, delta: i64) {
        self.add(format!("events.{severity}"), lane, delta);
    }

    pub(crate) fn count_alerts(&mut self, lane: i64, status: Status, severity: Severity, delta: i64) {
        self.add(alert_counter(status, severity), lane, delta);
    }

    fn add(&mut self, name: String, lane: i64, delta: i64) {
        if delta != 0 {
            self.any(ADD, vec![name.into(), lane.into(), delta.into()]);
        }
    }

    /// Says that who may do what has changed: caches on every node look at this number. It comes first in its
    /// batch: the row's lock makes such changes wait for each other on PostgreSQL too.
    pub(crate) fn access_changed(&mut self) {
        self.one(BUMP_ACCESS, vec![]);
    }
}

/// How many alerts there are, by where they stand and how bad they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertCounts {
    counts: Vec<(Status, Severity, i64)>,
}

impl AlertCounts {
    /// The sum over these statuses and severities; an empty list means all of them.
    pub fn sum(&self, statuses: &[Status], severities: &[Severity]) -> i64 {
        let wanted = |status: &Status, severity: &Severity| {
            (statuses.is_empty() || statuses.contains(status))
                && (severities.is_empty() || severities.contains(severity))
        };
        self.counts.iter().filter(|(st, sev, _)| wanted(st, sev)).map(|(_, _, n)| n).sum()
    }
}

impl Db {
    async fn counters(&self, prefix: &str) -> Result<Vec<(String, i64)>, StoreError> {
        // '/' is the character after '.': the range holds every name that begins with the prefix and a dot.
        let params: Vec<Value> = vec![format!("{prefix}.").into(), format!("{prefix}/").into()];
        self.read(READ, params).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
    }

    /// How many alerts there are, exactly.
    pub async fn alert_counts(&self) -> Result<AlertCounts, StoreError> {
        let stored = self.counters("alerts").await?;
        let mut counts = Vec::new();
        for status in Status::ALL {
            for severity in Severity::ALL {
                let name = alert_counter(status, severity);
                let n = stored.iter().find(|(stored, _)| *stored == name).map_or(0, |(_, n)| *n);
                counts.push((status, severity, n));
            }
        }
        Ok(AlertCounts { counts })
    }

    /// How many events of these severities there are, exactly; an empty list means all.
    pub async fn event_count(&self, severities: &[Severity]) -> Result<i64, StoreError> {
        let stored = self.counters("events").await?;
        let wanted =
            |name: &str| severities.is_empty() || severities.iter().any(|s| name == format!("events.{s}"));
        Ok(stored.iter().filter(|(name, _)| wanted(name)).map(|(_, n)| n).sum())
    }

    /// A number that changes whenever a user or a key does, on whichever node.
    pub async fn access_changes(&self) -> Result<i64, StoreError> {
        self.read_one(READ_ACCESS, vec![]).await?.ok_or(StoreError::NotFound)?.int(0)
    }
}
