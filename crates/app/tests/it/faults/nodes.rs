//! Nodes of different ages on one PostgreSQL: one that would leave something out is refused, whatever it knows of this.

use crate::database::Database;
use crate::server::{Answer, Client, Engine, Server};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

/// Everything that a write of events or an action leaves somewhere.
const TRACES: &str = "SELECT (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM alerts) + (SELECT COUNT(*) FROM alert_history)
    + (SELECT COUNT(*) FROM feed) + (SELECT COUNT(*) FROM audit_log) + (SELECT COALESCE(SUM(n), 0)::BIGINT FROM rollups)
    + (SELECT COALESCE(SUM(version), 0)::BIGINT FROM alerts)";
/// An event as a Watchpost of before groups, feed and all would insert it.
const OLD_INSERT: &str =
    "INSERT INTO events (id, created_at, source_name, event_type, severity, description, user_id)
    SELECT MAX(id) + 1, MAX(created_at), 'fw', 'scan', 4, 'left out', 1 FROM events";
/// A step that this Watchpost doesn't know.
const LATER: &str = "UPDATE writers SET least_step = 9999";

/// What PostgreSQL says to a statement on a connection that begins with others.
fn refused(database: &Database, before: &str, statement: &str) -> Option<SqlState> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(before).await.unwrap();
        let said = client.batch_execute(statement).await;
        said.err().map(|error| error.code().cloned().unwrap())
    })
}

fn is_refused(answer: &Answer) {
    let refusal = answer.expect(503);
    assert!(refusal["detail"].as_str().unwrap().contains("older than the database's schema"), "{refusal}");
    assert!(!answer.header("retry-after").is_empty());
}

fn event(client: &Client<'_>) -> Answer {
    let body =
        json!({"source_name": "fw", "event_type": "scan", "severity": "CRITICAL", "description": "an event"});
    client.post_json("/api/v1/events", &body.to_string())
}

fn nodes(client: &Client<'_>) -> Vec<Value> {
    client.get("/api/v1/nodes").expect(200).as_array().unwrap().clone()
}

#[test]
fn a_client_that_does_not_say_what_it_knows_inserts_nothing() {
    let server = Server::start(Engine::Postgres);
    let admin = server.admin();
    event(&admin).expect(201);
    let database = server.database();
    let (kept, outdated) = (database.count(TRACES), SqlState::from_code("57WP1"));
    let audit = "INSERT INTO audit_log SELECT id + 1, at, actor, address, action, object, detail, hash FROM audit_log ORDER BY id DESC LIMIT 1";
    for statement in [OLD_INSERT, "UPDATE alerts SET status = 2", "DELETE FROM search_queue", audit] {
        for before in ["", "SET watchpost.step = '14'", "SET watchpost.step = ''"] {
            let said = refused(database, before, statement);
            assert_eq!(said.as_ref(), Some(&outdated), "{before}: {statement}");
        }
    }
    assert_eq!(database.count(TRACES), kept);
    // The control: what is refused would be done otherwise. Who works on the data with psql may.
    assert_eq!(refused(database, "SET watchpost.step = '9999'", OLD_INSERT), None);
    assert_eq!(refused(database, "SET application_name = 'psql'", OLD_INSERT), None);
    assert_eq!(database.count(TRACES), kept + 2);
}

#[test]
fn a_node_that_became_too_old_writes_nothing_and_says_so() {
    let mut server = Server::start(Engine::Postgres);
    {
        let admin = server.admin();
        let alert = event(&admin).expect(201)["alert"].clone();
        assert_eq!(server.anonymous().get("/readyz").status, 200);
        let database = server.database();
        let kept = database.count(TRACES);
        // Another node, newer than this one, brought the database on.
        database.run(LATER);
        for _ in 0..3 {
            is_refused(&event(&admin));
            is_refused(&admin.post_json(&format!("/api/v1/alerts/{alert}/ack"), "{}"));
        }
        is_refused(&admin.post_json("/api/v1/keys", r#"{"name":"sensor"}"#));
        let many = json!({"action": "ack", "ids": [alert]});
        is_refused(&admin.post_json("/api/v1/alerts/bulk", &many.to_string()));
        assert_eq!(database.count(TRACES), kept, "nothing is half written");
        let ready = server.anonymous().get("/readyz").expect(503);
        assert_eq!((&ready["migrations"], &ready["database"]), (&"node too old".into(), &"ok".into()));
        // What is there can be read.
        assert_eq!(admin.get(&format!("/api/v1/alerts/{alert}")).expect(200)["status"], "OPEN");
        assert!(nodes(&admin).iter().all(|node| node["may_write"] == false));
        let doctor = server.command().args(["doctor", "--quick"]).output().unwrap();
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(said.contains("BAD  nodes: 1 run(s)") && said.contains("upgrade those below"), "{said}");
    }
    let lines = server.log.lock().unwrap().matches("it writes nothing until it is upgraded").count();
    assert_eq!(lines, 1, "said once, not for each refusal");
    // Once it knows the step, as the one does that it is replaced by, it goes on.
    server.database().run("UPDATE writers SET least_step = 1");
    event(&server.admin()).expect(201);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(server.database().count("SELECT COUNT(*) FROM nodes"), 0, "it said that it stops");
    server.restart();
    assert_eq!(server.anonymous().get("/readyz").status, 200);
}

#[test]
fn an_older_node_beside_a_newer_one_is_refused_while_that_goes_on() {
    let server = Server::start(Engine::Postgres);
    let older = Server::on(server.database().again(), &[("FAULT_KNOWN_STEP", "14")]);
    let admin = server.admin();
    event(&admin).expect(201);
    let known = nodes(&admin);
    assert_eq!(known.len(), 2, "{known:?}");
    assert_eq!([&known[0]["may_write"], &known[1]["may_write"]], [&Value::Bool(true), &Value::Bool(false)]);
    // Who is known at one is known at the other; writing is what it can't.
    let mut there = older.anonymous();
    there.headers = server.sensor().headers;
    let kept = server.database().count(TRACES);
    is_refused(&event(&there));
    assert_eq!(server.database().count(TRACES), kept);
    event(&admin).expect(201);
    assert!(server.database().count(TRACES) > kept);
    let page = server.console(crate::server::ADMIN).get("/admin/settings");
    assert!(page.text.contains("too old for the database"), "{}", page.text);
}

#[test]
fn a_server_on_sqlite_is_the_only_node() {
    let mut server = Server::start(Engine::Sqlite);
    for _ in 0..2 {
        let known = nodes(&server.admin());
        assert_eq!((known.len(), &known[0]["may_write"]), (1, &Value::Bool(true)), "{known:?}");
        server.kill();
        server.restart();
    }
}
