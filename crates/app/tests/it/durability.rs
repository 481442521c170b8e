//! What was acknowledged is there after the process was killed, once, with its alert.

use crate::server::{Engine, Server};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn everything_acknowledged_survives_being_killed_on_sqlite() {
    killed_under_load(Server::start(Engine::Sqlite));
}

#[test]
fn everything_acknowledged_survives_being_killed_on_postgres() {
    killed_under_load(Server::start(Engine::Postgres));
}

type Ledger = Mutex<BTreeMap<i64, (String, &'static str)>>;

/// Eight writers hand in events until the server is gone; the ledger has those that were acknowledged.
fn write_until(server: &Server, ledger: &Ledger, enough: usize, end: impl FnOnce() + Send) {
    let tokens: Vec<_> = (0..8).map(|_| server.sensor().headers[0].1.clone()).collect();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let acknowledged = AtomicUsize::new(0);
    let (reached, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for (writer, key) in tokens.iter().enumerate() {
            let (agent, acknowledged, reached) = (agent.clone(), &acknowledged, reached.clone());
            scope.spawn(move || {
                for n in 0.. {
                    let severity = ["LOW", "MEDIUM", "HIGH", "CRITICAL"][n % 4];
                    let description = format!("writer {writer} event {n}");
                    let body = serde_json::json!({
                        "source_name": "fw", "event_type": "t", "severity": severity, "description": description
                    });
                    let sent = agent
                        .post(format!("{}/api/v1/events", server.address))
                        .header("x-api-key", key)
                        .send_json(&body);
                    let Ok(mut answer) = sent else { return };
                    if answer.status() != 201 {
                        return;
                    }
                    let Ok(stored) = answer.body_mut().read_json::<serde_json::Value>() else { return };
                    let id = stored["id"].as_i64().unwrap();
                    let doubled = ledger.lock().unwrap().insert(id, (description, severity));
                    assert!(doubled.is_none(), "id {id} was given twice");
                    if acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                        reached.send(()).unwrap();
                    }
                }
            });
        }
        wait.recv().unwrap();
        end();
    });
}

/// Everything in the ledger is stored as it was sent, and alerts are exactly those of HIGH and CRITICAL.
fn check(server: &Server, ledger: &Ledger) {
    let admin = server.admin();
    let all = |path: &str| {
        let mut rows = Vec::new();
        for page in 1.. {
            let answer = admin.get(&format!("{path}?page_size=100&page={page}")).expect(200);
            rows.extend(answer["results"].as_array().unwrap().clone());
            if answer["next"].is_null() {
                assert_eq!(answer["count"], rows.len(), "the counter agrees with the list");
                return rows;
            }
        }
        unreachable!()
    };
    let events: BTreeMap<i64, (String, String)> = all("/api/v1/events")
        .iter()
        .map(|e| {
            (
                e["id"].as_i64().unwrap(),
                (e["description"].as_str().unwrap().into(), e["severity"].as_str().unwrap().into()),
            )
        })
        .collect();
    for (id, (description, severity)) in ledger.lock().unwrap().iter() {
        let stored = events.get(id).unwrap_or_else(|| panic!("event {id} was acknowledged and is lost"));
        assert_eq!((stored.0.as_str(), stored.1.as_str()), (description.as_str(), *severity));
    }
    let mut raised: Vec<i64> =
        all("/api/v1/alerts").iter().map(|a| a["event_id"].as_i64().unwrap()).collect();
    raised.sort_unstable();
    let wanted: Vec<i64> =
        events.iter().filter(|(_, (_, s))| s == "HIGH" || s == "CRITICAL").map(|(id, _)| *id).collect();
    assert_eq!(raised, wanted, "one alert for each HIGH or CRITICAL event, and no other");
}

fn killed_under_load(mut server: Server) {
    let ledger = Ledger::default();
    for round in 1..=3 {
        write_until(&server, &ledger, 40 * round, || server.kill());
        server.restart();
        check(&server, &ledger);
    }
}

#[test]
fn everything_acknowledged_survives_a_stop() {
    let mut server = Server::start(Engine::Sqlite);
    let ledger = Ledger::default();
    write_until(&server, &ledger, 60, || assert_eq!(server.stop(), Some(0)));
    server.restart();
    check(&server, &ledger);
}

/// A check that can't fail proves nothing: spoil the data in the ways that matter, and it has to notice.
#[test]
fn the_check_notices_what_is_lost_changed_or_without_its_alert() {
    let mut server = Server::start(Engine::Sqlite);
    let ledger = Ledger::default();
    write_until(&server, &ledger, 60, || assert_eq!(server.stop(), Some(0)));
    let path = server.folder.path().join("watchpost-data/watchpost.db");
    let whole = std::fs::read(&path).unwrap();
    let first = "(SELECT MIN(id) FROM events WHERE severity = 4)";
    for spoil in [
        format!("DELETE FROM events WHERE id = {first}"),
        format!("UPDATE events SET description = 'other' WHERE id = {first}"),
        format!("DELETE FROM alerts WHERE event_id = {first}"),
        "UPDATE rollups SET n = n + 1 WHERE series = 4 AND grain = 0 AND value = '1.4'".to_owned(),
    ] {
        std::fs::write(&path, &whole).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert!(connection.execute(&spoil, []).unwrap() > 0, "{spoil}");
        connection.close().unwrap();
        server.restart();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&server, &ledger)));
        assert!(checked.is_err(), "not noticed: {spoil}");
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn an_unknown_outcome_is_found_out_before_it_is_acknowledged() {
    let server = Server::start(Engine::Postgres);
    // Every commit that stores an alert comes with the warning that a standby may lack it.
    server.database().run(
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'no standby'; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON alerts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()",
    );
    let admin = server.admin();
    for n in 1..=3 {
        admin.event("CRITICAL", &format!("number {n}"));
        assert_eq!(
            admin.get("/api/v1/events").expect(200)["count"],
            n,
            "stored once, however often it was tried"
        );
        assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], n);
    }
    assert!(server.log.lock().unwrap().contains("trying again to find out"), "the outcome was in doubt");
}
