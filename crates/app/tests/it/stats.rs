//! What a dashboard asks for.

use crate::on_both_engines;
use crate::server::Server;
use serde_json::{Value, json};

on_both_engines!(a_dashboard_sees_what_happened, wrong_questions_are_named);

fn sum(buckets: &Value, value: &str) -> i64 {
    buckets.as_array().unwrap().iter().filter_map(|bucket| bucket["counts"][value].as_i64()).sum()
}

fn a_dashboard_sees_what_happened(server: &Server) {
    let admin = server.admin();
    for n in 0..12 {
        let body = json!({
            "source_name": (if n < 9 { "loud" } else { "quiet" }), "event_type": format!("type-{}", n % 4),
            "severity": (["LOW", "HIGH", "CRITICAL"][n % 3]), "description": "x"
        });
        let made = admin.post_json("/api/v1/events/", &body.to_string()).expect(201);
        if n == 1 {
            admin
                .patch_json(&format!("/api/v1/alerts/{}", made["alert"]), r#"{"status":"RESOLVED"}"#)
                .expect(200);
        }
        if n == 2 {
            admin
                .patch_json(&format!("/api/v1/alerts/{}", made["alert"]), r#"{"status":"ACKNOWLEDGED"}"#)
                .expect(200);
        }
    }
    let events = admin.get("/api/v1/stats/events?interval=minute&since=-10m").expect(200);
    assert_eq!(events["totals"], json!({"LOW": 4, "HIGH": 4, "CRITICAL": 4}));
    assert_eq!((sum(&events["buckets"], "LOW"), &events["interval"]), (4, &json!("minute")));
    assert!(events["buckets"].as_array().unwrap().len() >= 10, "empty buckets are there, too");
    let sources = admin.get("/api/v1/stats/events?by=source_name&limit=1").expect(200);
    assert_eq!(sources["totals"], json!({"loud": 9, "(others)": 3}));
    let alerts = admin.get("/api/v1/stats/alerts").expect(200);
    assert_eq!(alerts["totals"], json!({"OPEN": 6, "ACKNOWLEDGED": 1, "RESOLVED": 1}));
    assert_eq!(
        admin.get("/api/v1/stats/alerts?by=severity").expect(200)["totals"],
        json!({"HIGH": 4, "CRITICAL": 4})
    );
    let top = admin.get("/api/v1/stats/top?of=event_type&limit=2").expect(200);
    assert_eq!(top["results"], json!([{"value": "type-0", "count": 3}, {"value": "type-1", "count": 3}]));
    let reactions = admin.get("/api/v1/stats/reactions").expect(200);
    assert_eq!((&reactions["acknowledge"]["count"], &reactions["resolve"]["count"]), (&json!(1), &json!(1)));
    let all = server.user("ana", "ANALYST").get("/api/v1/stats/overview").expect(200);
    assert_eq!((&all["events_stored"], &all["alerts"]["OPEN"]["CRITICAL"]), (&json!(12), &json!(3)));
    assert_eq!(all["top_sources"][0], json!({"value": "loud", "count": 9}));
    let long_ago = admin.get("/api/v1/stats/overview?since=2020-01-01&until=2020-02-01").expect(200);
    assert_eq!((&long_ago["top_sources"], &long_ago["reactions"]["resolve"]), (&json!([]), &Value::Null));
}

fn wrong_questions_are_named(server: &Server) {
    let admin = server.admin();
    for (query, field) in [
        ("events?by=colour", "by"),
        ("events?interval=week", "interval"),
        ("events?interval=minute&since=-30d", "interval"),
        ("events?by=source_name&interval=minute&since=-100h&until=-90h", "interval"),
        ("events?since=soon", "since"),
        ("events?limit=0&by=event_type", "limit"),
        ("events?page=2", "page"),
        ("top?of=host", "of"),
    ] {
        assert!(admin.get(&format!("/api/v1/stats/{query}")).expect(400)[field].is_array(), "{query}");
    }
    assert_eq!(admin.get("/api/v1/stats/events?since=now&until=-1h").expect(200)["totals"], json!({}));
}
