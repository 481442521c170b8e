//! Each of the five services, as a client of it would speak.

use crate::on_both_engines;
use crate::server::{ADMIN, Client, PASSWORD, Server};
use serde_json::{Value, json};

on_both_engines!(
    service_a,
    service_b,
    service_c,
    service_d,
    service_e,
    every_path_answers_with_and_without_a_slash,
    alerts_are_filtered_sorted_and_paged,
);

fn credentials() -> String {
    json!({"username": ADMIN, "password": PASSWORD}).to_string()
}

/// Logs in at a path, checks the claims, and is the client from then on.
fn logged_in<'a>(server: &'a Server, path: &str) -> (Client<'a>, Value) {
    let tokens = server.anonymous().post_json(path, &credentials()).expect(200);
    let access = tokens["access"].as_str().unwrap();
    (server.anonymous().with("authorization", &format!("Bearer {access}")), tokens)
}

fn claims(token: &Value) -> Value {
    use base64::Engine;
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn time_is_utc_with_microseconds(time: &Value) {
    let time = time.as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
}

fn service_a(server: &Server) {
    let (client, tokens) = logged_in(server, "/api/auth/login/");
    let said = claims(&tokens["access"]);
    assert_eq!(said["token_type"], "access");
    assert_eq!(said["user_id"], "1");
    assert!(said["exp"].is_i64() && said["iat"].is_i64() && said["jti"].is_string(), "{said}");
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 900);
    assert_eq!(claims(&tokens["refresh"])["token_type"], "refresh");

    let body = json!({"source_name": "fw", "event_type": "scan", "severity": "High", "description": "x"});
    let event = client.post_json("/api/events/", &body.to_string()).expect(201);
    assert_eq!(event["severity"], "HIGH");
    time_is_utc_with_microseconds(&event["timestamp"]);
    assert_eq!(event["timestamp"], event["created_at"]);

    let page = client.get("/api/alerts/?search=SCAN").expect(200);
    assert_eq!(page["count"], 1);
    let alert = &page["results"][0];
    assert_eq!(alert["event"]["id"], event["id"]);
    assert_eq!(alert["event_id"], event["id"]);
    assert_eq!(alert["event"]["created_by"], 1);
    assert_eq!((alert["severity"].as_str(), alert["status"].as_str()), (Some("HIGH"), Some("OPEN")));
    let path = format!("/api/alerts/{}/status/", alert["id"]);
    assert_eq!(
        client.patch_json(&path, r#"{"status":"ACKNOWLEDGED"}"#).expect(200)["status"],
        "ACKNOWLEDGED"
    );
    assert_eq!(client.patch_json(&path, r#"{"status":"nope"}"#).status, 400);

    let refresh = json!({"refresh": tokens["refresh"]}).to_string();
    let rotated = server.anonymous().post_json("/api/auth/refresh/", &refresh).expect(200);
    assert!(rotated["access"].is_string() && rotated["refresh"] != tokens["refresh"]);
    let again = server.anonymous().post_json("/api/auth/refresh/", &refresh).expect(401);
    assert_eq!(again["code"], "token_not_valid");
}

fn service_b(server: &Server) {
    let (client, tokens) = logged_in(server, "/api/v1/auth/login/");
    let body = json!({"source": "cam-1", "event_type": "motion", "severity": "CRITICAL", "description": "x"});
    let event = client.post_json("/api/v1/event/ingest/", &body.to_string()).expect(201);
    assert_eq!((event["source"].as_str(), event["source_name"].as_str()), (Some("cam-1"), Some("cam-1")));
    let analyst = server.user("ana", "ANALYST");
    assert_eq!(
        analyst.post_json("/api/v1/event/ingest/", &body.to_string()).status,
        201,
        "any role may, here"
    );
    let page = analyst.get("/api/v1/alerts/?status=open&severity=critical").expect(200);
    assert_eq!(page["count"], 2);
    let path = format!("/api/v1/alerts/{}/", page["results"][0]["id"]);
    assert_eq!(analyst.patch_json(&path, r#"{"status":"RESOLVED"}"#).status, 403);
    assert_eq!(client.patch_json(&path, r#"{"status":"RESOLVED"}"#).expect(200)["status"], "RESOLVED");
    let refresh = json!({"refresh": tokens["refresh"]}).to_string();
    server.anonymous().post_json("/api/v1/auth/refresh/", &refresh).expect(200);
}

fn service_c(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_SIGNUP", "on")]);
    let anyone = server.anonymous();
    let body = json!({"username": "carol", "password": PASSWORD});
    let made = anyone.post_json("/v1/auth/signup/", &body.to_string()).expect(201);
    assert_eq!(made["status"], true);
    assert!(made["message"].is_string());
    let taken = anyone.post_json("/v1/auth/signup/", &body.to_string()).expect(400);
    assert_eq!(taken["status"], false);
    assert!(taken["message"].as_str().unwrap().contains("already exists"));
    let missing = anyone.post_json("/v1/auth/signup/", r#"{"username":"x"}"#).expect(400);
    assert_eq!(missing["status"], false);
    let admin = json!({"username": "mallory", "password": PASSWORD, "role": "Admin"});
    assert_eq!(anyone.post_json("/v1/auth/signup/", &admin.to_string()).status, 403);

    let (client, tokens) = logged_in(server, "/v1/auth/login/");
    let said = claims(&tokens["access"]);
    assert_eq!((said["username"].as_str(), said["role"].as_str()), (Some(ADMIN), Some("Admin")));
    let carol = server.log_in("carol", PASSWORD);
    assert_eq!(carol.get("/api/v1/auth/me").expect(200)["role"], "ANALYST");

    let body = json!({"source_name": "fw", "event_type": "scan", "severity": "High", "description": "x"});
    let event = client.post_json("/v1/events/security_events/", &body.to_string()).expect(201);
    assert_eq!((&event["success"], event["data"]["severity"].as_str()), (&json!(true), Some("High")));
    let page = carol.get("/v1/alerts/alerts/?status=Open&severity=High").expect(200);
    assert_eq!((&page["status"], &page["count"]), (&json!(true), &json!(1)));
    assert!(page["next"].is_null() && page["previous"].is_null());
    let alert = &page["data"][0];
    assert_eq!((alert["severity"].as_str(), alert["status"].as_str()), (Some("High"), Some("Open")));
    let path = format!("/v1/alerts/alerts/{}/", alert["id"]);
    let changed = client.patch_json(&path, r#"{"status":"Acknowledged"}"#).expect(200);
    assert_eq!(
        (&changed["success"], changed["data"]["status"].as_str()),
        (&json!(true), Some("Acknowledged"))
    );
}

fn service_d(server: &Server) {
    let (client, _) = logged_in(server, "/api/auth/login/");
    let body = json!({"sourceName": "siem", "eventType": "brute", "severity": "low", "description": "x"});
    let event = client.post_json("/api/events/", &body.to_string()).expect(201);
    assert_eq!((event["source_name"].as_str(), event["event_type"].as_str()), (Some("siem"), Some("brute")));
    assert_eq!(client.get("/api/alerts/").expect(200)["count"], 0, "LOW raises nothing");
    let second = client.event("MEDIUM", "later");
    let page = client.get("/api/events/").expect(200);
    assert_eq!((&page["count"], &page["results"][0]["id"]), (&json!(2), &second["id"]), "newest first");
    for method in ["PUT", "PATCH", "DELETE"] {
        let path = format!("/api/events/{}/", event["id"]);
        assert_eq!(client.send(method, &path, "application/json", b"{}").status, 405, "{method}");
    }
    users_of_service_d(&client);
}

fn users_of_service_d(client: &Client<'_>) {
    let body = json!({"username": "dave", "password": PASSWORD, "email": "d@example.com", "role": "Analyst"});
    let made = client.post_json("/api/users/", &body.to_string()).expect(201);
    assert_eq!(made["role"], "ANALYST");
    let page = client.get("/api/users/").expect(200);
    assert_eq!(page["count"], 2);
    let everything = page.to_string();
    assert!(!everything.contains("argon2") && !everything.contains("\"password\""), "{everything}");
    assert_eq!(
        client.post_json("/api/users/", &body.to_string()).expect(400)["username"][0],
        "A user with that username already exists."
    );
    let weak = json!({"username": "weak", "password": "12345", "role": "ANALYST"});
    assert!(client.post_json("/api/users/", &weak.to_string()).expect(400)["password"].is_array());
    let path = format!("/api/users/{}/", made["id"]);
    assert_eq!(client.patch_json(&path, r#"{"role":"RESPONDER"}"#).expect(200)["role"], "RESPONDER");
    let put = json!({"username": "david", "email": "", "role": "ANALYST"});
    let replaced = client.send("PUT", &path, "application/json", put.to_string().as_bytes()).expect(200);
    assert_eq!((replaced["username"].as_str(), replaced["email"].as_str()), (Some("david"), Some("")));
    assert_eq!(client.send("DELETE", &path, "", b"").status, 204);
    assert_eq!(client.get(&path).expect(200)["is_active"], false, "deactivated, not gone");
    let last = client.send("DELETE", "/api/users/1/", "", b"");
    assert_eq!(last.expect(409)["code"], "last_admin");
    assert_eq!(client.patch_json("/api/users/1/", r#"{"role":"ANALYST"}"#).status, 409);
}

fn service_e(server: &Server) {
    let (client, tokens) = logged_in(server, "/api/auth/token/");
    let anyone = server.anonymous();
    let verify = json!({"token": tokens["access"]}).to_string();
    assert_eq!(anyone.post_json("/api/auth/token/verify/", &verify).expect(200), json!({}));
    assert_eq!(
        anyone.post_json("/api/auth/token/verify/", r#"{"token":"x.y.z"}"#).expect(401)["code"],
        "token_not_valid"
    );
    let refresh = json!({"refresh": tokens["refresh"]}).to_string();
    anyone.post_json("/api/auth/token/refresh/", &refresh).expect(200);

    let test = client.post_json("/api/dashboard/test-api/", "{}").expect(201);
    assert_eq!(test["event"]["severity"], "CRITICAL");
    assert_eq!(test["alert"]["event"]["id"], test["event"]["id"]);
    let named = client.post_form("/api/dashboard/test-api/", "source_name=probe").expect(201);
    assert_eq!(named["event"]["source_name"], "probe");
    assert_eq!(client.get("/api/dashboard/alerts/").expect(200)["count"], 2);
    let path = format!("/api/dashboard/alerts/{}/status/", test["alert"]["id"]);
    assert_eq!(
        client.patch_json(&path, r#"{"status":"acknowledged"}"#).expect(200)["status"],
        "ACKNOWLEDGED"
    );
    assert_eq!(client.post_form(&path, "status=Resolved").expect(200)["status"], "RESOLVED");
    let history = client.get(&format!("/api/v1/alerts/{}/history", test["alert"]["id"])).expect(200);
    let steps: Vec<_> =
        history["results"].as_array().unwrap().iter().map(|c| c["to"].as_str().unwrap()).collect();
    assert_eq!(steps, ["OPEN", "ACKNOWLEDGED", "RESOLVED"]);

    let made = client.post_json("/api/dashboard/create-analyst/", "{}").expect(201);
    assert_eq!(made["role"], "ANALYST");
    server.log_in(made["username"].as_str().unwrap(), made["password"].as_str().unwrap());
    let named = json!({"username": "erin", "password": PASSWORD}).to_string();
    assert_eq!(client.post_json("/api/dashboard/create-analyst/", &named).expect(201)["password"], PASSWORD);
    assert_eq!(client.post_json("/api/dashboard/create-analyst/", &named).status, 400);
}

fn every_path_answers_with_and_without_a_slash(server: &Server) {
    let admin = server.admin();
    for path in [
        "/api/alerts",
        "/api/v1/alerts",
        "/v1/alerts/alerts",
        "/api/dashboard/alerts",
        "/api/events",
        "/api/users",
        "/api/schema",
        "/api/docs",
        "/swagger",
        "/redoc",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_eq!(admin.get(&path).status, 200, "{path}");
        }
    }
    let form = "source_name=fw&event_type=scan&severity=HIGH&description=x";
    for path in ["/api/events", "/api/events/", "/api/v1/event/ingest", "/v1/events/security_events/"] {
        assert_eq!(admin.post_form(path, form).status, 201, "{path}");
    }
}

fn alerts_are_filtered_sorted_and_paged(server: &Server) {
    let client = server.admin();
    for n in 0..23 {
        client.event(if n % 3 == 0 { "CRITICAL" } else { "HIGH" }, &format!("number {n}"));
    }
    client.patch_json("/api/alerts/1/", r#"{"status":"RESOLVED"}"#).expect(200);
    let first = client.get("/api/alerts/?severity=high,critical&status=OPEN").expect(200);
    assert_eq!((&first["count"], first["results"].as_array().unwrap().len()), (&json!(22), 10));
    assert!(first["previous"].is_null());
    let mut seen = Vec::new();
    let mut page = first;
    loop {
        seen.extend(page["results"].as_array().unwrap().iter().map(|alert| alert["id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        assert!(next.starts_with(&server.address) && next.contains("status=OPEN"), "{next}");
        page = client.get(next.trim_start_matches(&server.address)).expect(200);
    }
    assert_eq!(seen, (2..=23).rev().collect::<Vec<_>>(), "newest first, no gap, no double");
    let previous = page["previous"].as_str().unwrap();
    assert_eq!(
        client.get(previous.trim_start_matches(&server.address)).expect(200)["results"]
            .as_array()
            .unwrap()
            .len(),
        10
    );
    for (query, count) in [
        ("event__severity=critical", 8),
        ("severity=LOW", 0),
        ("event_type=INTRUSION", 23),
        ("source_name=EDGE-FW&status=resolved", 1),
        ("search=number+1", 11),
        ("search=%25", 0),
        ("severity=", 23),
        ("severity=HIGH&event__severity=CRITICAL", 0),
        ("severity=HIGH,CRITICAL&event__severity=critical&status=open", 7),
    ] {
        assert_eq!(client.get(&format!("/api/alerts/?{query}")).expect(200)["count"], count, "{query}");
    }
    let sorted = client.get("/api/alerts/?ordering=-severity&page_size=100").expect(200);
    let severities: Vec<_> =
        sorted["results"].as_array().unwrap().iter().map(|a| a["severity"].as_str().unwrap()).collect();
    assert!(severities[..8].iter().all(|s| *s == "CRITICAL") && severities[8..].iter().all(|s| *s == "HIGH"));
    let oldest = client.get("/api/alerts/?ordering=created_at&page_size=1").expect(200);
    assert_eq!(oldest["results"][0]["id"], 1);
    assert_eq!(
        client.get("/api/alerts/?ordering=status&page_size=100").expect(200)["results"][22]["status"],
        "RESOLVED"
    );
    for page in ["4", "0", "-1", "x"] {
        assert_eq!(client.get(&format!("/api/alerts/?page={page}")).expect(404)["detail"], "Invalid page.");
    }
    let wrong = client.get("/api/alerts/?severity=nope&colour=red").expect(400);
    assert!(wrong["severity"][0].as_str().unwrap().contains("CRITICAL") && wrong["colour"].is_array());
    assert_eq!(client.get("/api/alerts/999/").status, 404);
    assert_eq!(client.patch_json("/api/alerts/999/", r#"{"status":"OPEN"}"#).status, 404);
}
