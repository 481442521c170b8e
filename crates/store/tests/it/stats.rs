//! Counts over time, against counting.

use crate::{Place, at, by, event, move_to, on_both_engines, store};
use std::collections::BTreeMap;
use watchpost_model::id::event_id_floor;
use watchpost_model::{AlertId, Severity, Status};
use watchpost_store::{Db, Series};

on_both_engines!(counts_are_what_counting_gives, reactions_are_measured_once);

async fn counts_are_what_counting_gives(db: Db, _: Place) {
    let mut by_hour: BTreeMap<(i64, String), i64> = BTreeMap::new();
    let mut sources: BTreeMap<String, i64> = BTreeMap::new();
    for n in 0..40 {
        let moment = at(n * n * 60);
        let (severity, source) = (Severity::ALL[n as usize % 4], ["fw", "cam", "Fw"][n as usize % 3]);
        let mut one = event(event_id_floor(moment).get(), severity, source, "scan", "x");
        one.created_at = moment;
        store(&db, &[one]).await.unwrap();
        *by_hour.entry((moment.seconds() / 3_600 * 3_600, severity.code().to_string())).or_default() += 1;
        *sources.entry(source.to_owned()).or_default() += 1;
    }
    let all = db.counts_over_time(Series::EventSeverity, 3_600, at(0), at(40 * 40 * 60), &[]).await.unwrap();
    let found: BTreeMap<_, _> = all.into_iter().map(|b| ((b.from.seconds(), b.value), b.n)).collect();
    assert_eq!(found, by_hour);
    let top = db.top(Series::EventSource, 86_400, at(0), at(40 * 40 * 60), 2).await.unwrap();
    let mut wanted: Vec<_> = sources.into_iter().collect();
    wanted.sort_by_key(|(name, n)| (-n, name.clone()));
    assert_eq!(top, wanted[..2]);
    let some = db
        .counts_over_time(Series::EventSource, 86_400, at(0), at(40 * 40 * 60), &["cam".into()])
        .await
        .unwrap();
    assert!(some.iter().all(|bucket| bucket.value == "cam"));
    assert_eq!(some.iter().map(|bucket| bucket.n).sum::<i64>(), 13);
    assert_eq!(db.counts_over_time(Series::EventSeverity, 60, at(-40), at(-40), &[]).await.unwrap(), []);
    // Minutes of long ago are forgotten, hours are not.
    db.forget_fine_counts(at(100 * 86_400)).await.unwrap();
    assert_eq!(db.counts_over_time(Series::EventSeverity, 60, at(0), at(99_999), &[]).await.unwrap(), []);
    assert_eq!(db.event_count(&[]).await.unwrap(), 40);
    let day = db.counts_over_time(Series::EventSeverity, 86_400, at(0), at(40 * 40 * 60), &[]).await.unwrap();
    assert_eq!(day.iter().map(|bucket| bucket.n).sum::<i64>(), 40);
}

async fn reactions_are_measured_once(db: Db, _: Place) {
    for n in 1..=10 {
        let mut one = event(n, Severity::High, "fw", "scan", "x");
        one.created_at = at(0);
        store(&db, &[one]).await.unwrap();
        let id = AlertId::new(n);
        let took = if n == 10 { 1_000 } else { 10 };
        move_to(&db, id, Status::Acknowledged, None, &by("jane", took)).await.unwrap();
        move_to(&db, id, Status::Open, None, &by("jane", 5_000)).await.unwrap();
        move_to(&db, id, Status::Acknowledged, None, &by("jane", 6_000)).await.unwrap();
    }
    let found = db.durations(false, 3_600, at(0), at(90_000)).await.unwrap().unwrap();
    assert_eq!(found.n, 10, "the first time counts");
    assert!((found.mean - 109.0).abs() < 0.01, "{found:?}");
    assert!((found.p90 / 10.0 - 1.0).abs() < 0.09, "{found:?}");
    assert_eq!(db.durations(true, 3_600, at(0), at(90_000)).await.unwrap(), None, "none was resolved");
    let alert = db.alert(AlertId::new(1)).await.unwrap().unwrap();
    assert_eq!((alert.acknowledged_at, alert.resolved_at), (Some(at(10)), None));
}
