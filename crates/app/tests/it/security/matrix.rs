//! Callers whose access is gone or another, methods that nobody meant, things of others, and fields that aren't theirs.

use super::bearer;
use crate::access::briefly;
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use watchpost_model::access::allows;
use watchpost_model::{Rank, Role};
use watchpost_web::site_map::site_map;

on_both_engines!(
    whoever_lost_access_has_none,
    other_methods_open_nothing,
    callers_at_once_are_not_mixed_up,
    ids_of_others_say_nothing,
    fields_that_are_not_the_callers_change_nothing,
);

/// Routes of the API itself that answer without an id.
fn plain_routes() -> Vec<&'static str> {
    let mut paths: Vec<_> = site_map()
        .into_iter()
        .filter(|route| !route.page && route.path.starts_with("/api/v1/") && !route.path.contains('{'))
        .filter(|route| {
            route.method == "GET" && !route.path.contains("health") && !route.path.contains("schema")
        })
        .map(|route| route.path)
        .collect();
    paths.dedup();
    paths
}

fn whoever_lost_access_has_none(server: &Server) {
    let admin = server.admin();
    let disabled = server.user("disabled", "ADMIN");
    let id = disabled.get("/api/v1/auth/me").expect(200)["id"].clone();
    assert_eq!(admin.send("DELETE", &format!("/api/v1/users/{id}"), "", b"").status, 204);
    let logged_out = server.user("gone", "ADMIN");
    assert_eq!(logged_out.post_json("/api/v1/auth/logout-all", "").status, 204);
    let revoked = {
        let made = admin.post_json("/api/v1/keys", r#"{"name":"revoked"}"#).expect(201);
        let key = server.anonymous().with("x-api-key", made["secret"].as_str().unwrap());
        assert_eq!(admin.send("DELETE", &format!("/api/v1/keys/{}", made["id"]), "", b"").status, 204);
        key
    };
    for (what, client) in [("disabled", &disabled), ("logged out", &logged_out), ("revoked", &revoked)] {
        for path in plain_routes() {
            assert_eq!(client.get(path).status, 401, "{what}: {path}");
        }
        assert_eq!(client.post_json("/api/v1/events", "{}").status, 401, "{what}");
    }
    let stale = server.user("stale", "ADMIN");
    let id = stale.get("/api/v1/auth/me").expect(200)["id"].clone();
    admin.patch_json(&format!("/api/v1/users/{id}"), r#"{"role":"ANALYST"}"#).expect(200);
    for path in ["/api/v1/users", "/api/v1/keys", "/api/v1/audit", "/api/v1/audit/export", "/api/v1/events"] {
        assert_eq!(stale.get(path).status, 403, "{path}: the role in the token isn't believed");
    }
}

fn other_methods_open_nothing(server: &Server) {
    let analyst = server.user("ann", "ANALYST");
    let event = r#"{"source_name":"a","event_type":"b","severity":"HIGH","description":"c"}"#;
    server.admin().post_json("/api/v1/events", event).expect(201);
    for path in ["/api/v1/users", "/api/v1/keys", "/api/v1/audit", "/api/v1/events"] {
        assert_eq!(server.anonymous().send("HEAD", path, "", b"").status, 401, "HEAD {path}");
        assert_eq!(analyst.send("HEAD", path, "", b"").status, 403, "HEAD {path}");
        for method in ["OPTIONS", "TRACE", "CONNECT", "PURGE", "get", "PROPFIND", "GETX"] {
            let token = &analyst.headers.last().unwrap().1;
            let answer = server.connect_and_say(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ));
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(matches!(status, "400" | "405"), "{method} {path}: {answer}");
        }
    }
    let alert = analyst.get("/api/v1/alerts").expect(200)["results"][0]["id"].clone();
    let path = format!("/api/v1/alerts/{alert}");
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        for method in ["PATCH", "DELETE", "PUT"] {
            let overridden = server.anonymous();
            let token = analyst.headers.last().unwrap();
            let overridden = overridden.with(&token.0, &token.1).with(name, method);
            let answer = overridden.post_json(&path, r#"{"status":"RESOLVED"}"#);
            assert!(matches!(answer.status, 403 | 405), "{name}: {method}: {}", answer.status);
            assert_eq!(overridden.get(&path).expect(200)["status"], "OPEN");
        }
    }
    let query = format!("{path}?_method=PATCH&status=RESOLVED");
    assert!(analyst.post_json(&query, r#"{"_method":"PATCH","status":"RESOLVED"}"#).status >= 400);
    assert_eq!(analyst.get(&path).expect(200)["status"], "OPEN");
}

fn callers_at_once_are_not_mixed_up(server: &Server) {
    let clients: Vec<(Rank, Client<'_>)> = vec![
        (Rank::Anonymous, server.anonymous()),
        (Rank::Sensor, server.sensor()),
        (Rank::User(Role::Analyst), server.user("ann", "ANALYST")),
        (Rank::User(Role::Responder), server.user("rob", "RESPONDER")),
        (Rank::User(Role::Admin), server.user("eve", "ADMIN")),
    ];
    let routes: Vec<_> = site_map()
        .into_iter()
        .filter(|route| !route.page && route.method == "GET" && !route.path.contains('{'))
        .filter(|route| route.path.starts_with("/api/"))
        .collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..32)
            .map(|n| {
                let (clients, routes) = (&clients, &routes);
                scope.spawn(move || {
                    let mut wrong = Vec::new();
                    for (step, route) in routes.iter().enumerate() {
                        let (rank, client) = &clients[(n + step) % clients.len()];
                        let status = server.sensor_like(client).get(&briefly(route.path)).status;
                        let fits = match (allows(*rank, route.action), rank) {
                            // The log is read through by one at a time.
                            (true, _) if status == 503 => route.path == "/api/v1/audit/verify",
                            (true, _) => !matches!(status, 401 | 403) && status < 500,
                            (false, Rank::Anonymous) => status == 401,
                            (false, _) => status == 403,
                        };
                        if !fits {
                            wrong.push(format!("{rank:?} {}: {status}", route.path));
                        }
                    }
                    wrong
                })
            })
            .collect();
        tasks.into_iter().flat_map(|task| task.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn ids_of_others_say_nothing(server: &Server) {
    let admin = server.admin();
    let (ann, rob) = (server.user("ann", "ANALYST"), server.user("rob", "RESPONDER"));
    let own = |client: &Client<'_>| client.get("/api/v1/auth/me").expect(200)["id"].clone();
    let session = |client: &Client<'_>| client.get("/api/v1/auth/sessions").expect(200)[0]["id"].clone();
    let robs = session(&rob).as_str().unwrap().to_owned();
    let (ann_id, rob_id) = (own(&ann), own(&rob));
    // A session under somebody else's name is none, for Admins as well.
    for path in
        [format!("/api/v1/users/{ann_id}/sessions/{robs}"), format!("/api/v1/users/999/sessions/{robs}")]
    {
        assert_eq!(admin.send("DELETE", &path, "", b"").status, 404, "{path}");
    }
    for path in [
        format!("/api/v1/users/{rob_id}"),
        format!("/api/v1/users/{ann_id}"),
        "/api/v1/users/999999".to_owned(),
        format!("/api/v1/users/{rob_id}/sessions"),
        "/api/v1/keys/1".into(),
        "/api/v1/keys/999999".into(),
    ] {
        let answers: Vec<(u16, String)> = ["GET", "DELETE"]
            .iter()
            .map(|method| ann.send(method, &path, "", b""))
            .map(|answer| (answer.status, answer.text))
            .collect();
        assert!(answers.iter().all(|(status, _)| matches!(status, 403 | 405)), "{path}: {answers:?}");
    }
    let there = ann.get(&format!("/api/v1/users/{rob_id}")).text;
    assert_eq!(there, ann.get("/api/v1/users/999999").text, "no way to tell who is there");
    for id in ["0", "-1", "abc", "1.0", "9223372036854775808", "%00", "1%2f..", "1;2", "0x1", "１"] {
        for resource in ["alerts", "events", "users", "keys"] {
            let path = format!("/api/v1/{resource}/{id}");
            assert_eq!(admin.get(&path).status, 404, "{path}");
        }
    }
    assert_eq!(rob.get("/api/v1/auth/me").status, 200);
}

fn fields_that_are_not_the_callers_change_nothing(server: &Server) {
    let admin = server.admin();
    let more = |body: &str, more: Value| {
        let mut body: Value = serde_json::from_str(body).unwrap();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let forged = json!({
        "id": 7, "created_by": 99, "sensor_key": 99, "created_at": "2001-01-01T00:00:00Z", "timestamp": "2001-01-01T00:00:00Z",
        "status": "RESOLVED", "alert": null, "version": 99, "rule": "mine", "acknowledged_at": "2001-01-01T00:00:00Z"
    });
    let body = more(r#"{"source_name":"a","event_type":"b","severity":"HIGH","description":"c"}"#, forged);
    let me = admin.get("/api/v1/auth/me").expect(200)["id"].clone();
    for path in ["/api/v1/events", "/api/events/", "/v1/events/security_events/", "/api/v1/event/ingest/"] {
        assert_eq!(admin.post_json(path, &body).status, 201, "{path}");
        let event = admin.get("/api/v1/events").expect(200)["results"][0].clone();
        assert!(
            event["id"] != 7 && event["created_by"] == me && event["sensor_key"].is_null(),
            "{path}: {event}"
        );
        assert!(!event["created_at"].as_str().unwrap().starts_with("2001"), "{path}");
        let alert = admin.get("/api/v1/alerts").expect(200)["results"][0].clone();
        assert_eq!((&alert["status"], &alert["version"]), (&json!("OPEN"), &json!(1)), "{path}: {alert}");
        assert_eq!(alert["event_id"], event["id"], "{path}");
    }
    let alert = admin.get("/api/v1/alerts").expect(200)["results"][0].clone();
    let path = format!("/api/v1/alerts/{}", alert["id"]);
    let change = json!({"status": "ACKNOWLEDGED", "severity": "LOW", "id": 1, "event_id": 1, "rule": "x", "created_at": "2001-01-01T00:00:00Z"});
    let changed = admin.patch_json(&path, &change.to_string()).expect(200);
    for field in ["severity", "id", "event_id", "rule", "created_at"] {
        assert_eq!(changed[field], alert[field], "{field}");
    }
    let forged = json!({
        "id": 1, "version": 9, "created_at": "2001-01-01T00:00:00Z", "last_login": "2001-01-01T00:00:00Z", "is_superuser": true,
        "is_staff": true, "second_factor": true, "single_sign_on": true, "signed_up": true, "token_epoch": 9,
        "password_hash": "x", "external_id": "x"
    });
    let body = json!({"username": "ann", "password": PASSWORD, "role": "ANALYST"}).to_string();
    let made = admin.post_json("/api/v1/users", &more(&body, forged.clone())).expect(201);
    assert!(
        made["id"] != 1
            && made["version"] == 1
            && made["role"] == "ANALYST"
            && made["second_factor"] == false
    );
    assert!(made["last_login"].is_null() && made["signed_up"] == false, "{made}");
    let key = json!({"name": "k", "secret": "wp_mine", "prefix": "wp_mine", "id": 9, "secret_hash": "x", "revoked_at": null, "last_used_at": "2001-01-01T00:00:00Z"});
    let key = admin.post_json("/api/v1/keys", &key.to_string()).expect(201);
    assert!(key["id"] != 9 && key["secret"] != "wp_mine" && key["last_used_at"].is_null(), "{key}");
    // No answer holds what only the server should know.
    for path in plain_routes() {
        let text = admin.get(&briefly(path)).text;
        for secret in ["argon2", "password_hash", "secret_hash", "token_epoch", "factor_secret", PASSWORD] {
            assert!(!text.contains(secret), "{path}: {secret}");
        }
    }
}

#[test]
fn whatever_a_new_user_is_called_no_account_of_another_is_joined() {
    let server = Server::start(Engine::Sqlite);
    let admin = server.admin();
    for name in ["ADMIN", "admin ", " admin", "Admin"] {
        let body = json!({"username": name, "password": "wolkenbruch im mai", "role": "ANALYST"}).to_string();
        assert_eq!(admin.post_json("/api/v1/users", &body).status, 400, "{name:?}");
    }
    for name in ["key:fw", "command-line", "watchpost", "anonymous"] {
        let body = json!({"username": name, "password": "wolkenbruch im mai", "role": "ANALYST"}).to_string();
        assert_eq!(
            admin.post_json("/api/v1/users", &body).status,
            400,
            "{name:?} stands for others in the audit log"
        );
    }
    let pair = super::tokens(&server, ADMIN, PASSWORD);
    assert_eq!(bearer(&server, pair["access"].as_str().unwrap()).get("/api/v1/users").status, 200);
}
