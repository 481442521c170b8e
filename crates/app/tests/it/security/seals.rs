//! Whoever writes to the database can compute the chain of the audit log anew, and has no seal for it.

use super::{count_in_database, run_in_database as run};
use crate::on_both_engines;
use crate::server::{Engine, Server};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

on_both_engines!(
    a_chain_that_was_computed_anew_is_found,
    a_row_that_was_taken_out_with_its_seals_is_missed,
    what_was_cut_off_is_missed,
    rows_that_nobody_sealed_are_found,
    what_older_versions_wrote_is_sealed_as_it_stands,
    a_changed_secret_goes_on_sealing,
    the_command_line_writes_nothing_without_the_secret,
    rows_name_who_did_it_by_id
);

/// A row of the log, as whoever holds the database reads it.
#[derive(Clone, Debug)]
struct Row {
    id: i64,
    at: i64,
    /// Actor, address, action, object, detail, the actor's id and the seal.
    texts: Vec<String>,
}

const TEXTS: &str = "actor, address, action, object, detail, actor_id, seal";

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Everything in the log, read with the server's own export, and the seals from there, too.
fn rows(server: &mut Server) -> Vec<Row> {
    server.restart();
    let exported = server.admin().get("/api/v1/audit/export?format=ndjson").text;
    assert_eq!(server.stop(), Some(0));
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let texts = TEXTS.split(", ").map(|name| row[name].as_str().unwrap().to_owned()).collect();
        let id = row["id"].as_i64().unwrap();
        let at = count_in_database(server, &format!("SELECT at FROM audit_log WHERE id = {id}"));
        Row { id, at, texts }
    };
    exported.lines().map(row).collect()
}

/// The log with these rows and nothing else, its chain computed as Watchpost does it.
fn write_anew(server: &Server, rows: &[Row]) {
    let mut statements = String::from("DELETE FROM audit_log;");
    let mut hash = String::new();
    for row in rows {
        let old = row.texts[5].is_empty() && row.texts[6].is_empty();
        let mut told = row.at.to_string();
        for text in &row.texts[..if old { 5 } else { 7 }] {
            told += &format!("|{}:{text}", text.chars().count());
        }
        let digest = Sha256::digest(format!("{hash}|{}|{told}", row.id));
        hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let texts: Vec<_> = row.texts.iter().map(|text| quoted(text)).collect();
        statements += &format!(
            "INSERT INTO audit_log (id, at, {TEXTS}, hash) VALUES ({}, {}, {}, '{hash}');",
            row.id,
            row.at,
            texts.join(", ")
        );
    }
    let last = rows.last().unwrap().id;
    run(server, &format!("{statements} UPDATE audit_head SET last_id = {last}, hash = '{hash}'"));
}

/// The exit code of `audit verify` and what it said.
fn verified(server: &Server, settings: &[(&str, &str)], more: &[&str]) -> (Option<i32>, String) {
    let output =
        server.command().envs(settings.iter().copied()).args(["audit", "verify"]).args(more).output();
    let output = output.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn intact(server: &Server, settings: &[(&str, &str)]) {
    let (code, said) = verified(server, settings, &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[track_caller]
fn unvouched(server: &Server, settings: &[(&str, &str)], row: i64, why: &str) {
    let (code, said) = verified(server, settings, &[]);
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains(&format!("nothing vouches for row {row}: ")) && said.contains(why), "{said}");
}

fn fill(server: &Server, rows: usize) {
    let admin = server.admin();
    for n in 0..rows {
        admin.post_json("/api/v1/keys", &json!({"name": format!("key {n}")}).to_string()).expect(201);
    }
}

/// A server of one's own with a few rows, stopped; sealed in two places.
fn filled(before: &Server) -> Server {
    let mut server = Server::with(before.engine(), &[]);
    fill(&server, 4);
    assert_eq!(server.stop(), Some(0));
    server.restart();
    fill(&server, 3);
    assert_eq!(server.stop(), Some(0));
    server
}

fn a_chain_that_was_computed_anew_is_found(before: &Server) {
    let mut server = filled(before);
    let mut rows = rows(&mut server);
    intact(&server, &[]);
    // The control: what is written back as it was is what it was.
    write_anew(&server, &rows);
    intact(&server, &[]);
    let whole = rows.clone();
    // A row that was copied has the seal of another.
    let next = rows.last().unwrap().id + 1;
    write_anew(&server, &[&rows[..], &[Row { id: next, ..rows[3].clone() }]].concat());
    unvouched(&server, &[], next, "it has the seal of another row");
    rows[2].texts[0] = "joe".into();
    write_anew(&server, &rows);
    unvouched(&server, &[], 3, "its seal is wrong");
    let doctor = server.command().arg("doctor").output().unwrap();
    assert_eq!(doctor.status.code(), Some(8), "{}", String::from_utf8_lossy(&doctor.stdout));
    // Without the seal of the row the chain's own is missed.
    rows[2].texts[6] = String::new();
    write_anew(&server, &rows);
    unvouched(&server, &[], rows.last().unwrap().id, "the chain was computed anew");
    // With seals of the chain taken away, too, the row is without.
    run(&server, "DELETE FROM audit_seals");
    unvouched(&server, &[], 3, "it has no seal");
    write_anew(&server, &whole);
    // What rows name is gone, though each of them is what it was. The server says so, too, and seals no further.
    server.restart();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !server.log.lock().unwrap().contains("the audit log isn't what was written") {
        assert!(std::time::Instant::now() < deadline, "the server doesn't say so");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn a_row_that_was_taken_out_with_its_seals_is_missed(before: &Server) {
    let mut server = filled(before);
    let mut rows = rows(&mut server);
    // Every row is sealed by itself; what is missing only shows by the seals of the chain. The first row behind the
    // first of them is taken out.
    let first = count_in_database(&server, "SELECT row_id FROM audit_seals ORDER BY n LIMIT 1") as usize;
    rows.remove(first);
    for row in &mut rows[first..] {
        row.id -= 1;
    }
    write_anew(&server, &rows);
    let (code, said) = verified(&server, &[], &[]);
    assert!(code == Some(8), "{said}");
    // So they are taken away as well. Rows that came after them name them.
    run(&server, "DELETE FROM audit_seals WHERE n > (SELECT MIN(n) FROM audit_seals)");
    let (code, said) = verified(&server, &[], &[]);
    assert!(code == Some(8) && said.contains("the seal of the chain that it names is gone"), "{said}");
}

fn what_was_cut_off_is_missed(before: &Server) {
    let mut server = filled(before);
    let rows = rows(&mut server);
    write_anew(&server, &rows[..rows.len() - 3]);
    let (code, said) = verified(&server, &[], &[]);
    assert!(code == Some(8) && said.contains("the end of the log is gone"), "{said}");
    // The operator looked at it, and goes on.
    let (code, said) = verified(&server, &[], &["--reseal"]);
    assert_eq!(code, Some(0), "{said}");
    server.restart();
    fill(&server, 2);
    let proof = server.admin().get("/api/v1/audit/verify").expect(200);
    assert_eq!(proof["intact"], true, "{proof}");
    assert_eq!(super::audited(&server, "audit.reseal").len(), 1);
    assert_eq!(server.stop(), Some(0));
    intact(&server, &[]);
}

fn rows_that_nobody_sealed_are_found(server: &Server) {
    fill(server, 2);
    let next = count_in_database(server, "SELECT last_id FROM audit_head") + 1;
    // As the server does it, without its key.
    let hash = match server.engine() {
        Engine::Postgres => {
            format!("sha256_hex((SELECT hash FROM audit_head) || '|{next}|7|1:x|0:|1:x|0:|0:')")
        }
        Engine::Sqlite => {
            let before: String =
                super::sqlite(server).query_row("SELECT hash FROM audit_head", [], |row| row.get(0)).unwrap();
            let digest = Sha256::digest(format!("{before}|{next}|7|1:x|0:|1:x|0:|0:"));
            quoted(&digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    };
    run(
        server,
        &format!(
            "INSERT INTO audit_log (id, at, actor, address, action, object, detail, hash) VALUES ({next}, 7, 'x', '', 'x', '', '', {hash});
             UPDATE audit_head SET last_id = {next}, hash = (SELECT hash FROM audit_log WHERE id = {next})"
        ),
    );
    unvouched(server, &[], next, "it has no seal");
    let proof = server.admin().get("/api/v1/audit/verify").expect(200);
    assert_eq!((&proof["intact"], &proof["broken_at"]), (&json!(false), &json!(next)));
}

fn what_older_versions_wrote_is_sealed_as_it_stands(before: &Server) {
    let mut server = filled(before);
    let mut old = rows(&mut server);
    for row in &mut old {
        (row.texts[5], row.texts[6]) = (String::new(), String::new());
    }
    write_anew(&server, &old);
    run(&server, "DELETE FROM audit_seals");
    unvouched(&server, &[], 1, "it has no seal");
    server.restart();
    fill(&server, 1);
    assert_eq!(server.stop(), Some(0));
    intact(&server, &[]);
    // From now on it is held to that.
    let mut rows = rows(&mut server);
    assert!(rows[0].texts[5].is_empty() && !rows.last().unwrap().texts[5].is_empty());
    rows[1].texts[0] = "joe".into();
    write_anew(&server, &rows);
    let (code, said) = verified(&server, &[], &[]);
    assert_eq!(code, Some(8), "{said}");
}

const FIRST: (&str, &str) = ("SECRET_KEY", "the-first-secret-of-more-than-32-characters");
const SECOND: (&str, &str) = ("SECRET_KEY", "the-second-secret-of-more-than-32-characters");
const LOST: (&str, &str) = ("SECRET_KEY", "a-third-secret-of-more-than-32-characters-xy");

fn a_changed_secret_goes_on_sealing(before: &Server) {
    let mut server = Server::with(before.engine(), &[FIRST]);
    fill(&server, 2);
    server.stop();
    let rotated = [SECOND, ("SECRET_KEY_PREVIOUS", FIRST.1)];
    server.set(&rotated);
    intact(&server, &rotated);
    server.restart();
    fill(&server, 2);
    server.stop();
    intact(&server, &rotated);
    // The new secret vouches for all of it; the old one alone doesn't.
    intact(&server, &[SECOND]);
    let (code, said) = verified(&server, &[FIRST], &[]);
    assert!(code == Some(8) && said.contains("a key that isn't known here"), "{said}");
    // A secret that was lost: nothing is taken for good by itself.
    server.set(&[LOST]);
    server.restart();
    fill(&server, 1);
    server.stop();
    assert!(server.log.lock().unwrap().contains("sealed with a key that isn't known here"));
    assert_eq!(verified(&server, &[LOST], &[]).0, Some(8));
    let (code, said) = verified(&server, &[LOST], &["--reseal"]);
    assert_eq!(code, Some(0), "{said}");
    server.restart();
    fill(&server, 1);
    server.stop();
    intact(&server, &[LOST]);
}

fn the_command_line_writes_nothing_without_the_secret(before: &Server) {
    let server = filled(before);
    let secret = server.folder.path().join("watchpost-data/secret.key");
    let kept = std::fs::read_to_string(&secret).unwrap();
    std::fs::remove_file(&secret).unwrap();
    let rows = || count_in_database(&server, "SELECT COUNT(*) FROM audit_log");
    let count = rows();
    for other in [None, Some(LOST)] {
        for command in
            [&["key", "create", "x"][..], &["user", "create", "--username", "jane"], &["audit", "checkpoint"]]
        {
            let output = server.command().envs(other).args(command).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{command:?}: {said}");
            assert!(said.contains("SECRET_KEY"), "{said}");
        }
    }
    assert!(!secret.exists() && rows() == count, "nothing was made up");
    let (code, said) = verified(&server, &[], &[]);
    assert!(code == Some(8) && said.contains("can't be told without the secret"), "{said}");
    std::fs::write(&secret, kept).unwrap();
    assert!(server.command().args(["key", "create", "x"]).output().unwrap().status.success());
    intact(&server, &[]);
}

fn rows_name_who_did_it_by_id(server: &Server) {
    let rob = server.user("rob", "RESPONDER");
    let me = rob.get("/api/v1/auth/me").expect(200)["id"].clone();
    assert_eq!(rob.get("/api/v1/users").status, 403);
    let admin = server.admin();
    admin.patch_json(&format!("/api/v1/users/{me}"), r#"{"username":"robert"}"#).expect(200);
    let robert = server.log_in("robert", crate::server::PASSWORD);
    assert_eq!(robert.get("/api/v1/users").status, 403);
    let own = admin.get(&format!("/api/v1/audit?actor_id=user:{me}&page_size=100")).expect(200);
    let names: Vec<_> = own["results"].as_array().unwrap().iter().map(|row| row["actor"].clone()).collect();
    assert!(names.contains(&json!("rob")) && names.contains(&json!("robert")), "{own}");
    let csv = admin.get("/api/v1/audit/export?format=csv").text;
    assert!(csv.lines().next().unwrap().contains("actor_id") && csv.contains(&format!("user:{me}")), "{csv}");
    let page = server.console("admin").get(&format!("/admin/audit?actor_id=user:{me}")).text;
    assert!(page.contains("robert") && page.contains(&format!("actor_id=user%3A{me}")), "{page}");
    assert_eq!(admin.get("/api/v1/audit?actor_id=watchpost&action=user.create").expect(200)["count"], 1);
    // The server's own log tells of each row, for whoever collects logs.
    let log = server.log.lock().unwrap();
    let line = log.lines().find(|line| {
        line.contains("\"target\":\"audit\"") && line.contains("key.") | line.contains("refused")
    });
    assert!(line.is_some_and(|line| line.contains(&format!("\"actor_id\":\"user:{me}\""))), "{log}");
}
