//! How many there are, exactly, from counts that are kept in the transaction that changes what they count.

use crate::db::Batch;
use crate::rollups::{Series, alert_value};
use crate::{Db, StoreError};
use watchpost_model::{Severity, Status};

const READ_ACCESS: &str = "SELECT n FROM counters WHERE name = 'access.changes' AND lane = 0";

const BUMP_ACCESS: &str = "UPDATE counters SET n = n + 1 WHERE name = 'access.changes' AND lane = 0";

impl Batch {
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

fn of(totals: &[(String, i64)], value: &str) -> i64 {
    totals.iter().find(|(found, _)| found == value).map_or(0, |(_, n)| *n)
}

impl Db {
    /// How many alerts there are, exactly.
    pub async fn alert_counts(&self) -> Result<AlertCounts, StoreError> {
        let totals = self.totals(Series::Alerts).await?;
        let mut counts = Vec::new();
        for status in Status::ALL {
            for severity in Severity::ALL {
                counts.push((status, severity, of(&totals, &alert_value(status, severity))));
            }
        }
        Ok(AlertCounts { counts })
    }

    /// How many events of these severities there are, exactly; an empty list means all.
    pub async fn event_count(&self, severities: &[Severity]) -> Result<i64, StoreError> {
        let totals = self.totals(Series::EventSeverity).await?;
        let wanted = |severity: &Severity| severities.is_empty() || severities.contains(severity);
        let wanted = Severity::ALL.into_iter().filter(wanted);
        Ok(wanted.map(|severity| of(&totals, &severity.code().to_string())).sum())
    }

    /// A number that changes whenever a user or a key does, on whichever node.
    pub async fn access_changes(&self) -> Result<i64, StoreError> {
        self.read_one(READ_ACCESS, vec![]).await?.ok_or(StoreError::NotFound)?.int(0)
    }
}
