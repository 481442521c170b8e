//! Events come in with their alerts and counts, or not at all.

use crate::{Place, at, event, on_both_engines, store};
use std::collections::BTreeSet;
use watchpost_model::filter::{AlertFilter, EventFilter};
use watchpost_model::id::event_id_floor;
use watchpost_model::page::PageRequest;
use watchpost_model::{EventId, Severity, Status};
use watchpost_store::{Db, IdKind, StoreError};

on_both_engines!(
    what_is_read_is_what_was_written,
    a_batch_is_stored_whole_or_not_at_all,
    ids_are_never_given_twice,
    a_write_goes_on_when_its_asker_goes_away,
);

async fn what_is_read_is_what_was_written(db: Db, _: Place) {
    let texts = [
        "plain",
        "quotes ' \" \\ `",
        "lines\r\n\tand tabs",
        "日本語 é 🦀",
        "%_\\",
        "'; DROP TABLE events; --",
        &"🦀".repeat(65_536),
    ];
    let events: Vec<_> =
        texts.iter().zip(1..).map(|(text, id)| event(id, Severity::Critical, "fw", "scan", text)).collect();
    store(&db, &events).await.unwrap();
    for event in &events {
        assert_eq!(db.event(event.id).await.unwrap().as_ref(), Some(event));
    }
    assert_eq!(db.event(EventId::new(99)).await.unwrap(), None);
    let page = db.alerts(&AlertFilter::default(), PageRequest::numbered(1, 100)).await.unwrap();
    assert_eq!(page.rows.len(), events.len());
    assert!(page.rows.iter().all(|alert| events.contains(&alert.event) && alert.status == Status::Open));
}

async fn a_batch_is_stored_whole_or_not_at_all(db: Db, _: Place) {
    store(&db, &[event(1, Severity::High, "fw", "scan", "first")]).await.unwrap();
    let before = (db.alert_counts().await.unwrap(), db.event_count(&[]).await.unwrap());
    let doubled =
        [event(2, Severity::High, "fw", "scan", "new"), event(1, Severity::Low, "fw", "scan", "again")];
    let refused = store(&db, &doubled).await;
    assert!(matches!(refused, Err(StoreError::Taken(_))), "{refused:?}");
    assert_eq!(db.event(EventId::new(2)).await.unwrap(), None, "nothing of the batch is there");
    assert_eq!((db.alert_counts().await.unwrap(), db.event_count(&[]).await.unwrap()), before);
    let all = db.events(&EventFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!((all.rows.len() as i64, all.count.number()), (1, before.1));
}

async fn ids_are_never_given_twice(db: Db, place: Place) {
    let other = place.open().await;
    let mut tasks = Vec::new();
    for n in 0..40 {
        let db = if n % 2 == 0 { db.clone() } else { other.clone() };
        // The clock of one of them goes back now and then.
        let now = if n % 5 == 0 { at(-3_600) } else { at(0) };
        tasks.push(tokio::spawn(async move { db.take_ids(IdKind::Events, 100, now).await.unwrap() }));
    }
    let mut seen = BTreeSet::new();
    for task in tasks {
        for id in task.await.unwrap() {
            assert!(seen.insert(id), "{id} was given twice");
        }
    }
    assert_eq!(seen.len(), 4_000);
    assert!(*seen.last().unwrap() > event_id_floor(at(0)).get());
    let later = db.take_ids(IdKind::Events, 1, at(10)).await.unwrap();
    assert_eq!(later.start, event_id_floor(at(10)).get(), "ids lead with the time");
    assert_eq!(db.take_ids(IdKind::Alerts, 2, at(0)).await.unwrap(), 1..3, "alerts count from one");
    other.close().await;
}

async fn a_write_goes_on_when_its_asker_goes_away(db: Db, place: Place) {
    let events = [event(7, Severity::High, "fw", "scan", "x")];
    {
        let writing = store(&db, &events);
        let mut writing = std::pin::pin!(writing);
        // Begun, and dropped before it is done.
        let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(writing.as_mut().poll(cx).is_ready()));
        begun.await;
    }
    // A write that comes after it on SQLite waits for it; PostgreSQL may take them in any order.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let reader = place.open().await;
    while reader.event(EventId::new(7)).await.unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "the write was cut off");
        tokio::task::yield_now().await;
    }
    reader.close().await;
}
