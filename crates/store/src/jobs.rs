//! One thing done with many alerts: in pieces, each one transaction, with what came of each alert, so that it can be
//! gone on with and taken back.

use crate::alerts::PEOPLE;
use crate::audit::AuditEntry;
use crate::clauses::Clauses;
use crate::db::{Batch, Row, Table, Value};
use crate::feed;
use crate::job_bounds;
use crate::rollups::Tally;
use crate::triage::Acted;
use crate::{Db, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use watchpost_model::page::{Count, Page, PageRequest};
use watchpost_model::triage::{Action, Assignee, Stand, Verdict};
use watchpost_model::{Alert, AlertId, Severity, Status, Timestamp, UserId};

/// Alerts in one transaction: writers of events wait for it on SQLite.
const AT_ONCE: i64 = 500;
/// Alerts of a job that are named in one transaction.
const NAMED_AT_ONCE: usize = 10_000;
/// How often a piece is tried again when somebody changes one of its alerts meanwhile.
const TRIES: usize = 8;
/// How long what was done with many can be taken back.
pub const UNDO_SECONDS: i64 = 10 * 60;

static JOB_ALERTS: Table =
    Table { name: "job_alerts", columns: &[("job", true), ("alert_id", false)], on_conflict: "" };

/// Begins a job, unless too many have begun and not ended: see `job_bounds.rs`.
const BEGIN: &str =
    "INSERT INTO jobs (id, user_id, actor, action, request, total, done, changed, created_at, worked_at, undoes, session_id)
     SELECT ?1, ?2, ?3, ?4, ?8, ?5, 0, 0, ?6, ?6, ?7, ?9
     WHERE (?10 = 0 AND (SELECT COUNT(*) FROM jobs WHERE finished_at IS NULL AND total <= ?13 AND user_id = ?2) < ?11)
         OR (?10 = 1 AND (SELECT COUNT(*) FROM jobs WHERE finished_at IS NULL AND total > ?13 AND user_id = ?2) < ?11
             AND (SELECT COUNT(*) FROM jobs WHERE finished_at IS NULL AND total > ?13) < ?12)";
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!("SELECT id, user_id, actor, action, total, done, changed, created_at, worked_at, finished_at, undoes, undone_by, request, session_id, stopped FROM jobs ", $rest)
    };
}

const READ: &str = select_jobs!("WHERE id = ?1");
const ABANDONED: &str = select_jobs!(
    "WHERE finished_at IS NULL AND (worked_at < ?1 OR worked_at > ?2) ORDER BY created_at LIMIT 10"
);
const EXTEND: &str = "UPDATE jobs SET total = total + ?2 WHERE id = ?1";
const CLAIM: &str = "UPDATE jobs SET worked_at = ?3 WHERE id = ?1 AND worked_at = ?2 AND finished_at IS NULL";
const WAITING: &str =
    "SELECT alert_id FROM job_alerts WHERE job = ?1 AND outcome IS NULL ORDER BY alert_id LIMIT ?2";
const REMEMBER: &str = "UPDATE job_alerts SET outcome = ?3, version = ?4, status = ?5, verdict = ?6, assignee_id = ?7, assignee = ?8, snoozed_until = ?9, tags = ?10, title = ?11, severity = ?12,
         acknowledged_at = ?13, acknowledged_by = ?14, resolved_at = ?15, resolved_by = ?16, has_times = ?17
     WHERE job = ?1 AND alert_id = ?2 AND outcome IS NULL";
const ADVANCE: &str = "UPDATE jobs SET done = done + ?2, changed = changed + ?3, worked_at = ?4 WHERE id = ?1 AND finished_at IS NULL";
pub(crate) const FINISH: &str =
    "UPDATE jobs SET finished_at = ?2 WHERE id = ?1 AND finished_at IS NULL AND done = total";
const UNDO: &str = "UPDATE jobs SET undone_by = ?2 WHERE id = ?1 AND undone_by IS NULL AND undoes IS NULL AND finished_at > ?3";
const CHANGED: &str = "SELECT alert_id FROM job_alerts WHERE job = ?1 AND outcome = 1 ORDER BY alert_id";
const RESULTS: &str = "SELECT alert_id, outcome FROM job_alerts WHERE job = ?3 AND outcome IS NOT NULL ORDER BY alert_id LIMIT ?1 OFFSET ?2";

/// What came of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was changed.
    Changed = 1,
    /// It was so already.
    Same = 2,
    /// It can't be done as the alert stands.
    NotNow = 3,
    /// Somebody else changed it since, so it isn't taken back.
    MovedOn = 4,
    /// There is no such alert.
    Missing = 5,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Changed, Self::Same, Self::NotNow, Self::MovedOn, Self::Missing];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Same => "same",
            Self::NotNow => "not_now",
            Self::MovedOn => "moved_on",
            Self::Missing => "missing",
        }
    }

    fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| *outcome as i64 == code)
    }
}

/// What came of an alert of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// The alert.
    pub alert: AlertId,
    /// What came of it.
    pub outcome: Outcome,
}

/// A job to begin.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it is called; nothing secret.
    pub id: String,
    /// Whose it is.
    pub user: Option<UserId>,
    /// What is done, in words.
    pub action: String,
    /// The session it is begun in.
    pub session: Option<String>,
    /// The request that asked for it.
    pub request: String,
    /// With which alerts.
    pub alerts: Vec<AlertId>,
}

/// Who takes a job back.
#[derive(Clone, Debug)]
pub struct NewUndo {
    /// What the job is called that does it.
    pub id: String,
    /// Whose that is.
    pub user: Option<UserId>,
    /// The session it is begun in.
    pub session: Option<String>,
}

/// How far something is that is done with many alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is called.
    pub id: String,
    /// Whose it is.
    pub user: Option<UserId>,
    /// Who began it, as they were called then.
    pub actor: String,
    /// What is done, in words.
    pub action: String,
    /// How many alerts.
    pub total: i64,
    /// How many are done with.
    pub done: i64,
    /// How many of those were changed.
    pub changed: i64,
    /// When it began.
    pub created_at: Timestamp,
    /// When somebody last worked at it.
    pub worked_at: Timestamp,
    /// When it was done, or stopped.
    pub finished_at: Option<Timestamp>,
    /// The job it takes back.
    pub undoes: Option<String>,
    /// The job that takes it back.
    pub undone_by: Option<String>,
    /// The request that asked for it.
    pub request: String,
    /// The session it was begun in, as far as that is known.
    pub session: Option<String>,
    /// Why it was stopped before all of its alerts were done with.
    pub stopped: Option<String>,
}

impl Job {
    /// Until when it can be taken back; nothing when it can't.
    pub fn undo_until(&self) -> Option<Timestamp> {
        let ended = self.finished_at.filter(|_| self.undoes.is_none() && self.undone_by.is_none());
        ended.filter(|_| self.changed > 0).map(|ended| ended.plus_seconds(UNDO_SECONDS))
    }
}

fn job(row: &Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.text(0)?,
        user: row.opt_int(1)?.map(UserId::new),
        actor: row.text(2)?,
        action: row.text(3)?,
        total: row.int(4)?,
        done: row.int(5)?,
        changed: row.int(6)?,
        created_at: Timestamp::from_micros(row.int(7)?),
        worked_at: Timestamp::from_micros(row.int(8)?),
        finished_at: row.opt_int(9)?.map(Timestamp::from_micros),
        undoes: row.opt_text(10)?,
        undone_by: row.opt_text(11)?,
        request: row.text(12)?,
        session: row.opt_text(13)?,
        stopped: row.opt_text(14)?,
    })
}

/// What is to be done with an alert: the same with all, or for each what it was.
pub enum Doing<'a> {
    /// The same.
    With(&'a Action),
    /// What a job did is taken back.
    Undoing(&'a str),
}

/// The version that a job made of an alert, and how the alert stood before.
struct Stood {
    version: i64,
    stand: Stand,
    /// Whether the times of its first acknowledgement and resolution are known: a job of an older Watchpost kept none.
    has_times: bool,
}

impl Stood {
    /// How the alert stood, with what isn't known of it as it is now.
    fn beside(&self, now: &Alert) -> Stand {
        let stand = self.stand.clone();
        if self.has_times {
            return stand;
        }
        let now = Stand::of(now);
        Stand {
            acknowledged_at: now.acknowledged_at,
            acknowledged_by: now.acknowledged_by,
            resolved_at: now.resolved_at,
            resolved_by: now.resolved_by,
            ..stand
        }
    }
}

impl Db {
    /// Begins a job; [`StoreError::TooMany`] when so many are under way that it has to wait.
    pub async fn begin_job(&self, new: &NewJob, by: &AuditEntry) -> Result<(), StoreError> {
        let (first, others) = pieces(&new.alerts);
        match self.write(Arc::new(begin(new, first, None, by))).await {
            Ok(()) => self.add_to_job(&new.id, others).await,
            Err(StoreError::Conflict) => Err(self.why_not_begun(new).await?),
            Err(error) => Err(error),
        }
    }

    /// The alerts of a job come in pieces, too: writers of events wait for each on SQLite.
    async fn add_to_job(&self, id: &str, others: Vec<&[AlertId]>) -> Result<(), StoreError> {
        for piece in others {
            let mut batch = Batch::new();
            batch.one(EXTEND, vec![id.into(), (piece.len() as i64).into()]);
            batch.bulk(&JOB_ALERTS, rows_of(id, piece));
            self.write(Arc::new(batch)).await?;
        }
        Ok(())
    }

    /// Begins to take a job back. [`StoreError::Conflict`] when it is too late, or somebody has.
    pub async fn begin_undo(&self, undone: &Job, by: NewUndo, entry: &AuditEntry) -> Result<(), StoreError> {
        let rows = self.read(CHANGED, vec![undone.id.as_str().into()]).await?;
        let alerts = rows.iter().map(|row| row.int(0).map(AlertId::new)).collect::<Result<_, _>>()?;
        let NewUndo { id, user, session } = by;
        let action = format!("undo: {}", undone.action);
        let new = NewJob { id, user, action, session, request: String::new(), alerts };
        let (first, others) = pieces(&new.alerts);
        let mut batch = begin(&new, first, Some(&undone.id), entry);
        let since = entry.at.plus_seconds(-UNDO_SECONDS);
        let undone_by = new.id.as_str();
        batch.one(UNDO, vec![undone.id.as_str().into(), undone_by.into(), since.micros().into()]);
        match self.write(Arc::new(batch)).await {
            Ok(()) => self.add_to_job(&new.id, others).await,
            Err(StoreError::Conflict) => Err(self.why_not_begun(&new).await?),
            Err(error) => Err(error),
        }
    }

    /// A job.
    pub async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.read_one(READ, vec![id.into()]).await?.map(|row| job(&row)).transpose()
    }

    /// Jobs that aren't done, and that nobody has worked at for so long, or last under a clock that was ahead.
    pub async fn abandoned_jobs(&self, now: Timestamp, seconds: i64) -> Result<Vec<Job>, StoreError> {
        let between = [now.plus_seconds(-seconds), now.plus_seconds(seconds)];
        let params = between.map(|at| at.micros().into()).to_vec();
        self.read(ABANDONED, params).await?.iter().map(job).collect()
    }

    /// Takes a job over from whoever worked at it last; whether nobody was quicker.
    pub async fn claim_job(&self, known: &Job, now: Timestamp) -> Result<bool, StoreError> {
        let mut batch = Batch::new();
        let (seen, now) = (known.worked_at.micros(), now.micros());
        batch.one(CLAIM, vec![known.id.as_str().into(), seen.into(), now.into()]);
        match self.write(Arc::new(batch)).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What came of the alerts of a job so far.
    pub async fn job_results(
        &self,
        known: &Job,
        request: PageRequest,
    ) -> Result<Page<JobResult>, StoreError> {
        let params =
            vec![(i64::from(request.size) + 1).into(), request.offset().into(), known.id.as_str().into()];
        let read = |row: &Row| {
            Ok(JobResult { alert: AlertId::new(row.int(0)?), outcome: row.code(1, Outcome::from_code)? })
        };
        self.page_of(RESULTS, params, Count::Exact(known.done), request, read).await
    }

    /// Does the next piece of a job; whether that was the last.
    pub async fn work_at_job(
        &self,
        id: &str,
        doing: &Doing<'_>,
        why: &str,
        by: &AuditEntry,
    ) -> Result<bool, StoreError> {
        let rows = self.read(WAITING, vec![id.into(), AT_ONCE.into()]).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            let mut batch = Batch::new();
            batch.any(FINISH, vec![id.into(), by.at.micros().into()]);
            self.write(Arc::new(batch)).await?;
            return Ok(true);
        }
        let mut size = ids.len();
        for _ in 0..TRIES {
            let piece = self.piece_of_job(id, &ids[..size], doing, why, by).await?;
            match self.write(Arc::new(piece)).await {
                Ok(()) => return Ok(false),
                // Somebody changed one of them: the fewer, the less likely.
                Err(StoreError::Conflict) => size = (size / 4).max(1),
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    async fn piece_of_job(
        &self,
        id: &str,
        ids: &[i64],
        doing: &Doing<'_>,
        why: &str,
        by: &AuditEntry,
    ) -> Result<Batch, StoreError> {
        let who = by.actor.to_string();
        let mut alerts = self.alerts_by_id(ids).await?;
        let stands = match doing {
            Doing::With(_) => HashMap::new(),
            Doing::Undoing(job) => self.stands(job, ids).await?,
        };
        let (mut batch, mut tally) = (Batch::new(), Tally::default());
        let (mut acted, mut names) = (Vec::new(), HashMap::new());
        for alert_id in ids {
            let Some(before) = alerts.remove(alert_id) else {
                remember(&mut batch, id, *alert_id, Outcome::Missing, None);
                continue;
            };
            let step = match (doing, stands.get(alert_id)) {
                (Doing::With(action), _) => action.apply(&before, &who, by.at),
                (Doing::Undoing(_), Some(stood)) if stood.version == before.version => {
                    Action::Restore(Box::new(stood.beside(&before))).apply(&before, &who, by.at)
                }
                (Doing::Undoing(_), _) => {
                    remember(&mut batch, id, *alert_id, Outcome::MovedOn, None);
                    continue;
                }
            };
            let Ok(step) = step else {
                remember(&mut batch, id, *alert_id, Outcome::NotNow, None);
                continue;
            };
            let one = Acted { before, step };
            if !one.changed() {
                remember(&mut batch, id, *alert_id, Outcome::Same, None);
                continue;
            }
            let names = self.names_cached(&one.before, &mut names).await?;
            one.write(&mut batch, &mut tally, &names, why, by);
            remember(&mut batch, id, *alert_id, Outcome::Changed, Some(&one));
            acted.push(one);
        }
        let (done, changed) = (ids.len() as i64, acted.len() as i64);
        batch.one(ADVANCE, vec![id.into(), done.into(), changed.into(), by.at.micros().into()]);
        tally.write(&mut batch, PEOPLE);
        feed::changed(&mut batch, by.at, acted.iter().map(|one| (one.before.id, one.step.alert.version)));
        acted.iter().for_each(|one| one.audit(&mut batch, by));
        Ok(batch)
    }

    /// The versions that a job made of alerts, and how they stood before.
    async fn stands(&self, job: &str, ids: &[i64]) -> Result<HashMap<i64, Stood>, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        clauses.with("job = {}", job);
        clauses.one_of("alert_id", ids.iter().copied());
        let sql = format!(
            "SELECT alert_id, version, status, verdict, assignee_id, assignee, snoozed_until, tags, title, COALESCE(severity, (SELECT a.severity FROM alerts a WHERE a.id = alert_id)), acknowledged_at, acknowledged_by, resolved_at, resolved_by, has_times FROM job_alerts{}",
            clauses.sql()
        );
        self.read(sql, clauses.params).await?.iter().map(stood).collect()
    }

    pub(crate) async fn names_cached(
        &self,
        alert: &Alert,
        known: &mut HashMap<(String, String, Severity), [String; 2]>,
    ) -> Result<[String; 2], StoreError> {
        let key = (alert.event.source_name.clone(), alert.event.event_type.clone(), alert.event.severity);
        if let Some(names) = known.get(&key) {
            return Ok(names.clone());
        }
        let names = self.names_of(alert).await?;
        known.insert(key, names.clone());
        Ok(names)
    }
}

/// The first piece of a job's alerts, and the others.
fn pieces(alerts: &[AlertId]) -> (&[AlertId], Vec<&[AlertId]>) {
    let mut all = alerts.chunks(NAMED_AT_ONCE);
    (all.next().unwrap_or_default(), all.collect())
}

fn rows_of(job: &str, alerts: &[AlertId]) -> Vec<[Value; 2]> {
    alerts.iter().map(|alert| [job.into(), alert.get().into()]).collect()
}

fn begin(new: &NewJob, first: &[AlertId], undoes: Option<&str>, by: &AuditEntry) -> Batch {
    let mut batch = Batch::new();
    let total = new.alerts.len();
    let mut params: Vec<Value> = vec![
        new.id.as_str().into(),
        new.user.map(UserId::get).into(),
        by.actor.to_string().into(),
        new.action.as_str().into(),
        (first.len() as i64).into(),
        by.at.micros().into(),
        undoes.into(),
        new.request.as_str().into(),
        new.session.as_deref().into(),
    ];
    params.extend(job_bounds::hold(&mut batch, new));
    batch.one(BEGIN, params);
    batch.bulk(&JOB_ALERTS, rows_of(&new.id, first));
    batch.audit(by, "alerts.bulk", format!("job:{}", new.id), format!("{} with {total} alerts", new.action));
    batch
}

fn stood(row: &Row) -> Result<(i64, Stood), StoreError> {
    let assignee = match (row.opt_int(4)?, row.opt_text(5)?) {
        (Some(id), Some(name)) => Some(Assignee { id: UserId::new(id), name }),
        _ => None,
    };
    let stand = Stand {
        status: row.code(2, Status::from_code)?,
        severity: row.code(9, Severity::from_code)?,
        verdict: row.opt_int(3)?.and_then(Verdict::from_code),
        assignee,
        snoozed_until: row.opt_int(6)?.map(Timestamp::from_micros),
        tags: row.opt_text(7)?.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        title: row.opt_text(8)?,
        acknowledged_at: row.opt_int(10)?.map(Timestamp::from_micros),
        acknowledged_by: row.opt_text(11)?,
        resolved_at: row.opt_int(12)?.map(Timestamp::from_micros),
        resolved_by: row.opt_text(13)?,
    };
    Ok((row.int(0)?, Stood { version: row.int(1)?, stand, has_times: row.opt_int(14)?.is_some() }))
}

/// Keeps what came of an alert, and how it stood if it was changed.
fn remember(batch: &mut Batch, job: &str, alert: i64, outcome: Outcome, acted: Option<&Acted>) {
    let stood = acted.map(|acted| Stand::of(&acted.before));
    let stood = stood.as_ref();
    let assignee = stood.and_then(|stood| stood.assignee.as_ref());
    let tags = stood.map(|stood| stood.tags.join(" ")).filter(|tags| !tags.is_empty());
    batch.one(
        REMEMBER,
        vec![
            job.into(),
            alert.into(),
            (outcome as i64).into(),
            acted.map(|acted| acted.step.alert.version).into(),
            stood.map(|stood| stood.status.code()).into(),
            stood.and_then(|stood| stood.verdict).map(Verdict::code).into(),
            assignee.map(|assignee| assignee.id.get()).into(),
            assignee.map(|assignee| assignee.name.as_str()).into(),
            stood.and_then(|stood| stood.snoozed_until).map(Timestamp::micros).into(),
            tags.into(),
            stood.and_then(|stood| stood.title.as_deref()).into(),
            stood.map(|stood| stood.severity.code()).into(),
            stood.and_then(|stood| stood.acknowledged_at).map(Timestamp::micros).into(),
            stood.and_then(|stood| stood.acknowledged_by.as_deref()).into(),
            stood.and_then(|stood| stood.resolved_at).map(Timestamp::micros).into(),
            stood.and_then(|stood| stood.resolved_by.as_deref()).into(),
            stood.map(|_| 1).into(),
        ],
    );
}
