//! What bodies and requests for files cost.

use super::computed;
use crate::on_both_engines;
use crate::server::{Engine, PASSWORD, Server};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

on_both_engines!(a_body_is_read_only_as_long_as_its_sender_may);

#[test]
fn blank_pieces_are_looked_at_once() {
    const PIECE: usize = 16;
    const PIECES: usize = 60_000;
    let server = Server::start(Engine::Sqlite);
    let token = server.admin().headers[0].1.clone();
    let before = computed(&server);
    let event = r#"{"source_name":"a","event_type":"b","severity":"LOW","description":"c"}"#;
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let blank = format!("{PIECE:x}\r\n{}\r\n", " ".repeat(PIECE));
    let rest = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
    let mut socket = server.connect();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all([head, blank.repeat(PIECES), rest].concat().as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    // Looking at all of them again for each takes minutes.
    let took = computed(&server) - before;
    assert!(took < Duration::from_secs(10), "{took:?} for {} KiB", PIECE * PIECES / 1024);
}

#[test]
fn a_long_name_makes_no_long_line() {
    let server = Server::start(Engine::Sqlite);
    let name = "n".repeat(900_000);
    let body = serde_json::json!({"username": name, "password": "whatever"}).to_string();
    for path in ["/api/v1/auth/login", "/api/v1/auth/login", "/api/auth/token"] {
        assert!((400..500).contains(&server.anonymous().post_json(path, &body).status), "{path}");
    }
    server.anonymous().post_form("/login", &format!("username={name}&password=x"));
    let admin = server.admin();
    admin.get(&format!("/api/v1/{}", "p".repeat(7_000)));
    admin.get(&format!("/api/v1/events/export?host={}", "h".repeat(7_000)));
    let audit = admin.get("/api/v1/audit?action=login.failed&page_size=1").expect(200);
    assert!(audit["results"][0]["object"].as_str().unwrap().len() <= 205, "{audit}");
    let all = admin.get("/api/v1/audit?page_size=100").expect(200);
    let longest = all["results"].as_array().unwrap().iter().map(|row| row.to_string().len()).max();
    assert!(longest < Some(2_500), "{longest:?}");
    assert_eq!(server.stop(), Some(0));
    let log = server.log.lock().unwrap();
    assert!(log.contains("a log-in failed"), "{log}");
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(2_000), "a line of {longest:?} bytes");
}

#[test]
fn files_of_the_documentation_are_unpacked_once() {
    let server = Server::start(Engine::Sqlite);
    let client = server.anonymous();
    let first = client.get("/docs-assets/redoc.js");
    assert_eq!((first.status, first.header("content-encoding")), (200, ""));
    assert!(first.text.len() > 500_000 && first.text.contains("function"));
    let before = computed(&server);
    for _ in 0..100 {
        for name in ["redoc.js", "swagger-ui-bundle.js"] {
            assert_eq!(client.send("HEAD", &format!("/docs-assets/{name}"), "", b"").status, 200);
        }
    }
    // Unpacking each time takes more than this.
    let took = computed(&server) - before;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Sends events of one body until its first piece is stored, has `meanwhile` happen, and sends as many again; the answer.
fn sent_in_two(server: &Server, (name, value): (&str, &str), meanwhile: impl FnOnce()) -> String {
    let line = r#"{"source_name":"a","event_type":"b","severity":"LOW","description":"c"}"#;
    let lines = format!("{line}\n").repeat(1_500);
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        2 * lines.len()
    );
    let admin = server.admin();
    let stored = || admin.get("/api/v1/events?page_size=1").expect(200)["count"].as_i64().unwrap();
    let (before, late) = (stored(), Instant::now() + Duration::from_secs(60));
    let mut socket = server.connect();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(format!("{head}{lines}").as_bytes()).unwrap();
    while stored() == before {
        assert!(Instant::now() < late, "its first piece is never stored");
        std::thread::sleep(Duration::from_millis(10));
    }
    meanwhile();
    // The server may have said enough before all of it is sent.
    socket.write_all(lines.as_bytes()).ok();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok();
    assert_eq!(stored() - before, answer.matches("\"status\":201").count() as i64, "{answer}");
    answer
}

fn a_body_is_read_only_as_long_as_its_sender_may(server: &Server) {
    let admin = server.admin();
    let key = server.sensor().headers.remove(0);
    let revoke = || {
        let keys = admin.get("/api/v1/keys").expect(200);
        admin.send("DELETE", &format!("/api/v1/keys/{}", keys["results"][0]["id"]), "", b"").expect(204);
    };
    let demoted = server.user("demoted", "ADMIN").headers.remove(0);
    let demote = || {
        let found = admin.get("/api/v1/users?search=demoted").expect(200);
        let path = format!("/api/v1/users/{}", found["results"][0]["id"]);
        admin.patch_json(&path, r#"{"role":"RESPONDER"}"#).expect(200);
    };
    let gone = server.user("gone", "ADMIN").headers.remove(0);
    let log_out =
        || drop(server.log_in("gone", PASSWORD).post_json("/api/v1/auth/logout-all", "").expect(204));
    let refused_half_way = |(name, value): &(String, String), meanwhile: &dyn Fn()| {
        let answer = sent_in_two(server, (name, value), meanwhile);
        assert!(answer.starts_with("HTTP/1.1 207 "), "{answer}");
        assert!(answer.contains("\"from\":1001") && answer.contains("may no longer ingest"), "{answer}");
    };
    refused_half_way(&key, &revoke);
    refused_half_way(&demoted, &demote);
    refused_half_way(&gone, &log_out);
    let (name, value) = server.sensor().headers.remove(0);
    let answer = sent_in_two(server, (&name, &value), || {});
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}
