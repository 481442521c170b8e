//! Sign-up is the operator's decision, and what it gives is little.

use super::audited;
use crate::on_both_engines;
use crate::server::{Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use watchpost_model::Action;
use watchpost_web::site_map::site_map;

on_both_engines!(a_stranger_gets_no_account, who_signed_up_hands_in_no_events, nothing_more_can_be_asked_for);

const ON: &[(&str, &str)] = &[("WATCHPOST_SIGNUP", "on")];
const PATH: &str = "/v1/auth/signup/";

fn asked(username: &str, more: &Value) -> String {
    let mut body = json!({"username": username, "password": PASSWORD});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn names(admin: &Client<'_>) -> Vec<String> {
    let users = admin.get("/api/v1/users?page_size=100").expect(200);
    users["results"].as_array().unwrap().iter().map(|u| u["username"].as_str().unwrap().into()).collect()
}

fn a_stranger_gets_no_account(server: &Server) {
    let anyone = server.anonymous();
    for body in [asked("mallory", &json!({})), asked("mallory", &json!({"role": "Admin"})), "{".to_owned()] {
        let refused = anyone.post_json(PATH, &body).expect(403);
        assert_eq!(refused["code"], "permission_denied");
        assert!(refused["detail"].as_str().unwrap().contains("WATCHPOST_SIGNUP"), "{refused}");
    }
    assert_eq!(names(&server.admin()), ["admin"]);
}

fn who_signed_up_hands_in_no_events(before: &Server) {
    let server = &Server::with(before.engine(), ON);
    let admin = server.admin();
    let (sue, ana) = (server.signed_up("sue"), server.user("ana", "ANALYST"));
    let me = sue.get("/api/v1/auth/me").expect(200);
    assert_eq!((&me["role"], &me["signed_up"]), (&json!("ANALYST"), &json!(true)));
    assert_eq!(ana.get("/api/v1/auth/me").expect(200)["signed_up"], false);
    assert_eq!(audited(server, "user.create").last().unwrap()["actor"], "watchpost");
    let event = json!({"source_name": "x", "event_type": "y", "severity": "CRITICAL", "description": "z"});
    let doors: Vec<_> = site_map()
        .into_iter()
        .filter(|route| matches!(route.action, Action::IngestEvents | Action::IngestEventsAsAnyone))
        .filter(|route| !route.page)
        .map(|route| route.path)
        .chain(["/api/dashboard/test-api"])
        .collect();
    assert!(doors.len() >= 5 && doors.contains(&"/api/v1/event/ingest"), "{doors:?}");
    let path = format!("/api/v1/users/{}", me["id"]);
    for role in ["ANALYST", "RESPONDER"] {
        admin.patch_json(&path, &json!({"role": role}).to_string()).expect(200);
        for door in &doors {
            for kind in ["application/json", "application/x-ndjson"] {
                let answer = sue.send("POST", door, kind, event.to_string().as_bytes());
                assert_eq!(answer.status, 403, "{role} {door}: {}", answer.text);
            }
        }
    }
    assert_eq!(admin.get("/api/v1/events").expect(200)["count"], 0);
    assert_eq!(sue.get("/api/v1/events").status, 200, "a Responder reads events all the same");
    // Whom an Admin made may on the path of service B; and an Admin is one by another Admin's doing.
    assert_eq!(ana.post_json("/api/v1/event/ingest", &event.to_string()).status, 201);
    admin.patch_json(&path, r#"{"role":"ADMIN"}"#).expect(200);
    assert_eq!(sue.post_json("/api/v1/events", &event.to_string()).status, 201);
}

fn nothing_more_can_be_asked_for(before: &Server) {
    let server = &Server::with(before.engine(), ON);
    let anyone = server.anonymous();
    let more = json!({"email": "s@example.com", "is_superuser": true, "signed_up": false});
    assert_eq!(anyone.post_json(PATH, &asked("sue", &more)).status, 201);
    for role in ["Admin", "responder"] {
        assert_eq!(anyone.post_json(PATH, &asked("max", &json!({"role": role}))).status, 403, "{role}");
    }
    let admin = server.admin();
    assert_eq!(names(&admin), ["admin", "sue"]);
    let sue = &admin.get("/api/v1/users?search=sue").expect(200)["results"][0];
    assert_eq!((&sue["role"], &sue["signed_up"]), (&json!("ANALYST"), &json!(true)));
}

#[test]
fn an_operator_who_switches_it_on_is_told_what_that_means() {
    let (on, off) = (Server::with(Engine::Sqlite, ON), Server::start(Engine::Sqlite));
    let told = |server: &Server, settings: &[(&str, &str)]| {
        let doctor = server.command().envs(settings.iter().copied()).arg("doctor").output().unwrap();
        assert!(doctor.status.success(), "the operator may want it");
        [server.log.lock().unwrap().clone(), String::from_utf8(doctor.stdout).unwrap()]
    };
    let [log, doctor] = told(&on, ON);
    assert!(log.contains("\"WARN\"") && log.contains("sign-up is on: anyone"), "in the log: {log}");
    assert!(log.contains("\nSign-up is on: anyone"), "in the greeting: {log}");
    assert!(doctor.contains("sign-up: it is on: anyone") && doctor.contains("WATCHPOST_SIGNUP=off"));
    for text in told(&off, &[]) {
        assert!(!text.to_lowercase().contains("sign-up is on") && !text.contains("sign-up:"), "{text}");
    }
}
