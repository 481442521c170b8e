//! The API corner: a token, a test event, an Analyst, and what is there to paste.

use crate::browser::Browser;
use crate::console::{form_token, sign_in};
use crate::on_both_engines;
use crate::security::bearer;
use crate::server::{ADMIN, Answer, Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

on_both_engines!(a_token_is_made, a_test_event_raises_an_alert, an_analyst_is_made, what_is_pasted_works);

fn post(client: &Client<'_>, path: &str, rest: &str) -> Answer {
    let token = form_token(&client.get("/developer/"));
    client.post_form(path, &format!("form_token={token}&{rest}"))
}

/// The page that a form leads to, which says once what was done.
#[track_caller]
fn after(server: &Server, client: &Client<'_>, done: Answer) -> Answer {
    assert_eq!((done.status, done.header("location")), (303, "/developer/"), "{}", done.text);
    let said = done.header("set-cookie").split(';').next().unwrap();
    let page = server.anonymous().with("cookie", &format!("{}; {said}", client.headers[0].1));
    page.get("/developer/")
}

/// The text of an element, as a browser would copy it.
#[track_caller]
fn text_of(page: &Answer, mark: &str) -> String {
    let (_, rest) = page.text.split_once(mark).unwrap_or_else(|| panic!("no {mark}: {}", page.text));
    let (_, rest) = rest.split_once('>').unwrap();
    let text = rest.split_once('<').unwrap().0;
    [("&#x2f;", "/"), ("&quot;", "\""), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (written, sign)| text.replace(written, sign))
}

fn a_token_is_made(server: &Server) {
    server.user("ana", "ANALYST");
    for (name, status) in [("ana", 403), (ADMIN, 200)] {
        let console = sign_in(server, name);
        let page = post(&console, "/developer/token", "");
        let token = text_of(&page, "id=\"new-token\"");
        let client = bearer(server, &token);
        assert_eq!(client.get("/api/v1/auth/me").expect(200)["username"], name);
        assert_eq!(client.get("/api/v1/users").status, status, "it may do what its user may");
        assert!(!console.get("/developer/").text.contains(&token), "shown once");
        let swapped = json!({"refresh": token}).to_string();
        assert_eq!(server.anonymous().post_json("/api/v1/auth/refresh", &swapped).status, 401);
        let sessions = client.get("/api/v1/auth/sessions").expect(200);
        let own = sessions.as_array().unwrap().iter().find(|session| session["current"] == true).unwrap();
        let at = |field: &str| {
            let text = own[field].as_str().unwrap().to_owned();
            watchpost_model::Timestamp::parse(&text).unwrap().seconds()
        };
        assert_eq!(at("expires_at") - at("created_at"), 15 * 60, "its session ends with it");
        let account = console.get("/account/");
        let end = format!("form_token={}", form_token(&account));
        assert_eq!(console.post_form("/account/sessions/end-others", &end).status, 303);
        assert_eq!(client.get("/api/v1/auth/me").status, 401, "it ends where all others end");
    }
    assert_eq!(server.anonymous().post_form("/developer/token", "").status, 303, "to sign in");
    let console = sign_in(server, ADMIN);
    assert_eq!(console.post_form("/developer/token", "").status, 403, "only from our own page");
}

fn a_test_event_raises_an_alert(server: &Server) {
    let admin = sign_in(server, ADMIN);
    let event = "severity=HIGH&source_name=lab&event_type=drill&description=Just+<b>+a+test";
    let sent = after(server, &admin, post(&admin, "/developer/event", event));
    let answer: Value = serde_json::from_str(&text_of(&sent, "id=\"answer\"")).unwrap();
    assert_eq!((&answer["source_name"], &answer["alert"]), (&"lab".into(), &1.into()));
    assert!(sent.text.contains("href=\"/alerts/1\""));
    let stored = server.admin().get(&format!("/api/v1/events/{}", answer["id"])).expect(200);
    assert_eq!((&stored["description"], &stored["created_by"]), (&"Just <b> a test".into(), &1.into()));
    assert_eq!(admin.get("/alerts/1").status, 200);
    let low = after(server, &admin, post(&admin, "/developer/event", &event.replace("HIGH", "LOW")));
    assert!(low.text.contains("id=\"answer\""));
    assert!(!low.text.contains("href=\"/alerts/2\""));
    let wrong =
        post(&admin, "/developer/event", "severity=NOPE&source_name=lab&event_type=+&description=kept");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("id=\"event-severity\" aria-invalid=\"true\""));
    assert!(wrong.text.contains("id=\"wrong-event-event_type\"") && wrong.text.contains("value=\"kept\""));
    for (name, role) in [("ana", "ANALYST"), ("rob", "RESPONDER")] {
        server.user(name, role);
        let other = sign_in(server, name);
        let page = other.get("/developer/");
        assert_eq!(page.status, 200);
        for action in ["/developer/event", "/developer/analyst"] {
            assert!(!page.text.contains(action), "{role} sees no button that would be refused");
            assert_eq!(post(&other, action, event).status, 403);
        }
        // Whoever makes up what was done reads no event by it.
        let cookie = format!("{}; watchpost-said=test-{}-1", other.headers[0].1, answer["id"]);
        let page = server.anonymous().with("cookie", &cookie).get("/developer/");
        assert!(!page.text.contains("a test"), "{role}");
    }
    assert_eq!(server.admin().get("/api/v1/events").expect(200)["count"], 2);
}

fn an_analyst_is_made(server: &Server) {
    let admin = sign_in(server, ADMIN);
    let made = post(&admin, "/developer/analyst", "username=&password=");
    let password = text_of(&made, "id=\"analyst-password\"");
    let users = server.admin().get("/api/v1/users?role=ANALYST").expect(200);
    let name = users["results"][0]["username"].as_str().unwrap().to_owned();
    assert!(name.starts_with("analyst_") && made.text.contains(&name));
    assert_eq!(server.log_in(&name, &password).get("/api/v1/alerts").status, 200);
    let named = post(&admin, "/developer/analyst", &format!("username=dash&password={PASSWORD}"));
    assert_eq!(named.status, 200);
    server.log_in("dash", PASSWORD);
    let taken = post(&admin, "/developer/analyst", "username=DASH&password=");
    assert!(taken.status == 400 && taken.text.contains("id=\"analyst-username\" aria-invalid=\"true\""));
    assert!(taken.text.contains("value=\"DASH\""));
}

/// What a program is told, by its name.
fn snippets(page: &Answer) -> BTreeMap<String, String> {
    let names = page.text.split("data-snippet=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    names.map(|name| (name.to_owned(), text_of(page, &format!("data-snippet=\"{name}\"")))).collect()
}

/// What stands in quotes behind a text, each time.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The names of the fields that a program sends, as its configuration says.
fn fields(name: &str, snippet: &str) -> Vec<String> {
    let names: Vec<&str> = match name {
        "rsyslog" => {
            snippet.split("\\\"").filter(|part| !part.is_empty() && part.chars().all(is_name)).collect()
        }
        "syslog-ng" => {
            let body = snippet.split("format-json").nth(1).unwrap().split(")')").next().unwrap();
            body.split("=\"")
                .filter_map(|part| part.split_whitespace().last())
                .filter(|n| n.chars().all(is_name))
                .collect()
        }
        "fluent-bit" => {
            let table = snippet.split("return 2, timestamp, {").nth(1).unwrap().split('}').next().unwrap();
            let mut all: Vec<&str> =
                table.lines().filter_map(|line| Some(line.split_once(" = ")?.0.trim())).collect();
            all.push(snippet.split("json_date_key: ").nth(1).unwrap().lines().next().unwrap());
            all
        }
        _ => {
            let table = snippet.split(". = {").nth(1).unwrap().split('}').next().unwrap();
            quoted(table, "\n        \"")
        }
    };
    names.into_iter().map(str::to_owned).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// An event with these fields, as a program would fill them.
fn event(fields: &[String], severity: &str) -> Value {
    let value = |field: &str| match field {
        "severity" => severity,
        "occurred_at" => "2026-11-20T22:05:45.123456+01:00",
        "source_name" | "host" => "edge-1",
        "event_type" => "sshd",
        "description" => "Failed password for root from 203.0.113.7 \"\\ é",
        other => panic!("{other} is no field of events"),
    };
    fields.iter().map(|field| (field.clone(), json!(value(field)))).collect()
}

fn what_is_pasted_works(server: &Server) {
    let admin = sign_in(server, ADMIN);
    let token = form_token(&admin.get("/admin/keys"));
    let made = admin.post_form("/admin/keys", &format!("form_token={token}&name=edge"));
    let secret = text_of(&made, "tabindex=\"0\" data-copy");
    let told = snippets(&made);
    assert_eq!(
        told.keys().collect::<Vec<_>>(),
        ["curl", "fluent-bit", "python", "rsyslog", "syslog-ng", "vector"]
    );
    // Two of them run as they are.
    for (program, arguments) in [("sh", ["-c", &told["curl"]]), ("python3", ["-c", &told["python"]])] {
        let output = Command::new(program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("edge-firewall-1"), "{program}: {output:?}");
    }
    let api = server.admin();
    assert_eq!(api.get("/api/v1/alerts").expect(200)["count"], 2);
    // The others send batches of events with the fields that their configurations name.
    let place = server.address.trim_start_matches("http://");
    let (host, port) = place.split_once(':').unwrap();
    for (name, kind, address, shows) in [
        ("rsyslog", "application/json; charset=utf-8", [host, port], format!("X-Api-Key: {secret}")),
        ("syslog-ng", "application/x-ndjson", [place, "/api/v1/events"], format!("X-Api-Key: {secret}")),
        ("fluent-bit", "application/x-ndjson", [host, port], format!("X-Api-Key {secret}")),
        ("vector", "application/x-ndjson", [place, "/api/v1/events"], format!("token: \"{secret}\"")),
    ] {
        let snippet = &told[name];
        assert!(
            snippet.contains(&shows) && address.iter().all(|part| snippet.contains(part)),
            "{name}: {snippet}"
        );
        let named = fields(name, snippet);
        for needed in ["source_name", "event_type", "severity", "description", "host", "occurred_at"] {
            assert!(named.iter().any(|field| field == needed), "{name} sends no {needed}: {named:?}");
        }
        let events = ["MEDIUM", "HIGH", "CRITICAL"].map(|severity| {
            assert!(snippet.contains(&format!("\"{severity}\"")), "{name}: {severity}");
            event(&named, severity)
        });
        let body = match kind {
            "application/x-ndjson" => events.map(|event| format!("{event}\n")).concat(),
            _ => json!(events).to_string(),
        };
        let sensor = match name {
            "vector" => bearer(server, &secret),
            _ => server.anonymous().with("x-api-key", &secret),
        };
        let answer = sensor.send("POST", "/api/v1/events", kind, body.as_bytes());
        assert_eq!((answer.status, answer.text.lines().count()), (201, 3), "{name}: {}", answer.text);
    }
    let newest = &api.get("/api/v1/events?page_size=1").expect(200)["results"][0];
    assert_eq!((&newest["host"], &newest["event_type"]), (&"edge-1".into(), &"sshd".into()));
    assert_eq!(newest["occurred_at"], "2026-11-20T21:05:45.123456Z");
    // A key that is held to something is told nothing that it would be refused for.
    let held = "name=cam&source_name=cam-3&max_severity=MEDIUM";
    let made = admin.post_form("/admin/keys", &format!("form_token={token}&{held}"));
    let secret = text_of(&made, "tabindex=\"0\" data-copy");
    for (name, snippet) in snippets(&made) {
        assert!(!snippet.contains("source_name") && !snippet.contains("HIGH"), "{name}: {snippet}");
        assert!(snippet.contains("MEDIUM") && !snippet.contains("CRITICAL"), "{name}: {snippet}");
    }
    let told = snippets(&made);
    let output = Command::new("sh").args(["-c", &told["curl"]]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"source_name\":\"cam-3\""), "{output:?}");
    let named = fields("syslog-ng", &told["syslog-ng"]);
    let line = event(&named, "MEDIUM").to_string();
    let sensor = server.anonymous().with("x-api-key", &secret);
    assert_eq!(sensor.send("POST", "/api/v1/events", "application/x-ndjson", line.as_bytes()).status, 201);
}

fn in_a_browser(scripts: bool) {
    let server = Server::start(Engine::Sqlite);
    let browser = Browser::start(scripts);
    browser.log_in(&server);
    browser.click(".top nav a[href*=developer]");
    browser.click("form[action='/developer/token'] button");
    let token = browser.text("#new-token");
    bearer(&server, &token).get("/api/v1/alerts").expect(200);
    browser.click("form[action='/developer/event'] button");
    assert!(browser.text(".said").contains("has raised an alert"));
    browser.click(".said a[href='/alerts/1']");
    assert!(browser.text("h1").contains("test_event"));
    browser.back();
    browser.click("form[action='/developer/analyst'] button");
    assert_eq!(browser.text("#analyst-password").len(), 22);
    browser.go(&format!("{}/account/", server.address));
    browser.click("select[name=theme] option[value=dark]");
    browser.click("select[name=time_zone] option[value=UTC]");
    browser.click("form[action='/account/preferences'] button");
    browser.reads(".said", "This is how pages look for you from now on.");
    browser.find("html[data-theme=dark][data-zone=UTC]");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "no error, nothing blocked");
}

#[test]
fn the_corner_with_scripts() {
    in_a_browser(true);
}

#[test]
fn the_corner_without_scripts() {
    in_a_browser(false);
}
