//! What only one of the engines can get wrong.

use crate::{Place, administer, at, event, postgres_at, run, runtime, store};
use watchpost_model::{EventId, Severity};
use watchpost_store::{Db, Location, StoreError};

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("junk.db");
    std::fs::write(&path, "no database ".repeat(1_000)).unwrap();
    let opened = runtime().block_on(Db::open(&Location::Sqlite(path)));
    assert!(matches!(opened.err(), Some(StoreError::Unfit(_))));
    let missing = runtime().block_on(Db::open(&Location::Sqlite(folder.path().join("none/x.db"))));
    assert!(matches!(missing.err(), Some(StoreError::Unavailable(_))));
}

#[test]
fn two_processes_may_use_a_file_of_sqlite() {
    run(Place::sqlite(), |db, place| async move {
        let other = place.open().await;
        store(&other, &[event(1, Severity::High, "fw", "scan", "x")]).await.unwrap();
        assert!(db.event(EventId::new(1)).await.unwrap().is_some(), "a commit is seen at once");
        store(&db, &[event(2, Severity::High, "fw", "scan", "x")]).await.unwrap();
        assert_eq!(other.event_count(&[]).await.unwrap(), 2);
        other.close().await;
    });
}

#[test]
fn a_database_that_was_closed_is_one_file() {
    for _ in 0..10 {
        let place = Place::sqlite();
        let Location::Sqlite(path) = place.location.clone() else { panic!("it is SQLite") };
        run(place.clone(), |db, _| async move {
            store(&db, &[event(1, Severity::High, "fw", "scan", "x")]).await.unwrap();
            db.event_count(&[]).await.unwrap();
        });
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        let mut names = names;
        names.sort();
        assert_eq!(names, ["watchpost-search.db", "watchpost.db"]);
    }
}

#[test]
fn a_server_that_risks_acknowledged_events_is_refused() {
    let place = Place::postgres();
    let name = place.url().rsplit('/').next().unwrap().to_owned();
    administer(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let opened = runtime().block_on(Db::open(&place.location));
    let Some(StoreError::Unfit(said)) = opened.err() else { panic!("it was let in") };
    assert!(said.contains("synchronous_commit=off"), "{said}");
    administer(&format!("DROP DATABASE {name} WITH (FORCE)"));
}

#[test]
fn a_server_that_is_not_there_is_said_to_be_so() {
    let opened = runtime().block_on(Db::open(&postgres_at("postgres://watchpost@127.0.0.1:1/none")));
    assert!(matches!(opened.err(), Some(StoreError::Unavailable(_))));
    let opened = runtime().block_on(Db::open(&postgres_at("postgres://:::nonsense")));
    assert!(matches!(opened.err(), Some(StoreError::Unfit(_))));
}

#[test]
fn connections_that_the_server_ended_are_replaced() {
    run(Place::postgres(), |db, place| async move {
        let name = place.url().rsplit('/').next().unwrap().to_owned();
        for round in 1..=5 {
            administer(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ));
            db.event_count(&[]).await.unwrap();
            administer(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ));
            // A write may meet the ended connection: then it says that nothing was written, and the next one works.
            let events = [event(round, Severity::High, "fw", "scan", "x")];
            if let Err(error) = store(&db, &events).await {
                assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
                store(&db, &events).await.unwrap();
            }
        }
        assert_eq!(db.event_count(&[]).await.unwrap(), 5);
    });
}

#[test]
fn events_lie_in_the_partition_of_their_month() {
    run(Place::postgres(), |db, place| async move {
        let ids = db.take_ids(watchpost_store::IdKind::Events, 1, at(0)).await.unwrap();
        store(&db, &[event(ids.start, Severity::Low, "fw", "scan", "x")]).await.unwrap();
        db.prepare_partitions(at(0)).await.unwrap();
        let (client, connection) =
            tokio_postgres::connect(&place.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client.query_one("SELECT tableoid::regclass::text FROM events", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "events_2026_11");
        let plan = format!("EXPLAIN SELECT * FROM events WHERE id = {}", ids.start);
        let rows = client.query(&plan, &[]).await.unwrap();
        let plan: String = rows.iter().map(|row| row.get::<_, String>(0)).collect();
        assert!(
            plan.contains("events_2026_11") && !plan.contains("events_2026_12") && !plan.contains("elsewhen"),
            "{plan}"
        );
    });
}

/// PostgreSQL says COMMIT and warns when its standby may lack the data. Any warning there is taken for that one.
#[test]
fn a_warning_at_commit_leaves_the_outcome_open() {
    run(Place::postgres(), |db, _| async move {
        let warn = "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'no standby'; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON alerts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()";
        watchpost_store::testing::run(&db, warn).await.unwrap();
        let events = [event(1, Severity::High, "fw", "scan", "x")];
        let first = store(&db, &events).await;
        assert!(matches!(first, Err(StoreError::OutcomeUnknown(_))), "{first:?}");
        let again = store(&db, &events).await;
        assert!(matches!(again, Err(StoreError::Taken(_))), "the same ids tell that it was done: {again:?}");
        store(&db, &[event(2, Severity::Low, "fw", "scan", "x")]).await.unwrap();
        assert_eq!(db.event_count(&[]).await.unwrap(), 2);
    });
}

#[test]
fn sqlite_is_one_without_the_bug_in_resetting_its_log() {
    run(Place::sqlite(), |db, _| async move {
        let version = db.health().await.unwrap().version;
        let numbers: Vec<u32> =
            version.trim_start_matches("SQLite ").split('.').map(|n| n.parse().unwrap()).collect();
        assert!(numbers >= vec![3, 51, 3] && numbers != vec![3, 52, 0], "{version}");
    });
}

/// A list in the order of an index reads a page, not the table.
#[test]
fn lists_of_alerts_come_from_an_index_in_order() {
    run(Place::sqlite(), |db, _| async move {
        use watchpost_model::filter::{About, AlertFilter, Field};
        let about = |field| About { fields: [(field, vec!["fw".to_owned()])].into(), ..About::default() };
        let filters = [
            AlertFilter::default(),
            AlertFilter { severities: vec![Severity::High], ..AlertFilter::default() },
            AlertFilter { statuses: vec![watchpost_model::Status::Open], ..AlertFilter::default() },
            AlertFilter { about: about(Field::Source), ..AlertFilter::default() },
            AlertFilter { about: about(Field::Type), ..AlertFilter::default() },
            AlertFilter { order: watchpost_model::filter::AlertOrder::Severity, ..AlertFilter::default() },
        ];
        for filter in filters {
            let list = watchpost_store::testing::alert_statement(&db, &filter, None);
            let plan = watchpost_store::testing::plan(&db, &list).await.unwrap();
            // Only the few rows that ranges gave are sorted, never a range.
            let sorted_range = |two: &[String]| two[0].contains(" a USING") && two[1].contains("TEMP B-TREE");
            assert!(plan.iter().any(|line| line.contains("INDEX alerts_")), "{filter:?}: {plan:?}");
            assert!(!plan.windows(2).any(sorted_range), "{filter:?}: {plan:?}");
            assert!(plan.iter().any(|line| line.contains("SEARCH e USING INTEGER PRIMARY KEY")), "{plan:?}");
        }
    });
}
