//! The pages of the explorer, as a browser without JavaScript gets them.

use super::{all, event, filled, low};
use crate::console::{HOSTILE, form_token, sign_in};
use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Client, Server};
use serde_json::{Value, json};

on_both_engines!(
    the_address_is_the_list,
    what_fits_nothing_leads_to_what_is_wider,
    an_event_has_a_page_of_its_own,
    an_alert_is_raised_by_form,
    the_export_is_that_of_the_api,
    hostile_events_stay_texts,
    an_analyst_is_told_so,
);

#[track_caller]
fn page(client: &Client<'_>, path: &str) -> Answer {
    let answer = client.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

/// What stands in the attribute of an element, as the browser reads it.
fn unescaped(text: &str) -> String {
    [("&amp;", "&"), ("&#x2f;", "/"), ("&quot;", "\""), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// The address behind a link that is called so for those who can't see it.
#[track_caller]
fn link(page: &Answer, label: &str) -> String {
    let (before, _) = page
        .text
        .split_once(&format!("aria-label=\"{label}\""))
        .unwrap_or_else(|| panic!("no {label}: {}", page.text));
    let (_, address) = before.rsplit_once("href=\"").expect("a link");
    unescaped(address.split('"').next().unwrap())
}

fn rows(page: &Answer) -> usize {
    page.text.matches("class=\"event-row ").count()
}

fn the_address_is_the_list(server: &Server) {
    filled(server, 120);
    let admin = sign_in(server, ADMIN);
    let first = page(&admin, "/events");
    assert_eq!(rows(&first), 50);
    assert!(first.text.contains("120 events") && first.text.contains("class=\"chart\""));
    let older = first.text.split("rel=\"next\" href=\"").nth(1).expect("there are more");
    let older = unescaped(older.split('"').next().unwrap());
    assert!(page(&admin, &older).text.contains("← Newer"));

    let only = link(&first, "Only Source cam 1");
    assert_eq!(only, "/events?source_name=cam%201");
    let cams = page(&admin, &only);
    assert_eq!(rows(&cams), 40);
    assert!(cams.text.contains("Source: cam 1") && cams.text.contains("40 events"));
    let but = link(&cams, "Without Host host-1");
    assert_eq!(but, "/events?source_name=cam%201&not_host=host-1");
    let few = page(&admin, &but);
    assert_eq!(rows(&few), 32);
    assert!(few.text.contains("<li class=\"chip out\">Not host: host-1"));
    assert_eq!(link(&few, "Without Not host: host-1"), "/events?source_name=cam%201", "a chip goes alone");
    assert_eq!(link(&few, "Without Severity Low"), format!("{but}&not_severity=LOW"));
    assert!(few.text.contains("name=\"not_host\" value=\"host-1\""), "a search keeps the filters");

    // The chart leads into the time of a bar; presets keep what is asked for.
    assert!(first.text.contains("data-pick=\"&#x2f;events?since=SINCE&amp;until=UNTIL\""), "{}", first.text);
    let day = page(&admin, "/events?source_name=fw&since=-24h");
    assert!(day.text.contains("aria-current=\"true\">Day<"));
    assert!(unescaped(&day.text).contains("href=\"/events?source_name=fw&since=-1h\">Hour<"));
    assert!(unescaped(&day.text).contains("href=\"/events?source_name=fw\">All<"));
    assert!(day.text.contains("40 events"));
    let wrong = admin.with("accept", "text/html").get("/events?since=soon&colour=red");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("colour") && wrong.text.contains("since"));
}

fn what_fits_nothing_leads_to_what_is_wider(server: &Server) {
    let admin = sign_in(server, ADMIN);
    let empty = page(&admin, "/events");
    assert!(empty.text.contains("Three steps to the first event"));
    assert!(!empty.text.contains("/events/export"));
    filled(server, 6);
    let none = page(&admin, "/events?since=-1h&host=nothing");
    assert!(none.text.contains("Nothing fits") && none.text.contains("Look at the last week"));
    assert!(unescaped(&none.text).contains("href=\"/events?host=nothing\">Look at any time"));
    let never = page(&admin, "/events?host=nothing");
    assert!(never.text.contains("Show all events") && !never.text.contains("Look at any time"));
    let all = page(&admin, "/events?not_host=host-0&not_host=host-1");
    assert_eq!(rows(&all), 3);
}

fn an_event_has_a_page_of_its_own(server: &Server) {
    let api = filled(server, 40);
    let mut full = event(4);
    full["attributes"] = json!({"file": {"sha256": "abc=123"}});
    full["severity"] = json!("CRITICAL");
    full["occurred_at"] = json!("2026-11-20T22:05:45Z");
    let stored = api.post_json("/api/v1/events/", &full.to_string()).expect(201);
    let admin = sign_in(server, ADMIN);
    let id = stored["id"].as_i64().unwrap();
    let seen = page(&admin, &format!("/events/{id}?list=%2Fevents%3Fnot_user%3Deve"));
    for says in
        ["number 4, door", "host-4", "10.0.0.4", "bob", "file.sha256", "abc=123", "2026-11-20 22:05:45"]
    {
        assert!(seen.text.contains(says), "{says}");
    }
    assert!(seen.text.contains(&format!("href=\"/alerts/{}\"", stored["alert"])), "the alert it raised");
    assert!(!seen.text.contains("Raise an alert"), "there is one");
    assert_eq!(link(&seen, "Filter by Host host-4"), "/events?not_user=eve&host=host-4");
    assert_eq!(link(&seen, "Filter out From address 10.0.0.4"), "/events?not_user=eve&not_src_ip=10.0.0.4");
    assert_eq!(link(&seen, "Filter by file.sha256 abc=123"), "/events?not_user=eve&search=%22abc%3D123%22");
    assert_eq!(link(&seen, "Alerts with Host host-4"), "/alerts?host=host-4");
    assert!(unescaped(&seen.text).contains("href=\"/events?not_user=eve\">← Back to the events"));
    // What happened to the same host around that time, without the event itself.
    let around = seen.text.split_once("Around that time").expect("neighbours").1;
    assert!(around.contains("Host host-4") && around.contains("User bob"));
    assert!(!around.contains(&format!("href=\"/events/{id}\"")));
    let evil = page(&admin, &format!("/events/{id}?list=%2F%2Fevil.example%2F"));
    assert!(!evil.text.contains("evil.example"));
    assert_eq!(admin.get("/events/12345").status, 404);
    assert_eq!(admin.get("/events/x").status, 404);
    assert_eq!(server.anonymous().get("/events/1").header("location"), "/login?next=%2Fevents%2F1");
}

fn an_alert_is_raised_by_form(server: &Server) {
    let id = low(&server.admin());
    let admin = sign_in(server, ADMIN);
    let seen = page(&admin, &format!("/events/{id}"));
    assert!(seen.text.contains("Raise an alert"));
    let path = format!("/events/{id}/alert");
    assert_eq!(admin.post_form(&path, "severity=HIGH").status, 403, "no page of ours sent it");
    let token = form_token(&seen);
    let body = format!("form_token={token}&severity=HIGH&title=Slow+scan&why=as+before");
    let raised = admin.post_form(&path, &body);
    assert_eq!(raised.status, 303);
    let cookie = raised.header("set-cookie").split(';').next().unwrap().to_owned();
    let at = raised.header("location");
    assert!(at.starts_with("/alerts/"), "{at}");
    let alert = page(&admin, at);
    assert!(alert.text.contains("Slow scan") && alert.text.contains("Raised by admin"));
    assert!(alert.text.contains("as before"));
    assert!(cookie.contains("raised"), "{cookie}");
    let again = admin.post_form(&path, &format!("form_token={token}"));
    assert_eq!((again.status, again.header("location")), (303, at), "the same one");
    assert!(again.header("set-cookie").contains("raised-before"));
    assert_eq!(server.admin().get("/api/v1/alerts").expect(200)["count"], 1);
    let seen = page(&admin, &format!("/events/{id}"));
    assert!(seen.text.contains("#1 Slow scan") && !seen.text.contains("Raise an alert"));
}

fn the_export_is_that_of_the_api(server: &Server) {
    let api = filled(server, 60);
    let admin = sign_in(server, ADMIN);
    let list = page(&admin, "/events?host=host-1&not_user=bob");
    for (format, kind) in [("csv", "text/csv; charset=utf-8"), ("ndjson", "application/x-ndjson")] {
        let query = format!("host=host-1&not_user=bob&format={format}");
        assert!(unescaped(&list.text).contains(&format!("href=\"/events/export?{query}\" download")));
        let file = page(&admin, &format!("/events/export?{query}"));
        assert_eq!(file.header("content-type"), kind);
        assert!(file.header("content-disposition").starts_with("attachment"));
        assert_eq!(file.text, api.get(&format!("/api/v1/events/export?{query}")).text);
    }
    let file = page(&admin, "/events/export?host=host-1&not_user=bob");
    assert_eq!(file.text.lines().count(), all(&api, "host=host-1&not_user=bob").len());
    assert_eq!(server.anonymous().get("/events/export").status, 303);
}

fn hostile_events_stay_texts(server: &Server) {
    let body = json!({
        "source_name": HOSTILE, "event_type": HOSTILE, "severity": "LOW", "description": HOSTILE, "host": HOSTILE,
        "user": HOSTILE, "attributes": {HOSTILE: [HOSTILE]}
    });
    let stored: Value = server.admin().post_json("/api/v1/events/", &body.to_string()).expect(201);
    let admin = sign_in(server, ADMIN);
    let list = page(&admin, "/events");
    let seen = page(&admin, &format!("/events/{}", stored["id"]));
    let found = page(
        &admin,
        &link(
            &list,
            "Only Host &lt;script&gt;alert(1)&lt;&#x2f;script&gt;&lt;img src=x onerror=alert(2)&gt;&quot;&#x27;&gt;&lt;&#x2f;td&gt;{{7*7}}\u{fffd}",
        ),
    );
    assert_eq!(rows(&found), 1, "the link finds it");
    for page in [&list, &seen, &found] {
        assert!(!page.text.contains("<script>alert") && !page.text.contains("<img src=x"));
        assert!(page.text.contains("&lt;script&gt;alert(1)"));
        assert!(page.text.contains("{{7*7}}"), "nothing of it is a template");
        assert!(!page.text.contains('\u{202e}'), "nothing turns the reading direction");
    }
}

fn an_analyst_is_told_so(server: &Server) {
    let id = low(&server.admin());
    server.user("ann", "ANALYST");
    let ann = sign_in(server, "ann");
    for path in ["/events", "/events/export?format=csv", &format!("/events/{id}"), "/events?host=x"] {
        let refused = ann.get(path);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text.contains("Not for your role") && refused.text.contains("ann (Analyst)"));
        assert!(!refused.text.contains("something odd"));
    }
    assert_eq!(ann.post_form(&format!("/events/{id}/alert"), "severity=HIGH").status, 403);
    assert!(!page(&ann, "/").text.contains("href=\"/events"));
}
