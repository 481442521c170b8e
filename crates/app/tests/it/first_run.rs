//! The first run: the overview leads to the first event, and notices it.

use crate::browser::Browser;
use crate::console::sign_in;
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, Server};

on_both_engines!(steps_are_recognised);

/// How far the steps are.
fn steps(client: &Client<'_>) -> [&'static str; 3] {
    let page = client.get("/").text;
    ["first-key", "first-event", "first-alert"].map(|step| {
        let (_, rest) =
            page.split_once(&format!("data-live=\"{step}\">")).unwrap_or_else(|| panic!("{page}"));
        match rest.split_once("</h3>").unwrap().0 {
            mark if mark.contains(">Done<") => "done",
            mark if mark.contains(">Now<") => "now",
            _ => "later",
        }
    })
}

fn steps_are_recognised(server: &Server) {
    let admin = sign_in(server, ADMIN);
    assert_eq!(steps(&admin), ["now", "later", "later"]);
    let sensor = server.sensor();
    assert_eq!(steps(&admin), ["done", "now", "later"]);
    sensor.event("LOW", "nothing to worry about");
    assert_eq!(steps(&admin), ["done", "done", "now"]);
    assert!(admin.get("/").text.contains("It raised no alert"));
    sensor.event("HIGH", "look at me");
    assert_eq!(steps(&admin), ["done", "done", "done"]);
    let page = admin.get("/").text;
    assert!(page.contains("href=\"/alerts/1\"") && page.contains("edge-fw</a>"));
    // Who may read no events is told that one came, and nothing about it.
    server.user("ana", "ANALYST");
    let analyst = sign_in(server, "ana");
    assert_eq!(steps(&analyst), ["done", "done", "done"]);
    let page = analyst.get("/").text;
    assert!(!page.contains("href=\"/events/") && !page.contains("/admin/") && !page.contains("#test-event"));
}

#[test]
fn the_page_goes_on_by_itself_when_the_first_event_arrives() {
    let server = Server::start(Engine::Sqlite);
    let sensor = server.sensor();
    let browser = Browser::start(true);
    browser.log_in(&server);
    browser.reads("#first-run", "Three steps to the first event");
    browser.reads("[data-live-state]", "Live");
    // Copying the command leaves its button in focus, which must not hold anything up.
    browser.find(".steps pre + button");
    browser.click(".steps pre + button");
    sensor.event("CRITICAL", "the first one");
    browser.find("[data-live=first-seen] a[href='/alerts/1']");
    browser.counts(".mark.done", 3);
    assert_eq!(browser.count("noscript"), 0, "nothing is left to do by hand");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
