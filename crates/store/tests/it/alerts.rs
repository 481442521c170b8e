//! Alerts move on, with a history and exact counts, whoever does it at once.

use crate::{Place, at, by, event, move_to, on_both_engines, store};
use watchpost_model::{AlertId, Severity, Status};
use watchpost_store::{Db, StoreError};

on_both_engines!(a_change_is_kept_with_who_and_what, a_stale_change_is_refused, changes_at_once_all_land);

async fn a_change_is_kept_with_who_and_what(db: Db, _: Place) {
    store(&db, &[event(1, Severity::High, "fw", "scan", "x")]).await.unwrap();
    let id = AlertId::new(1);
    let changed = move_to(&db, id, Status::Resolved, None, &by("jane", 5)).await.unwrap();
    let after = changed.step.alert;
    assert_eq!((changed.before.status, after.status, after.version), (Status::Open, Status::Resolved, 2));
    assert_eq!(db.alert(id).await.unwrap().unwrap(), after);
    move_to(&db, id, Status::Resolved, None, &by("joe", 6)).await.unwrap();
    let history = db.alert_history(id).await.unwrap();
    assert_eq!(history.len(), 1, "asking for what is so already leaves no trace");
    assert_eq!(
        (history[0].actor.as_str(), history[0].from.as_deref(), history[0].to.as_str(), history[0].at),
        ("jane", Some("OPEN"), "RESOLVED", at(5))
    );
    let counts = db.alert_counts().await.unwrap();
    assert_eq!(counts.sum(&[Status::Open], &[]), 0);
    assert_eq!(counts.sum(&[Status::Resolved], &[Severity::High]), 1);
    let missing = move_to(&db, AlertId::new(9), Status::Open, None, &by("jane", 5)).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

async fn a_stale_change_is_refused(db: Db, _: Place) {
    store(&db, &[event(1, Severity::High, "fw", "scan", "x")]).await.unwrap();
    let id = AlertId::new(1);
    move_to(&db, id, Status::Acknowledged, Some(1), &by("jane", 5)).await.unwrap();
    let stale = move_to(&db, id, Status::Resolved, Some(1), &by("joe", 6)).await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    assert_eq!(db.alert(id).await.unwrap().unwrap().status, Status::Acknowledged);
    assert_eq!(db.alert_history(id).await.unwrap().len(), 1);
}

async fn changes_at_once_all_land(db: Db, _: Place) {
    store(&db, &[event(1, Severity::Critical, "fw", "scan", "x")]).await.unwrap();
    let id = AlertId::new(1);
    let mut tasks = Vec::new();
    for n in 0..4_usize {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            let mut moved = 0;
            for step in 0..6 {
                let to = Status::ALL[(n + step) % 3];
                match move_to(&db, id, to, None, &by("crowd", 7)).await {
                    Ok(changed) => moved += i64::from(changed.changed()),
                    // Eight times somebody else was quicker: allowed, and nothing was changed.
                    Err(StoreError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            moved
        }));
    }
    let mut moved = 0;
    for task in tasks {
        moved += task.await.unwrap();
    }
    let alert = db.alert(id).await.unwrap().unwrap();
    let history = db.alert_history(id).await.unwrap();
    assert_eq!(
        (history.len() as i64, alert.version),
        (moved, moved + 1),
        "a step of history for each change"
    );
    for pair in history.windows(2) {
        assert_eq!(Some(&pair[0].to), pair[1].from.as_ref(), "each change begins where the last one ended");
    }
    assert_eq!(history.last().unwrap().to, alert.status.as_str());
    let counts = db.alert_counts().await.unwrap();
    assert_eq!(counts.sum(&[], &[]), 1);
    assert_eq!(counts.sum(&[alert.status], &[Severity::Critical]), 1);
}
