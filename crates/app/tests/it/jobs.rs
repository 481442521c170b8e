//! One thing done with many alerts at once, and taken back.

use crate::on_both_engines;
use crate::server::{Client, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_engines!(
    many_alerts_are_counted_changed_and_taken_back,
    what_a_job_may_not_do_is_said,
    a_noisy_source_is_one_row_and_is_resolved_at_once,
    a_job_goes_on_after_its_server_was_killed,
    what_was_undone_counts_in_no_figure,
);

const LINES: &str = "application/x-ndjson";

/// Raises so many alerts from one source.
fn raise(server: &Server, source: &str, count: usize) {
    let line =
        json!({"source_name": source, "event_type": "scan", "severity": "CRITICAL", "description": "x"});
    let body = format!("{line}\n").repeat(count);
    let sent = server.admin().send("POST", "/api/v1/events", LINES, body.as_bytes());
    assert_eq!(sent.status, 201);
}

/// How long a job may stand still. How long it takes in all depends on the machine.
const STANDSTILL: Duration = Duration::from_secs(90);

/// The job when it is done; fails when it stands still.
#[track_caller]
pub(crate) fn done(client: &Client<'_>, job: &Value) -> Value {
    let path = format!("/api/v1/alerts/bulk/{}", job["id"].as_str().unwrap());
    let (mut far, mut deadline) = (Value::Null, Instant::now() + STANDSTILL);
    loop {
        let now = client.get(&path).expect(200);
        if now["state"] == "done" {
            return now;
        }
        if now["done"] != far {
            (far, deadline) = (now["done"].clone(), Instant::now() + STANDSTILL);
        }
        assert!(Instant::now() < deadline, "it stands still: {now}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn begin(client: &Client<'_>, body: &Value) -> Value {
    client.post_json("/api/v1/alerts/bulk", &body.to_string()).expect(202)
}

fn count(client: &Client<'_>, query: &str) -> i64 {
    client.get(&format!("/api/v1/alerts?page_size=1&{query}")).expect(200)["count"].as_i64().unwrap()
}

fn many_alerts_are_counted_changed_and_taken_back(server: &Server) {
    let (rob, eve) = (server.user("rob", "RESPONDER"), server.user("eve", "RESPONDER"));
    raise(server, "noisy", 1_234);
    raise(server, "other", 3);
    let wanted = json!({"action": "resolve", "verdict": "EXPECTED", "why": "a scan of ours", "filter": "?status=OPEN&source_name=noisy"});
    let mut dry = wanted.clone();
    dry["dry_run"] = true.into();
    assert_eq!(rob.post_json("/api/v1/alerts/bulk", &dry.to_string()).expect(200)["count"], 1_234);
    assert_eq!(count(&rob, "status=OPEN"), 1_237, "a dry run changes nothing");
    let job = done(&rob, &begin(&rob, &wanted));
    assert_eq!((&job["total"], &job["done"], &job["changed"]), (&json!(1_234), &json!(1_234), &json!(1_234)));
    assert!(job["undo_until"].as_str().is_some_and(|until| until > job["finished_at"].as_str().unwrap()));
    assert_eq!((count(&rob, "status=RESOLVED&verdict=EXPECTED"), count(&rob, "status=OPEN")), (1_234, 3));
    let path = format!("/api/v1/alerts/bulk/{}", job["id"].as_str().unwrap());
    let results = rob.get(&format!("{path}/results?page_size=100&page=13")).expect(200);
    assert_eq!((&results["count"], results["results"].as_array().unwrap().len()), (&json!(1_234), 34));
    let one = results["results"][0]["alert"].as_i64().unwrap();
    let history = rob.get(&format!("/api/v1/alerts/{one}/history")).expect(200);
    assert_eq!(
        (&history["results"][1]["actor"], &history["results"][1]["why"]),
        (&json!("rob"), &json!("a scan of ours"))
    );
    // The same again changes nothing, and what is in the way is said of each.
    let again = done(&rob, &begin(&rob, &json!({"action": "resolve", "ids": [one, 999_999]})));
    assert_eq!((&again["changed"], &again["done"]), (&json!(0), &json!(2)));
    let refused = done(&rob, &begin(&rob, &json!({"action": "ack", "ids": format!("{one}")})));
    let outcome = |job: &Value| {
        let path = format!("/api/v1/alerts/bulk/{}/results", job["id"].as_str().unwrap());
        rob.get(&path).expect(200)["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["outcome"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (outcome(&again), outcome(&refused)),
        (vec!["same".to_owned(), "missing".into()], vec!["not_now".to_owned()])
    );

    // One is changed since: it stays, the others go back to what they were.
    rob.post_json(&format!("/api/v1/alerts/{one}/notes"), r#"{"text":"really?"}"#).expect(200);
    assert_eq!(eve.post_json(&format!("{path}/undo"), "").status, 403, "somebody else's");
    let undone = done(&rob, &rob.post_json(&format!("{path}/undo"), "").expect(202));
    assert_eq!((&undone["undoes"], &undone["changed"]), (&job["id"], &json!(1_233)));
    assert_eq!(
        (count(&rob, "status=OPEN"), count(&rob, "status=RESOLVED"), count(&rob, "verdict=EXPECTED")),
        (1_236, 1, 1)
    );
    assert_eq!(rob.post_json(&format!("{path}/undo"), "").expect(409)["code"], "no_undo");
    assert_eq!(rob.get(&path).expect(200)["undone_by"], undone["id"]);
    let last = rob.get("/api/v1/alerts?status=OPEN&source_name=noisy&page_size=1").expect(200);
    let last = last["results"][0].clone();
    assert_eq!((&last["verdict"], &last["version"]), (&Value::Null, &json!(3)));
    let verified = server.command().args(["audit", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

fn a_noisy_source_is_one_row_and_is_resolved_at_once(server: &Server) {
    let (rob, ann) = (server.user("rob", "RESPONDER"), server.user("ann", "ANALYST"));
    raise(server, "quiet", 1);
    raise(server, "Noisy", 12_000);
    raise(server, "noisy", 345);
    let groups = |query: &str| ann.get(&format!("/api/v1/alerts/groups?{query}")).expect(200);
    let page = groups("status=OPEN");
    assert_eq!(page["count"], 2, "{page}");
    let noisy = &page["results"][0];
    assert_eq!(
        (&noisy["open"], &noisy["source_name"], &noisy["severity"]),
        (&json!(12_345), &json!("Noisy"), &json!("CRITICAL"))
    );
    assert!(noisy["first_seen"].as_str() <= noisy["last_seen"].as_str());
    let filter = noisy["filter"].as_str().unwrap();
    assert_eq!(count(&rob, filter), 12_345, "its filter is that of the list");
    let job =
        done(&rob, &begin(&rob, &json!({"action": "resolve", "filter": format!("{filter}&status=OPEN")})));
    assert_eq!((&job["total"], &job["changed"]), (&json!(12_345), &json!(12_345)));
    let page = groups("status=OPEN");
    assert_eq!((&page["count"], &page["results"][0]["source_name"]), (&json!(1), &json!("quiet")));
    assert_eq!(groups("ordering=-count&source_name=NOISY&since=-1h")["results"][0]["resolved"], 12_345);
    assert_eq!(groups("severity=LOW")["count"], 0);
    raise(server, "noisy", 1);
    assert_eq!(groups("status=OPEN&source_name=noisy")["results"][0]["open"], 1, "it is back");
    let wrong = ann.get("/api/v1/alerts/groups?ordering=age&colour=red&status=x").expect(400);
    assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), ["colour", "ordering", "status"]);
}

fn what_a_job_may_not_do_is_said(server: &Server) {
    let (rob, ann) = (server.user("rob", "RESPONDER"), server.user("ann", "ANALYST"));
    raise(server, "a", 2);
    for (body, field) in [
        (json!({}), "action"),
        (json!({"action": "delete", "ids": [1]}), "action"),
        (json!({"action": "ack"}), "ids"),
        (json!({"action": "ack", "ids": []}), "ids"),
        (json!({"action": "ack", "ids": ["x"]}), "ids"),
        (json!({"action": "ack", "ids": [1], "filter": "status=OPEN"}), "filter"),
        (json!({"action": "ack", "filter": "status=NOPE"}), "status"),
        (json!({"action": "ack", "filter": "colour=red"}), "colour"),
        (json!({"action": "resolve", "ids": [1], "verdict": "NICE"}), "verdict"),
        (json!({"action": "notes", "ids": [1]}), "text"),
        (json!({"action": "assign", "ids": [1], "assignee": "nobody"}), "assignee"),
        (json!({"action": "snooze", "ids": [1], "until": "yesterday"}), "until"),
        (json!({"action": "ack", "ids": [1], "dry_run": "perhaps"}), "dry_run"),
    ] {
        let answer = rob.post_json("/api/v1/alerts/bulk", &body.to_string()).expect(400);
        assert!(answer[field].is_array(), "{body}: {answer}");
    }
    let body = json!({"action": "ack", "filter": "status=OPEN"}).to_string();
    assert_eq!(ann.post_json("/api/v1/alerts/bulk", &body).status, 403);
    assert_eq!(rob.get("/api/v1/alerts/bulk/none").status, 404);
    assert_eq!(count(&rob, "status=OPEN"), 2);
    let many: Vec<u32> = (0..10_001).collect();
    let body = json!({"action": "ack", "ids": many}).to_string();
    assert!(rob.post_json("/api/v1/alerts/bulk", &body).expect(400)["ids"].is_array());
    let none = begin(&rob, &json!({"action": "ack", "filter": "source_name=nowhere"}));
    assert_eq!(done(&rob, &none)["total"], 0, "nothing to do is done");
}

fn a_job_goes_on_after_its_server_was_killed(before: &Server) {
    let mut server = Server::start(before.engine());
    raise(&server, "noisy", 6_000);
    let job =
        begin(&server.admin(), &json!({"action": "tags", "add": ["a", "b"], "filter": "source_name=noisy"}));
    server.kill();
    server.restart();
    let admin = server.admin();
    let job = done(&admin, &job);
    assert_eq!((&job["done"], &job["changed"]), (&json!(6_000), &json!(6_000)), "each once");
    let found = admin.get("/api/v1/alerts?tag=a&tag=b&page_size=1").expect(200);
    assert_eq!((&found["count"], &found["results"][0]["version"]), (&json!(6_000), &json!(2)));
}

fn what_was_undone_counts_in_no_figure(server: &Server) {
    let (rob, ana) = (server.user("rob", "RESPONDER"), server.user("ana", "RESPONDER"));
    raise(server, "noisy", 300);
    // What was really done: acknowledged by rob, some of it resolved by ana and reopened, one with a note.
    done(&rob, &begin(&rob, &json!({"action": "ack", "ids": [1, 2, 3, 4]})));
    done(&ana, &begin(&ana, &json!({"action": "resolve", "verdict": "BENIGN", "ids": [3, 4, 5]})));
    done(&ana, &begin(&ana, &json!({"action": "reopen", "ids": [4]})));
    rob.post_json("/api/v1/alerts/7/notes", r#"{"text":"seen"}"#).expect(200);
    let figures = || {
        let mut handover = rob.get("/api/v1/handover?since=-1h").expect(200);
        let told = ["acknowledged", "resolved", "reopened", "by_person", "changes_more", "notes"]
            .map(|name| handover[name].take());
        let mut alerts: Vec<Value> = Vec::new();
        for page in 1..=3 {
            let found = rob.get(&format!("/api/v1/alerts?page_size=100&page={page}")).expect(200);
            alerts.extend(found["results"].as_array().unwrap().iter().cloned());
        }
        for alert in &mut alerts {
            alert["version"].take();
            alert["updated_at"].take();
        }
        let reactions = rob.get("/api/v1/stats/reactions?since=-1h").expect(200);
        let reactions = ["acknowledge", "resolve"].map(|name| reactions[name].clone());
        let groups = rob.get("/api/v1/alerts/groups").expect(200)["results"].clone();
        (told, alerts, reactions, groups)
    };
    let before = figures();
    assert_eq!(before.2[1]["count"], 3, "{:?}", before.2);
    for _ in 0..2 {
        for body in [
            json!({"action": "resolve", "verdict": "DUPLICATE", "filter": ""}),
            json!({"action": "notes", "text": "all of one cause", "filter": "status=OPEN"}),
        ] {
            let job = done(&ana, &begin(&ana, &body));
            assert_ne!(figures().0, before.0, "what is done counts at first: {body}");
            let path = format!("/api/v1/alerts/bulk/{}/undo", job["id"].as_str().unwrap());
            let undone = done(&ana, &ana.post_json(&path, "").expect(202));
            assert_eq!(undone["changed"], job["changed"], "{body}");
            let after = figures();
            assert_eq!(after.0, before.0, "handover: {body}");
            assert_eq!(after.2, before.2, "times to acknowledge and resolve: {body}");
            assert_eq!(after.3, before.3, "groups: {body}");
            assert_eq!(after.1, before.1, "alerts: {body}");
        }
    }
    let history = rob.get("/api/v1/alerts/9/history").expect(200);
    let entries = history["results"].as_array().unwrap().iter();
    let told: Vec<_> =
        entries.map(|entry| (entry["action"].as_str().unwrap(), entry["undone"] == true)).collect();
    let once = [("status", true), ("undo", false), ("note", true), ("undo", false)];
    assert_eq!(told, [&[("raised", false)], &once[..], &once[..]].concat());
    // And done again it counts again.
    let job = done(&rob, &begin(&rob, &json!({"action": "resolve", "ids": [9]})));
    assert_eq!(job["changed"], 1);
    assert_eq!(rob.get("/api/v1/stats/reactions?since=-1h").expect(200)["resolve"]["count"], 4);
    assert_eq!(rob.get("/api/v1/alerts/9").expect(200)["resolved_by"], "rob");
}
