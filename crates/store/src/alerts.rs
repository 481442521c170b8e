//! Alerts and their history.

use crate::audit::AuditEntry;
use crate::db::{Batch, Cell, Row, Rows, Table};
use crate::events::{EVENT_COLUMNS, event_at};
use crate::rollups::{Names, Tally};
use crate::{Db, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use watchpost_model::alert::StatusChange;
use watchpost_model::{Alert, AlertId, Event, EventId, Severity, Status, Timestamp};

static ALERTS: Table = Table {
    name: "alerts",
    columns: &[
        ("id", false),
        ("event_id", false),
        ("rule", true),
        ("source_name", true),
        ("event_type", true),
        ("severity", false),
        ("status", false),
        ("created_at", false),
        ("updated_at", false),
        ("version", false),
    ],
    on_conflict: "",
};

/// The columns of an alert without its event.
const OWN_COLUMNS: &str = "a.id, a.status, a.severity, a.rule, a.created_at, a.updated_at, a.acknowledged_at, a.resolved_at, a.version";
/// How many those are.
const OWN: usize = 9;

const CHANGE: &str = "UPDATE alerts SET status = ?1, updated_at = ?2, acknowledged_at = ?5, resolved_at = ?6, version = version + 1
     WHERE id = ?3 AND version = ?4";

const REMEMBER: &str = "INSERT INTO alert_history (alert_id, version, at, actor, from_status, to_status)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const HISTORY: &str =
    "SELECT at, actor, from_status, to_status FROM alert_history WHERE alert_id = ?1 ORDER BY version";

/// The lane of counts that people's changes go to: writers of events use their own.
const PEOPLE: i64 = -1;

/// How often a change that states no version is tried again when somebody else was quicker.
const TRIES: usize = 8;

/// An alert that an event raises.
#[derive(Clone, Debug)]
pub struct NewAlert {
    /// Its id.
    pub id: AlertId,
    /// The event that raised it, one of the same batch.
    pub event: EventId,
    /// The rule that raised it.
    pub rule: String,
}

/// An alert after somebody asked for a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now.
    pub alert: Alert,
    /// Where it stood before; the same as now when nothing had to change.
    pub from: Status,
}

struct AlertRows {
    events: Arc<Vec<Event>>,
    /// Each with the place of its event.
    alerts: Vec<(NewAlert, usize)>,
}

impl Rows for AlertRows {
    fn len(&self) -> usize {
        self.alerts.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let (alert, place) = &self.alerts[row];
        let event = &self.events[*place];
        match column {
            0 => Cell::Int(alert.id.get()),
            1 => Cell::Int(event.id.get()),
            2 => Cell::Text(&alert.rule),
            3 => Cell::Text(&event.source_name),
            4 => Cell::Text(&event.event_type),
            5 => Cell::Int(event.severity.code()),
            6 => Cell::Int(Status::Open.code()),
            7 | 8 => Cell::Int(event.created_at.micros()),
            _ => Cell::Int(1),
        }
    }
}

/// Adds alerts to the batch that stores their events.
pub(crate) fn raise(
    batch: &mut Batch,
    tally: &mut Tally,
    names: &mut Names,
    events: Arc<Vec<Event>>,
    alerts: Vec<NewAlert>,
) {
    if alerts.is_empty() {
        return;
    }
    let places: HashMap<EventId, usize> =
        events.iter().enumerate().map(|(place, event)| (event.id, place)).collect();
    let mut placed = Vec::with_capacity(alerts.len());
    for alert in alerts {
        let Some(&place) = places.get(&alert.event) else {
            debug_assert!(false, "alert {} names an event outside its batch", alert.id);
            continue;
        };
        let event = &events[place];
        tally.alert(event.created_at, (Status::Open, event.severity), names.of(event), 1);
        placed.push((alert, place));
    }
    batch.bulk(&ALERTS, AlertRows { events, alerts: placed });
}

/// The columns of an alert with its event, in the order they are read in.
pub(crate) fn alert_columns() -> String {
    format!("{OWN_COLUMNS}, {EVENT_COLUMNS}")
}

pub(crate) fn alert_of(row: &Row) -> Result<Alert, StoreError> {
    Ok(Alert {
        id: AlertId::new(row.int(0)?),
        status: row.code(1, Status::from_code)?,
        severity: row.code(2, Severity::from_code)?,
        rule: row.text(3)?,
        created_at: Timestamp::from_micros(row.int(4)?),
        updated_at: Timestamp::from_micros(row.int(5)?),
        acknowledged_at: row.opt_int(6)?.map(Timestamp::from_micros),
        resolved_at: row.opt_int(7)?.map(Timestamp::from_micros),
        version: row.int(8)?,
        event: event_at(row, OWN)?,
    })
}

impl Db {
    /// One alert.
    pub async fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let columns = alert_columns();
        let sql =
            format!("SELECT {columns} FROM alerts a JOIN events e ON e.id = a.event_id WHERE a.id = ?1");
        let row = self.read_one(sql, vec![id.get().into()]).await?;
        row.map(|row| alert_of(&row)).transpose()
    }

    /// Moves an alert to a status. With a version, only if the alert still has it; without, whatever others do
    /// meanwhile. Asking for the status it has changes nothing.
    pub async fn change_alert_status(
        &self,
        id: AlertId,
        to: Status,
        version: Option<i64>,
        by: &AuditEntry,
    ) -> Result<Changed, StoreError> {
        for _ in 0..TRIES {
            let alert = self.alert(id).await?.ok_or(StoreError::NotFound)?;
            let from = alert.status;
            if version.is_some_and(|version| version != alert.version) {
                return Err(StoreError::Conflict);
            }
            if from == to {
                return Ok(Changed { alert, from });
            }
            let names = self.names_of(&alert).await?;
            match self.write(Arc::new(status_change(&alert, &names, to, by))).await {
                Ok(()) => {
                    let alert = Alert { version: alert.version + 1, ..moved(alert, to, by.at) };
                    return Ok(Changed { alert, from });
                }
                Err(StoreError::Conflict) if version.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    /// What happened to an alert since it was raised, oldest first.
    pub async fn alert_history(&self, id: AlertId) -> Result<Vec<StatusChange>, StoreError> {
        let rows = self.read(HISTORY, vec![id.get().into()]).await?;
        let change = |row: &Row| {
            Ok(StatusChange {
                at: Timestamp::from_micros(row.int(0)?),
                actor: row.text(1)?,
                from: Some(row.code(2, Status::from_code)?),
                to: row.code(3, Status::from_code)?,
            })
        };
        rows.iter().map(change).collect()
    }
}

/// The alert after a change of its status.
fn moved(alert: Alert, to: Status, now: Timestamp) -> Alert {
    let first = |before: Option<Timestamp>, status| if to == status { before.or(Some(now)) } else { before };
    Alert {
        acknowledged_at: first(alert.acknowledged_at, Status::Acknowledged),
        resolved_at: first(alert.resolved_at, Status::Resolved),
        status: to,
        updated_at: now,
        ..alert
    }
}

fn status_change(alert: &Alert, names: &[String; 2], to: Status, by: &AuditEntry) -> Batch {
    let (id, version, now) = (alert.id.get(), alert.version, by.at);
    let after = moved(alert.clone(), to, now);
    let mut batch = Batch::new();
    batch.one(
        CHANGE,
        vec![
            to.code().into(),
            now.micros().into(),
            id.into(),
            version.into(),
            after.acknowledged_at.map(Timestamp::micros).into(),
            after.resolved_at.map(Timestamp::micros).into(),
        ],
    );
    batch.one(
        REMEMBER,
        vec![
            id.into(),
            (version + 1).into(),
            now.micros().into(),
            by.actor.to_string().into(),
            alert.status.code().into(),
            to.code().into(),
        ],
    );
    let mut tally = Tally::default();
    let names = [names[0].as_str(), names[1].as_str()];
    tally.alert(alert.created_at, (alert.status, alert.severity), names, -1);
    tally.alert(alert.created_at, (to, alert.severity), names, 1);
    tally.reaction(alert, to, now);
    tally.write(&mut batch, PEOPLE);
    batch.audit(by, "alert.status", format!("alert:{id}"), format!("{} to {to}", alert.status));
    batch
}
