//! Whatever is done to the audit log past Watchpost shows.

use super::run_in_database as run;
use crate::on_both_engines;
use crate::server::{ADMIN, Engine, Server};
use serde_json::{Value, json};
use std::process::{Output, Stdio};

on_both_engines!(
    every_flipped_bit_is_found,
    cuts_and_older_copies_are_found_by_a_checkpoint,
    what_people_do_is_in_it
);

const COLUMNS: [&str; 7] = ["at", "actor", "address", "action", "object", "detail", "hash"];

fn verify(server: &Server, checkpoint: Option<&str>) -> Output {
    let mut command = server.command();
    command.args(["audit", "verify"]);
    if let Some(checkpoint) = checkpoint {
        let file = server.folder.path().join("checkpoint.json");
        std::fs::write(&file, checkpoint).unwrap();
        command.arg("--checkpoint").arg(file);
    }
    command.output().unwrap()
}

#[track_caller]
fn broken_at(server: &Server, what: &str) -> i64 {
    let output = verify(server, None);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(8), "{what}: {said}");
    let (_, rest) = said.split_once("breaks at row ").unwrap_or_else(|| panic!("{what}: {said}"));
    rest.split(':').next().unwrap().parse().unwrap()
}

#[track_caller]
fn intact(server: &Server) {
    let output = verify(server, None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn fill(server: &Server, rows: usize) {
    let admin = server.admin();
    for n in 0..rows {
        admin.post_json("/api/v1/keys", &json!({"name": format!("key {n}")}).to_string()).expect(201);
    }
}

fn every_flipped_bit_is_found(server: &Server) {
    fill(server, 12);
    intact(server);
    for row in [1, 5, 9] {
        for column in COLUMNS {
            // One bit of it, and back again.
            let (spoil, mend) = match column {
                "at" => ("at = at + 1".to_owned(), "at = at - 1".to_owned()),
                // The lowest bit of the first character; an empty text gets one.
                column => (format!("{column} = 'X' || {column}"), format!("{column} = substr({column}, 2)")),
            };
            run(server, &format!("UPDATE audit_log SET {spoil} WHERE id = {row}"));
            assert_eq!(broken_at(server, column), row, "{column} of row {row}");
            run(server, &format!("UPDATE audit_log SET {mend} WHERE id = {row}"));
        }
    }
    intact(server);
    run(
        server,
        "UPDATE audit_log SET id = 1000 WHERE id = 4; UPDATE audit_log SET id = 4 WHERE id = 5; UPDATE audit_log SET id = 5 WHERE id = 1000",
    );
    assert_eq!(broken_at(server, "two rows swapped"), 4);
    run(
        server,
        "UPDATE audit_log SET id = 1000 WHERE id = 4; UPDATE audit_log SET id = 4 WHERE id = 5; UPDATE audit_log SET id = 5 WHERE id = 1000",
    );
    run(server, "DELETE FROM audit_log WHERE id = 7");
    assert_eq!(broken_at(server, "a row taken out"), 7);
    // The server goes on writing behind it.
    fill(server, 1);
    assert_eq!(broken_at(server, "a row taken out"), 7);
}

fn cuts_and_older_copies_are_found_by_a_checkpoint(before: &Server) {
    let mut own = Server::with(before.engine(), &[]);
    let server = &own;
    fill(server, 3);
    let early = server.admin().get("/api/v1/audit/checkpoint").expect(200);
    fill(server, 6);
    let output = server.command().args(["audit", "checkpoint"]).stdout(Stdio::piped()).output().unwrap();
    let late: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(late["row"].as_i64() > early["row"].as_i64());
    for kept in [&early, &late] {
        let output = verify(server, Some(&kept.to_string()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (field, value) in [
        ("row", json!(2)),
        ("hash", json!("0".repeat(64))),
        ("made_at", json!("2001-01-01T00:00:00Z")),
        ("signature", json!("AAAA")),
    ] {
        let mut forged = early.clone();
        forged[field] = value;
        let output = verify(server, Some(&forged.to_string()));
        assert!(!output.status.success(), "{field}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("signature"), "{field}");
    }
    for broken in ["", "{}", "[]", "{\"row\": 1}"] {
        assert_eq!(verify(server, Some(broken)).status.code(), Some(2), "{broken}");
    }
    // Whoever can write to the database cuts the end off with its seals, and mends the chain's head.
    server.kill();
    let row = early["row"].as_i64().unwrap() + 1;
    run(
        server,
        &format!(
            "DELETE FROM audit_log WHERE id > {row}; DELETE FROM audit_seals WHERE row_id > {row}; UPDATE audit_head SET last_id = {row}, hash = (SELECT hash FROM audit_log WHERE id = {row})"
        ),
    );
    intact(server);
    assert!(verify(server, Some(&early.to_string())).status.success(), "it ends behind the early one");
    let output = verify(server, Some(&late.to_string()));
    assert_eq!(output.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in the audit log any more"));
    // And goes on with other rows, to the same length.
    own.restart();
    let server = &own;
    fill(server, 8);
    intact(server);
    let output = verify(server, Some(&late.to_string()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("written anew"));
}

fn what_people_do_is_in_it(server: &Server) {
    let admin = server.admin();
    let event = r#"{"source_name":"a","event_type":"b","severity":"HIGH","description":"c"}"#;
    admin.post_json("/api/v1/events", event).expect(201);
    let rob = server.user("rob", "RESPONDER");
    let alert = rob.get("/api/v1/alerts").expect(200)["results"][0]["id"].clone();
    rob.patch_json(&format!("/api/v1/alerts/{alert}"), r#"{"status":"ACKNOWLEDGED"}"#).expect(200);
    assert_eq!(rob.get("/api/v1/users").status, 403);
    server.anonymous().post_json("/api/v1/auth/login", r#"{"username":"rob","password":"wrong"}"#);
    let me = rob.get("/api/v1/auth/me").expect(200)["id"].clone();
    admin.patch_json(&format!("/api/v1/users/{me}"), r#"{"email":"r@example.com"}"#).expect(200);
    server.command().args(["user", "disable", "rob"]).output().unwrap();
    let rows = admin.get("/api/v1/audit?page_size=100").expect(200)["results"].as_array().unwrap().clone();
    let said = |row: &Value| {
        format!(
            "{} {} {}",
            row["actor"].as_str().unwrap(),
            row["action"].as_str().unwrap(),
            row["object"].as_str().unwrap()
        )
    };
    let said: Vec<String> = rows.iter().rev().map(said).collect();
    let user = format!("user:{me}");
    for wanted in [
        "watchpost user.create user:1".to_owned(),
        format!("{ADMIN} login user:1"),
        format!("{ADMIN} user.create {user}"),
        format!("rob login {user}"),
        format!("rob alert.status alert:{alert}"),
        "rob refused GET /api/v1/users".into(),
        "anonymous login.failed name:rob".into(),
        format!("{ADMIN} user.update {user}"),
        format!("command-line user.update {user}"),
    ] {
        assert!(said.contains(&wanted), "{wanted} isn't in {said:#?}");
    }
    for (query, wanted) in
        [("actor=rob", 3), ("action=login.", 1), ("action=login", 4), ("object=user:1&action=login", 3)]
    {
        let count = admin.get(&format!("/api/v1/audit?{query}")).expect(200)["count"].as_i64().unwrap();
        assert!(count >= wanted.min(2) && count <= 8, "{query}: {count}");
    }
    assert_eq!(admin.get("/api/v1/audit?since=2100-01-01").expect(200)["count"], 0);
    assert!(admin.get("/api/v1/audit?colour=red").expect(400)["colour"].is_array());
}

#[test]
fn on_postgres_the_server_can_be_kept_from_changing_it() {
    let server = Server::start(Engine::Postgres);
    fill(&server, 2);
    server.kill();
    // As docs/security.md says: the log belongs to another role, and the server may add to it.
    let grants = include_str!("../../../../../docs/security.md");
    let (_, rest) = grants.split_once("```sql\n").unwrap();
    let grants = rest.split("```").next().unwrap();
    let name = format!("server_{}", std::process::id());
    let database = server.database();
    let url = database.url();
    let (_, own_name) = url.rsplit_once('/').unwrap();
    let statements = grants.replace("watchpost_server", &name).replace("watchpost_database", own_name);
    database.run(&format!("CREATE ROLE {name} LOGIN; {statements}"));
    let (_, place) = url.split_once('@').unwrap();
    let url = format!("postgres://{name}@{place}");
    let node = Server::with(Engine::Sqlite, &[("DATABASE_URL", &url)]);
    let admin = node.admin();
    admin.post_json("/api/v1/keys", r#"{"name":"more"}"#).expect(201);
    admin.event("CRITICAL", "the server does all it has to");
    for statement in [
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DROP TABLE audit_log CASCADE",
        "ALTER TABLE audit_log ADD COLUMN x INT",
        "DELETE FROM audit_head",
    ] {
        let why = refused_by_postgres(&url, statement);
        assert!(why.contains("permission denied") || why.contains("must be owner"), "{statement}: {why}");
    }
    node.kill();
    drop(node);
    database
        .run(&format!("REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}"));
}

/// Why PostgreSQL doesn't do this.
fn refused_by_postgres(url: &str, statement: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let refused = client.batch_execute(statement).await.expect_err(statement);
        refused.as_db_error().map_or_else(|| refused.to_string(), |error| error.message().to_owned())
    })
}
