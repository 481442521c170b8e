//! How many jobs may be under way.

use crate::people::user;
use crate::{Place, at, by, on_both_engines};
use futures_util::future::join_all;
use watchpost_model::{AlertId, Role, UserId};
use watchpost_store::{
    Db, Location, MAX_JOBS, MAX_JOBS_OF_USER, MAX_SMALL_JOBS_OF_USER, NewJob, StoreError, Whose,
};

on_both_engines!(
    long_jobs_are_bounded_for_a_user_and_in_all,
    small_jobs_are_bounded_for_a_user,
    a_stopped_job_makes_room,
);

/// A job with so many alerts, which needn't be there.
fn job(id: &str, user: UserId, alerts: i64) -> NewJob {
    let alerts = (1..=alerts).map(AlertId::new).collect();
    let (action, request) = ("ack".into(), String::new());
    NewJob { id: id.into(), user: Some(user), action, session: None, request, alerts }
}

fn refused(found: Result<(), StoreError>) -> Option<Whose> {
    match found {
        Ok(()) => None,
        Err(StoreError::TooMany(whose)) => Some(whose),
        Err(error) => panic!("{error}"),
    }
}

/// Another node, where there can be one.
async fn other(db: &Db, place: &Place) -> Db {
    match place.location {
        Location::Postgres(_) => Db::open(&place.location).await.unwrap(),
        Location::Sqlite(_) => db.clone(),
    }
}

async fn small_jobs_are_bounded_for_a_user(db: Db, place: Place) {
    let other = other(&db, &place).await;
    let nodes = [&db, &other];
    let (ann, ben) = (user(&db, "ann", Role::Responder).await, user(&db, "ben", Role::Responder).await);
    let begin = async |n: usize| {
        let new = job(&format!("job{n}"), ann.id, 500);
        refused(nodes[n % 2].begin_job(&new, &by("ann", 0)).await)
    };
    let found = join_all((0..16).map(begin)).await;
    let begun = found.iter().filter(|refused| refused.is_none()).count() as i64;
    assert_eq!(begun, MAX_SMALL_JOBS_OF_USER, "{found:?}");
    assert!(found.iter().all(|refused| refused.is_none_or(|whose| whose == Whose::Own)), "{found:?}");
    assert_eq!(refused(db.begin_job(&job("large", ann.id, 501), &by("ann", 0)).await), None);
    assert_eq!(refused(db.begin_job(&job("of ben", ben.id, 1), &by("ben", 0)).await), None);
}

async fn long_jobs_are_bounded_for_a_user_and_in_all(db: Db, place: Place) {
    let other = other(&db, &place).await;
    let nodes = [&db, &other];
    let users = ["ann", "ben", "cat", "dan", "eve", "fay", "gus"];
    let mut all = 0;
    for name in users {
        let user = user(&db, name, Role::Responder).await;
        let begin = async |n: usize| {
            let new = job(&format!("{name}{n}"), user.id, 501);
            refused(nodes[n % 2].begin_job(&new, &by(name, 0)).await)
        };
        let found = join_all((0..8).map(begin)).await;
        let begun = found.iter().filter(|refused| refused.is_none()).count() as i64;
        assert_eq!(begun, MAX_JOBS_OF_USER.min(MAX_JOBS - all), "{name}: {found:?}");
        all += begun;
        let small = job(&format!("{name}-small"), user.id, 500);
        assert_eq!(refused(db.begin_job(&small, &by(name, 0)).await), None, "short ones count apart");
        if name == "gus" {
            assert!(found.contains(&Some(Whose::Everybodys)), "{found:?}");
        }
    }
    assert_eq!(all, MAX_JOBS);
}

async fn a_stopped_job_makes_room(db: Db, _: Place) {
    let user = user(&db, "ann", Role::Responder).await;
    for n in 0..MAX_JOBS_OF_USER {
        db.begin_job(&job(&format!("job{n}"), user.id, 501), &by("ann", 0)).await.unwrap();
    }
    let more = job("more", user.id, 501);
    assert_eq!(refused(db.begin_job(&more, &by("ann", 0)).await), Some(Whose::Own));
    let known = db.job("job1").await.unwrap().unwrap();
    assert!(db.stop_job(&known, "enough", &by("admin", 5)).await.unwrap());
    assert!(!db.stop_job(&known, "once more", &by("admin", 6)).await.unwrap(), "it has ended");
    let ended = db.job("job1").await.unwrap().unwrap();
    assert_eq!((ended.stopped.as_deref(), ended.finished_at), (Some("enough"), Some(at(5))));
    assert_eq!(refused(db.begin_job(&more, &by("ann", 0)).await), None);
}
