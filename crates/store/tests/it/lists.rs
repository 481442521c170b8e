//! What the search index and the seeking by counts do that a plain model doesn't show.

use crate::{Place, at, event, on_both_engines, store, stored};
use watchpost_model::filter::{About, EventFilter, Field, Span};
use watchpost_model::id::event_id_floor;
use watchpost_model::page::PageRequest;
use watchpost_model::terms::Search;
use watchpost_model::text::Given;
use watchpost_model::{DetailsDraft, Event, EventDraft, Severity};
use watchpost_store::{Db, testing};

on_both_engines!(
    what_analysts_look_for_is_found,
    an_index_that_is_interrupted_goes_on,
    ids_that_come_late_are_indexed,
    pages_are_sought_across_days,
);

async fn found(db: &Db, search: &str) -> Vec<i64> {
    let about = About { search: Some(Search::parse(search)), ..About::default() };
    let filter = EventFilter { about, ..EventFilter::default() };
    let page = db.events(&filter, PageRequest::numbered(1, 100)).await.unwrap();
    assert_eq!(page.count.number(), page.rows.len() as i64, "{search}");
    page.rows.iter().map(|event| event.id.get()).collect()
}

fn detailed(id: i64) -> Event {
    let text = |text: &'static str| Given::Text(text.into());
    let draft = EventDraft {
        source_name: text("edge-fw1.example.com"),
        event_type: text("malware:trojan"),
        severity: text("LOW"),
        description: text("Blocked 203.0.113.7:443, CVE-2026-1234 in /usr/bin/curl"),
        details: DetailsDraft {
            host: text("DB 01"),
            user: text("bob@example.com"),
            src_ip: text("2001:db8::7"),
            attributes: Given::Object(
                r#"{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","n":[4711,"ünïcode"]}"#.into(),
            ),
            ..DetailsDraft::default()
        },
    };
    stored(&draft, id)
}

async fn what_analysts_look_for_is_found(db: Db, _: Place) {
    store(&db, &[detailed(1), event(2, Severity::Low, "cam", "motion", "10.0.0.10 it's \\ 50% \"quoted\"")])
        .await
        .unwrap();
    testing::index_all(&db).await.unwrap();
    for search in [
        "203.0.113.7",
        "203.0.113.7:443",
        "203.0.113",
        "cve-2026-1234",
        "CVE-2026",
        "/usr/bin/curl",
        "/usr/bin",
        "curl",
        "edge-fw1.example.com",
        "EDGE",
        "trojan",
        "bob@example.com",
        "\"bob\"",
        "2001:db8::7",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e3b0c442",
        "4711",
        "ünïc",
        "blocked curl",
    ] {
        assert_eq!(found(&db, search).await, [1], "{search}");
    }
    for search in ["10.0.0.1", "10.0.0.10", "50%", "quoted", "it's", "\\ 50"] {
        assert_eq!(found(&db, search).await, [2], "{search}");
    }
    for search in
        ["\"10.0.0.1\"", "03.0.113.7", "blocked cam", "%", "'", "\"", "source_name=cam", "a OR b", "NOT cam"]
    {
        assert_eq!(found(&db, search).await, [0; 0], "{search}");
    }
    let host =
        |name: &str| About { fields: [(Field::Host, vec![name.to_owned()])].into(), ..About::default() };
    for (name, count) in [("db 01", 1), ("DB=01", 0), ("db", 0)] {
        let filter = EventFilter { about: host(name), ..EventFilter::default() };
        assert_eq!(db.events(&filter, PageRequest::default()).await.unwrap().rows.len(), count, "{name}");
    }
}

async fn an_index_that_is_interrupted_goes_on(db: Db, place: Place) {
    store(&db, &[event(1, Severity::High, "fw", "scan", "first")]).await.unwrap();
    testing::index_all(&db).await.unwrap();
    store(&db, &[event(2, Severity::High, "fw", "scan", "second")]).await.unwrap();
    db.close().await;
    let again = place.open().await;
    assert_eq!(found(&again, "first").await, [1], "what was indexed is still there");
    assert_eq!(found(&again, "second").await, [0; 0]);
    testing::index_all(&again).await.unwrap();
    assert_eq!(found(&again, "second").await, [2], "what wasn't comes in");
    assert_eq!(again.index_round().await.unwrap().texts, 0, "and nothing twice");
    again.close().await;
}

#[test]
fn an_index_that_is_missing_spoilt_or_of_another_database_is_made_anew() {
    crate::run(Place::sqlite(), |db, place| async move {
        let watchpost_store::Location::Sqlite(path) = place.location.clone() else { panic!("it is SQLite") };
        let index = path.with_file_name("watchpost-search.db");
        store(
            &db,
            &[
                event(1, Severity::High, "fw", "scan", "first"),
                event(2, Severity::High, "fw", "scan", "second"),
            ],
        )
        .await
        .unwrap();
        testing::index_all(&db).await.unwrap();
        db.close().await;
        // The index of a database that has more than this one: a backup was put back, say.
        let ahead = Place::sqlite();
        let watchpost_store::Location::Sqlite(other) = ahead.location.clone() else { panic!("it is SQLite") };
        let ahead = ahead.open().await;
        ahead.migrate(at(0)).await.unwrap();
        store(&ahead, &[event(9, Severity::High, "fw", "scan", "first")]).await.unwrap();
        testing::index_all(&ahead).await.unwrap();
        ahead.close().await;
        for spoil in [
            None,
            Some(b"no database ".repeat(500)),
            Some(std::fs::read(other.with_file_name("watchpost-search.db")).unwrap()),
        ] {
            match spoil {
                None => std::fs::remove_file(&index).unwrap(),
                Some(bytes) => std::fs::write(&index, bytes).unwrap(),
            }
            let again = place.open().await;
            testing::index_all(&again).await.unwrap();
            assert_eq!((found(&again, "first").await, found(&again, "scan").await), (vec![1], vec![2, 1]));
            again.close().await;
        }
    });
}

async fn ids_that_come_late_are_indexed(db: Db, _: Place) {
    testing::small_shards(2);
    for id in [10, 11, 12, 20, 21, 30] {
        store(&db, &[event(id, Severity::High, "fw", "scan", "on time")]).await.unwrap();
        testing::index_all(&db).await.unwrap();
    }
    if db.engine() == watchpost_store::Engine::Postgres {
        // A transaction that began before others and ended after them.
        store(&db, &[event(15, Severity::High, "fw", "scan", "on time, too")]).await.unwrap();
        testing::index_all(&db).await.unwrap();
        assert_eq!(found(&db, "time").await, [30, 21, 20, 15, 12, 11, 10]);
    } else {
        assert_eq!(found(&db, "time").await, [30, 21, 20, 12, 11, 10]);
    }
}

async fn pages_are_sought_across_days(db: Db, _: Place) {
    // Bursts hours and days apart.
    let mut all = Vec::new();
    for (burst, seconds) in [0, 50, 61, 3_700, 90_000, 90_001, 900_000].into_iter().enumerate() {
        for n in 0..=burst as i64 {
            let moment = at(seconds);
            let mut one = event(event_id_floor(moment).get() + n, Severity::Low, "fw", "scan", "x");
            one.created_at = moment;
            all.push(one);
        }
    }
    store(&db, &all).await.unwrap();
    all.reverse();
    for number in 1..=10 {
        let page = db.events(&EventFilter::default(), PageRequest::numbered(number, 3)).await.unwrap();
        let wanted: Vec<_> = all.iter().skip(page.request.offset() as usize).take(3).cloned().collect();
        assert_eq!(page.rows, wanted, "page {number}");
        assert_eq!(page.more, number < 10);
    }
    let past = db.events(&EventFilter::default(), PageRequest::numbered(11, 3)).await.unwrap();
    assert!(!past.exists());
    // Exact within a second, too.
    for (since, until, count) in [(50, 61, 2), (61, 61, 0), (0, 3_701, 10), (90_000, 90_001, 5), (-9, 0, 0)] {
        let span = Span { since: Some(at(since)), until: Some(at(until)) };
        let filter = EventFilter { about: About { span, ..About::default() }, ..EventFilter::default() };
        let page = db.events(&filter, PageRequest::numbered(1, 100)).await.unwrap();
        assert_eq!(page.rows.len(), count, "{since} to {until}");
    }
}
