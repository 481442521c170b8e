//! Events from afar and close by: what is left out, how many there were when, what they say, the whole list as a
//! file, and an alert raised by hand.

mod browsing;
mod many;
mod million;
mod pages;

use crate::on_both_engines;
use crate::server::{Client, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};

on_both_engines!(
    what_is_left_out_is_gone_and_nothing_else,
    a_histogram_counts_what_the_list_has,
    facets_say_what_they_are_of,
    an_export_is_the_list,
    an_alert_is_raised_by_hand_once,
    two_who_raise_the_same_alert_get_one,
    whoever_may_not_is_told_so,
);

const SEVERITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// Events that can be told apart by everything.
fn event(n: usize) -> Value {
    let mut event = json!({
        "source_name": (["fw", "cam 1", "AV"][n % 3]),
        "event_type": (["scan", "login"][n % 2]),
        "severity": SEVERITIES[n / 2 % 4],
        "description": format!("number {n}, {}", ["port", "door"][n / 3 % 2]),
        "host": format!("host-{}", n % 5),
        "src_ip": format!("10.0.0.{}", n % 7),
    });
    if n.is_multiple_of(4) {
        event["user"] = json!("bob");
    }
    event
}

fn filled(server: &Server, n: usize) -> Client<'_> {
    let lines: String = (0..n).map(|n| format!("{}\n", event(n))).collect();
    let sent = server.admin().send("POST", "/api/v1/events/", "application/x-ndjson", lines.as_bytes());
    assert_eq!(sent.status, 201, "{}", sent.text);
    let admin = server.admin();
    // Each of these waits for a while by itself.
    while admin.get("/api/v1/events?search=number").expect(200)["search_is_behind"] == true {}
    admin
}

/// All descriptions in a list, page by page.
fn all(client: &Client<'_>, query: &str) -> Vec<String> {
    let mut address = format!("/api/v1/events?page_size=100&{query}");
    let mut found = Vec::new();
    loop {
        let page = client.get(&address).expect(200);
        let rows = page["results"].as_array().unwrap();
        found.extend(rows.iter().map(|row| row["description"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return found };
        address = next[next.find("/api").unwrap()..].to_owned();
    }
}

fn matching(n: usize, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
    let fitting = (0..n).rev().map(event).filter(|event| wanted(event));
    fitting.map(|event| event["description"].as_str().unwrap().to_owned()).collect()
}

fn what_is_left_out_is_gone_and_nothing_else(server: &Server) {
    let admin = filled(server, 90);
    type Wanted = fn(&Value) -> bool;
    let cases: [(&str, Wanted); 9] = [
        ("not_source_name=FW", |e| e["source_name"] != "fw"),
        ("not_source_name=cam%201", |e| e["source_name"] != "cam 1"),
        ("not_source_name=cam%3D1", |_| true),
        ("not_user=BOB", |e| e["user"].is_null()),
        ("not_host=host-1&not_host=host-2&not_event_type=scan", |e| {
            !["host-1", "host-2"].contains(&e["host"].as_str().unwrap()) && e["event_type"] != "scan"
        }),
        ("search=port&not_src_ip=10.0.0.3", |e| {
            e["description"].as_str().unwrap().ends_with("port") && e["src_ip"] != "10.0.0.3"
        }),
        ("source_name=fw&not_host=host-0&severity=HIGH,LOW", |e| {
            let severity = e["severity"].as_str().unwrap();
            e["source_name"] == "fw" && e["host"] != "host-0" && ["HIGH", "LOW"].contains(&severity)
        }),
        ("not_severity=LOW,MEDIUM&not_dst_ip=10.0.0.1", |e| {
            ["HIGH", "CRITICAL"].contains(&e["severity"].as_str().unwrap())
        }),
        ("not_source_name=fw&not_source_name=cam%201&not_source_name=av", |_| false),
    ];
    for (query, wanted) in cases {
        let wanted = matching(90, wanted);
        assert_eq!(all(&admin, query), wanted, "{query}");
        let page = admin.get(&format!("/api/v1/events?{query}")).expect(200);
        assert_eq!(
            (&page["count"], &page["count_is_minimum"]),
            (&json!(wanted.len()), &Value::Null),
            "{query}"
        );
        assert_eq!(page["page_is_partial"], Value::Null);
        let alerts = admin.get(&format!("/api/v1/alerts?{query}")).expect(200);
        let raised = |row: &String| {
            let n: usize = row.trim_start_matches("number ").split(',').next().unwrap().parse().unwrap();
            n / 2 % 4 >= 2
        };
        assert_eq!(alerts["count"], wanted.iter().filter(|row| raised(row)).count(), "{query}");
    }
    let wrong = admin.get("/api/v1/events?not_search=x&severity=LOW&not_severity=LOW").expect(400);
    assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), ["not_search", "not_severity"]);
}

fn counts(histogram: &Value) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for bucket in histogram["buckets"].as_array().unwrap() {
        for (severity, n) in bucket["by_severity"].as_object().unwrap() {
            *sums.entry(severity.clone()).or_default() += n.as_i64().unwrap();
        }
        let by_severity = bucket["by_severity"].as_object().unwrap().values();
        assert_eq!(bucket["count"], by_severity.filter_map(Value::as_i64).sum::<i64>());
    }
    sums
}

fn a_histogram_counts_what_the_list_has(server: &Server) {
    let admin = filled(server, 90);
    for query in [
        "",
        "severity=HIGH,LOW",
        "source_name=FW",
        "source_name=cam%201",
        "event_type=scan&not_host=host-1",
        "not_user=bob",
        "search=port",
        "search=port&source_name=cam%201&not_severity=LOW",
        "search=%25",
    ] {
        let found = admin.get(&format!("/api/v1/events/histogram?since=-1h&{query}")).expect(200);
        let rows = all(&admin, query);
        assert_eq!((&found["total"], &found["complete"]), (&json!(rows.len()), &json!(true)), "{query}");
        let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
        for n in 0..90 {
            let event = event(n);
            if rows.iter().any(|row| event["description"] == *row) {
                *wanted.entry(event["severity"].as_str().unwrap().into()).or_default() += 1;
            }
        }
        assert_eq!(counts(&found), wanted, "{query}");
    }
    let hour = admin.get("/api/v1/events/histogram?since=-1h").expect(200);
    assert_eq!(hour["interval"], "1m");
    assert!((60..=62).contains(&hour["buckets"].as_array().unwrap().len()));
    let day = admin.get("/api/v1/events/histogram").expect(200);
    assert_eq!((&day["interval"], &day["total"]), (&json!("10m"), &json!(90)));
    let days = admin.get("/api/v1/events/histogram?since=-3d&interval=1d").expect(200);
    assert!((3..=4).contains(&days["buckets"].as_array().unwrap().len()));
    let before = admin.get("/api/v1/events/histogram?since=-3d&until=-2d&not_host=x").expect(200);
    assert_eq!(before["total"], 0);
    let ids = admin.get("/api/v1/events?page_size=3").expect(200)["results"].clone();
    let ids: Vec<String> = ids.as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
    let three = admin.get(&format!("/api/v1/events/histogram?id={}", ids.join(","))).expect(200);
    assert_eq!(three["total"], 3);
    for (query, field) in [
        ("interval=week", "interval"),
        ("interval=1m&since=-30d", "interval"),
        ("since=soon", "since"),
        ("page=2", "page"),
        ("not_severity=LOW,MEDIUM,HIGH,CRITICAL", "not_severity"),
    ] {
        let wrong = admin.get(&format!("/api/v1/events/histogram?{query}")).expect(400);
        assert!(wrong[field].is_array(), "{query}: {wrong}");
    }
}

fn facets_say_what_they_are_of(server: &Server) {
    let admin = filled(server, 1_200);
    let found = admin.get("/api/v1/events/facets").expect(200);
    assert_eq!((&found["of"], &found["more"]), (&json!(1_000), &json!(true)));
    let facet = |found: &Value, field: &str| -> BTreeMap<String, i64> {
        let values = found["facets"][field]["values"].as_array().unwrap();
        values
            .iter()
            .map(|one| (one["value"].as_str().unwrap().to_owned(), one["count"].as_i64().unwrap()))
            .collect()
    };
    let three = |n: i64| BTreeMap::from([("fw".into(), n), ("cam 1".into(), n), ("AV".into(), n)]);
    assert_eq!(
        (&found["facets"]["source_name"]["exact"], facet(&found, "source_name")),
        (&json!(true), three(400))
    );
    assert_eq!(facet(&found, "severity").values().sum::<i64>(), 1_200);
    assert_eq!(found["facets"]["host"]["exact"], false);
    assert_eq!(facet(&found, "host").values().sum::<i64>(), 1_000);
    let recent = admin.get("/api/v1/events/facets?since=-10m").expect(200);
    assert_eq!(facet(&recent, "source_name"), three(400));
    let of_one = admin.get("/api/v1/events/facets?source_name=fw&not_host=host-1").expect(200);
    assert_eq!((&of_one["of"], &of_one["more"]), (&json!(320), &json!(false)));
    assert_eq!(facet(&of_one, "source_name"), BTreeMap::from([("fw".into(), 320)]));
    assert!(!facet(&of_one, "host").contains_key("host-1"));
    assert_eq!(of_one["facets"]["host"]["exact"], true);
    assert_eq!(facet(&of_one, "dst_ip"), BTreeMap::new());
    let hosts = of_one["facets"]["src_ip"]["values"].as_array().unwrap();
    assert!(hosts.is_sorted_by(|a, b| a["count"].as_i64() >= b["count"].as_i64()));
    assert_eq!(admin.get("/api/v1/events/facets?search=%25").expect(200)["of"], 0);
    assert!(admin.get("/api/v1/events/facets?cursor=a0-0-1").expect(400)["cursor"].is_array());
}

fn an_export_is_the_list(server: &Server) {
    let admin = filled(server, 350);
    let hostile = json!({"source_name": "=cmd()", "event_type": "x", "severity": "LOW",
        "description": "+1\n\"two\", three", "attributes": {"a": "@b"}});
    admin.post_json("/api/v1/events/", &hostile.to_string()).expect(201);
    for query in ["", "not_host=host-2", "source_name=fw", "search=port&not_source_name=cam%201", "since=-1h"]
    {
        let file = admin.get(&format!("/api/v1/events/export?{query}"));
        assert_eq!((file.status, file.header("content-type")), (200, "application/x-ndjson"));
        let named = file.header("content-disposition");
        assert!(
            named.starts_with("attachment; filename=\"watchpost-events-") && named.ends_with(".ndjson\"")
        );
        let lines: Vec<Value> = file.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let found: Vec<String> =
            lines.iter().map(|row| row["description"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, all(&admin, query), "{query}");
        let one = admin.get(&format!("/api/v1/events/{}", lines[0]["id"])).expect(200);
        assert_eq!(lines[0], one, "as it is read alone");
    }
    let file = admin.get("/api/v1/events/export?format=csv");
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    let head = "id,created_at,severity,source_name,event_type,host,user,src_ip,dst_ip,occurred_at,description,attributes\r\n";
    assert!(file.text.starts_with(head));
    let first = &file.text[head.len()..].split("\r\n").next().unwrap();
    assert!(first.contains("\"'=cmd()\"") && first.contains("\"'+1\n\"\"two\"\", three\""), "{first}");
    assert!(first.ends_with("\"{\"\"a\"\":\"\"@b\"\"}\""), "{first}");
    assert_eq!(file.text.matches("\r\n").count(), 352);
    assert!(admin.get("/api/v1/events/export?format=xml").expect(400)["format"].is_array());
    assert!(admin.get("/api/v1/events/export?page=2").expect(400)["page"].is_array());
    let audit = admin.get("/api/v1/audit?action=events.export").expect(200);
    assert_eq!(audit["count"], 6);
    assert_eq!(audit["results"][0]["detail"], "format=csv");

    // Whoever goes away in the middle leaves nothing behind that would go on.
    let mut socket = server.connect();
    let token = admin.headers[0].1.clone();
    let request =
        format!("GET /api/v1/events/export HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket.read_exact(&mut [0; 100]).unwrap();
    drop(socket);
    assert_eq!(admin.get("/api/v1/events/export?source_name=none").text, "");
}

fn low(client: &Client<'_>) -> i64 {
    client.event("LOW", "something odd")["id"].as_i64().unwrap()
}

fn an_alert_is_raised_by_hand_once(server: &Server) {
    let (admin, rob) = (server.admin(), server.user("rob", "RESPONDER"));
    let event = low(&admin);
    let body = json!({"severity": "high", "title": " Slow scan ", "why": "the same host as yesterday"});
    let path = format!("/api/v1/events/{event}/alert");
    let alert = rob.post_json(&path, &body.to_string()).expect(201);
    assert_eq!(
        (&alert["severity"], &alert["event"]["severity"], &alert["title"], &alert["rule"]),
        (&json!("HIGH"), &json!("LOW"), &json!("Slow scan"), &json!("manual"))
    );
    assert_eq!(
        (&alert["status"], &alert["version"], &alert["event_id"]),
        (&json!("OPEN"), &json!(1), &json!(event))
    );
    let id = &alert["id"];
    let again = admin.post_json(&path, "{}").expect(200);
    assert_eq!(again, alert, "the same, and nothing changed");
    let history = rob.get(&format!("/api/v1/alerts/{id}/history")).expect(200)["results"].clone();
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(
        (&history[0]["action"], &history[0]["actor"], &history[0]["from"], &history[0]["why"]),
        (&json!("raised"), &json!("rob"), &Value::Null, &json!("the same host as yesterday"))
    );
    // It is in lists, counts, groups and the index, and moves on.
    for query in ["severity=HIGH", "event__severity=LOW", "search=odd", "source_name=edge-fw", "not_host=x"] {
        let list = rob.get(&format!("/api/v1/alerts?{query}")).expect(200);
        assert_eq!((&list["count"], &list["results"][0]["id"]), (&json!(1), id), "{query}");
    }
    let groups = rob.get("/api/v1/alerts/groups").expect(200);
    assert_eq!((&groups["results"][0]["rule"], &groups["results"][0]["open"]), (&json!("manual"), &json!(1)));
    rob.post_json(&format!("/api/v1/alerts/{id}/resolve"), "{}").expect(200);
    let counts = rob.get("/api/v1/stats/overview").expect(200)["alerts"].clone();
    assert_eq!((&counts["RESOLVED"]["HIGH"], &counts["OPEN"]["HIGH"]), (&json!(1), &json!(0)));
    let audit = admin.get(&format!("/api/v1/audit?object=alert:{id}&action=alert.raise")).expect(200);
    assert_eq!((&audit["count"], &audit["results"][0]["actor"]), (&json!(1), &json!("rob")));
    // Alerts of rules come after it with ids of their own, and are found.
    let next = admin.event("CRITICAL", "something worse")["alert"].clone();
    assert!(next.as_i64() > id.as_i64());
    assert_eq!(rob.get("/api/v1/alerts?search=worse").expect(200)["results"][0]["id"], next);

    // What a rule raised is there already.
    let raised = admin.event("CRITICAL", "bad");
    let known =
        rob.post_json(&format!("/api/v1/events/{}/alert", raised["id"]), r#"{"title":"x"}"#).expect(200);
    assert_eq!((&known["id"], &known["rule"]), (&raised["alert"], &json!("builtin.severity")));
    assert_ne!(known["title"], "x");
    // By itself, as bad as its event.
    let plain = rob.post_json(&format!("/api/v1/events/{}/alert", low(&admin)), "").expect(201);
    assert_eq!((&plain["severity"], &plain["title"]), (&json!("LOW"), &json!("intrusion at edge-fw")));
    for (body, field) in [
        (json!({"severity": "NOPE"}), "severity"),
        (json!({"severity": 7.5}), "severity"),
        (json!({"title": "x".repeat(201)}), "title"),
        (json!({"why": "x".repeat(10_001)}), "why"),
    ] {
        let wrong =
            rob.post_json(&format!("/api/v1/events/{}/alert", low(&admin)), &body.to_string()).expect(400);
        assert!(wrong[field].is_array(), "{body}: {wrong}");
    }
    assert_eq!(rob.post_json("/api/v1/events/12345/alert", "{}").status, 404);
    assert_eq!(rob.post_json("/api/v1/events/x/alert", "{}").status, 404);
}

fn two_who_raise_the_same_alert_get_one(server: &Server) {
    let admin = server.admin();
    let (rob, eve) = (server.user("rob", "RESPONDER"), server.user("eve", "RESPONDER"));
    for round in 0..8 {
        let path = format!("/api/v1/events/{}/alert", low(&admin));
        let ready = std::sync::Barrier::new(2);
        let raise = |client: &Client<'_>| {
            ready.wait();
            let answer = client.post_json(&path, "{}");
            (answer.status, answer.json()["id"].clone())
        };
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| raise(&rob));
            let other = scope.spawn(|| raise(&eve));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_eq!(one.1, other.1, "both have the same alert");
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "and one of them raised it");
        assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], round + 1);
    }
    assert_eq!(admin.get("/api/v1/audit?action=alert.raise").expect(200)["count"], 8);
    let overview = admin.get("/api/v1/stats/overview").expect(200);
    assert_eq!(overview["alerts"]["OPEN"]["LOW"], 8);
}

fn whoever_may_not_is_told_so(server: &Server) {
    let admin = server.admin();
    let event = low(&admin);
    let (ann, sensor) = (server.user("ann", "ANALYST"), server.sensor());
    for path in ["histogram", "facets", "export", "export?format=csv"] {
        let path = format!("/api/v1/events/{path}");
        assert_eq!(ann.get(&path).status, 403, "{path}");
        assert_eq!(sensor.get(&path).status, 403, "{path}");
        assert_eq!(server.anonymous().get(&path).status, 401, "{path}");
    }
    let path = format!("/api/v1/events/{event}/alert");
    assert_eq!(ann.post_json(&path, "{}").status, 403);
    assert_eq!(sensor.post_json(&path, "{}").status, 403);
    assert_eq!(server.anonymous().post_json(&path, "{}").status, 401);
    assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], 0);
}
