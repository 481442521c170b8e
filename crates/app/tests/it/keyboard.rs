//! What the queue's keys and menus do is what they say, with what they show: nothing else is changed, and what was
//! filled in is never lost.

use crate::queue::{ENTER, ESCAPE, alerts, browser, statuses};
use crate::server::{Engine, Server};
use serde_json::{Value, json};

/// The last change of an alert.
fn last_change(server: &Server, alert: i64) -> Value {
    let history = server.admin().get(&format!("/api/v1/alerts/{alert}/history")).expect(200);
    history["results"].as_array().unwrap().last().unwrap().clone()
}

#[test]
fn enter_in_a_menu_does_what_the_menu_says() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 3);
    let browser = browser(&server, true, "admin", "/alerts?status=OPEN");
    browser.find("[data-keys]:not([hidden])");
    // With a verdict and a reason, from the reason's field.
    browser.press(&["j"]);
    browser.click("input[name=ids][value='3']");
    browser.click(".bulk details:has(select[name=verdict]) summary");
    browser.click(".bulk select[name=verdict] option[value=BENIGN]");
    browser.fill(".bulk details:has(select[name=verdict]) input[name=why]", "a scan of ours");
    browser.press(&[ENTER]);
    browser.reads(".said:not([hidden])", "1 alert resolved.\nUndo");
    assert_eq!(statuses(&server), "OOR");
    let change = last_change(&server, 3);
    assert_eq!((&change["verdict"], &change["why"]), (&json!("BENIGN"), &json!("a scan of ours")));
    // Tags, and whose it is.
    browser.find(".alert-row.at[data-id='2']");
    browser.press(&["t"]);
    browser.find("details[data-menu=tags][open]");
    browser.press(&["v", "p", "n", ENTER]);
    browser.reads(".said:not([hidden])", "1 alert tagged.\nUndo");
    browser.find(".alert-row.at[data-id='2']");
    browser.press(&["g"]);
    browser.find("details[data-menu=assign][open]");
    browser.press(&[ENTER]);
    browser.reads(".alert-row[data-id='2'] .marks .tag", "@admin");
    let two = server.admin().get("/api/v1/alerts/2").expect(200);
    assert_eq!(
        (&two["status"], &two["tags"], &two["assignee"]),
        (&json!("OPEN"), &json!(["vpn"]), &json!("admin"))
    );
    assert_eq!(statuses(&server), "OOR");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn enter_in_a_menu_loses_nothing_without_scripts() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 2);
    let browser = browser(&server, false, "admin", "/alerts?status=OPEN");
    let menu = ".bulk details:has(select[name=verdict])";
    browser.click("input[name=ids][value='1']");
    browser.click(&format!("{menu} summary"));
    browser.click(&format!("{menu} option[value=DUPLICATE]"));
    browser.fill(&format!("{menu} input[name=why]"), "as number 2");
    browser.press(&[ENTER]);
    // Had it sent anything, the page would be another, with empty fields.
    browser.click(&format!("{menu} button"));
    browser.counts(".alert-row", 1);
    assert_eq!(statuses(&server), "RO");
    let change = last_change(&server, 1);
    assert_eq!((&change["verdict"], &change["why"]), (&json!("DUPLICATE"), &json!("as number 2")));
}

#[test]
fn a_key_acts_on_the_row_that_is_highlighted() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 4);
    let browser = browser(&server, true, "admin", "/alerts?status=OPEN");
    browser.find("[data-keys]:not([hidden])");
    // A menu that was opened and closed again leaves nothing chosen.
    browser.press(&["j", "g", ESCAPE, "j"]);
    browser.find(".alert-row.at[data-id='3']");
    browser.press(&["a"]);
    browser.reads(".said:not([hidden])", "1 alert acknowledged.\nUndo");
    assert_eq!(statuses(&server), "OOAO");
    // Nor does one that was left open.
    browser.press(&["k"]);
    browser.find(".alert-row.at[data-id='4']");
    browser.press(&["s", "j"]);
    browser.find(".alert-row.at[data-id='2']");
    browser.counts("details[data-menu=snooze][open]", 0);
    browser.press(&["a"]);
    browser.counts(".alert-row", 2);
    assert_eq!(statuses(&server), "OAAO");
    // What was chosen on purpose stays chosen, wherever one goes.
    browser.find(".alert-row.at[data-id='1']");
    browser.press(&["x", "k"]);
    browser.find(".alert-row.at[data-id='4']");
    browser.press(&["t", ESCAPE]);
    browser.reads("[data-chosen]", "1 selected");
    browser.press(&["a"]);
    browser.counts(".alert-row", 1);
    assert_eq!(statuses(&server), "AAAO");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn group_is_asked_about(required: bool) {
    let server =
        Server::with(Engine::Sqlite, if required { &[("WATCHPOST_VERDICT", "required")] } else { &[] });
    alerts(&server, 5);
    let browser = browser(&server, true, "admin", "/alerts?fold=group&status=OPEN");
    browser.find("[data-keys]:not([hidden])");
    browser.counts(".alert-row.group", 2);
    // Three of severity High, the last seen: on top.
    browser.press(&["j", "r"]);
    let menu = ".alert-row.group.high details[data-menu=resolve]";
    browser.find(&format!("{menu}[open]"));
    browser.reads(&format!("{menu} button"), "Resolve 3 alerts");
    browser.press(&[ESCAPE]);
    browser.counts("details.menu[open]", 0);
    browser.press(&["a"]);
    browser.reads(".alert-row.group.high details[data-menu=ack] button", "Acknowledge 3 alerts");
    browser.press(&[ESCAPE, "r"]);
    browser.find(&format!("{menu}[open]"));
    if required {
        // Without a verdict it doesn't leave the page.
        browser.press(&[ENTER]);
        browser.find(&format!("{menu}[open] select:invalid"));
    }
    assert_eq!(statuses(&server), "OOOOO", "nothing is done before it is asked");
    browser.click(&format!("{menu} option[value=FALSE_POSITIVE]"));
    browser.fill(&format!("{menu} input[name=why]"), "a test of ours");
    browser.press(&[ENTER]);
    browser.reads(".said:not([hidden])", "3 alerts resolved.\nUndo");
    assert_eq!(statuses(&server), "RORORO"[..5].to_owned());
    let change = last_change(&server, 5);
    assert_eq!((&change["verdict"], &change["why"]), (&json!("FALSE_POSITIVE"), &json!("a test of ours")));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_group_is_asked_about_before_it_is_changed() {
    group_is_asked_about(false);
}

#[test]
fn a_group_takes_a_verdict_where_one_is_required() {
    group_is_asked_about(true);
}

#[test]
fn the_page_stays_live_and_says_what_was_refused() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 3);
    let browser = browser(&server, true, "admin", "/alerts?status=OPEN");
    browser.reads("[data-live-state].on", "Live");
    browser.press(&["j", "r"]);
    browser.reads(".said:not([hidden])", "1 alert resolved.\nUndo");
    browser.reads("[data-live-state].on", "Live");
    // It goes on hearing of others, and what it announces is the newest.
    alerts(&server, 1);
    browser.reads("[data-news-text]", "One new alert");
    browser.press(&["a"]);
    browser.reads(".said:not([hidden])", "1 alert acknowledged.\nUndo");
    browser.reads("[data-live-state].on", "Live");
    // Nothing is chosen: that is said, and nothing else on the page changes.
    browser.press(&[ESCAPE]);
    browser.click(".bulk > button[value=ack]");
    browser.reads(".problem[data-refused] b", "ids");
    assert!(browser.text(".problem[data-refused]").contains("Choose at least one alert."));
    // An alert that was resolved by mistake isn't anybody's deed.
    browser.press(&["u"]);
    browser.reads(".said:not([hidden])", "Undone for 1 alert.");
    browser.go(&format!("{}/alerts?status=OPEN&ordering=created_at", server.address));
    browser.find("[data-keys]:not([hidden])");
    browser.press(&["j", "r"]);
    browser.reads(".said:not([hidden])", "1 alert resolved.\nUndo");
    browser.press(&["u"]);
    browser.reads(".said:not([hidden])", "Undone for 1 alert.");
    browser.go(&format!("{}/alerts/1", server.address));
    browser.reads(".badge.open", "Open");
    assert!(!browser.text(".subject").contains("by admin"), "{}", browser.text(".subject"));
    assert_eq!(browser.text(".history li:nth-child(2) s"), "Open → Resolved by admin");
}

#[test]
fn a_typing_mistake_in_a_filter_is_said_beside_it() {
    let server = Server::start(Engine::Sqlite);
    alerts(&server, 3);
    let browser = browser(&server, true, "admin", "/alerts?severity=HIGH");
    for (page, menu) in
        [("/alerts?severity=HIGH", ".narrowing details"), ("/events?severity=HIGH", ".narrowing details")]
    {
        browser.go(&format!("{}{page}", server.address));
        browser.click(&format!("{menu} summary"));
        browser.fill(&format!("{menu} input[name=since]"), "-24x");
        browser.press(&[ENTER]);
        browser.find(&format!("{menu}[open] input[name=since][aria-invalid=true]:focus"));
        browser.reads("h1", if page.starts_with("/alerts") { "Alerts" } else { "Events" });
        assert!(browser.text("#wrong-filter-since").starts_with("A time such as"));
        assert!(browser.path(&server).contains("severity=HIGH"), "the other filters stay");
        browser.fill(&format!("{menu} input[name=since]"), "-24h");
        browser.press(&[ENTER]);
        browser.counts(".alert-row, .event-row", 2);
    }
    // Whatever is wrong, the page is there, with what was typed.
    let admin = crate::console::sign_in(&server, "admin");
    for (address, field, typed) in [
        ("/alerts?since=yesterday", "since", "yesterday"),
        ("/alerts?since=2026-13-45&fold=group", "since", "2026-13-45"),
        ("/alerts?severity=HIHG&status=OPEN", "severity", "HIHG"),
        ("/alerts?status=OPN", "status", "OPN"),
        ("/alerts?assignee=nobody-of-that-name", "assignee", "nobody-of-that-name"),
        ("/alerts?ordering=age", "ordering", "age"),
        ("/alerts?tag=a%20b", "tag", "a b"),
        ("/alerts?page_size=many", "page_size", "many"),
        ("/alerts?id=seven", "id", "seven"),
        ("/alerts?snoozed=perhaps", "snoozed", "perhaps"),
        ("/alerts?colour=red", "colour", "red"),
        ("/events?until=then", "until", "then"),
        ("/events?severity=HIHG", "severity", "HIHG"),
        ("/events?id=seven", "id", "seven"),
        ("/events?src_ip=%00", "src_ip", ""),
        ("/handover?since=monday", "since", "monday"),
        ("/admin/users?role=BOSS", "role", ""),
        ("/admin/audit?since=monday", "since", "monday"),
    ] {
        let page = admin.get(address);
        assert_eq!(page.status, 400, "{address}");
        assert!(!page.text.contains("That can't be read"), "{address}: an error page");
        assert!(
            page.text.contains("<form class=\"") && page.text.contains(typed),
            "{address}: {}",
            page.text
        );
        let said = page.text.contains(&format!("wrong-filter-{field}"))
            || page.text.contains(&format!("<b>{field}</b>"));
        assert!(said, "{address}: {}", page.text);
    }
}
