//! Whole lists as files: for those who may, as long as they may, and no more of them than others can bear.

use super::Hold;
use crate::on_both_engines;
use crate::server::{Client, PASSWORD, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

on_both_engines!(an_export_breaks_off_when_its_reader_may_not_any_more, an_account_has_two_exports_at_a_time,);

const EVENTS: usize = 1_500;

fn filled(server: &Server) {
    let line = |n: usize| json!({"source_name": "fw", "event_type": "scan", "severity": "LOW", "description": format!("number {n}")});
    let body: String = (0..EVENTS).map(|n| format!("{}\n", line(n))).collect();
    let sent = server.admin().send("POST", "/api/v1/events", "application/x-ndjson", body.as_bytes());
    assert_eq!(sent.status, 201);
}

/// Begins an export and reads until its first piece is there.
fn begin(client: &Client<'_>, server: &Server, path: &str) -> (TcpStream, String) {
    let (name, value) = client.headers.last().unwrap();
    let mut socket = server.connect();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    // The headers, the length of the first piece and some of it.
    let begun = |said: &[u8]| {
        let text = String::from_utf8_lossy(said);
        text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.lines().count() > 2)
    };
    while !begun(&said) {
        let mut piece = [0; 4_096];
        let read = socket.read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..read]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    (socket, said)
}

/// The rest of an export: all that came, and whether it ended as a whole answer does.
fn rest(mut socket: TcpStream, said: String) -> (String, bool) {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).ok();
    let all = said + &String::from_utf8_lossy(&bytes);
    let whole = all.ends_with("\r\n0\r\n\r\n");
    (all, whole)
}

fn in_console<'a>(server: &'a Server, username: &str) -> Client<'a> {
    let answer = server.anonymous().post_form("/login", &format!("username={username}&password={PASSWORD}"));
    assert_eq!(answer.status, 303, "{}", answer.text);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    server.anonymous().with("cookie", &cookie)
}

fn an_export_breaks_off_when_its_reader_may_not_any_more(plain: &Server) {
    let (server, hold) = Hold::server(plain.engine(), "export", 1);
    filled(&server);
    let admin = server.admin();
    for way in ["locked-out", "demoted", "ended", "console", "nothing"] {
        let token = server.user(way, if way == "demoted" { "ADMIN" } else { "RESPONDER" });
        let (client, path) = match way {
            "console" => (in_console(&server, way), "/events/export?format=csv"),
            _ => (token, "/api/v1/events/export"),
        };
        hold.begin();
        let (socket, said) = begin(&client, &server, path);
        let of_the_log = (way == "demoted").then(|| begin(&client, &server, "/api/v1/audit/export"));
        let found = admin.get(&format!("/api/v1/users?search={way}")).expect(200);
        let user = format!("/api/v1/users/{}", found["results"][0]["id"]);
        match way {
            "locked-out" => drop(admin.patch_json(&user, r#"{"is_active":false}"#).expect(200)),
            "demoted" => drop(admin.patch_json(&user, r#"{"role":"ANALYST"}"#).expect(200)),
            "ended" => drop(client.post_json("/api/v1/auth/logout-all", "").expect(204)),
            "console" => {
                let other = server.log_in(way, PASSWORD);
                other.post_json("/api/v1/auth/logout-all", "").expect(204);
            }
            _ => {}
        }
        hold.end();
        let (all, whole) = rest(socket, said);
        let rows = all.matches("number ").count();
        match way {
            "nothing" => assert!(whole && rows == EVENTS, "{rows}"),
            _ => assert!(!whole && rows <= 100, "{way}: {rows} rows, whole: {whole}"),
        }
        if let Some((socket, said)) = of_the_log {
            let (_, whole) = rest(socket, said);
            assert!(!whole, "the audit log goes to Admins only");
        }
    }
    assert!(server.log.lock().unwrap().contains("an export was broken off"));
}

fn an_account_has_two_exports_at_a_time(plain: &Server) {
    let (server, hold) = Hold::server(plain.engine(), "export", 1);
    filled(&server);
    let (rob, eve) = (server.user("rob", "RESPONDER"), server.user("eve", "RESPONDER"));
    hold.begin();
    let path = "/api/v1/events/export";
    let first = begin(&rob, &server, path);
    let second = begin(&rob, &server, path);
    let third = rob.get(path);
    assert_eq!((third.status, third.header("retry-after")), (429, "15"), "{}", third.text);
    assert_eq!(third.json()["code"], "too_many_exports");
    let page = in_console(&server, "rob").with("accept", "text/html").get("/events/export?format=csv");
    assert_eq!((page.status, page.header("retry-after")), (429, "15"));
    assert!(page.text.contains("Two exports of yours"), "{}", page.text);
    let of_eve = begin(&eve, &server, path);
    // All together have eight.
    let others: Vec<_> = ["a1", "a2", "a3"].map(|name| server.user(name, "RESPONDER")).into();
    let mut held: Vec<_> = others.iter().flat_map(|other| [0, 1].map(|_| other)).collect();
    held.truncate(5);
    let held: Vec<_> = held.into_iter().map(|other| begin(other, &server, path)).collect();
    let ninth = eve.get(path);
    assert_eq!((ninth.status, ninth.header("retry-after")), (503, "15"), "{}", ninth.text);
    assert_eq!(eve.get("/api/v1/events?page_size=1").status, 200, "lists are lists");
    drop(held);
    // Whoever goes away makes room.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(30);
    let third = loop {
        let mut asked = server.connect();
        asked.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (name, value) = rob.headers.last().unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\nConnection: close\r\n\r\n");
        asked.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 13];
        asked.read_exact(&mut status).unwrap();
        if status.starts_with(b"HTTP/1.1 200") {
            break (asked, String::from_utf8_lossy(&status).into_owned());
        }
        assert!(Instant::now() < deadline, "its place is never free");
        std::thread::sleep(Duration::from_millis(20));
    };
    hold.end();
    for (socket, said) in [second, of_eve, third] {
        let (all, whole) = rest(socket, said);
        assert!(whole && all.matches("number ").count() == EVENTS);
    }
    let audit = server.admin().get("/api/v1/audit?action=events.export").expect(200);
    assert_eq!(audit["count"], 9, "what was refused is no export");
    let metrics = server.admin().get("/metrics").text;
    assert!(metrics.contains("watchpost_busy_total{what=\"export\"}"), "{metrics}");
}
