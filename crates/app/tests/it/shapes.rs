//! Bodies of every size and shape: a clear answer, the same on both engines, and no memory that stays.

use crate::server::{Engine, Server};
use std::io::{Read, Write};

/// The largest body that a server takes in these tests, in bytes.
const LIMIT: usize = 100_000;

fn event(description: &str, more: &str) -> String {
    format!(r#"{{"source_name":"fw","event_type":"t","severity":"LOW","description":"{description}"{more}}}"#)
}

/// An event of so many bytes.
fn sized(bytes: usize) -> Vec<u8> {
    let bare = event("", r#","padding":"""#).len();
    event("x", &format!(r#","padding":"{}""#, "p".repeat(bytes - bare - 1))).into_bytes()
}

/// What is sent, and the status it is answered with.
fn shapes() -> Vec<(&'static str, Vec<u8>, u16)> {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let keys: String = (0..990).map(|n| format!(r#","k{n}":{n}"#)).collect();
    let many_keys: String = (0..9_000).map(|n| format!(r#","k{n}":1"#)).collect();
    let text = |text: String| text.into_bytes();
    vec![
        ("just below the limit", sized(LIMIT - 1), 201),
        ("the limit", sized(LIMIT), 201),
        ("just above the limit", sized(LIMIT + 1), 413),
        ("far above the limit", sized(50 * LIMIT), 413),
        ("the longest description", text(event(&"d".repeat(65_536), "")), 201),
        ("a longer description", text(event(&"d".repeat(65_537), "")), 400),
        ("deep in a field that nobody reads", text(event("x", &format!(r#","other":{}"#, deep(100)))), 201),
        (
            "very deep in a field that nobody reads",
            text(event("x", &format!(r#","other":{}"#, deep(40_000)))),
            201,
        ),
        ("deep in a field of text", text(event("x", &format!(r#","host":{}"#, deep(100)))), 400),
        ("deep attributes", text(event("x", &format!(r#","attributes":{{"a":{}}}"#, deep(7)))), 201),
        ("too deep attributes", text(event("x", &format!(r#","attributes":{{"a":{}}}"#, deep(8)))), 400),
        (
            "far too deep attributes",
            text(event("x", &format!(r#","attributes":{{"a":{}}}"#, deep(40_000)))),
            400,
        ),
        ("many fields", text(event("x", &keys)), 201),
        ("too many fields", text(event("x", &many_keys)), 400),
        ("many attributes", text(event("x", &format!(r#","attributes":{{"a":1{keys}}}"#))), 201),
        ("too many attributes", text(event("x", &format!(r#","attributes":{{"a":1{many_keys}}}"#))), 400),
        ("a name twice", text(event("first", r#","description":"second""#)), 201),
        ("a number that is none", text(event("x", r#","other":1e400"#)), 400),
        ("a number that is none, in attributes", text(event("x", r#","attributes":{"a":1e400}"#)), 400),
        ("half a pair of surrogates", text(event(r"\ud800", "")), 400),
        ("half a pair in attributes", text(event("x", r#","attributes":{"a":"\udfff"}"#)), 400),
        ("a NUL", text(event(r"a\u0000b", "")), 400),
        ("a NUL in attributes", text(event("x", r#","attributes":{"a":"\u0000"}"#)), 400),
        ("a NUL in a detail", text(event("x", r#","user":"\u0000""#)), 400),
        ("bytes that are no UTF-8", [event("", "").as_bytes(), b"\xff\xfe"].concat(), 400),
        ("bytes that are no UTF-8, inside", event("QQ", "").replace("QQ", "\u{1}").into_bytes(), 400),
        (
            "every sign there is",
            text(event(r"\u0001\u001f\u007f\u0085\u2028\u202e\uffff\ud83e\udd80", "")),
            201,
        ),
        ("a byte order mark", [b"\xef\xbb\xbf", event("x", "").as_bytes()].concat(), 400),
        ("half an event", event("x", "").as_bytes()[..40].to_vec(), 400),
        ("two events", text([event("x", ""), event("y", "")].concat()), 400),
        ("a text", b"\"x\"".to_vec(), 400),
        ("nothing", Vec::new(), 400),
        ("brackets without end", vec![b'['; 90_000], 400),
    ]
}

#[test]
fn both_engines_give_the_same_answer_to_every_shape() {
    let settings = [("WATCHPOST_MAX_BODY", "100000")];
    let servers = [Server::with(Engine::Sqlite, &settings), Server::with(Engine::Postgres, &settings)];
    let sensors = servers.each_ref().map(Server::sensor);
    let admins = servers.each_ref().map(Server::admin);
    let before = servers.each_ref().map(Server::memory_kib);
    let mut stored = 0;
    for (name, body, status) in shapes() {
        let [one, other] =
            sensors.each_ref().map(|sensor| sensor.send("POST", "/api/v1/events", "application/json", &body));
        assert_eq!(one.status, status, "{name}: {}", &one.text[..one.text.len().min(300)]);
        assert_eq!(other.status, status, "{name}, on PostgreSQL");
        if status == 201 {
            stored += 1;
            let read = admins.each_ref().map(|admin| {
                let answer = admin.get("/api/v1/events?page_size=1").expect(200);
                assert_eq!(answer["count"], stored, "{name}");
                let event = &answer["results"][0];
                (event["description"].clone(), event["attributes"].clone())
            });
            assert_eq!(read[0], read[1], "{name}");
        } else if status == 400 {
            assert_eq!(one.text, other.text, "{name}");
        }
    }
    for (server, before) in servers.iter().zip(before) {
        let grown = server.memory_kib().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB more on {:?}", server.engine());
    }
}

/// Bodies whose length isn't what is said of it.
fn raw(server: &Server, head: &str, body: &[u8]) -> String {
    raw_until(server, head, body, false)
}

/// As before; a client that says so sends no more.
fn raw_until(server: &Server, head: &str, body: &[u8], ends: bool) -> String {
    let credential = server.sensor().headers[0].1.clone();
    let mut stream = server.connect();
    let request = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Api-Key: {credential}\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(body).ok();
    if ends {
        stream.shutdown(std::net::Shutdown::Write).ok();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    answer.split_whitespace().nth(1).unwrap_or("none").to_owned()
}

#[test]
fn a_length_that_lies_is_found_out() {
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_MAX_BODY", "100000")]);
    let one = event("x", "");
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let whole = format!("Content-Length: {}", one.len());
    assert_eq!(raw(&server, &whole, one.as_bytes()), "201");
    assert_eq!(
        raw(&server, "Transfer-Encoding: chunked", format!("{}0\r\n\r\n", chunk(&one)).as_bytes()),
        "201"
    );
    let shorter = format!("Content-Length: {}", one.len() - 5);
    assert_eq!(raw(&server, &shorter, one.as_bytes()), "400", "what follows isn't part of it");
    let longer = format!("Content-Length: {}", one.len() + 5);
    let early = raw_until(&server, &longer, one.as_bytes(), true);
    assert!(["400", "none"].contains(&early.as_str()), "it ends early: {early}");
    let endless = chunk(&" ".repeat(10_000)).repeat(30);
    assert_eq!(raw(&server, "Transfer-Encoding: chunked", endless.as_bytes()), "413");
    for head in [
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked, x",
    ] {
        assert_eq!(raw(&server, head, one.as_bytes()), "400", "{head}");
    }
    assert_eq!(server.admin().get("/api/v1/events").expect(200)["count"], 2);
}
