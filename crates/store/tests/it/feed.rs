//! The feed of what is committed: whoever follows it sees everything once, however writers overlap.

use crate::{Place, at, by, event, move_to, on_both_engines, run, store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use watchpost_model::{AlertId, Severity, Status};
use watchpost_store::{Db, Engine, FeedEntry, FeedPlace};

on_both_engines!(
    each_transaction_leaves_an_entry,
    a_place_is_good_while_everything_behind_it_is_kept,
    places_of_others_are_not_known,
);

/// Waits until so many entries lie behind a place, and reads them in pieces. What others are writing meanwhile, also in
/// other databases of the same PostgreSQL, holds it up for a moment.
async fn wait_for(db: &Db, place: FeedPlace, limit: i64, count: usize) -> Vec<FeedEntry> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let all = after(db, place, limit).await;
        if all.len() >= count {
            assert_eq!(all.len(), count);
            return all;
        }
        assert!(Instant::now() < deadline, "{} of {count} are seen", all.len());
    }
}

/// Everything behind a place, read in pieces of so many.
async fn after(db: &Db, mut place: FeedPlace, limit: i64) -> Vec<FeedEntry> {
    let mut all = Vec::new();
    loop {
        let some = db.feed_after(place, limit).await.unwrap();
        assert!(some.len() as i64 <= limit);
        let Some(last) = some.last() else { return all };
        place = last.place;
        all.extend(some);
    }
}

async fn each_transaction_leaves_an_entry(db: Db, _: Place) {
    let start = db.feed_end().await.unwrap();
    assert_eq!(after(&db, start, 5).await, []);
    let kinds = [Severity::Low, Severity::High, Severity::Critical];
    let first: Vec<_> = (1..=3).map(|n| event(n, kinds[n as usize - 1], "fw", "scan", "x")).collect();
    store(&db, &first).await.unwrap();
    store(&db, &[event(7, Severity::Low, "fw", "scan", "x")]).await.unwrap();
    move_to(&db, AlertId::new(3), Status::Resolved, None, &by("rob", 9)).await.unwrap();
    move_to(&db, AlertId::new(3), Status::Resolved, None, &by("rob", 9)).await.unwrap();
    store(&db, &first).await.expect_err("what is there already is no news");
    for limit in [1, 2, 100] {
        let all = wait_for(&db, start, limit, 3).await;
        let told: Vec<_> =
            all.iter().map(|e| (e.events.clone(), e.alerts.clone(), e.changes.clone(), e.len())).collect();
        let expected = [
            (vec![(1, 3)], vec![(2, 3)], vec![], 5),
            (vec![(7, 7)], vec![], vec![], 1),
            (vec![], vec![], vec![(AlertId::new(3), 2)], 1),
        ];
        assert_eq!(told, expected);
        assert!(all.windows(2).all(|two| two[0].place < two[1].place));
        assert_eq!((all[0].at, all[2].at), (at(1), at(9)));
        assert_eq!(after(&db, all[0].place, limit).await, all[1..], "from the middle on");
    }
    let alerts = db.alerts_by_id(&[2, 3, 99]).await.unwrap();
    assert_eq!((alerts.len(), alerts[&3].status), (2, Status::Resolved));
    for ranges in [&[(1, 2), (7, 9)][..], &[(1, 2), (3, 500)]] {
        let events = db.events_between(ranges).await.unwrap();
        let mut found: Vec<i64> = events.iter().map(|event| event.id.get()).collect();
        found.sort_unstable();
        found.retain(|id| *id != 3);
        assert_eq!(found, [1, 2, 7], "{ranges:?}");
    }
    let history = db.history_of(&[(AlertId::new(3), 2), (AlertId::new(2), 2)]).await.unwrap();
    assert_eq!((history.len(), history[&(AlertId::new(3), 2)].to.as_str()), (1, "RESOLVED"));
}

async fn a_place_is_good_while_everything_behind_it_is_kept(db: Db, _: Place) {
    let start = db.feed_end().await.unwrap();
    assert!(db.feed_keeps(start).await.unwrap(), "nothing was ever there");
    for n in 1..=20 {
        store(&db, &[event(n * 100, Severity::Low, "fw", "scan", "x")]).await.unwrap();
    }
    let all = wait_for(&db, start, 100, 20).await;
    assert!(db.feed_keeps(start).await.unwrap(), "nothing was forgotten yet");
    // What was written up to 1050 is old.
    while db.forget_feed(at(1_050), None).await.unwrap() {}
    let left = after(&db, start, 100).await;
    assert_eq!(left, all[9..], "the youngest of what is old says how far forgetting went");
    assert!(!db.forget_feed(at(1_050), None).await.unwrap(), "and then there is no more to do");
    for (n, entry) in all.iter().enumerate() {
        assert_eq!(db.feed_keeps(entry.place).await.unwrap(), n >= 9, "{n}");
    }
    assert!(!db.feed_keeps(start).await.unwrap());
    while db.forget_feed(at(99_999), None).await.unwrap() {}
    assert_eq!(after(&db, start, 100).await, all[19..]);
    let mut end = db.feed_end().await.unwrap();
    while end < all[19].place {
        end = db.feed_end().await.unwrap();
    }
    assert!(db.feed_keeps(end).await.unwrap(), "whoever has seen everything misses nothing");
    assert!(db.feed_knows(end).await.unwrap() && db.feed_knows(all[3].place).await.unwrap());
    store(&db, &[event(99_999, Severity::Low, "fw", "scan", "x")]).await.unwrap();
    wait_for(&db, end, 100, 1).await;
}

async fn places_of_others_are_not_known(db: Db, _: Place) {
    store(&db, &[event(1, Severity::Low, "fw", "scan", "x")]).await.unwrap();
    let end = db.feed_end().await.unwrap();
    let elsewhere = match db.engine() {
        Engine::Sqlite => FeedPlace { generation: 0, xact: 700, seq: 1 },
        Engine::Postgres => FeedPlace { generation: 0, xact: 0, seq: 1 },
    };
    let beyond = [
        FeedPlace { seq: end.seq + 1, ..end },
        FeedPlace { xact: end.xact + 1, ..end },
        FeedPlace { generation: 9, ..end },
    ];
    for place in [elsewhere, beyond[0], beyond[1]] {
        assert!(!db.feed_knows(place).await.unwrap(), "{place:?}");
    }
}

async fn connect(place: &Place) -> Client {
    let (client, connection) = tokio_postgres::connect(&place.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn entry_of(id: i64) -> String {
    format!("INSERT INTO feed (at, events, alerts, changes) VALUES ({id}, '{id}', '', '')")
}

/// The mistake that the feed is made to avoid: going on behind the largest number that was seen.
async fn after_naive(client: &Client, seq: i64) -> Vec<(i64, i64)> {
    let sql = "SELECT seq, CAST(events AS BIGINT) FROM feed WHERE seq > $1 ORDER BY seq LIMIT 1000";
    client.query(sql, &[&seq]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn what_is_committed_late_is_seen_in_its_turn() {
    run(Place::postgres(), |db, place| async move {
        let start = db.feed_end().await.unwrap();
        let (slow, fast) = (connect(&place).await, connect(&place).await);
        slow.batch_execute(&format!("BEGIN; {}", entry_of(1))).await.unwrap();
        fast.batch_execute(&entry_of(2)).await.unwrap();
        assert_eq!(after(&db, start, 10).await, [], "it waits for the one that took its number earlier");
        let naive = after_naive(&fast, 0).await;
        assert_eq!(naive.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [2]);
        slow.batch_execute("COMMIT").await.unwrap();
        let all = wait_for(&db, start, 10, 2).await;
        assert_eq!(all.iter().map(|entry| entry.events[0].0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(after_naive(&fast, naive[0].0).await, [], "the naive reader never sees the other");
        // A transaction that is given up leaves nothing and holds nobody up.
        slow.batch_execute(&format!("BEGIN; {}", entry_of(3))).await.unwrap();
        fast.batch_execute(&entry_of(4)).await.unwrap();
        slow.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(wait_for(&db, all[1].place, 10, 1).await[0].events, [(4, 4)]);
    });
}

/// Writers whose transactions stay open for a while, each a different one: some are given up.
const WRITERS: i64 = 8;
const TRANSACTIONS: i64 = 60;

/// The entries that are there in the end, each once.
fn committed() -> BTreeMap<i64, usize> {
    let all = (0..WRITERS).flat_map(|writer| (1..=TRANSACTIONS).map(move |n| writer * 1_000 + n));
    all.filter(|id| id % 10 != 0).map(|id| (id, 1)).collect()
}

async fn write(place: Place, writer: i64, writing: Arc<AtomicUsize>) {
    let client = connect(&place).await;
    for n in 0..TRANSACTIONS {
        let id = writer * 1_000 + n + 1;
        // Up to 20 ms, the same in each run.
        let pause = (id * 7_919 % 21) as f64 / 1_000.0;
        let end = if id % 10 == 0 { "ROLLBACK" } else { "COMMIT" };
        let sql = format!("BEGIN; {}; SELECT pg_sleep({pause}); {end}", entry_of(id));
        client.batch_execute(&sql).await.unwrap();
    }
    writing.fetch_sub(1, Ordering::AcqRel);
}

#[test]
fn followers_see_each_entry_once_whatever_order_writers_commit_in() {
    run(Place::postgres(), |db, place| async move {
        let start = db.feed_end().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let writing = Arc::new(AtomicUsize::new(WRITERS as usize));
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(place.clone(), writer, writing.clone()))).collect();
        let followers: Vec<_> = [1, 3, 50]
            .into_iter()
            .map(|limit| {
                let (db, writing) = (db.clone(), writing.clone());
                tokio::spawn(async move {
                    let (mut place, mut seen) = (start, BTreeMap::<i64, usize>::new());
                    loop {
                        let done = writing.load(Ordering::Acquire) == 0;
                        let some = db.feed_after(place, limit).await.unwrap();
                        assert!(some.iter().all(|entry| entry.place > place));
                        place = some.last().map_or(place, |entry| entry.place);
                        some.iter().for_each(|entry| *seen.entry(entry.events[0].0).or_default() += 1);
                        let late = Instant::now() > deadline;
                        if done && some.is_empty() && (seen.len() == committed().len() || late) {
                            return seen;
                        }
                    }
                })
            })
            .collect();
        let (client, mut last, mut naive) = (connect(&place).await, 0, 0);
        loop {
            let done = writing.load(Ordering::Acquire) == 0;
            let some = after_naive(&client, last).await;
            naive += some.len();
            last = some.last().map_or(last, |(seq, _)| *seq);
            if done && some.is_empty() {
                break;
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let expected = committed();
        for follower in followers {
            assert_eq!(follower.await.unwrap(), expected, "each that was committed, and once");
        }
        assert!(naive < expected.len(), "overlapping writers make the naive reader miss some: {naive}");
    });
}
