//! What was acknowledged is there, once and with its alert, whatever happens to the process. Each test has a mistake
//! that it must notice.
//!
//! `WATCHPOST_TEST_ROUNDS` asks for more rounds than the few that every run makes; the figures are printed.

use crate::faults::{rounds, scatter};
use crate::ledger::Ledger;
use crate::server::{Engine, PASSWORD, Server};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Points of the write path where the process is ended, on both engines.
const POINTS: [&str; 11] = [
    "enqueue.before",
    "enqueue.after",
    "begin",
    "events",
    "alerts",
    "rollups",
    "idempotency",
    "commit.before",
    "commit.after",
    "reply.before",
    "reply.after",
];

/// Kills the process at some moment under load, again and again.
fn killed_under_load(engine: Engine) {
    let rounds = rounds(30);
    let mut server = Server::start(engine);
    let mut ledger = Ledger::new(&server);
    for round in 0..rounds {
        // What the check costs grows with what is stored.
        if round % 10 == 9 {
            server = Server::start(engine);
            ledger = Ledger::new(&server);
        }
        ledger.write(&server, 20 + scatter(round) % 300, || server.kill());
        server.restart();
        ledger.check(&server);
    }
    println!(
        "{rounds} kills on {engine:?}, nothing lost: fewer than {:.1} % of kills lose something",
        300.0 / rounds as f64
    );
}

#[test]
fn everything_acknowledged_survives_being_killed_on_sqlite() {
    killed_under_load(Engine::Sqlite);
}

#[test]
fn everything_acknowledged_survives_being_killed_on_postgres() {
    killed_under_load(Engine::Postgres);
}

/// A server that ends itself at a point, loaded until it does, and started again as it should be.
fn ended_at(engine: Engine, fault: &str, mutant: &str) -> (Server, Ledger) {
    let mut server = Server::with(engine, &[("FAULT_POINT", fault), ("FAULT_MUTANT", mutant)]);
    let ledger = Ledger::new(&server);
    ledger.write(&server, usize::MAX, || {});
    server.wait();
    server.forget_extra();
    server.restart();
    (server, ledger)
}

fn ended_at_every_point(engine: Engine) {
    for point in POINTS {
        for round in 0..rounds(1) {
            let (server, ledger) = ended_at(engine, &format!("{point}:{}", 3 + scatter(round) % 20), "");
            ledger.check(&server);
        }
    }
}

#[test]
fn everything_acknowledged_survives_an_end_at_every_point_on_sqlite() {
    ended_at_every_point(Engine::Sqlite);
}

#[test]
fn everything_acknowledged_survives_an_end_at_every_point_on_postgres() {
    ended_at_every_point(Engine::Postgres);
}

fn is_noticed(server: &Server, ledger: &Ledger) -> bool {
    catch_unwind(AssertUnwindSafe(|| ledger.check(server))).is_err()
}

/// A mistake is noticed within a few tries, and on both engines.
fn mistake_is_noticed(fault: &str, mutant: &str) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let noticed = (0..10).any(|n| {
            let (server, ledger) = ended_at(engine, &format!("{fault}:{}", 9 + n), mutant);
            is_noticed(&server, &ledger)
        });
        assert!(noticed, "{mutant} on {engine:?} was not noticed");
    }
}

#[test]
fn an_answer_before_the_commit_is_noticed() {
    mistake_is_noticed("commit.before", "ack_before_commit");
}

#[test]
fn an_alert_in_a_second_transaction_is_noticed() {
    // Between the first transaction of a pair and the second.
    mistake_is_noticed("commit.after", "alert_apart");
}

#[test]
fn everything_acknowledged_survives_a_stop() {
    let mut server = Server::start(Engine::Sqlite);
    let ledger = Ledger::new(&server);
    ledger.write(&server, 300, || assert_eq!(server.stop(), Some(0)));
    server.restart();
    ledger.check(&server);
}

/// A check that can't fail proves nothing: spoil the data in the ways that matter, and it has to notice.
#[test]
fn the_check_notices_what_is_lost_changed_doubled_or_without_its_alert() {
    let mut server = Server::start(Engine::Sqlite);
    let ledger = Ledger::new(&server);
    ledger.write(&server, 100, || assert_eq!(server.stop(), Some(0)));
    server.restart();
    ledger.check(&server);
    assert_eq!(server.stop(), Some(0));
    let path = server.folder.path().join("watchpost-data/watchpost.db");
    let whole = std::fs::read(&path).unwrap();
    let first = "(SELECT MIN(id) FROM events WHERE severity = 4)";
    for spoil in [
        format!("DELETE FROM events WHERE id = {first}"),
        format!("UPDATE events SET description = 'other' WHERE id = {first}"),
        format!("DELETE FROM alerts WHERE event_id = {first}"),
        format!("UPDATE alerts SET event_id = event_id + 1 WHERE event_id = {first}"),
        "INSERT INTO events (id, created_at, source_name, event_type, severity, description, user_id) SELECT 1, created_at, source_name, event_type, 1, description, 1 FROM events LIMIT 1".to_owned(),
        "UPDATE rollups SET n = n + 1 WHERE series = 4 AND grain = 0 AND value = '1.4'".to_owned(),
        "UPDATE rollups SET n = n - 1 WHERE series = 1 AND grain = 3600 AND value = '1'".to_owned(),
    ] {
        std::fs::write(&path, &whole).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert!(connection.execute(&spoil, []).unwrap() > 0, "{spoil}");
        connection.close().unwrap();
        server.restart();
        assert!(is_noticed(&server, &ledger), "not noticed: {spoil}");
        assert_eq!(server.stop(), Some(0));
    }
}

/// How often the process asked the disk to keep what it wrote, while it took in events one after the other.
fn syncs(mutant: &str, events: usize) -> usize {
    let server = Server::with(Engine::Sqlite, &[("FAULT_MUTANT", mutant)]);
    let admin = server.admin();
    admin.event("LOW", "warm");
    let trace = server.folder.path().join("trace");
    let mut watcher = Command::new("strace")
        .args(["-f", "-e", "trace=fdatasync,fsync", "-o"])
        .arg(&trace)
        .args(["-p", &server.process().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is needed for this test: run `cargo xtask test`");
    let mut said = std::io::BufReader::new(watcher.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("attached") {
        line.clear();
        assert!(
            std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0,
            "strace can't watch the server"
        );
    }
    for n in 0..events {
        admin.event("LOW", &format!("number {n}"));
    }
    Command::new("kill").arg("-INT").arg(watcher.id().to_string()).status().unwrap();
    watcher.wait().unwrap();
    let traced = std::fs::read_to_string(trace).unwrap();
    traced.lines().filter(|line| line.contains("sync(") && line.ends_with("= 0")).count()
        + traced.lines().filter(|line| line.contains("sync resumed") && line.ends_with("= 0")).count()
}

#[test]
fn every_event_is_synced_before_its_answer_and_less_is_noticed() {
    assert!(syncs("", 25) >= 25, "an answer came before the disk had the event");
    assert!(syncs("synchronous_normal", 25) < 25, "a disk that isn't asked goes unnoticed");
}

/// Clients that don't wait for their answers: nothing is doubled, and the server is none the worse.
fn ten_thousand_clients_go_away(engine: Engine) {
    const CLIENTS: usize = 10_000;
    const SIDE_BY_SIDE: usize = 50;
    let mut server = Server::start(engine);
    let ledger = Ledger::new(&server);
    std::thread::scope(|scope| {
        for worker in 0..SIDE_BY_SIDE {
            let (server, ledger) = (&server, &ledger);
            scope.spawn(move || {
                for n in 0..CLIENTS / SIDE_BY_SIDE {
                    let (key, body) = ledger.enter();
                    let request = format!(
                        "POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: {}\r\nIdempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        ledger.credential,
                        body.len()
                    );
                    let mut stream = server.connect();
                    let whole = scatter(worker * 1_000 + n);
                    // Some go away before everything is sent, most at some moment after.
                    let sent = if whole.is_multiple_of(5) { whole % request.len() } else { request.len() };
                    stream.write_all(&request.as_bytes()[..sent]).ok();
                    std::thread::sleep(Duration::from_micros((whole % 50_000) as u64 / 10));
                }
            });
        }
    });
    if engine == Engine::Postgres {
        server.database().wait_until_idle();
    }
    // Those who wait are answered as ever; the stop lets what was taken in be stored before anyone looks.
    ledger.write(&server, 300, || assert_eq!(server.stop(), Some(0)));
    server.restart();
    ledger.check(&server);
}

#[test]
fn ten_thousand_clients_go_away_on_sqlite() {
    ten_thousand_clients_go_away(Engine::Sqlite);
}

#[test]
fn ten_thousand_clients_go_away_on_postgres() {
    ten_thousand_clients_go_away(Engine::Postgres);
}

/// Has commits that write to a table come with the warning that a standby may lack them.
fn warn_on(server: &Server, table: &str, events: &str) {
    server.database().run(&format!(
        "CREATE OR REPLACE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'no standby'; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER warn AFTER {events} ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()",
    ));
}

#[test]
fn an_unknown_outcome_is_acknowledged_only_behind_a_clean_commit() {
    let server = Server::with(Engine::Postgres, &[("FAULT_FIND_OUT_MS", "1500")]);
    let (admin, keyed) = (server.admin(), server.sensor().with("idempotency-key", "one"));
    let confirmed = "SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM counters WHERE name = 'confirmed'";
    warn_on(&server, "alerts", "INSERT");
    for n in 1..=3 {
        admin.event("CRITICAL", &format!("number {n}"));
        assert_eq!(server.database().count(confirmed), n, "each is seen by a commit that came back clean");
        assert_eq!(
            admin.get("/api/v1/events").expect(200)["count"],
            n,
            "stored once, however often it was tried"
        );
        assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], n);
    }
    assert!(server.log.lock().unwrap().contains("trying again to find out"), "the outcome was in doubt");
    // Where none comes back clean, nobody is told yes: not at once, and not when it is sent again.
    warn_on(&server, "counters", "INSERT OR UPDATE");
    let body = r#"{"source_name":"fw","event_type":"t","severity":"HIGH","description":"number 4"}"#;
    for _ in 0..2 {
        let answer = keyed.post_json("/api/v1/events", body);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("outcome_unknown")));
    }
    server.database().run("DROP TRIGGER warn ON counters");
    let answers = [keyed.post_json("/api/v1/events", body), keyed.post_json("/api/v1/events", body)];
    assert!(answers.iter().all(|answer| answer.header("idempotency-replayed") == "true"), "{answers:?}");
    assert_eq!(answers[0].expect(201), answers[1].expect(201));
    assert_eq!(admin.get("/api/v1/events").expect(200)["count"], 4);
}

/// What people do is held to the same: a warning at its commit is never a yes.
#[test]
fn a_change_whose_commit_warns_is_no_success() {
    let server = Server::start(Engine::Postgres);
    let admin = server.admin();
    let alert = admin.event("HIGH", "x")["alert"].as_i64().unwrap();
    warn_on(&server, "audit_log", "INSERT");
    for (path, body) in [
        (format!("/api/v1/alerts/{alert}/ack"), "{}".to_owned()),
        ("/api/v1/users".into(), format!(r#"{{"username":"ana","password":"{PASSWORD}","role":"Analyst"}}"#)),
        ("/api/v1/keys".into(), r#"{"name":"k"}"#.into()),
    ] {
        let answer = admin.post_json(&path, &body);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("outcome_unknown")), "{path}");
    }
}
