//! What is done with many at once and taken back: as if it had never been, in alerts and in every figure.

use super::{Change, DAY, Model, down};
use crate::{at, by};
use watchpost_model::triage::Action;
use watchpost_model::{Alert, Timestamp};
use watchpost_store::{Db, Doing, Durations, NewJob, NewUndo};

/// What a job changed: which alert, as it stood before, and the version it got.
pub(super) type Job = Vec<(usize, Alert, i64)>;

/// Works at a job until it is done.
async fn worked(db: &Db, id: &str, doing: &Doing<'_>, why: &str, actor: &str, now: i64) {
    while !db.work_at_job(id, doing, why, &by(actor, now)).await.unwrap() {}
}

impl Model {
    pub(super) async fn done_with_many(
        &mut self,
        db: &Db,
        (step, actor): (i64, &'static str),
        action: &Action,
        now: i64,
        places: &[usize],
    ) -> Job {
        let alerts = places.iter().map(|place| self.alerts[*place].id).collect();
        let id = format!("job{step}");
        let (action_name, request) = ("some".into(), String::new());
        let new = NewJob { id: id.clone(), user: None, action: action_name, session: None, request, alerts };
        db.begin_job(&new, &by(actor, now)).await.unwrap();
        worked(db, &id, &Doing::With(action), "because", actor, now).await;
        let mut job = Job::new();
        for place in places {
            if let Some(before) = self.acted(*place, action, actor, now) {
                job.push((*place, before, self.alerts[*place].version));
            }
        }
        job
    }

    /// Takes a job back: what wasn't changed since is as it was before, as if nothing had been.
    pub(super) async fn taken_back(
        &mut self,
        db: &Db,
        (step, actor): (i64, &'static str),
        job: &Job,
        now: i64,
    ) {
        let (id, undo) = (format!("job{step}"), format!("undo{step}"));
        let known = db.job(&id).await.unwrap().unwrap();
        let new = NewUndo { id: undo.clone(), user: None, session: None };
        db.begin_undo(&known, new, &by(actor, now)).await.unwrap();
        worked(db, &undo, &Doing::Undoing(&id), "", actor, now).await;
        for (place, before, version) in job {
            let alert = &mut self.alerts[*place];
            if alert.version != *version {
                continue;
            }
            let same = |change: &&mut Change| (change.alert, change.version) == (alert.id, *version);
            self.changes.iter_mut().find(same).unwrap().undone = true;
            let (from, to) = (alert.status, before.status);
            *alert = Alert { version: version + 1, updated_at: at(now), ..before.clone() };
            let (alert, version) = (alert.id, version + 1);
            let (at, action) = (at(now), "undo");
            self.changes.push(Change { alert, at, version, actor, action, from, to, undone: true });
        }
    }

    /// How long it took until alerts were first acknowledged (or resolved), by what they say of it themselves.
    fn durations(&self, resolved: bool, since: Timestamp, until: Timestamp) -> Option<Durations> {
        let mut took: Vec<f64> = self
            .alerts
            .iter()
            .filter_map(|alert| {
                let at = if resolved { alert.resolved_at } else { alert.acknowledged_at };
                let at = at.filter(|at| since <= *at && *at < until)?;
                let millis = (at.micros() - alert.created_at.micros()).max(0) / 1_000;
                Some(millis as f64 / 1_000.0)
            })
            .collect();
        took.sort_by(f64::total_cmp);
        let n = took.len();
        let p90 = *took.get((n * 9).div_ceil(10).checked_sub(1)?)?;
        Some(Durations { n: n as i64, mean: took.iter().sum::<f64>() / n as f64, p90 })
    }
}

pub(super) async fn histories_say_what_was_undone(db: &Db, model: &Model) {
    let undone = model.changes.iter().filter(|change| change.undone).count();
    assert!(undone > 200, "the model takes hardly anything back: {undone}");
    for alert in &model.alerts {
        assert_eq!(db.alert(alert.id).await.unwrap().as_ref(), Some(alert));
        for entry in db.alert_history(alert.id).await.unwrap() {
            let same = |change: &&Change| (change.alert, change.version) == (alert.id, entry.version);
            let change = model.changes.iter().find(same).unwrap();
            assert_eq!((entry.action.as_str(), entry.actor.as_str()), (change.action, change.actor));
            assert_eq!(entry.undone, change.undone && change.action != "undo", "{entry:?}");
        }
    }
}

pub(super) async fn reactions_are_those_that_still_hold(db: &Db, model: &Model) {
    let hour = |seconds: i64| at(down(seconds / 3_600 * 3_600 + 3_600));
    for (since, until) in [(-90 * DAY, 90 * DAY), (-30 * DAY, -DAY), (-DAY, DAY), (-7_200, 3_600)] {
        let (since, until) = (hour(since), hour(until));
        for resolved in [false, true] {
            let found = db.durations(resolved, 3_600, since, until).await.unwrap();
            let wanted = model.durations(resolved, since, until);
            let Some((found, wanted)) = found.zip(wanted) else {
                assert_eq!(found, wanted, "resolved: {resolved}, {since} to {until}");
                continue;
            };
            assert_eq!(found.n, wanted.n, "resolved: {resolved}, {since} to {until}");
            assert!((found.mean - wanted.mean).abs() < 0.01, "{found:?} instead of {wanted:?}");
            assert!((found.p90 - wanted.p90).abs() <= 0.1 * wanted.p90 + 0.01, "{found:?}, {wanted:?}");
        }
    }
}
