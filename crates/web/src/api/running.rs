//! Carrying out what was begun with many alerts: by the server that began it, or by another one when that has ended;
//! as long as whoever began it may.

use crate::api::jobs::action;
use crate::api::triage::said;
use crate::auth::guard::{Caller, NOWHERE};
use crate::auth::standing::Standing;
use crate::error::ApiError;
use crate::state::AppState;
use std::time::Duration;
use watchpost_model::triage::Action;
use watchpost_model::{Action as Allowed, Actor, Rank, Role};
use watchpost_pipeline::decode::{Fields, Format};
use watchpost_pipeline::now;
use watchpost_store::{AuditEntry, Doing, Job, StoreError, faults};

/// A job that nobody has worked at for so long was left by a server that ended.
const ABANDONED_SECONDS: i64 = 10;
/// How often to look for those.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a piece is tried again when others keep changing its alerts.
const TRIES: usize = 20;

/// A job that this server works at.
pub(super) struct Running {
    pub(super) job: Job,
    /// Nothing when it takes another job back.
    pub(super) action: Option<Action>,
    pub(super) said: String,
    pub(super) entry: AuditEntry,
}

impl Running {
    pub(super) async fn run(self, state: AppState) {
        let Self { job, action, said, entry } = self;
        let standing = job.user.map(|user| {
            Standing::earlier(user, &entry.actor.to_string(), job.session.clone(), Allowed::ChangeAlerts)
        });
        let (mut tries, mut pieces) = (0, usize::from(job.done > 0));
        loop {
            while faults::held("job", pieces) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let lost = match &standing {
                Some(standing) => standing.lost(&state).await,
                None => Ok(None),
            };
            match lost {
                Ok(None) => {}
                Ok(Some(why)) => return stop(&state, &job, &why).await,
                Err(_) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                // Whoever looks next for abandoned jobs goes on with it.
                Err(error) => return tracing::warn!(job = job.id, ?error, "a job stopped"),
            }
            let doing = match (&action, &job.undoes) {
                (Some(action), _) => Doing::With(action),
                (None, Some(undone)) => Doing::Undoing(undone),
                (None, None) => return,
            };
            let by = AuditEntry { at: now(), ..entry.clone() };
            match state.db.work_at_job(&job.id, &doing, &said, &by).await {
                Ok(false) => (tries, pieces) = (0, pieces + 1),
                Ok(true) => {
                    tracing::info!(
                        job = job.id,
                        action = job.action,
                        alerts = job.total,
                        by = job.actor,
                        "many alerts changed"
                    );
                    return;
                }
                Err(StoreError::Conflict | StoreError::Unavailable(_)) if tries < TRIES => {
                    // Ended meanwhile, by another node.
                    if state
                        .db
                        .job(&job.id)
                        .await
                        .is_ok_and(|job| job.is_none_or(|job| job.finished_at.is_some()))
                    {
                        return;
                    }
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    // Whoever looks next for abandoned jobs goes on with it.
                    tracing::warn!(job = job.id, %error, "a job stopped");
                    return;
                }
            }
        }
    }
}

/// Ends a job whose user may not go on with it. What it did until then stays and can be taken back.
async fn stop(state: &AppState, job: &Job, why: &str) {
    let by = AuditEntry::local(now(), Actor::Watchpost);
    match state.db.stop_job(job, why, &by).await {
        Ok(true) => tracing::warn!(job = job.id, action = job.action, why, "a job was stopped"),
        Ok(false) => {}
        // Whoever looks next for abandoned jobs comes to the same end.
        Err(error) => tracing::warn!(job = job.id, %error, "a job can't be stopped now, and waits"),
    }
}

/// Goes on with jobs of servers that ended, until it is dropped.
pub(crate) async fn carry_on(state: &AppState) {
    let mut rounds = tokio::time::interval(LOOK_EVERY);
    loop {
        rounds.tick().await;
        let now = now();
        match state.db.abandoned_jobs(now, ABANDONED_SECONDS).await {
            Ok(jobs) => {
                for job in jobs {
                    take_over(state, job).await;
                }
            }
            Err(error) => tracing::warn!(%error, "can't look for jobs to go on with"),
        }
        let forgotten = match state.db.trusted_time(now).await {
            Ok(Some(trusted)) => state.db.forget_jobs(trusted).await.map(drop),
            other => other.map(drop),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, "old jobs could not be forgotten");
        }
    }
}

async fn take_over(state: &AppState, job: Job) {
    let actor = match job.user {
        Some(id) => Actor::User { id, name: job.actor.clone() },
        None => Actor::Watchpost,
    };
    let caller = Caller { rank: Rank::User(Role::Responder), actor, ..Caller::anonymous(NOWHERE) };
    let understood = async {
        if job.undoes.is_some() {
            return Ok((None, String::new()));
        }
        let fields = Fields::decode(Format::Json, job.request.as_bytes()).map_err(|_| ApiError::Internal)?;
        let (action, _) = action(state, &fields, &caller).await?;
        let said = said(&fields, &action)?;
        Ok::<_, ApiError>((Some(action), said))
    };
    match (understood.await, state.db.claim_job(&job, now()).await) {
        (Ok((action, said)), Ok(true)) => {
            let entry = AuditEntry::local(now(), caller.actor.clone());
            tokio::spawn(Running { job, action, said, entry }.run(state.clone()));
        }
        (Err(error), _) => tracing::error!(job = job.id, ?error, "a job can't be gone on with"),
        (_, Err(error)) => tracing::warn!(job = job.id, %error, "a job can't be taken over"),
        (_, Ok(false)) => {}
    }
}
