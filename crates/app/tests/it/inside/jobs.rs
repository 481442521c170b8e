//! What is done with many alerts: by those who may, as long as they may, and no more of it than others can bear.

use super::Hold;
use crate::on_both_engines;
use crate::server::{Client, PASSWORD, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_engines!(
    a_job_stops_when_whoever_began_it_may_not_any_more,
    a_job_that_is_taken_over_is_stopped_as_well,
    many_small_jobs_are_no_way_around,
);

fn raise(server: &Server, source: &str, count: usize) {
    let line =
        json!({"source_name": source, "event_type": "scan", "severity": "CRITICAL", "description": "x"});
    let body = format!("{line}\n").repeat(count);
    let sent = server.admin().send("POST", "/api/v1/events", "application/x-ndjson", body.as_bytes());
    assert_eq!(sent.status, 201);
}

fn tag(client: &Client<'_>, tag: &str, source: &str) -> crate::server::Answer {
    let body = json!({"action": "tags", "add": [tag], "filter": format!("source_name={source}")});
    client.post_json("/api/v1/alerts/bulk", &body.to_string())
}

fn job(admin: &Client<'_>, job: &Value) -> Value {
    admin.get(&format!("/api/v1/alerts/bulk/{}", job["id"].as_str().unwrap())).expect(200)
}

/// The job once something holds of it. It may take as long as the machine needs while it gets on.
#[track_caller]
fn when(admin: &Client<'_>, known: &Value, holds: impl Fn(&Value) -> bool) -> Value {
    let (mut seen, mut deadline) = (Value::Null, Instant::now());
    loop {
        let now = job(admin, known);
        if holds(&now) {
            return now;
        }
        if now != seen {
            (seen, deadline) = (now, Instant::now() + Duration::from_secs(60));
        }
        assert!(Instant::now() < deadline, "it stands still: {seen}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tagged(admin: &Client<'_>, tag: &str) -> i64 {
    admin.get(&format!("/api/v1/alerts?tag={tag}&page_size=1")).expect(200)["count"].as_i64().unwrap()
}

/// Each way in which a user may not any more, and what a job says of it.
const WAYS: [(&str, &str); 4] = [
    ("demoted", "demoted may no longer change alerts"),
    ("locked-out", "locked-out was deactivated"),
    ("gone", "the session of gone that began it has ended"),
    ("reset", "the session of reset that began it has ended"),
];

fn take_away(server: &Server, client: &Client<'_>, way: &str) {
    let admin = server.admin();
    let found = admin.get(&format!("/api/v1/users?search={way}")).expect(200);
    let path = format!("/api/v1/users/{}", found["results"][0]["id"]);
    match way {
        "demoted" => admin.patch_json(&path, r#"{"role":"ANALYST"}"#).expect(200),
        "locked-out" => admin.patch_json(&path, r#"{"is_active":false}"#).expect(200),
        "gone" => client.post_json("/api/v1/auth/logout-all", "").expect(204),
        _ => {
            let body = json!({"current_password": PASSWORD, "new_password": "another-horse-battery"});
            client.post_json("/api/v1/auth/password", &body.to_string()).expect(200)
        }
    };
}

fn a_job_stops_when_whoever_began_it_may_not_any_more(plain: &Server) {
    let (server, hold) = Hold::server(plain.engine(), "job", 1);
    // Jobs with the same alerts would get in each other's way.
    let sources = ["noisy", "louder", "loudest"];
    sources.iter().for_each(|source| raise(&server, source, 600));
    let admin = server.admin();
    for (way, why) in WAYS {
        let client = server.user(way, "RESPONDER");
        hold.begin();
        let jobs = sources.map(|source| tag(&client, &format!("{way}-{source}"), source).expect(202));
        let fourth = tag(&client, "fourth", "noisy");
        assert_eq!((fourth.status, fourth.header("retry-after")), (429, "5"), "{}", fourth.text);
        assert_eq!(fourth.json()["code"], "too_many_jobs");
        let one = json!({"action": "tags", "add": ["one"], "ids": [1]}).to_string();
        client.post_json("/api/v1/alerts/bulk", &one).expect(202);
        for begun in &jobs {
            when(&admin, begun, |job| job["done"] == 500);
        }
        take_away(&server, &client, way);
        hold.end();
        for (source, begun) in sources.iter().zip(&jobs) {
            let ended = when(&admin, begun, |job| job["state"] != "running");
            assert_eq!((&ended["state"], &ended["stopped"]), (&json!("stopped"), &json!(why)), "{ended}");
            assert_eq!((&ended["changed"], &ended["total"]), (&json!(500), &json!(600)), "{ended}");
            assert_eq!(tagged(&admin, &format!("{way}-{source}")), 500, "the others are as they were");
        }
        // An Admin takes back what it did.
        let path = format!("/api/v1/alerts/bulk/{}/undo", jobs[2]["id"].as_str().unwrap());
        assert!((401..=403).contains(&client.post_json(&path, "").status));
        let undo = admin.post_json(&path, "").expect(202);
        let undone = when(&admin, &undo, |job| job["state"] != "running");
        assert_eq!((&undone["state"], &undone["changed"]), (&json!("done"), &json!(500)), "{undone}");
        assert_eq!(tagged(&admin, &format!("{way}-loudest")), 0);
    }
    let audit = admin.get("/api/v1/audit?action=alerts.bulk.stop").expect(200);
    assert_eq!((&audit["count"], &audit["results"][0]["actor"]), (&json!(12), &json!("watchpost")));
    let metrics = admin.get("/metrics").text;
    assert!(metrics.contains("watchpost_busy_total{what=\"job\"} 4"), "{metrics}");
}

fn a_job_that_is_taken_over_is_stopped_as_well(plain: &Server) {
    let (mut server, hold) = Hold::server(plain.engine(), "job", 0);
    ["noisy", "louder"].iter().for_each(|source| raise(&server, source, 600));
    hold.begin();
    let begun = tag(&server.user("demoted", "RESPONDER"), "a", "noisy").expect(202);
    let going_on = tag(&server.user("steady", "RESPONDER"), "b", "louder").expect(202);
    server.kill();
    server.restart();
    take_away(&server, &server.anonymous(), "demoted");
    hold.end();
    let admin = server.admin();
    let ended = when(&admin, &begun, |job| job["state"] != "running");
    assert_eq!((&ended["state"], &ended["changed"]), (&json!("stopped"), &json!(0)), "{ended}");
    let done = when(&admin, &going_on, |job| job["state"] != "running");
    assert_eq!((&done["state"], &done["changed"]), (&json!("done"), &json!(600)), "{done}");
    assert_eq!((tagged(&admin, "a"), tagged(&admin, "b")), (0, 600));
}

fn many_small_jobs_are_no_way_around(plain: &Server) {
    let (server, hold) = Hold::server(plain.engine(), "job", 0);
    raise(&server, "noisy", 20);
    let client = server.user("rob", "RESPONDER");
    let one = |n: usize| json!({"action": "tags", "add": ["one"], "ids": [n]}).to_string();
    hold.begin();
    let begun: Vec<Value> =
        (1..=10).map(|n| client.post_json("/api/v1/alerts/bulk", &one(n)).expect(202)).collect();
    let more = client.post_json("/api/v1/alerts/bulk", &one(11));
    assert_eq!((more.status, more.header("retry-after")), (429, "5"), "{}", more.text);
    assert_eq!(more.json()["code"], "too_many_jobs");
    server.user("eve", "RESPONDER").post_json("/api/v1/alerts/bulk", &one(12)).expect(202);
    hold.end();
    for job in &begun {
        when(&server.admin(), job, |job| job["state"] == "done");
    }
    client.post_json("/api/v1/alerts/bulk", &one(11)).expect(202);
}
