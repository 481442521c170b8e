//! Sensor keys are held to what they were made for.

use super::audited;
use crate::on_both_engines;
use crate::server::Server;
use serde_json::{Value, json};

on_both_engines!(a_key_does_what_it_was_made_for_and_no_more);

fn event(source: &str, severity: &str) -> String {
    let mut event = json!({"event_type": "scan", "severity": severity, "description": "x"});
    if !source.is_empty() {
        event["source_name"] = source.into();
    }
    event.to_string()
}

fn a_key_does_what_it_was_made_for_and_no_more(server: &Server) {
    let admin = server.admin();
    let make = |limits: Value| {
        let made = admin.post_json("/api/v1/keys", &limits.to_string()).expect(201);
        (made["id"].clone(), made["secret"].as_str().unwrap().to_owned())
    };
    let wrong = admin.post_json(
        "/api/v1/keys",
        r#"{"name":"","expires_in_days":0,"max_severity":"AWFUL","networks":"10.0.0.1/8","rate":"fast","source_name":"a\u0000"}"#,
    );
    let named: Vec<String> = wrong.expect(400).as_object().unwrap().keys().cloned().collect();
    assert_eq!(named, ["expires_in_days", "max_severity", "name", "networks", "rate", "source_name"]);

    let (id, secret) = make(json!({"name": "fw", "source_name": "gate", "max_severity": "MEDIUM"}));
    let listed = admin.get("/api/v1/keys").expect(200)["results"][0].clone();
    assert_eq!((&listed["source_name"], &listed["max_severity"]), (&json!("gate"), &json!("MEDIUM")));
    assert!(!listed.to_string().contains(&secret) && secret.starts_with(listed["prefix"].as_str().unwrap()));
    let key = server.anonymous().with("authorization", &format!("Bearer {secret}"));
    let stored = key.post_json("/api/v1/events", &event("", "LOW")).expect(201);
    assert_eq!(stored["source_name"], "gate", "it speaks for one source and needn't say so");
    key.post_json("/api/v1/events", &event("gate", "MEDIUM")).expect(201);
    let other = key.post_json("/api/v1/events", &event("door", "HIGH")).expect(400);
    assert_eq!(other["source_name"][0], "This key speaks for \"gate\" only.");
    assert_eq!(other["severity"][0], "This key reports up to MEDIUM only.");
    // Of many, the good ones are stored; by every path it is the same.
    let lines =
        format!("{}\n{}\n{}\n", event("gate", "LOW"), event("gate", "CRITICAL"), event("door", "LOW"));
    let report = key.send("POST", "/api/v1/events", "application/x-ndjson", lines.as_bytes());
    assert_eq!(report.status, 207);
    let statuses: Vec<u64> = report
        .text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 400, 400]);
    for path in ["/api/events/", "/v1/events/security_events/", "/api/v1/event/ingest/"] {
        assert_eq!(key.post_json(path, &event("gate", "CRITICAL")).status, 400, "{path}");
    }
    assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], 0, "nothing above its severity raised one");
    let rows = audited(server, "refused");
    assert!(rows.iter().any(|row| row["actor"] == "key:fw" && row["address"] == "127.0.0.1"), "{rows:?}");

    let (_, elsewhere) = make(json!({"name": "far", "networks": "10.0.0.0/8, 2001:db8::/32"}));
    let far = server.anonymous().with("x-api-key", &elsewhere);
    let unknown = server.anonymous().with("x-api-key", &format!("{}x", &elsewhere[..elsewhere.len() - 1]));
    let (refused, none) = (far.post_json("/api/v1/events", "{}"), unknown.post_json("/api/v1/events", "{}"));
    assert_eq!((refused.status, &refused.text), (401, &none.text), "as if there were none");
    let (_, here) = make(json!({"name": "near", "networks": "127.0.0.0/8"}));
    assert_eq!(
        server.anonymous().with("x-api-key", &here).post_json("/api/v1/events", &event("a", "LOW")).status,
        201
    );

    assert_eq!(admin.send("DELETE", &format!("/api/v1/keys/{id}"), "", b"").status, 204);
    assert_eq!(key.post_json("/api/v1/events", &event("gate", "LOW")).status, 401, "at once");
    assert_eq!(audited(server, "key.create").len(), 3);
}

#[test]
fn a_key_has_a_rate_of_its_own() {
    let throttled = [("WATCHPOST_THROTTLE", "on"), ("WATCHPOST_RATE_KEY", "1000/s")];
    let server = Server::with(crate::server::Engine::Sqlite, &throttled);
    let admin = server.admin();
    let secret = |body: &str| {
        let made = admin.post_json("/api/v1/keys", body).expect(201);
        made["secret"].as_str().unwrap().to_owned()
    };
    let (slow, fast) = (secret(r#"{"name":"slow","rate":"3/h"}"#), secret(r#"{"name":"fast"}"#));
    let statuses = |secret: &str| -> Vec<u16> {
        let key = server.anonymous().with("x-api-key", secret);
        (0..5).map(|_| key.post_json("/api/v1/events", &event("a", "LOW")).status).collect()
    };
    assert_eq!(statuses(&slow), [201, 201, 201, 429, 429]);
    assert_eq!(statuses(&fast), [201; 5]);
}
