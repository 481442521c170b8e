//! The queue, the overview and an alert's page as people use them, in a real browser.

use crate::browser::Browser;
use crate::server::{Engine, Server};
use serde_json::{Value, json};

pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";

pub(crate) fn alerts(server: &Server, n: usize) {
    for n in 1..=n {
        server.admin().event(if n % 2 == 0 { "CRITICAL" } else { "HIGH" }, &format!("number {n}"));
    }
}

/// The statuses of all alerts, oldest first.
pub(crate) fn statuses(server: &Server) -> String {
    let list = server.admin().get("/api/v1/alerts?ordering=created_at&page_size=100").expect(200);
    let of = |alert: &Value| alert["status"].as_str().unwrap()[..1].to_owned();
    list["results"].as_array().unwrap().iter().map(of).collect()
}

/// A browser with somebody in it, on a page.
pub(crate) fn browser(server: &Server, scripts: bool, name: &str, page: &str) -> Browser {
    let browser = Browser::start(scripts);
    browser.log_in_as(server, name);
    browser.go(&format!("{}{page}", server.address));
    browser
}

#[test]
fn what_others_send_appears_by_itself() {
    let server = Server::start(Engine::Sqlite);
    let browser = browser(&server, true, "admin", "/alerts?status=OPEN");
    browser.reads("[data-live-state]", "Live");
    alerts(&server, 1);
    browser.counts(".alert-row", 1);
    browser.reads(".tabs a:first-child b", "1");
    // What is being read stays where it is; what is new is announced.
    browser.press(&["j"]);
    browser.find(".alert-row.at[data-id='1']");
    alerts(&server, 2);
    browser.reads("[data-news-text]", "2 new alerts");
    assert_eq!(browser.count(".alert-row"), 1);
    assert_eq!(browser.get("title"), "(2) Alerts · Watchpost");
    browser.press(&["n"]);
    browser.counts(".alert-row", 3);
    assert_eq!(browser.count("[data-news]:not([hidden])"), 0);
    // What somebody else does shows on the row.
    server.admin().post_json("/api/v1/alerts/3/assign", r#"{"assignee": "admin"}"#).expect(200);
    browser.reads(".alert-row[data-id='3'] .tag", "@admin");
    server.admin().post_json("/api/v1/alerts/2/resolve", "{}").expect(200);
    browser.find(".alert-row.gone[data-id='2']");

    browser.go(&format!("{}/", server.address));
    browser.reads("[data-live-state]", "Live");
    browser.reads(".tile.high b", "1");
    alerts(&server, 1);
    browser.reads(".tile.high b", "2");
    browser.go(&format!("{}/alerts/1", server.address));
    browser.reads("[data-live-state]", "Live");
    server.admin().post_json("/api/v1/alerts/1/notes", r#"{"text": "I am on it."}"#).expect(200);
    browser.reads(".history .note .why", "I am on it.");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn triage_by_keyboard_alone() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 6);
    let browser = browser(&server, true, "admin", "/alerts?status=OPEN&snoozed=false");
    browser.find("[data-keys]:not([hidden])");
    browser.press(&["?"]);
    browser.find("dialog#keys[open]");
    browser.press(&[ESCAPE]);
    browser.counts("dialog#keys[open]", 0);
    // The newest is on top: 6, 5, 4, ...
    browser.press(&["j", "j"]);
    browser.find(".alert-row.at[data-id='5']");
    browser.press(&["a"]);
    browser.reads(".said:not([hidden])", "1 alert acknowledged.\nUndo");
    assert_eq!(statuses(&server), "OOOOAO");
    // The next one takes its place, and the pace goes on.
    browser.find(".alert-row.at[data-id='4']");
    browser.press(&["r"]);
    browser.find(".alert-row.at[data-id='3']");
    assert_eq!(statuses(&server), "OOORAO");
    browser.press(&["u"]);
    browser.find(".alert-row[data-id='4']");
    assert_eq!(statuses(&server), "OOOOAO");
    // Two at once, put off by the menu.
    browser.press(&["k", "k", "k", "x", "j", "x"]);
    browser.reads("[data-chosen]", "2 selected");
    browser.press(&["s"]);
    browser.find("details[data-menu=snooze][open]");
    browser.press(&[ENTER]);
    browser.counts(".alert-row", 3);
    assert_eq!(server.admin().get("/api/v1/alerts?snoozed=true").expect(200)["count"], 2);
    browser.press(&["X"]);
    browser.reads("[data-chosen]", "3 selected");
    browser.press(&[ESCAPE]);
    browser.reads("[data-chosen]", "");
    browser.press(&["/"]);
    browser.press(&["2", ENTER]);
    browser.counts(".alert-row", 1);
    browser.press(&["j", "o"]);
    browser.reads("h1", "intrusion #2");
    browser.find("[data-with-script]:not([hidden])");
    browser.press(&["n"]);
    browser.press(&["a", " ", "n", "o", "t", "e", ESCAPE]);
    browser.press(&["a"]);
    browser.reads(".badge.acknowledged", "Acknowledged");
    browser.press(&["u"]);
    browser.counts(".alert-row", 0);
    assert!(browser.path(&server).contains("search=2"), "back to the list it came from");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn many_at_once(scripts: bool) {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 5);
    let browser = browser(&server, scripts, "admin", "/alerts?status=OPEN");
    for id in [1, 3] {
        browser.click(&format!("input[name=ids][value='{id}']"));
    }
    browser.click(".bulk > button[value=resolve]");
    browser.counts(".alert-row", 3);
    assert!(browser.text(".said").starts_with("2 alerts resolved."));
    assert_eq!(statuses(&server), "ROROO");
    browser.click("form.undo button");
    browser.counts(".alert-row", 5);
    assert!(browser.text(".said").starts_with("Undone for 2 alerts."));
    assert_eq!(statuses(&server), "OOOOO");
    // Folded, a button is for all that is open of the group.
    browser.go(&format!("{}/alerts?fold=group&status=OPEN", server.address));
    browser.counts(".alert-row.group", 2);
    browser.click(".alert-row.group.critical details[data-menu=ack] summary");
    browser.reads(".alert-row.group.critical button[value=ack]", "Acknowledge 2 alerts");
    browser.click(".alert-row.group.critical button[value=ack]");
    browser.counts(".alert-row.group", 1);
    assert_eq!(statuses(&server), "OAOAO");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn many_at_once_and_back_with_scripts() {
    many_at_once(true);
}

#[test]
fn many_at_once_and_back_without_scripts() {
    many_at_once(false);
}

#[test]
fn whoever_is_too_late_sees_what_the_other_did() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 1);
    for name in ["ana", "rob"] {
        server.user(name, "RESPONDER");
    }
    // Without scripts the page doesn't learn of the other's change.
    let ana = browser(&server, true, "ana", "/alerts/1");
    let rob = browser(&server, false, "rob", "/alerts/1");
    ana.click("form:has(input[value=ack]) button");
    ana.reads(".badge.acknowledged", "Acknowledged");
    rob.click("form:has(input[value=resolve]) button");
    let said = rob.text(".problem");
    assert!(said.contains("Somebody else was quicker: Open → Acknowledged by ana."), "{said}");
    assert_eq!(rob.text(".badge.acknowledged"), "Acknowledged");
    assert!(rob.text(".subject").contains("taken on by ana"));
    assert_eq!(statuses(&server), "A");
    // Having seen it, rob goes on; ana sees that without doing anything.
    rob.click("form:has(input[value=resolve]) button");
    rob.reads(".badge.resolved", "Resolved");
    ana.reads(".badge.resolved", "Resolved");
    assert!(ana.text(".history li:first-child").contains("Acknowledged → Resolved by rob"));
}

#[test]
fn filters_live_in_the_address() {
    let server = Server::start(Engine::Sqlite);
    for (source, severity) in [("fw", "HIGH"), ("cam & door", "CRITICAL"), ("cam & door", "HIGH")] {
        let event =
            json!({"source_name": source, "event_type": "test", "severity": severity, "description": "x"});
        server.admin().post_json("/api/v1/events", &event.to_string()).expect(201);
    }
    let browser = browser(&server, true, "admin", "/alerts");
    browser.counts(".alert-row", 3);
    browser.click(".narrowing summary");
    browser.fill(".narrowing input[name=source_name]", "cam & door");
    browser.click(".narrowing .wide button");
    browser.counts(".alert-row", 2);
    browser.click(".narrowing summary");
    browser.click(".narrowing select[name=severity] option[value=CRITICAL]");
    browser.click(".narrowing .wide button");
    browser.counts(".alert-row", 1);
    let filtered = browser.path(&server);
    assert!(filtered.contains("source_name=cam") && filtered.contains("severity=CRITICAL"), "{filtered}");
    assert!(!filtered.contains("host="), "what is empty isn't in the address: {filtered}");
    browser.reload();
    browser.counts(".alert-row", 1);
    browser.click(".alert-row .what a");
    browser.find(".subject");
    browser.back();
    browser.counts(".alert-row", 1);
    assert_eq!(browser.path(&server), filtered);
    browser.click(".alert-row .what a");
    browser.click("main > p a");
    browser.counts(".alert-row", 1);
    assert_eq!(browser.path(&server), filtered, "the way back from an alert keeps the list");
    // Chips take filters away, one by one.
    browser.click(".chip a[aria-label='Without Severity: Critical']");
    browser.counts(".alert-row", 2);
    browser.back();
    browser.counts(".alert-row", 1);
    browser.click(".chips li:last-child a");
    browser.counts(".alert-row", 3);
}

#[test]
fn a_list_is_kept_under_a_name_for_oneself_or_for_all() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 3);
    server.user("lea", "ANALYST");
    let admin = browser(&server, false, "admin", "/alerts?severity=CRITICAL&page_size=10");
    admin.click(".views summary");
    admin.fill(".views input[name=name]", "The <b>worst</b>");
    admin.click(".views input[name=shared]");
    admin.click(".views form[action='/alerts/views'] button");
    admin.reads(".said", "The list is kept as a view.");
    assert_eq!(admin.path(&server), "/alerts?severity=CRITICAL");
    assert_eq!(admin.text(".views summary"), "The <b>worst</b>");
    let lea = browser(&server, false, "lea", "/alerts");
    lea.click(".views summary");
    assert!(lea.text(".views li").contains("by admin"));
    assert_eq!(lea.count(".views li form, .views input[name=shared]"), 0, "she neither deletes nor shares");
    lea.click(".views li a");
    lea.counts(".alert-row", 1);
    lea.click(".views summary");
    lea.fill(".views input[name=name]", "mine");
    lea.click(".views form[action='/alerts/views'] button");
    lea.reads(".said", "The list is kept as a view.");
    admin.go(&format!("{}/alerts", server.address));
    admin.click(".views summary");
    assert_eq!(admin.count(".views li"), 1, "what is hers is not seen");
    admin.click(".views li form button");
    admin.reads(".said", "The view was deleted.");
    assert_eq!(admin.count(".views li"), 0);
}

#[test]
fn an_analyst_is_offered_nothing_that_would_be_refused() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 2);
    server.user("lea", "ANALYST");
    let browser = browser(&server, true, "lea", "/");
    for page in ["/", "/alerts", "/alerts?fold=group", "/alerts/1"] {
        browser.go(&format!("{}{page}", server.address));
        browser.find("main h1");
        let forms =
            browser.count("main form[method=post]:not([action='/alerts/views'], [action='/handover'])");
        assert_eq!((forms, browser.count("main input[type=checkbox]")), (0, 0), "{page}");
        assert_eq!(browser.count("a[href^='/admin'], a[href^='/events']"), 0, "{page}");
    }
    browser.go(&format!("{}/admin/", server.address));
    assert!(browser.text("main").contains("Not for your role"));
}
