//! Alerts and their history.

use crate::db::{Batch, Column, Row, Table};
use crate::events::event_at;
use crate::search::{ALERT_COLUMNS, alert_list_sql};
use crate::{Db, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use watchpost_model::alert::StatusChange;
use watchpost_model::filter::AlertFilter;
use watchpost_model::page::{Count, Page, PageRequest};
use watchpost_model::{Actor, Alert, AlertId, Event, EventId, Severity, Status, Timestamp};

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
};

const CHANGE: &str =
    "UPDATE alerts SET status = ?1, updated_at = ?2, version = version + 1 WHERE id = ?3 AND version = ?4";

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

/// Adds alerts to the batch that stores their events.
pub(crate) fn raise(batch: &mut Batch, events: &[Event], alerts: Vec<NewAlert>, lane: i64) {
    if alerts.is_empty() {
        return;
    }
    let by_id: HashMap<EventId, &Event> = events.iter().map(|event| (event.id, event)).collect();
    let mut columns: [Vec<i64>; 5] = Default::default();
    let mut rules = Vec::with_capacity(alerts.len());
    let mut sources = Vec::with_capacity(alerts.len());
    let mut types = Vec::with_capacity(alerts.len());
    let mut counts: HashMap<Severity, i64> = HashMap::new();
    for alert in alerts {
        let Some(event) = by_id.get(&alert.event) else {
            debug_assert!(false, "alert {} names an event outside its batch", alert.id);
            continue;
        };
        *counts.entry(event.severity).or_default() += 1;
        let values = [alert.id.get(), event.id.get(), event.severity.code(), event.created_at.micros(), 1];
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
        rules.push(alert.rule);
        sources.push(event.source_name.clone());
        types.push(event.event_type.clone());
    }
    for severity in Severity::ALL {
        let raised = counts.get(&severity).copied().unwrap_or(0);
        batch.count_alerts(lane, Status::Open, severity, raised);
    }
    let [ids, events, severities, times, versions] = columns;
    let open = vec![Status::Open.code(); ids.len()];
    let columns = vec![
        Column::Int(ids),
        Column::Int(events),
        Column::Text(rules),
        Column::Text(sources),
        Column::Text(types),
        Column::Int(severities),
        Column::Int(open),
        Column::Int(times.clone()),
        Column::Int(times),
        Column::Int(versions),
    ];
    batch.bulk(&ALERTS, columns);
}

fn alert_of(row: &Row) -> Result<Alert, StoreError> {
    Ok(Alert {
        id: AlertId::new(row.int(0)?),
        status: row.code(1, Status::from_code)?,
        severity: row.code(2, Severity::from_code)?,
        rule: row.text(3)?,
        created_at: Timestamp::from_micros(row.int(4)?),
        updated_at: Timestamp::from_micros(row.int(5)?),
        version: row.int(6)?,
        event: event_at(row, 7)?,
    })
}

impl Db {
    /// One alert.
    pub async fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let sql = format!(
            "SELECT {ALERT_COLUMNS} FROM alerts a JOIN events e ON e.id = a.event_id WHERE a.id = ?1"
        );
        let row = self.read_one(sql, vec![id.get().into()]).await?;
        row.map(|row| alert_of(&row)).transpose()
    }

    /// A page of alerts.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        request: PageRequest,
    ) -> Result<Page<Alert>, StoreError> {
        let counted = filter.event_type.is_none()
            && filter.source_name.is_none()
            && filter.search.is_none()
            && filter.event_severities.is_empty();
        let (list, count, params) = alert_list_sql(self.engine(), filter);
        let count = if counted {
            Count::Exact(self.alert_counts().await?.sum(&filter.statuses, &filter.severities))
        } else {
            self.bounded_count(count, params.clone()).await?
        };
        let (rows, more) = self.page_rows(list, params, request).await?;
        let rows = rows.iter().map(alert_of).collect::<Result<_, _>>()?;
        Ok(Page { rows, count, more, request })
    }

    /// Moves an alert to a status. With a version, only if the alert still has it; without, whatever others do
    /// meanwhile. Asking for the status it has changes nothing.
    pub async fn change_alert_status(
        &self,
        id: AlertId,
        to: Status,
        version: Option<i64>,
        actor: &Actor,
        now: Timestamp,
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
            match self.write(Arc::new(status_change(&alert, to, actor, now))).await {
                Ok(()) => {
                    let alert = Alert { status: to, updated_at: now, version: alert.version + 1, ..alert };
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

fn status_change(alert: &Alert, to: Status, actor: &Actor, now: Timestamp) -> Batch {
    let (id, version) = (alert.id.get(), alert.version);
    let mut batch = Batch::new();
    batch.one(CHANGE, vec![to.code().into(), now.micros().into(), id.into(), version.into()]);
    batch.one(
        REMEMBER,
        vec![
            id.into(),
            (version + 1).into(),
            now.micros().into(),
            actor.to_string().into(),
            alert.status.code().into(),
            to.code().into(),
        ],
    );
    batch.count_alerts(PEOPLE, alert.status, alert.severity, -1);
    batch.count_alerts(PEOPLE, to, alert.severity, 1);
    batch
}
