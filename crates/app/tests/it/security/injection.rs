//! What strangers send stays text: in logs, headers, files, terminals and pages.

use super::audited;
use crate::on_both_engines;
use crate::server::{Engine, Server};
use serde_json::{Value, json};

on_both_engines!(exports_hold_no_formulas, nothing_splits_a_line_or_a_header, hostile_searches_are_answered);

/// What a terminal, a log or a line would obey.
const OBEYED: [&str; 10] = [
    "\u{1b}[2J\u{1b}[31mred",
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{9b}31m",
    "\u{202e}gnp.exe",
    "a\u{2028}b\u{2029}c",
    "a\r\nSet-Cookie: evil=1",
    "a\n{\"level\":\"INFO\",\"message\":\"forged\"}",
    "a\u{85}b",
    "\u{0}",
    "\u{2066}x\u{2069}",
];

fn exports_hold_no_formulas(server: &Server) {
    let cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "a\"b,c\r\nd", " =1"];
    for cell in cells {
        let body = json!({"username": cell, "password": "wrong"}).to_string();
        assert!(server.anonymous().post_json("/api/v1/auth/login", &body).status >= 400);
    }
    let admin = server.admin();
    let csv = admin.get("/api/v1/audit/export?format=csv&action=login.failed");
    assert_eq!(csv.status, 200);
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert!(csv.header("content-disposition").starts_with("attachment; filename=\"watchpost-audit-"));
    let rows = read_csv(&csv.text);
    assert_eq!(
        rows[0],
        ["id", "at", "actor", "address", "action", "object", "detail", "hash", "actor_id", "seal"]
    );
    assert!(rows.len() > 5 && rows.iter().all(|row| row.len() == 10), "{rows:?}");
    for cell in rows[1..].iter().flatten() {
        let first = cell.trim_start().chars().next().unwrap_or('x');
        assert!(!"=+-@".contains(first), "{cell:?}");
    }
    // The same as lines of JSON, which hold what was given as it was.
    let lines = admin.get("/api/v1/audit/export?action=login.failed");
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let objects: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), rows.len() - 1);
    assert!(objects.iter().any(|row| row["object"] == "name:=1+1"));
    assert_eq!(audited(server, "audit.export").len(), 2, "exports are remembered");
    assert_eq!(
        admin.get("/api/v1/audit/export?format=xls").expect(400)["format"].as_array().unwrap().len(),
        1
    );
    let responder = server.user("rob", "RESPONDER");
    assert_eq!(responder.get("/api/v1/audit/export").status, 403);
    let refused = audited(server, "refused");
    assert!(refused.iter().any(|row| row["actor"] == "rob" && row["object"] == "GET /api/v1/audit/export"));
}

/// RFC 4180, as a spreadsheet reads it.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {
                chars.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the last row is whole");
    rows
}

fn nothing_splits_a_line_or_a_header(server: &Server) {
    let admin = server.admin();
    for text in OBEYED {
        let body = json!({"username": text, "password": "wrong"}).to_string();
        server.anonymous().post_json("/api/v1/auth/login", &body);
        let event = json!({"source_name": text, "event_type": text, "severity": "HIGH", "description": text, "host": text});
        let status = admin.post_json("/api/v1/events", &event.to_string()).status;
        assert!(matches!(status, 201 | 400), "{text:?}: {status}");
        let in_address: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/login?next={in_address}"),
            format!("/api/v1/alerts?search={in_address}"),
            format!("/alerts/{in_address}"),
            format!("/static/{in_address}"),
            format!("/api/v1/alerts?{in_address}=1"),
        ] {
            let answer = server.anonymous().get(&path);
            assert!(answer.status < 500, "{path}: {}", answer.status);
            assert!(!answer.headers.contains_key("set-cookie"), "{path}");
            assert!(
                answer.headers.values().all(|value| value.to_str().is_ok_and(|v| !v.contains(['\r', '\n'])))
            );
        }
        let key = json!({"name": text}).to_string();
        let status = admin.post_json("/api/v1/keys", &key).status;
        assert!(matches!(status, 201 | 400), "{text:?}: {status}");
    }
    for name in ["x-request-id", "user-agent", "referer", "x-forwarded-for", "host"] {
        let said = format!(
            "GET /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\n{name}: a\u{1b}[31m\u{202e}b\r\nConnection: close\r\n\r\n"
        );
        let answer = server.connect_and_say(&said);
        assert!(!answer.contains('\u{1b}') && answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    // The log is one JSON object a line, and a terminal that shows it obeys none of it.
    let log = server.log.lock().unwrap();
    for line in log.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(!line.contains("\"message\":\"forged\""), "{line}");
    }
    for c in log.chars() {
        let obeyed = c != '\n' && c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!obeyed, "{c:?} is in the log");
    }
    drop(log);
    // So does what the command line prints.
    for command in [["key", "list"], ["user", "list"]] {
        let output = server.command().args(command).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    }
}

fn hostile_searches_are_answered(server: &Server) {
    let admin = server.admin();
    admin
        .post_json(
            "/api/v1/events",
            r#"{"source_name":"a","event_type":"b","severity":"HIGH","description":"needle"}"#,
        )
        .expect(201);
    let long = "a".repeat(200);
    for search in [
        "(a+)+$",
        "((((((((((",
        "a* b* c* d*",
        "\"",
        "\"\"\"",
        "NEAR(a b, 9999999)",
        "a AND NOT",
        "a OR",
        "-",
        "*",
        "^a",
        "a:b:c",
        "'; DROP TABLE events; --",
        "%' OR '1'='1",
        "\\",
        "{}",
        "[]",
        "a&!(|:*)",
        "&|!<->",
        ":*",
        "a <-> b",
        "\u{0}",
        "\u{fffe}",
        "ｎｅｅｄｌｅ",
        "💥",
        "\u{301}\u{301}\u{301}",
        &long,
        &"a ".repeat(90),
        &"\"a\" ".repeat(40),
        &"*".repeat(150),
    ] {
        let encoded: String = search.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for list in ["alerts", "events"] {
            for name in ["search", "source_name", "host", "cursor", "ordering", "since", "id", "page"] {
                let answer = admin.get(&format!("/api/v1/{list}?{name}={encoded}"));
                assert!(
                    matches!(answer.status, 200 | 400 | 404),
                    "{list} {name}={search:?}: {}",
                    answer.status
                );
            }
        }
    }
    assert_eq!(admin.get("/api/v1/events?search=needle").expect(200)["count"], 1, "nothing was harmed");
}

#[test]
fn names_without_end_don_t_fill_the_memory() {
    let server = Server::start(Engine::Sqlite);
    let sensor = server.sensor();
    let before = server.memory_kib();
    for batch in 0..10 {
        let lines: String = (0..4_000)
            .map(|n| {
                let name = format!("source-{batch}-{n}-{}", "x".repeat(200));
                json!({"source_name": name, "event_type": name, "severity": "LOW", "description": "x", "host": name}).to_string() + "\n"
            })
            .collect();
        assert_eq!(
            sensor.send("POST", "/api/v1/events", "application/x-ndjson", lines.as_bytes()).status,
            201
        );
    }
    let after = server.memory_kib();
    assert!(after < before + (120 << 10), "from {before} to {after} KiB");
    let top = server.admin().get("/api/v1/stats/top").expect(200);
    assert!(top.to_string().len() < 200_000);
}
