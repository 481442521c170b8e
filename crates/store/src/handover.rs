//! What happened since somebody last looked. However much it was, only so many rows are read of it: counts by the
//! minute, the hour and the day where they are kept, and otherwise the newest rows of an index.

use crate::db::{Batch, Value};
use crate::rollups::Series;
use crate::triage::history_entry;
use crate::{Db, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use watchpost_model::alert::HistoryEntry;
use watchpost_model::page::{Count, MAX_COUNTED};
use watchpost_model::time::SECOND;
use watchpost_model::{Alert, Severity, Status, Timestamp, UserId};

/// Changes that are told of one by one.
const MAX_CHANGES: usize = 50;
/// Notes that are told of one by one.
const MAX_NOTES: usize = 20;
/// People whose deeds are counted apart.
const MAX_PEOPLE: usize = 50;
/// Sources that are told of.
const MAX_SOURCES: usize = 5;

/// Rows that one count looks at: one more than it says, to know that there are more.
const LOOKED_AT: i64 = MAX_COUNTED + 1;
/// Alerts that are looked at to know whose the open ones are: few people have as many.
const MAX_WHOSE: i64 = 50_000;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

const SEEN: &str = "SELECT seen_until FROM users WHERE id = ?1";
const SEE: &str =
    "UPDATE users SET seen_until = ?2 WHERE id = ?1 AND (seen_until IS NULL OR seen_until < ?2)";

const RAISED: &str = "SELECT r.severity, COUNT(*) FROM (SELECT severity FROM alerts WHERE created_at >= ?1 AND created_at < ?2 ORDER BY created_at LIMIT ?3) r GROUP BY r.severity";
const SNOOZES_ENDED: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM alerts WHERE snoozed_until >= ?1 AND snoozed_until < ?2 AND status <> 3 LIMIT ?3) s";
const OPEN: &str = "SELECT COUNT(*), COALESCE(SUM(CASE WHEN o.assignee_id = ?2 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN o.assignee_id IS NULL THEN 1 ELSE 0 END), 0) FROM (SELECT assignee_id FROM alerts WHERE status = 1 LIMIT ?1) o";
const MINE: &str = "SELECT COUNT(*), COALESCE(SUM(CASE WHEN m.status = 1 THEN 1 ELSE 0 END), 0) FROM (SELECT status FROM alerts WHERE assignee_id = ?2 ORDER BY created_at DESC, id DESC LIMIT ?1) m";
const DEEDS: &str = "SELECT h.actor, COUNT(*), SUM(CASE WHEN h.from_status = 1 AND h.to_status = 2 THEN 1 ELSE 0 END),
         SUM(CASE WHEN h.from_status <> 3 AND h.to_status = 3 THEN 1 ELSE 0 END), SUM(CASE WHEN h.from_status = 3 AND h.to_status <> 3 THEN 1 ELSE 0 END),
         SUM(CASE WHEN h.action = 'note' THEN 1 ELSE 0 END)
     FROM (SELECT actor, from_status, to_status, action FROM alert_history WHERE at >= ?1 AND at < ?2 AND undone IS NULL ORDER BY at DESC, alert_id DESC, version DESC LIMIT ?3) h
     GROUP BY h.actor";
const CHANGES: &str = "SELECT version, at, actor, from_status, to_status, action, from_value, to_value, verdict, why, undone, alert_id FROM alert_history
     WHERE at >= ?1 AND at < ?2 AND undone IS NULL ORDER BY at DESC, alert_id DESC, version DESC LIMIT ?3";
const NOTES: &str = "SELECT h.version, h.at, h.actor, h.from_status, h.to_status, h.action, h.from_value, h.to_value, h.verdict, h.why, h.undone, h.alert_id
     FROM (SELECT version, at, actor, from_status, to_status, action, from_value, to_value, verdict, why, undone, alert_id FROM alert_history
         WHERE at >= ?1 AND at < ?2 AND undone IS NULL ORDER BY at DESC, alert_id DESC, version DESC LIMIT ?4) h
     WHERE h.action = 'note' ORDER BY h.at DESC, h.alert_id DESC, h.version DESC LIMIT ?3";

/// Those that read tables that grow large.
pub(crate) const STATEMENTS: [&str; 7] = [RAISED, SNOOZES_ENDED, OPEN, MINE, DEEDS, CHANGES, NOTES];

/// What a user did with alerts, or all did. What was undone since doesn't count, and nor does the undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Alerts taken on.
    pub acknowledged: i64,
    /// Alerts resolved.
    pub resolved: i64,
    /// Alerts that were resolved and are no more.
    pub reopened: i64,
    /// Notes.
    pub notes: i64,
    /// Changes of any kind, these included.
    pub changes: i64,
}

impl Deeds {
    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.resolved += other.resolved;
        self.reopened += other.reopened;
        self.notes += other.notes;
        self.changes += other.changes;
    }
}

/// A change of an alert, or a note about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The alert as it is now.
    pub alert: Alert,
    /// What happened.
    pub entry: HistoryEntry,
}

/// What happened in some time up to now, and how things stand. Counts that are a minimum were not counted further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Alerts that were raised, by how bad they are now.
    pub raised: BTreeMap<Severity, i64>,
    /// Whether `raised` is a minimum.
    pub raised_is_minimum: bool,
    /// What all did.
    pub done: Deeds,
    /// What some did each, whoever did most first, by what they were called then.
    pub by_person: Vec<(String, Deeds)>,
    /// Whether others did something, too.
    pub by_person_more: bool,
    /// Whether `done` and `by_person` are a minimum.
    pub done_is_minimum: bool,
    /// Alerts that are open now, by how bad they are.
    pub still_open: BTreeMap<Severity, i64>,
    /// Alerts that are open now and nobody's.
    pub unassigned_open: Count,
    /// Alerts that are open now and this user's.
    pub mine_open: Count,
    /// Alerts that came back by themselves and are not resolved.
    pub snoozes_ended: Count,
    /// Where most of the alerts that were raised come from.
    pub top_sources: Vec<(String, i64)>,
    /// Whether there are others.
    pub top_sources_more: bool,
    /// Whether `top_sources` counts only the newest of what was raised.
    pub top_sources_is_minimum: bool,
    /// The last changes, newest first.
    pub changes: Vec<Told>,
    /// Whether there were more.
    pub changes_more: bool,
    /// The last notes, newest first.
    pub notes: Vec<Told>,
    /// Whether there were more.
    pub notes_more: bool,
}

/// A time in stretches that counts are kept for: how long one is, from when, until when. The shortest only at the ends.
pub(crate) fn stretches(mut from: i64, mut until: i64) -> Vec<(i64, i64, i64)> {
    let mut all = Vec::new();
    for (fine, coarse) in [(MINUTE, HOUR), (HOUR, DAY)] {
        let (first, last) = (up(from, coarse), down(until, coarse));
        if first >= last {
            all.push((fine, from, until));
            return all;
        }
        all.extend([(fine, from, first), (fine, last, until)]);
        (from, until) = (first, last);
    }
    all.push((DAY, from, until));
    all
}

fn down(seconds: i64, grain: i64) -> i64 {
    seconds.div_euclid(grain) * grain
}

fn up(seconds: i64, grain: i64) -> i64 {
    down(seconds + grain - 1, grain)
}

/// The first whole second that is not before.
fn second_after(at: Timestamp) -> i64 {
    (at.micros() + SECOND - 1).div_euclid(SECOND)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(0).plus_seconds(seconds)
}

impl Db {
    /// Up to when a user has seen what others did; nothing when they never looked.
    pub async fn seen_until(&self, user: UserId) -> Result<Option<Timestamp>, StoreError> {
        let row = self.read_one(SEEN, vec![user.get().into()]).await?.ok_or(StoreError::NotFound)?;
        Ok(row.opt_int(0)?.map(Timestamp::from_micros))
    }

    /// Remembers up to when a user has seen what others did, never less than they had; up to when that is now.
    pub async fn see_until(&self, user: UserId, until: Timestamp) -> Result<Timestamp, StoreError> {
        let mut batch = Batch::new();
        batch.any(SEE, vec![user.get().into(), until.micros().into()]);
        self.write(Arc::new(batch)).await?;
        self.seen_until(user).await?.ok_or(StoreError::NotFound)
    }

    /// What happened in a time that ends now, for one user.
    pub async fn handover(
        &self,
        user: UserId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Handover, StoreError> {
        let (raised, raised_is_minimum) = self.raised(since, until).await?;
        let (top_sources, top_sources_more) = self.top_raising(since, until).await?;
        let (done, mut by_person) = self.deeds(since, until).await?;
        let done_is_minimum = done.changes > MAX_COUNTED;
        let by_person_more = by_person.len() > MAX_PEOPLE;
        by_person.truncate(MAX_PEOPLE);
        let counts = self.alert_counts().await?;
        let still_open = Severity::ALL.map(|severity| (severity, counts.sum(&[Status::Open], &[severity])));
        let (mine_open, unassigned_open) = self.whose_open(user).await?;
        let (changes, changes_more) = self.told(CHANGES, since, until, MAX_CHANGES, &[]).await?;
        let (notes, notes_more) = self.told(NOTES, since, until, MAX_NOTES, &[LOOKED_AT.into()]).await?;
        Ok(Handover {
            top_sources_is_minimum: raised_is_minimum || raised.values().sum::<i64>() > MAX_COUNTED,
            raised,
            raised_is_minimum,
            done,
            by_person,
            by_person_more,
            done_is_minimum,
            still_open: still_open.into(),
            unassigned_open,
            mine_open,
            snoozes_ended: self.snoozes_ended(since, until).await?,
            top_sources,
            top_sources_more,
            changes,
            changes_more,
            notes,
            notes_more: notes_more || done_is_minimum,
        })
    }

    /// How many alerts were raised, by how bad they are now; and whether there were more. Whole minutes are counted
    /// already; of the minutes at the ends so many are counted one by one.
    async fn raised(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(BTreeMap<Severity, i64>, bool), StoreError> {
        let mut raised: BTreeMap<Severity, i64> = Severity::ALL.map(|severity| (severity, 0)).into();
        let (first, last) = (up(second_after(since), MINUTE), down(until.seconds(), MINUTE));
        if first >= last {
            let more = self.add_raised(&mut raised, since, until).await?;
            return Ok((raised, more));
        }
        let mut more = self.add_raised(&mut raised, since, at(first)).await?;
        more |= self.add_raised(&mut raised, at(last), until).await?;
        for (grain, from, until) in stretches(first, last) {
            if from < until {
                for bucket in self.counts_over_time(Series::Alerts, grain, at(from), at(until), &[]).await? {
                    *raised.entry(severity_of(&bucket.value)?).or_default() += bucket.n;
                }
            }
        }
        Ok((raised, more))
    }

    async fn add_raised(
        &self,
        raised: &mut BTreeMap<Severity, i64>,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut all = 0;
        for row in self.read(RAISED, window(from, until, LOOKED_AT)).await? {
            let n = row.int(1)?;
            *raised.entry(row.code(0, Severity::from_code)?).or_default() += n;
            all += n;
        }
        Ok(all > MAX_COUNTED)
    }

    /// Where most of the newest alerts come from, and whether from elsewhere, too.
    async fn top_raising(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(Vec<(String, i64)>, bool), StoreError> {
        let folded = self.engine().folded("s.source_name");
        let sql = format!(
            "SELECT MIN(s.source_name), COUNT(*) FROM (SELECT source_name FROM alerts WHERE created_at >= ?1 AND created_at < ?2 ORDER BY created_at DESC LIMIT ?3) s
             GROUP BY {folded} ORDER BY COUNT(*) DESC, {folded} LIMIT ?4"
        );
        let mut params = window(since, until, LOOKED_AT);
        params.push((MAX_SOURCES as i64 + 1).into());
        let rows = self.read(sql, params).await?;
        let more = rows.len() > MAX_SOURCES;
        let top = rows.iter().take(MAX_SOURCES).map(|row| Ok((row.text(0)?, row.int(1)?)));
        Ok((top.collect::<Result<_, StoreError>>()?, more))
    }

    /// What all did, and each.
    async fn deeds(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(Deeds, Vec<(String, Deeds)>), StoreError> {
        let (mut all, mut each) = (Deeds::default(), Vec::new());
        for row in self.read(DEEDS, window(since, until, LOOKED_AT)).await? {
            let deeds = Deeds {
                changes: row.int(1)?,
                acknowledged: row.int(2)?,
                resolved: row.int(3)?,
                reopened: row.int(4)?,
                notes: row.int(5)?,
            };
            all.add(&deeds);
            each.push((row.text(0)?, deeds));
        }
        each.sort_by(|(name, deeds), (other, others)| (others.changes, name).cmp(&(deeds.changes, other)));
        Ok((all, each))
    }

    /// The newest that a statement tells of, and whether there is more.
    async fn told(
        &self,
        sql: &'static str,
        since: Timestamp,
        until: Timestamp,
        wanted: usize,
        further: &[Value],
    ) -> Result<(Vec<Told>, bool), StoreError> {
        let mut params = window(since, until, wanted as i64 + 1);
        params.extend_from_slice(further);
        let mut rows = self.read(sql, params).await?;
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let ids: Vec<i64> = rows.iter().map(|row| row.int(11)).collect::<Result<_, _>>()?;
        let alerts = self.alerts_by_id(&ids).await?;
        let mut told = Vec::new();
        for (row, id) in rows.iter().zip(ids) {
            if let Some(alert) = alerts.get(&id) {
                told.push(Told { alert: alert.clone(), entry: history_entry(row)? });
            }
        }
        Ok((told, more))
    }

    /// How many open alerts are this user's, and how many nobody's.
    async fn whose_open(&self, user: UserId) -> Result<(Count, Count), StoreError> {
        let params = || vec![(MAX_WHOSE + 1).into(), user.get().into()];
        let row = self.read_one(OPEN, params()).await?.ok_or(StoreError::NotFound)?;
        let (looked_at, mine, nobodys) = (row.int(0)?, row.int(1)?, row.int(2)?);
        if looked_at <= MAX_WHOSE {
            return Ok((Count::Exact(mine), Count::Exact(nobodys)));
        }
        // With so many that are open, those that are the user's are the fewer.
        let row = self.read_one(MINE, params()).await?.ok_or(StoreError::NotFound)?;
        let (looked_at, mine) = (row.int(0)?, row.int(1)?);
        let mine = if looked_at <= MAX_WHOSE { Count::Exact(mine) } else { Count::AtLeast(mine) };
        Ok((mine, Count::AtLeast(nobodys)))
    }

    async fn snoozes_ended(&self, since: Timestamp, until: Timestamp) -> Result<Count, StoreError> {
        let row = self.read_one(SNOOZES_ENDED, window(since, until, LOOKED_AT)).await?;
        let n = row.ok_or(StoreError::NotFound)?.int(0)?;
        Ok(if n > MAX_COUNTED { Count::AtLeast(MAX_COUNTED) } else { Count::Exact(n) })
    }
}

fn window(since: Timestamp, until: Timestamp, rows: i64) -> Vec<Value> {
    vec![since.micros().into(), until.micros().into(), rows.into()]
}

/// The severity that alerts are counted under together with their status.
fn severity_of(value: &str) -> Result<Severity, StoreError> {
    let code = value.split_once('.').and_then(|(_, code)| code.parse().ok());
    code.and_then(Severity::from_code)
        .ok_or_else(|| StoreError::Internal(format!("{value} is no place that alerts are counted under")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_whole_and_cover_the_time_once() {
        for (from, until) in
            [(0, 60), (60, 3_600), (3_540, 3_660), (7_140, 172_920), (86_400, 172_800), (60, 40 * DAY + 120)]
        {
            let mut all = stretches(from, until);
            assert!(
                all.iter().all(|(grain, from, until)| from % grain == 0 && until % grain == 0),
                "{all:?}"
            );
            all.retain(|(_, from, until)| from < until);
            all.sort_by_key(|(_, from, _)| *from);
            let (mut reached, mut buckets) = (from, 0);
            for (grain, from, until) in &all {
                assert_eq!(*from, reached, "{all:?}");
                reached = *until;
                buckets += (until - from) / grain;
            }
            assert_eq!(reached, until, "{all:?}");
            assert!(buckets <= 2 * 60 + 2 * 24 + 40, "{buckets} buckets: {all:?}");
        }
    }
}
