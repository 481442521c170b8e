//! Alerts move on, with a history and exact counts, whoever does it at once.

use crate::{Place, at, by, event, move_to, on_both_engines, store};
use std::sync::Arc;
use watchpost_model::filter::{About, AlertFilter, Field};
use watchpost_model::page::PageRequest;
use watchpost_model::terms::Search;
use watchpost_model::triage::Action;
use watchpost_model::{AlertId, EventId, Severity, Status};
use watchpost_store::{AuditFilter, ByHand, Db, GroupFilter, Names, StoreError, raise_by_hand, testing};

on_both_engines!(
    a_change_is_kept_with_who_and_what,
    a_stale_change_is_refused,
    changes_at_once_all_land,
    an_alert_by_hand_is_one_like_all_others,
);

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

/// Raises an alert for an event of LOW as one of HIGH.
async fn by_hand(db: &Db, alert: i64, event: i64, seconds: i64) -> Result<(), StoreError> {
    let raised = ByHand {
        id: AlertId::new(alert),
        event: db.event(EventId::new(event)).await.unwrap().unwrap(),
        severity: Severity::High,
        title: Some("Slow scan".into()),
        why: "as yesterday".into(),
    };
    let batch = raise_by_hand(db.engine(), &raised, &mut Names::default(), &by("jane", seconds));
    db.write(Arc::new(batch)).await
}

async fn an_alert_by_hand_is_one_like_all_others(db: Db, _: Place) {
    let events =
        [event(1, Severity::Low, "Fw", "scan", "quiet"), event(2, Severity::Critical, "fw", "scan", "loud")];
    store(&db, &events).await.unwrap();
    let place = db.feed_end().await.unwrap();
    by_hand(&db, 7, 1, 50).await.unwrap();
    let alert = db.alert(AlertId::new(7)).await.unwrap().unwrap();
    assert_eq!((alert.severity, alert.event.severity), (Severity::High, Severity::Low));
    assert_eq!((alert.rule.as_str(), alert.shown_title().as_str()), ("manual", "Slow scan"));
    assert_eq!((alert.status, alert.version, alert.created_at), (Status::Open, 1, at(50)));
    assert_eq!(db.alerts_of_event(EventId::new(1)).await.unwrap(), [alert]);
    let history = db.alert_history(AlertId::new(7)).await.unwrap();
    let first = &history[0];
    assert_eq!((first.version, first.action.as_str(), first.actor.as_str()), (1, "raised", "jane"));
    assert_eq!(
        (first.from.as_deref(), first.to.as_str(), first.why.as_str()),
        (None, "OPEN", "as yesterday")
    );
    let said = db.feed_after(place, 10).await.unwrap();
    assert_eq!((said.len(), said[0].events.len(), said[0].alerts.as_slice()), (1, 0, [(7, 7)].as_slice()));

    // A second one is refused whole.
    let again = by_hand(&db, 8, 1, 51).await;
    assert!(matches!(&again, Err(StoreError::Taken(what)) if what == "alerts_event_id"), "{again:?}");
    let counts = db.alert_counts().await.unwrap();
    assert_eq!((counts.sum(&[], &[]), counts.sum(&[Status::Open], &[Severity::High])), (2, 1));
    let audit = db.audit_log(&AuditFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!(audit.count.number(), 1, "and leaves no trace");
    assert_eq!((audit.rows[0].action.as_str(), audit.rows[0].object.as_str()), ("alert.raise", "alert:7"));

    testing::index_all(&db).await.unwrap();
    let find = async |filter: AlertFilter| {
        let page = db.alerts(&filter, PageRequest::default()).await.unwrap();
        assert_eq!(page.count.number(), page.rows.len() as i64, "{filter:?}");
        page.rows.iter().map(|alert| alert.id.get()).collect::<Vec<_>>()
    };
    let about = |search: &str| About { search: Some(Search::parse(search)), ..About::default() };
    let of_source = About { fields: [(Field::Source, vec!["FW".to_owned()])].into(), ..About::default() };
    assert_eq!(find(AlertFilter { about: about("quiet"), ..AlertFilter::default() }).await, [7]);
    let high =
        AlertFilter { severities: vec![Severity::High], about: about("scan"), ..AlertFilter::default() };
    assert_eq!(find(high).await, [7]);
    let low = AlertFilter { event_severities: vec![Severity::Low], ..AlertFilter::default() };
    assert_eq!(find(low).await, [7]);
    assert_eq!(find(AlertFilter { about: of_source.clone(), ..AlertFilter::default() }).await, [7, 2]);

    // And it moves on like all others, with its counts.
    let group = async |severity: Severity| {
        let filter = GroupFilter { severities: vec![severity], ..GroupFilter::default() };
        let page = db.alert_groups(&filter, PageRequest::default()).await.unwrap();
        page.rows.into_iter().find(|group| group.rule == "manual")
    };
    let found = group(Severity::High).await.unwrap();
    assert_eq!((found.open, found.first_at, found.last_at), (1, at(50), at(50)), "when it was raised");
    let id = AlertId::new(7);
    db.act(id, &Action::Rate(Severity::Medium), "", None, &by("joe", 60)).await.unwrap();
    move_to(&db, id, Status::Resolved, None, &by("joe", 61)).await.unwrap();
    let found = group(Severity::Medium).await.unwrap();
    assert_eq!((found.open, found.resolved, found.first_at), (0, 1, at(50)));
    assert_eq!(group(Severity::High).await, None);
    let counts = db.alert_counts().await.unwrap();
    assert_eq!(counts.sum(&[Status::Resolved], &[Severity::Medium]), 1);
    for status in [Status::Open, Status::Resolved] {
        let filter =
            AlertFilter { statuses: vec![status], about: of_source.clone(), ..AlertFilter::default() };
        assert_eq!(find(filter).await.len(), 1, "{status}");
    }
}
