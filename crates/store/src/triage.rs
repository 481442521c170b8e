//! What people do with alerts: one statement for each change, with its row in the history, its counts and its row in
//! the audit log.

use crate::alerts::PEOPLE;
use crate::audit::AuditEntry;
use crate::clauses::Clauses;
use crate::db::{Batch, Row};
use crate::feed;
use crate::rollups::Tally;
use crate::{Db, StoreError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use watchpost_model::alert::HistoryEntry;
use watchpost_model::triage::{Action, Step, Verdict};
use watchpost_model::{Alert, AlertId, Severity, Status, Timestamp};

const CHANGE: &str = "UPDATE alerts SET status = ?1, updated_at = ?2, acknowledged_at = ?5, acknowledged_by = ?6, resolved_at = ?7, resolved_by = ?8,
         verdict = ?9, assignee_id = ?10, snoozed_until = ?11, tags = ?12, title = ?13, severity = ?14, event_severity = ?15, version = version + 1
     WHERE id = ?3 AND version = ?4";

const REMEMBER: &str = "INSERT INTO alert_history (alert_id, version, at, actor, from_status, to_status, action, from_value, to_value, verdict, why, undone)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const UNDONE: &str = "UPDATE alert_history SET undone = 1 WHERE alert_id = ?1 AND version = ?2";

const HISTORY: &str = "SELECT version, at, actor, from_status, to_status, action, from_value, to_value, verdict, why, undone FROM alert_history
     WHERE alert_id = ?1 ORDER BY version";

const TAG: &str =
    "INSERT INTO alert_tags (tag, created_at, alert_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const UNTAG: &str = "DELETE FROM alert_tags WHERE tag = ?1 AND created_at = ?2 AND alert_id = ?3";

/// Alerts in one question.
pub(crate) const ASKED_AT_ONCE: usize = 500;

/// How often a change that states no version is tried again when somebody else was quicker.
const TRIES: usize = 8;

/// An alert after somebody did something with it.
#[derive(Clone, Debug)]
pub struct Acted {
    /// As it was.
    pub before: Alert,
    /// What came of it; with the version of before when there was nothing to do.
    pub step: Step,
}

/// Something that somebody did with an alert at some time.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The alert.
    pub alert: AlertId,
    /// What was done.
    pub action: Action,
    /// Why, or the text of a note.
    pub why: String,
    /// Who did it, and when.
    pub by: AuditEntry,
}

impl Acted {
    /// Whether anything changed.
    pub fn changed(&self) -> bool {
        self.step.alert.version != self.before.version
    }
}

impl Db {
    /// Does something with an alert. With a version, only if the alert still has it; without, whatever others do
    /// meanwhile. What is so already changes nothing.
    pub async fn act(
        &self,
        id: AlertId,
        action: &Action,
        why: &str,
        version: Option<i64>,
        by: &AuditEntry,
    ) -> Result<Acted, StoreError> {
        let who = by.actor.to_string();
        for _ in 0..TRIES {
            let before = self.alert(id).await?.ok_or(StoreError::NotFound)?;
            if version.is_some_and(|version| version != before.version) {
                return Err(StoreError::Conflict);
            }
            let step = action.apply(&before, &who, by.at).map_err(StoreError::NotNow)?;
            let acted = Acted { before, step };
            if !acted.changed() {
                return Ok(acted);
            }
            let names = self.names_of(&acted.before).await?;
            let mut batch = Batch::new();
            let mut tally = Tally::default();
            acted.write(&mut batch, &mut tally, &names, why, by);
            tally.write(&mut batch, PEOPLE);
            feed::changed(&mut batch, by.at, [(id, acted.step.alert.version)].into_iter());
            acted.audit(&mut batch, by);
            match self.write(Arc::new(batch)).await {
                Ok(()) => return Ok(acted),
                Err(StoreError::Conflict) if version.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Does several things in their order and in one transaction, each as [`Db::act`] does it. What can't be done as
    /// the alert stands then, or is so already, is left out; how many were done.
    pub async fn act_together(&self, deeds: &[Deed]) -> Result<usize, StoreError> {
        let ids: BTreeSet<i64> = deeds.iter().map(|deed| deed.alert.get()).collect();
        let mut alerts = self.alerts_by_id(&Vec::from_iter(ids)).await?;
        let (mut batch, mut tally) = (Batch::new(), Tally::default());
        let (mut done, mut names) = (Vec::new(), HashMap::new());
        for Deed { alert, action, why, by } in deeds {
            let before = alerts.get(&alert.get()).cloned().ok_or(StoreError::NotFound)?;
            let Ok(step) = action.apply(&before, &by.actor.to_string(), by.at) else { continue };
            let acted = Acted { before, step };
            if !acted.changed() {
                continue;
            }
            let names = self.names_cached(&acted.before, &mut names).await?;
            acted.write(&mut batch, &mut tally, &names, why, by);
            alerts.insert(alert.get(), acted.step.alert.clone());
            done.push((acted, by));
        }
        let Some((_, last)) = done.last() else { return Ok(0) };
        tally.write(&mut batch, PEOPLE);
        let versions = done.iter().map(|(acted, _)| (acted.before.id, acted.step.alert.version));
        feed::changed(&mut batch, last.at, versions);
        done.iter().for_each(|(acted, by)| acted.audit(&mut batch, by));
        self.write(Arc::new(batch)).await?;
        Ok(done.len())
    }

    /// What changes made some versions of some alerts.
    pub async fn history_of(
        &self,
        changes: &[(AlertId, i64)],
    ) -> Result<HashMap<(AlertId, i64), HistoryEntry>, StoreError> {
        let mut found = HashMap::new();
        for some in changes.chunks(ASKED_AT_ONCE) {
            let mut clauses = Clauses::new(self.engine());
            clauses.one_of("alert_id", some.iter().map(|(alert, _)| alert.get()));
            clauses.one_of("version", some.iter().map(|(_, version)| *version));
            let sql = format!(
                "SELECT version, at, actor, from_status, to_status, action, from_value, to_value, verdict, why, undone, alert_id FROM alert_history{}",
                clauses.sql()
            );
            for row in self.read(sql, clauses.params).await? {
                found.insert((AlertId::new(row.int(11)?), row.int(0)?), history_entry(&row)?);
            }
        }
        let wanted: HashSet<&(AlertId, i64)> = changes.iter().collect();
        found.retain(|change, _| wanted.contains(change));
        Ok(found)
    }

    /// What happened to an alert since it was raised, oldest first.
    pub async fn alert_history(&self, id: AlertId) -> Result<Vec<HistoryEntry>, StoreError> {
        self.read(HISTORY, vec![id.get().into()]).await?.iter().map(history_entry).collect()
    }
}

/// What a row of the history says that begins with `version, at, actor, from_status, to_status, action, from_value,
/// to_value, verdict, why, undone`.
pub(crate) fn history_entry(row: &Row) -> Result<HistoryEntry, StoreError> {
    let action = row.opt_text(5)?;
    let (from, to) = match &action {
        Some(_) => (row.opt_text(6)?.unwrap_or_default(), row.opt_text(7)?.unwrap_or_default()),
        // From before there were others.
        None => {
            let status = |column| Ok::<_, StoreError>(row.code(column, Status::from_code)?.to_string());
            (status(3)?, status(4)?)
        }
    };
    let action = action.unwrap_or_else(|| "status".into());
    let verdict = row.opt_int(8)?.and_then(Verdict::from_code);
    Ok(HistoryEntry {
        version: row.int(0)?,
        at: Timestamp::from_micros(row.int(1)?),
        actor: row.text(2)?,
        from: Some(from).filter(|_| action != "raised"),
        undone: row.opt_int(10)?.is_some() && action != "undo",
        action,
        to,
        verdict,
        why: row.opt_text(9)?.unwrap_or_default(),
    })
}

impl Acted {
    /// Adds what changes to a batch, and to the counts that are written with it.
    pub(crate) fn write(
        &self,
        batch: &mut Batch,
        tally: &mut Tally,
        names: &[String; 2],
        why: &str,
        by: &AuditEntry,
    ) {
        let (before, after) = (&self.before, &self.step.alert);
        let undoes = self.step.action == "undo";
        self.change(batch);
        batch.one(
            REMEMBER,
            vec![
                before.id.get().into(),
                after.version.into(),
                by.at.micros().into(),
                by.actor.to_string().into(),
                before.status.code().into(),
                after.status.code().into(),
                self.step.action.into(),
                self.step.from.as_str().into(),
                self.step.to.as_str().into(),
                after
                    .verdict
                    .filter(|_| matches!(self.step.action, "status" | "undo"))
                    .map(Verdict::code)
                    .into(),
                Some(why).filter(|why| !why.is_empty()).into(),
                // What an undo takes back counts in no figure, and nor does the undo.
                undoes.then_some(1).into(),
            ],
        );
        if undoes {
            batch.one(UNDONE, vec![before.id.get().into(), before.version.into()]);
        }
        self.tags(batch);
        if (before.status, before.severity) != (after.status, after.severity) {
            let names = [names[0].as_str(), names[1].as_str()];
            tally.alert(before.created_at, (before.status, before.severity), names, -1);
            tally.alert(before.created_at, (after.status, after.severity), names, 1);
            tally.groups.moved(before, after);
        }
        tally.reactions(before, after);
    }

    /// Adds its row in the audit log, which belongs at the end of a batch.
    pub(crate) fn audit(&self, batch: &mut Batch, by: &AuditEntry) {
        let (action, from, to) = (self.step.action, &self.step.from, &self.step.to);
        let detail = match action {
            "note" => String::new(),
            _ => format!("{from} to {to}"),
        };
        batch.audit(by, &format!("alert.{action}"), format!("alert:{}", self.before.id), detail);
    }

    fn change(&self, batch: &mut Batch) {
        let (before, after) = (&self.before, &self.step.alert);
        let micros = |at: Option<Timestamp>| at.map(Timestamp::micros);
        let tags = (!after.tags.is_empty()).then(|| after.tags.join(" "));
        batch.one(
            CHANGE,
            vec![
                after.status.code().into(),
                after.updated_at.micros().into(),
                before.id.get().into(),
                before.version.into(),
                micros(after.acknowledged_at).into(),
                after.acknowledged_by.as_deref().into(),
                micros(after.resolved_at).into(),
                after.resolved_by.as_deref().into(),
                after.verdict.map(Verdict::code).into(),
                after.assignee.as_ref().map(|assignee| assignee.id.get()).into(),
                micros(after.snoozed_until).into(),
                tags.into(),
                after.title.as_deref().into(),
                after.severity.code().into(),
                Some(after.event.severity)
                    .filter(|severity| *severity != after.severity)
                    .map(Severity::code)
                    .into(),
            ],
        );
    }

    fn tags(&self, batch: &mut Batch) {
        let (before, after) = (&self.before, &self.step.alert);
        let had: BTreeSet<&str> = before.tags.iter().map(String::as_str).collect();
        let has: BTreeSet<&str> = after.tags.iter().map(String::as_str).collect();
        let place = |tag: &str| vec![tag.into(), before.created_at.micros().into(), before.id.get().into()];
        for tag in has.difference(&had) {
            batch.any(TAG, place(tag));
        }
        for tag in had.difference(&has) {
            batch.any(UNTAG, place(tag));
        }
    }
}
