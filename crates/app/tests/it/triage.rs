//! An alert's life between OPEN and RESOLVED, over the API.

use crate::on_both_engines;
use crate::server::{ADMIN, Client, Server};
use serde_json::{Value, json};

on_both_engines!(
    an_alert_lives_and_everything_is_remembered,
    whoever_is_too_late_sees_how_it_is_now,
    lists_are_narrowed_by_what_people_made_of_alerts,
    what_is_wrong_is_said_and_changes_nothing,
    a_verdict_can_be_required,
);

fn raise(server: &Server) -> i64 {
    server.admin().event("CRITICAL", "something")["alert"].as_i64().expect("it raises an alert")
}

#[track_caller]
fn act(client: &Client<'_>, alert: i64, action: &str, body: Value) -> Value {
    client.post_json(&format!("/api/v1/alerts/{alert}/{action}"), &body.to_string()).expect(200)
}

fn an_alert_lives_and_everything_is_remembered(server: &Server) {
    let (rob, ann) = (server.user("rob", "RESPONDER"), server.user("ann", "ANALYST"));
    let id = raise(server);
    let fresh = ann.get(&format!("/api/v1/alerts/{id}")).expect(200);
    assert_eq!(fresh["title"], "intrusion at edge-fw");
    for nothing in ["assignee", "verdict", "snoozed_until", "acknowledged_by", "resolved_by"] {
        assert!(fresh[nothing].is_null(), "{nothing}");
    }
    let taken = act(&rob, id, "ack", json!({"why": "mine"}));
    assert_eq!((&taken["status"], &taken["acknowledged_by"]), (&json!("ACKNOWLEDGED"), &json!("rob")));
    let again = act(&rob, id, "ack", json!({}));
    assert_eq!(again["version"], taken["version"], "what is so already changes nothing");
    assert_eq!(act(&rob, id, "assign", json!({"assignee": "me"}))["assignee"], "rob");
    assert_eq!(act(&rob, id, "assign", json!({"assignee": "ANN"}))["assignee"], "ann");
    assert_eq!(act(&rob, id, "assign", json!({"assignee": null}))["assignee"], Value::Null);
    assert_eq!(act(&rob, id, "tags", json!({"add": ["VPN", "lab"]}))["tags"], json!(["lab", "vpn"]));
    assert_eq!(
        act(&rob, id, "tags", json!({"add": "a:b/c", "remove": "lab, none"}))["tags"],
        json!(["a:b/c", "vpn"])
    );
    assert_eq!(act(&rob, id, "title", json!({"title": " Scan from the lab "}))["title"], "Scan from the lab");
    let away = act(&rob, id, "snooze", json!({"until": "+4h", "why": "owner is away"}));
    assert!(away["snoozed_until"].as_str().is_some_and(|until| until > away["updated_at"].as_str().unwrap()));
    act(&rob, id, "notes", json!({"text": "Called the owner.\n<b>twice</b>"}));
    act(&rob, id, "notes", json!({"text": "Called the owner.\n<b>twice</b>"}));
    let done = act(&rob, id, "resolve", json!({"verdict": "false-positive", "why": "a test"}));
    assert_eq!(
        (&done["status"], &done["verdict"], &done["resolved_by"]),
        (&json!("RESOLVED"), &json!("FALSE_POSITIVE"), &json!("rob"))
    );
    assert!(done["snoozed_until"].is_null(), "what is done is not put off");
    let refused = rob.post_json(&format!("/api/v1/alerts/{id}/ack"), "{}").expect(409);
    assert_eq!(refused["code"], "not_now");
    let open = act(&rob, id, "reopen", json!({"why": "it is back"}));
    assert_eq!((&open["status"], &open["verdict"]), (&json!("OPEN"), &Value::Null));

    let history = ann.get(&format!("/api/v1/alerts/{id}/history")).expect(200)["results"].clone();
    let steps: Vec<String> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            format!("{} {} {} {}", step["action"], step["from"], step["to"], step["why"]).replace('"', "")
        })
        .collect();
    let until = away["snoozed_until"].as_str().unwrap();
    assert_eq!(
        steps,
        [
            "raised null OPEN ".to_owned(),
            "status OPEN ACKNOWLEDGED mine".into(),
            "assign  rob ".into(),
            "assign rob ann ".into(),
            "assign ann  ".into(),
            "tags  lab vpn ".into(),
            "tags lab vpn a:b/c vpn ".into(),
            "title  Scan from the lab ".into(),
            format!("snooze  {until} owner is away"),
            "note   Called the owner.\\n<b>twice</b>".into(),
            "note   Called the owner.\\n<b>twice</b>".into(),
            "status ACKNOWLEDGED RESOLVED a test".into(),
            "status RESOLVED OPEN it is back".into(),
        ]
    );
    assert_eq!(history[11]["verdict"], "FALSE_POSITIVE");
    let versions: Vec<i64> =
        history.as_array().unwrap().iter().map(|step| step["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, (1..=13).collect::<Vec<i64>>());
    let notes = ann.get(&format!("/api/v1/alerts/{id}/notes")).expect(200);
    assert_eq!((notes.as_array().unwrap().len(), &notes[0]["author"]), (2, &json!("rob")));
    let audit = server.admin().get(&format!("/api/v1/audit?object=alert:{id}&page_size=100")).expect(200);
    assert_eq!(audit["count"], 12, "each change is in the audit log");
    // An Analyst reads all of it and changes nothing.
    for action in ["ack", "unack", "resolve", "reopen", "assign", "snooze", "tags", "title", "notes"] {
        assert_eq!(ann.post_json(&format!("/api/v1/alerts/{id}/{action}"), "{}").status, 403, "{action}");
    }
}

fn whoever_is_too_late_sees_how_it_is_now(server: &Server) {
    let (rob, eve) = (server.user("rob", "RESPONDER"), server.user("eve", "RESPONDER"));
    let id = raise(server);
    let seen = rob.get(&format!("/api/v1/alerts/{id}"));
    assert_eq!(seen.header("etag"), "\"1\"");
    act(&eve, id, "assign", json!({"assignee": "me", "version": 1}));
    for (action, body) in [
        ("assign", json!({"assignee": "me", "version": 1})),
        ("resolve", json!({"version": 1})),
        ("notes", json!({"text": "x", "version": 1})),
    ] {
        let late = rob.post_json(&format!("/api/v1/alerts/{id}/{action}"), &body.to_string()).expect(409);
        assert_eq!(
            (&late["code"], &late["current"]["assignee"]),
            (&json!("conflict"), &json!("eve")),
            "{action}"
        );
        assert_eq!(late["current"]["version"], 2);
    }
    let by_header = server.sensor_like(&rob).with("if-match", "\"1\"");
    let late = by_header.patch_json(&format!("/api/v1/alerts/{id}"), r#"{"status":"RESOLVED"}"#).expect(409);
    assert_eq!(late["current"]["status"], "OPEN");
    act(&rob, id, "resolve", json!({"version": 2}));
}

fn lists_are_narrowed_by_what_people_made_of_alerts(server: &Server) {
    let rob = server.user("rob", "RESPONDER");
    let ids: Vec<i64> = (0..4).map(|_| raise(server)).collect();
    act(&rob, ids[0], "assign", json!({"assignee": "me"}));
    act(&rob, ids[1], "tags", json!({"add": ["vpn", "lab"]}));
    act(&rob, ids[2], "snooze", json!({"until": "+1h"}));
    act(&rob, ids[3], "resolve", json!({"verdict": "BENIGN"}));
    let found = |query: &str| -> Vec<i64> {
        let page = rob.get(&format!("/api/v1/alerts?ordering=created_at&{query}")).expect(200);
        let ids: Vec<i64> =
            page["results"].as_array().unwrap().iter().map(|alert| alert["id"].as_i64().unwrap()).collect();
        assert_eq!(page["count"], ids.len(), "{query}");
        ids
    };
    for (query, wanted) in [
        ("assignee=me", vec![0]),
        ("assignee=ROB", vec![0]),
        ("assignee=none", vec![1, 2, 3]),
        ("assignee=admin", vec![]),
        ("tag=VPN", vec![1]),
        ("tag=vpn&tag=lab", vec![1]),
        ("tag=vpn&tag=other", vec![]),
        ("snoozed=true", vec![2]),
        ("snoozed=false", vec![0, 1, 3]),
        ("verdict=benign", vec![3]),
        ("verdict=BENIGN,EXPECTED&status=RESOLVED", vec![3]),
        ("verdict=BENIGN&status=OPEN", vec![]),
        ("assignee=none&snoozed=false&status=OPEN&severity=CRITICAL", vec![1]),
        ("search=something&assignee=me", vec![0]),
    ] {
        assert_eq!(found(query), wanted.into_iter().map(|n: usize| ids[n]).collect::<Vec<_>>(), "{query}");
    }
    let wrong = rob.get("/api/v1/alerts?snoozed=perhaps&verdict=nice&tag=a%20b").expect(400);
    assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), ["snoozed", "tag", "verdict"]);
    assert_eq!(
        rob.get("/api/v1/alerts?assignee=nobody-here").expect(400)["assignee"][0],
        "There is no user nobody-here."
    );
}

fn what_is_wrong_is_said_and_changes_nothing(server: &Server) {
    let admin = server.admin();
    let id = raise(server);
    let gone = server.user("gone", "RESPONDER").get("/api/v1/auth/me").expect(200)["id"].clone();
    assert_eq!(admin.send("DELETE", &format!("/api/v1/users/{gone}"), "", b"").status, 204);
    for (action, body, field) in [
        ("resolve", json!({"verdict": "NICE"}), "verdict"),
        ("resolve", json!({"why": "x".repeat(10_001)}), "why"),
        ("assign", json!({"assignee": "nobody"}), "assignee"),
        ("assign", json!({"assignee": "gone"}), "assignee"),
        ("assign", json!({"assignee": 7.5}), "assignee"),
        ("snooze", json!({"until": "soon"}), "until"),
        ("snooze", json!({"until": "-1h"}), "until"),
        ("snooze", json!({"until": "+91d"}), "until"),
        ("tags", json!({"add": ["a b"]}), "add"),
        ("tags", json!({"add": ["x".repeat(64)]}), "add"),
        ("tags", json!({"remove": {"a": 1}}), "remove"),
        ("title", json!({"title": "x".repeat(201)}), "title"),
        ("title", json!({"title": "a\u{0}b"}), "title"),
        ("notes", json!({}), "text"),
        ("notes", json!({"text": "  "}), "text"),
        ("ack", json!({"version": "x"}), "version"),
    ] {
        let answer = admin.post_json(&format!("/api/v1/alerts/{id}/{action}"), &body.to_string()).expect(400);
        assert!(answer[field].is_array(), "{action} {body}: {answer}");
    }
    let many: Vec<String> = (0..21).map(|n| format!("t{n}")).collect();
    let refused = admin.post_json(&format!("/api/v1/alerts/{id}/tags"), &json!({"add": many}).to_string());
    assert_eq!(refused.expect(409)["code"], "not_now");
    assert_eq!(
        admin.patch_json(&format!("/api/v1/alerts/{id}"), r#"{"status":"OPEN","verdict":"BENIGN"}"#).status,
        400
    );
    let alert = admin.get(&format!("/api/v1/alerts/{id}")).expect(200);
    assert_eq!((&alert["version"], &alert["tags"]), (&json!(1), &json!([])));
    assert_eq!(admin.post_json("/api/v1/alerts/999999/ack", "{}").status, 404);
    assert_eq!(act(&admin, id, "assign", json!({"assignee": ADMIN}))["assignee"], ADMIN);
}

fn a_verdict_can_be_required(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_VERDICT", "required")]);
    let admin = server.admin();
    let id = raise(server);
    for (method, path) in [
        ("PATCH", format!("/api/v1/alerts/{id}")),
        ("PATCH", format!("/api/alerts/{id}/status/")),
        ("PATCH", format!("/v1/alerts/alerts/{id}")),
        ("POST", format!("/api/dashboard/alerts/{id}/status/")),
        ("POST", format!("/api/v1/alerts/{id}/resolve")),
    ] {
        let refused = admin.send(method, &path, "application/json", br#"{"status":"RESOLVED"}"#).expect(400);
        assert_eq!(refused["verdict"][0], "This field is required.", "{method} {path}");
    }
    admin.patch_json(&format!("/api/v1/alerts/{id}"), r#"{"status":"ACKNOWLEDGED"}"#).expect(200);
    admin
        .patch_json(&format!("/api/v1/alerts/{id}"), r#"{"status":"RESOLVED","verdict":"EXPECTED"}"#)
        .expect(200);
}
