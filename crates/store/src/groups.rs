//! Alerts that share rule, source, type and severity: one row for what may be a hundred thousand.

use crate::clauses::Clauses;
use crate::db::{Batch, Row, Table, Value};
use crate::{Db, StoreError, faults};
use std::borrow::Cow;
use std::collections::BTreeMap;
use watchpost_model::filter::{AlertFilter, Field};
use watchpost_model::page::{Count, MAX_COUNTED, Page, PageRequest};
use watchpost_model::{Alert, AlertId, Event, Severity, Status, Timestamp};

/// Adding up so many rows takes hundredths of a second. More, such as of a sender that makes up a source for each event,
/// is read where it holds up nothing else.
const FEW_ROWS: i64 = 10_000;
const ROWS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM alert_groups LIMIT ?1) g";

static GROUPS: Table = Table {
    name: "alert_groups",
    columns: &[
        ("rule", true),
        ("severity", false),
        ("source_key", true),
        ("type_key", true),
        ("lane", false),
        ("source_name", true),
        ("event_type", true),
        ("open", false),
        ("acknowledged", false),
        ("resolved", false),
        ("first_at", false),
        ("last_at", false),
        ("last_alert", false),
    ],
    on_conflict: "ON CONFLICT (rule, severity, source_key, type_key, lane) DO UPDATE SET open = alert_groups.open + excluded.open,
         acknowledged = alert_groups.acknowledged + excluded.acknowledged, resolved = alert_groups.resolved + excluded.resolved,
         first_at = CASE WHEN excluded.first_at < alert_groups.first_at THEN excluded.first_at ELSE alert_groups.first_at END,
         last_at = CASE WHEN excluded.last_at > alert_groups.last_at THEN excluded.last_at ELSE alert_groups.last_at END,
         last_alert = CASE WHEN excluded.last_alert > alert_groups.last_alert THEN excluded.last_alert ELSE alert_groups.last_alert END",
};

/// What a group is known by; names without letter case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    rule: String,
    severity: i64,
    source: String,
    kind: String,
}

/// What a batch adds to a group.
#[derive(Clone, Debug)]
struct Added {
    source_name: String,
    event_type: String,
    /// By status.
    n: [i64; 3],
    first: Timestamp,
    last: Timestamp,
    last_alert: AlertId,
}

/// Changes of groups, summed up before they are written.
#[derive(Default)]
pub(crate) struct GroupTally(BTreeMap<Key, Added>);

impl GroupTally {
    /// So many alerts more (or fewer) of a status, and when the alert was raised.
    pub(crate) fn add(
        &mut self,
        rule: &str,
        event: &Event,
        (alert, at): (AlertId, Timestamp),
        place: (Status, Severity),
        n: i64,
    ) {
        let key = Key {
            rule: rule.to_owned(),
            severity: place.1.code(),
            source: event.source_name.to_ascii_lowercase(),
            kind: event.event_type.to_ascii_lowercase(),
        };
        let added = self.0.entry(key).or_insert_with(|| Added {
            source_name: event.source_name.clone(),
            event_type: event.event_type.clone(),
            n: [0; 3],
            first: at,
            last: at,
            last_alert: alert,
        });
        added.n[place.0 as usize - 1] += n;
        added.first = added.first.min(at);
        added.last = added.last.max(at);
        added.last_alert = added.last_alert.max(alert);
    }

    /// An alert that moves on.
    pub(crate) fn moved(&mut self, before: &Alert, after: &Alert) {
        let raised = (before.id, before.created_at);
        self.add(&before.rule, &before.event, raised, (before.status, before.severity), -1);
        self.add(&after.rule, &after.event, raised, (after.status, after.severity), 1);
    }

    /// Adds the changes to a batch, in the order of their keys.
    pub(crate) fn write(self, batch: &mut Batch, lane: i64) {
        let row = |(key, added): (Key, Added)| -> [Value; 13] {
            let [open, acknowledged, resolved] = added.n;
            [
                key.rule.into(),
                key.severity.into(),
                key.source.into(),
                key.kind.into(),
                lane.into(),
                added.source_name.into(),
                added.event_type.into(),
                open.into(),
                acknowledged.into(),
                resolved.into(),
                added.first.micros().into(),
                added.last.micros().into(),
                added.last_alert.get().into(),
            ]
        };
        let rows: Vec<[Value; 13]> = self.0.into_iter().map(row).collect();
        if !rows.is_empty() {
            batch.bulk(&GROUPS, rows);
        }
    }
}

/// Alerts that share rule, source, type and severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The rule that raised them.
    pub rule: String,
    /// How bad they are.
    pub severity: Severity,
    /// Where they come from, as it was written once.
    pub source_name: String,
    /// What was seen, as it was written once.
    pub event_type: String,
    /// How many nobody has looked at.
    pub open: i64,
    /// How many somebody is on.
    pub acknowledged: i64,
    /// How many are done.
    pub resolved: i64,
    /// When the first was raised.
    pub first_at: Timestamp,
    /// When the last was raised.
    pub last_at: Timestamp,
    /// The last of them.
    pub last_alert: AlertId,
}

/// What groups are sorted by; the most of it first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupOrder {
    /// When the last alert was raised.
    #[default]
    LastSeen,
    /// How bad they are, then as before.
    Severity,
    /// How many there are of the statuses asked for, then as before.
    Count,
}

/// Which groups are wanted; what is empty wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// With alerts of one of these.
    pub statuses: Vec<Status>,
    /// As bad as one of these.
    pub severities: Vec<Severity>,
    /// From one of these, in any letter case.
    pub sources: Vec<String>,
    /// Of one of these types, in any letter case.
    pub types: Vec<String>,
    /// With an alert raised since.
    pub since: Option<Timestamp>,
    /// What they are sorted by.
    pub order: GroupOrder,
}

fn column(status: Status) -> &'static str {
    match status {
        Status::Open => "SUM(open)",
        Status::Acknowledged => "SUM(acknowledged)",
        Status::Resolved => "SUM(resolved)",
    }
}

impl GroupFilter {
    /// How many alerts of a group count.
    fn counted(&self) -> String {
        let all = if self.statuses.is_empty() { &Status::ALL[..] } else { &self.statuses };
        all.iter().map(|status| column(*status)).collect::<Vec<_>>().join(" + ")
    }
}

impl Db {
    /// The database for reading all groups.
    async fn for_groups(&self) -> Result<Cow<'_, Self>, StoreError> {
        let few = faults::number("FAULT_FEW_GROUPS", FEW_ROWS);
        let rows = self.read_one(ROWS, vec![(few + 1).into()]).await?.ok_or(StoreError::NotFound)?.int(0)?;
        Ok(self.for_list(rows > few))
    }

    /// A page of groups.
    pub async fn alert_groups(
        &self,
        filter: &GroupFilter,
        request: PageRequest,
    ) -> Result<Page<Group>, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        clauses.one_of("severity", filter.severities.iter().map(|severity| severity.code()));
        clauses.any_of("source_key", &folded(&filter.sources));
        clauses.any_of("type_key", &folded(&filter.types));
        let matching = clauses.sql();
        let counted = filter.counted();
        let mut having = format!("HAVING {counted} > 0");
        if let Some(since) = filter.since {
            let n = clauses.param(since.micros());
            having.push_str(&format!(" AND MAX(last_at) >= ?{n}"));
        }
        let groups =
            format!("FROM alert_groups{matching} GROUP BY rule, severity, source_key, type_key {having}");
        let limit = clauses.params.len() + 1;
        let mut params = clauses.params.clone();
        params.push((MAX_COUNTED + 1).into());
        let count = format!("SELECT COUNT(*) FROM (SELECT 1 {groups} LIMIT ?{limit}) g");
        let db = self.for_groups().await?;
        let count = db.read_one(count, params).await?.ok_or(StoreError::NotFound)?.int(0)?;
        let count = if count > MAX_COUNTED { Count::AtLeast(MAX_COUNTED) } else { Count::Exact(count) };
        let order = match filter.order {
            GroupOrder::LastSeen => String::new(),
            GroupOrder::Severity => "severity DESC, ".into(),
            GroupOrder::Count => format!("{counted} DESC, "),
        };
        let (rows, skipped) = (clauses.param(i64::from(request.size) + 1), clauses.param(request.offset()));
        let sql = format!(
            "SELECT rule, severity, MIN(source_name), MIN(event_type), CAST(SUM(open) AS BIGINT), CAST(SUM(acknowledged) AS BIGINT),
                 CAST(SUM(resolved) AS BIGINT), MIN(first_at), MAX(last_at), MAX(last_alert)
             {groups} ORDER BY {order}MAX(last_at) DESC, MAX(last_alert) DESC, severity DESC LIMIT ?{rows} OFFSET ?{skipped}"
        );
        db.page_of(sql, clauses.params, count, request, group).await
    }
}

impl Db {
    /// How many alerts of some statuses and severities there are from some sources and of some types.
    pub(crate) async fn count_in_groups(
        &self,
        filter: &AlertFilter,
        severities: &[Severity],
    ) -> Result<i64, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        clauses.one_of("severity", severities.iter().map(|severity| severity.code()));
        clauses.any_of("source_key", &folded(filter.about.values(Field::Source)));
        clauses.any_of("type_key", &folded(filter.about.values(Field::Type)));
        let counted = GroupFilter { statuses: filter.statuses.clone(), ..GroupFilter::default() }.counted();
        let sql = format!("SELECT CAST(COALESCE({counted}, 0) AS BIGINT) FROM alert_groups{}", clauses.sql());
        let db = self.for_groups().await?;
        db.read_one(sql, clauses.params).await?.ok_or(StoreError::NotFound)?.int(0)
    }
}

fn folded(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn group(row: &Row) -> Result<Group, StoreError> {
    Ok(Group {
        rule: row.text(0)?,
        severity: row.code(1, Severity::from_code)?,
        source_name: row.text(2)?,
        event_type: row.text(3)?,
        open: row.int(4)?,
        acknowledged: row.int(5)?,
        resolved: row.int(6)?,
        first_at: Timestamp::from_micros(row.int(7)?),
        last_at: Timestamp::from_micros(row.int(8)?),
        last_alert: AlertId::new(row.int(9)?),
    })
}
