//! Alerts and their history.

use crate::audit::AuditEntry;
use crate::clauses::Clauses;
use crate::db::{Batch, Cell, Engine, Row, Rows, Table};
use crate::events::{EVENT_COLUMNS, event_at};
use crate::feed;
use crate::index::{self, Kind};
use crate::rollups::{Names, Tally};
use crate::triage::ASKED_AT_ONCE;
use crate::{Db, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use watchpost_model::alert::RAISED_BY_HAND;
use watchpost_model::triage::{Assignee, Verdict};
use watchpost_model::{Alert, AlertId, Event, EventId, Severity, Status, Timestamp, UserId};

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
const OWN_COLUMNS: &str = "a.id, a.status, a.severity, a.rule, a.created_at, a.updated_at, a.acknowledged_at, a.acknowledged_by, a.resolved_at, a.resolved_by, a.verdict, a.assignee_id, u.username, a.snoozed_until, a.tags, a.title, a.version";
/// How many those are.
const OWN: usize = 17;
/// What an alert is read with: its event, and whose it is.
pub(crate) const WITH_ALERT: &str =
    "JOIN events e ON e.id = a.event_id LEFT JOIN users u ON u.id = a.assignee_id";

const RAISE: &str = "INSERT INTO alerts (id, event_id, rule, source_name, event_type, severity, status, created_at, updated_at, version, title, event_severity)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1, ?9, ?10)";
const RAISED: &str = "INSERT INTO alert_history (alert_id, version, at, actor, from_status, to_status, action, from_value, to_value, why)
     VALUES (?1, 1, ?2, ?3, ?4, ?4, 'raised', '', ?5, ?6)";

/// The lane of counts that people's changes go to: writers of events use their own.
pub(crate) const PEOPLE: i64 = -1;

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
        let raised = (alert.id, event.created_at);
        tally.groups.add(&alert.rule, event, raised, (Status::Open, event.severity), 1);
        placed.push((alert, place));
    }
    batch.bulk(&ALERTS, AlertRows { events, alerts: placed });
}

/// An alert that somebody raises for an event that is stored.
#[derive(Clone, Debug)]
pub struct ByHand {
    /// Its id.
    pub id: AlertId,
    /// The event.
    pub event: Event,
    /// How bad it is, whatever the event says.
    pub severity: Severity,
    /// What to call it.
    pub title: Option<String>,
    /// Why.
    pub why: String,
}

/// The batch that raises an alert by hand, with everything that a rule's alert has and who did it. An event has one
/// such alert: the second is told that it is taken.
pub fn raise_by_hand(engine: Engine, alert: &ByHand, names: &mut Names, by: &AuditEntry) -> Batch {
    let ByHand { id, event, severity, title, why } = alert;
    let (mut batch, mut tally) = (Batch::new(), Tally::default());
    let own_severity = Some(event.severity).filter(|own| own != severity);
    batch.one(
        RAISE,
        vec![
            id.get().into(),
            event.id.get().into(),
            RAISED_BY_HAND.into(),
            event.source_name.as_str().into(),
            event.event_type.as_str().into(),
            severity.code().into(),
            Status::Open.code().into(),
            by.at.micros().into(),
            title.as_deref().into(),
            own_severity.map(Severity::code).into(),
        ],
    );
    batch.one(
        RAISED,
        vec![
            id.get().into(),
            by.at.micros().into(),
            by.actor.to_string().into(),
            Status::Open.code().into(),
            Status::Open.as_str().into(),
            Some(why.as_str()).filter(|why| !why.is_empty()).into(),
        ],
    );
    if engine == Engine::Postgres {
        index::expect(&mut batch, Kind::Alerts, std::iter::once(id.get()));
    }
    tally.alert(by.at, (Status::Open, *severity), names.of(event), 1);
    tally.groups.add(RAISED_BY_HAND, event, (*id, by.at), (Status::Open, *severity), 1);
    tally.write(&mut batch, PEOPLE);
    feed::brought(&mut batch, by.at, std::iter::empty(), std::iter::once(id.get()));
    batch.audit(by, "alert.raise", format!("alert:{id}"), format!("event {}, {severity}", event.id));
    batch
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
        acknowledged_by: row.opt_text(7)?,
        resolved_at: row.opt_int(8)?.map(Timestamp::from_micros),
        resolved_by: row.opt_text(9)?,
        verdict: row.opt_int(10)?.and_then(Verdict::from_code),
        assignee: assignee(row)?,
        snoozed_until: row.opt_int(13)?.map(Timestamp::from_micros),
        tags: row.opt_text(14)?.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        title: row.opt_text(15)?,
        version: row.int(16)?,
        event: event_at(row, OWN)?,
    })
}

fn assignee(row: &Row) -> Result<Option<Assignee>, StoreError> {
    let (Some(id), Some(name)) = (row.opt_int(11)?, row.opt_text(12)?) else { return Ok(None) };
    Ok(Some(Assignee { id: UserId::new(id), name }))
}

impl Db {
    /// The alerts of an event, the first that was raised first.
    pub async fn alerts_of_event(&self, event: EventId) -> Result<Vec<Alert>, StoreError> {
        let columns = alert_columns();
        let sql = format!("SELECT {columns} FROM alerts a {WITH_ALERT} WHERE a.event_id = ?1 ORDER BY a.id");
        self.read(sql, vec![event.get().into()]).await?.iter().map(alert_of).collect()
    }

    /// One alert.
    pub async fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let columns = alert_columns();
        let sql = format!("SELECT {columns} FROM alerts a {WITH_ALERT} WHERE a.id = ?1");
        let row = self.read_one(sql, vec![id.get().into()]).await?;
        row.map(|row| alert_of(&row)).transpose()
    }

    /// Alerts by their ids; those that there are.
    pub async fn alerts_by_id(&self, ids: &[i64]) -> Result<HashMap<i64, Alert>, StoreError> {
        let mut alerts = HashMap::with_capacity(ids.len());
        for some in ids.chunks(ASKED_AT_ONCE) {
            let mut clauses = Clauses::new(self.engine());
            clauses.one_of("a.id", some.iter().copied());
            let sql = format!("SELECT {} FROM alerts a {WITH_ALERT}{}", alert_columns(), clauses.sql());
            for row in self.read(sql, clauses.params).await? {
                let alert = alert_of(&row)?;
                alerts.insert(alert.id.get(), alert);
            }
        }
        Ok(alerts)
    }
}
