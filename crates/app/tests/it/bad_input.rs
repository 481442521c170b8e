//! Bad input gets a clear answer, the same on both engines, and nothing is stored.

use crate::on_both_engines;
use crate::server::Server;
use std::io::{Read, Write};

on_both_engines!(
    wrong_events_are_refused_and_not_stored,
    hosts_bodies_and_kinds,
    odd_but_right_events_are_stored_as_they_are
);

fn wrong_events_are_refused_and_not_stored(server: &Server) {
    let admin = server.admin();
    let long = format!(
        r#"{{"source_name":"{}","event_type":"b","severity":"LOW","description":"c"}}"#,
        "a".repeat(256)
    );
    let nul = r#"{"source_name":"a\u0000","event_type":"b","severity":"LOW","description":"c"}"#;
    let deep = format!(r#"{{"description":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for path in ["/api/v1/events", "/api/events/", "/api/v1/event/ingest/", "/v1/events/security_events/"] {
        let all = admin
            .post_json(path, r#"{"severity":"NOPE","source_name":"","event_type":null,"description":[]}"#)
            .expect(400);
        assert_eq!(all["severity"][0], "\"NOPE\" is not a valid choice.");
        assert_eq!(all["source_name"][0], "This field may not be blank.");
        assert_eq!(all["event_type"][0], "This field may not be null.");
        assert_eq!(all["description"][0], "Not a valid string.");
        assert_eq!(admin.post_json(path, "{}").expect(400).as_object().unwrap().len(), 4);
        assert_eq!(admin.post_json(path, "").expect(400).as_object().unwrap().len(), 4);
        assert!(admin.post_json(path, nul).expect(400)["source_name"].is_array());
        assert!(admin.post_json(path, &long).expect(400)["source_name"][0].as_str().unwrap().contains("255"));
        for malformed in ["{", "{} x", "nul", r#"{"a":1e999}"#, r#"{"a":"\ud800"}"#] {
            assert!(admin.post_json(path, malformed).expect(400)["detail"].is_string());
        }
        assert_eq!(admin.post_json(path, &deep).expect(400)["description"][0], "Not a valid string.");
        assert_eq!(admin.post_json(path, &deep[..100_000]).status, 400);
        let list = admin.post_json(path, "[1]").expect(400);
        let wrong = if list["errors"].is_object() { &list["errors"] } else { &list };
        assert!(wrong["non_field_errors"].is_array(), "{list}");
        let bytes = admin.send("POST", path, "application/json", b"{\"a\":\"\xff\"}");
        assert_eq!(bytes.status, 400);
    }
    assert_eq!(admin.get("/api/events/").expect(200)["count"], 0, "nothing was stored");
    assert_eq!(admin.get("/api/alerts/").expect(200)["count"], 0);
}

fn hosts_bodies_and_kinds(server: &Server) {
    let admin = server.admin();
    let good = r#"{"source_name":"a","event_type":"b","severity":"LOW","description":"c"}"#;
    assert_eq!(
        admin.send("POST", "/api/events/", "text/plain", good.as_bytes()).expect(415)["code"],
        "unsupported_media_type"
    );
    assert_eq!(admin.send("POST", "/api/events/", "", good.as_bytes()).status, 415);
    assert_eq!(
        admin.send("POST", "/api/events/", "application/json; charset=utf-8", good.as_bytes()).status,
        201
    );
    let limit = 1 << 20;
    let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
    assert_eq!(admin.post_json("/api/events/", &padded(limit)).status, 201, "exactly the limit");
    assert_eq!(admin.post_json("/api/events/", &padded(limit + 1)).expect(413)["code"], "too_large");

    let evil = server.anonymous().with("host", "evil.example");
    assert_eq!(evil.get("/api/alerts/").expect(400)["code"], "wrong_host");
    assert_eq!(evil.get("/healthz").status, 200, "probes use any name");
    let wrong = admin.send("PUT", "/api/alerts/", "", b"");
    assert_eq!(wrong.expect(405)["code"], "method_not_allowed");
    assert!(wrong.header("allow").contains("GET"));
    assert!(!admin.get("/nope").header("x-request-id").is_empty());
    let named = server.anonymous().with("x-request-id", "abc-1").get("/healthz");
    assert_eq!(named.header("x-request-id"), "abc-1");
    let unsafe_id = server.anonymous().with("x-request-id", "a b\"c").get("/healthz");
    assert_ne!(unsafe_id.header("x-request-id"), "a b\"c");
    assert_eq!(admin.get(&format!("/api/alerts/?search={}", "x".repeat(9_000))).status, 400);
    // A chunked body without an end is bounded as well.
    let mut socket = server.connect();
    socket.write_all(b"POST /api/v1/auth/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..40 {
        if socket.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

fn odd_but_right_events_are_stored_as_they_are(server: &Server) {
    let admin = server.admin();
    let description =
        "  \u{202e}<script>alert('x')</script> \"quotes\" \\ \n\t'; DROP TABLE events; -- 日本語 🦀 %_ ";
    let event = admin.event("CRITICAL", description);
    let read = admin.get(&format!("/api/events/{}/", event["id"])).expect(200);
    assert_eq!(read["description"], description);
    let sent = serde_json::json!({
        "source_name": " trimmed ", "event_type": 7, "severity": "cRiTiCaL", "description": "d",
        "id": 5, "timestamp": "1999-01-01T00:00:00Z", "created_by": 99, "unknown": {"deep": [1, 2]}
    });
    let stored = admin.post_json("/api/events/", &sent.to_string()).expect(201);
    assert_eq!((stored["source_name"].as_str(), stored["event_type"].as_str()), (Some("trimmed"), Some("7")));
    assert_ne!(stored["id"], 5, "the id is the server's");
    assert!(!stored["timestamp"].as_str().unwrap().starts_with("1999"), "and so is the time");
    assert_eq!(stored["created_by"], 1);
    let emoji = "🦀".repeat(65_536);
    let body =
        serde_json::json!({"source_name": "a", "event_type": "b", "severity": "LOW", "description": emoji});
    let longest = admin.post_json("/api/events/", &body.to_string()).expect(201);
    assert_eq!(longest["description"], emoji.as_str(), "the longest description, in the longest characters");
}
