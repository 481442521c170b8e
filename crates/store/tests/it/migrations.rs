//! Bringing a database up to date.

use crate::people::user;
use crate::{Place, at, on_both_engines};
use watchpost_model::filter::{About, AlertFilter, EventFilter};
use watchpost_model::id::event_id_floor;
use watchpost_model::page::PageRequest;
use watchpost_model::terms::Search;
use watchpost_model::{AlertId, Role, Severity, Status};
use watchpost_store::{Db, LATEST, StoreError, testing};

on_both_engines!(
    twice_changes_nothing,
    several_nodes_at_once,
    altered_and_newer_databases_are_refused,
    what_an_older_watchpost_stored_is_counted_and_found,
    what_was_undone_by_an_older_watchpost_counts_nowhere,
);

async fn twice_changes_nothing(db: Db, _: Place) {
    assert!(db.pending_migrations().await.unwrap().is_empty());
    assert!(db.migrate(at(1)).await.unwrap().is_empty());
    assert_eq!(db.health().await.unwrap().step, LATEST);
}

async fn several_nodes_at_once(_: Db, place: Place) {
    // A fresh database beside the migrated one.
    let fresh = if place.name.is_empty() { Place::sqlite() } else { Place::postgres() };
    let (one, two) = (fresh.open().await, fresh.open().await);
    let (a, b) = tokio::join!(one.migrate(at(0)), two.migrate(at(0)));
    a.unwrap();
    b.unwrap();
    assert!(one.pending_migrations().await.unwrap().is_empty());
    one.close().await;
    two.close().await;
    if !fresh.name.is_empty() {
        crate::administer(&format!("DROP DATABASE {} WITH (FORCE)", fresh.name));
    }
}

async fn altered_and_newer_databases_are_refused(db: Db, _: Place) {
    let script = async |sql: &str| watchpost_store::testing::run(&db, sql).await;
    script("UPDATE schema_migrations SET hash = 'other'").await.unwrap();
    assert!(matches!(db.pending_migrations().await, Err(StoreError::Unfit(_))));
    script("INSERT INTO schema_migrations (version, name, hash, applied_at) VALUES (999, 'later', 'x', 0)")
        .await
        .unwrap();
    let refused = db.migrate(at(1)).await;
    assert!(matches!(refused, Err(StoreError::Newer { found: 999, known: LATEST })), "{refused:?}");
}

/// Where PostgreSQL keeps the rows of the events' partitions: another place means that they were rewritten.
async fn files_of_events(place: &Place) -> Vec<u32> {
    let (client, connection) = tokio_postgres::connect(&place.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql =
        "SELECT relfilenode FROM pg_class WHERE relname LIKE 'events\\_%' AND relkind = 'r' ORDER BY relname";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn what_an_older_watchpost_stored_is_counted_and_found(_: Db, place: Place) {
    let old = if place.name.is_empty() { Place::sqlite() } else { Place::postgres() };
    let db = old.open().await;
    testing::migrate_to(&db, 1, at(0)).await.unwrap();
    for n in 0..30 {
        let (id, severity) = (event_id_floor(at(n * 1_000)).get(), n % 4 + 1);
        let time = at(n * 1_000).micros();
        testing::run(&db, &format!("INSERT INTO events (id, created_at, source_name, event_type, severity, description, user_id) VALUES ({id}, {time}, 'FW', 'scan', {severity}, 'number {n}', 1)")).await.unwrap();
        if severity > 2 {
            testing::run(&db, &format!("INSERT INTO alerts (id, event_id, rule, source_name, event_type, severity, status, created_at, updated_at, version) VALUES ({n}, {id}, 'r', 'FW', 'scan', {severity}, {}, {time}, {time}, 1)", n % 3 + 1)).await.unwrap();
        }
    }
    let before = if place.name.is_empty() { Vec::new() } else { files_of_events(&old).await };
    let mut pending: Vec<_> = db.migrate(at(0)).await.unwrap().iter().map(|step| step.number).collect();
    pending.dedup();
    assert!(
        pending.is_sorted() && pending.first() == Some(&2) && pending.last() == Some(&LATEST),
        "{pending:?}"
    );
    if !place.name.is_empty() {
        assert_eq!(files_of_events(&old).await, before, "no row was rewritten");
    }
    testing::index_all(&db).await.unwrap();
    assert_eq!(db.event_count(&[]).await.unwrap(), 30);
    assert_eq!(db.event_count(&[Severity::Low]).await.unwrap(), 8);
    assert_eq!(db.alert_counts().await.unwrap().sum(&[Status::Open], &[]), 5);
    let about = About { search: Some(Search::parse("number 17")), ..About::default() };
    let found = db
        .events(&EventFilter { about: about.clone(), ..EventFilter::default() }, PageRequest::default())
        .await
        .unwrap();
    assert_eq!(found.rows.len(), 1);
    let by_source = About {
        fields: [(watchpost_model::filter::Field::Source, vec!["fw".into()])].into(),
        ..About::default()
    };
    let filter = AlertFilter { about: by_source, statuses: vec![Status::Open], ..AlertFilter::default() };
    assert_eq!(db.alerts(&filter, PageRequest::default()).await.unwrap().count.number(), 5);
    let deep = db.events(&EventFilter::default(), PageRequest::numbered(3, 10)).await.unwrap();
    assert_eq!((deep.rows.len(), deep.rows[9].description.as_str()), (10, "number 0"));
    db.close().await;
    if !old.name.is_empty() {
        crate::administer(&format!("DROP DATABASE {} WITH (FORCE)", old.name));
    }
}

async fn what_was_undone_by_an_older_watchpost_counts_nowhere(_: Db, place: Place) {
    let old = if place.name.is_empty() { Place::sqlite() } else { Place::postgres() };
    let db = old.open().await;
    testing::migrate_to(&db, 7, at(0)).await.unwrap();
    let (id, time) = (event_id_floor(at(0)).get(), at(0).micros());
    let later = |seconds: i64| at(seconds).micros();
    let mut script = vec![
        format!(
            "INSERT INTO events (id, created_at, source_name, event_type, severity, description, user_id) VALUES ({id}, {time}, 'fw', 'scan', 3, 'x', 1)"
        ),
        format!(
            "INSERT INTO alerts (id, event_id, rule, source_name, event_type, severity, status, created_at, updated_at, version, acknowledged_at, acknowledged_by, resolved_at, resolved_by) VALUES (1, {id}, 'r', 'fw', 'scan', 3, 2, {time}, {time}, 6, {}, 'joe', {}, 'ana')",
            later(1),
            later(2)
        ),
    ];
    // Acknowledged by joe; resolved by ana, undone, resolved again, undone.
    let steps = [
        ("joe", 1, 2, "status"),
        ("ana", 2, 3, "status"),
        ("ana", 3, 2, "undo"),
        ("ana", 2, 3, "status"),
        ("ana", 3, 2, "undo"),
    ];
    for (n, (actor, from, to, action)) in steps.into_iter().enumerate() {
        script.push(format!("INSERT INTO alert_history (alert_id, version, at, actor, from_status, to_status, action, from_value, to_value) VALUES (1, {}, {}, '{actor}', {from}, {to}, '{action}', '', '')", n + 2, later(n as i64 + 1)));
    }
    for sql in script {
        testing::run(&db, &sql).await.unwrap();
    }
    db.migrate(at(100)).await.unwrap();
    let alert = db.alert(AlertId::new(1)).await.unwrap().unwrap();
    assert_eq!((alert.acknowledged_at, alert.acknowledged_by.as_deref()), (Some(at(1)), Some("joe")));
    assert_eq!((alert.resolved_at, alert.resolved_by), (None, None));
    let history = db.alert_history(alert.id).await.unwrap();
    let undone: Vec<bool> = history.iter().map(|entry| entry.undone).collect();
    assert_eq!(undone, [false, true, false, true, false]);
    let ana = user(&db, "ana", Role::Responder).await.id;
    let done = db.handover(ana, at(0), at(60)).await.unwrap().done;
    assert_eq!((done.acknowledged, done.resolved, done.changes), (1, 0, 1));
    db.close().await;
    if !old.name.is_empty() {
        crate::administer(&format!("DROP DATABASE {} WITH (FORCE)", old.name));
    }
}
