//! The explorer on a million events, in a browser: what the page says is what the API counts.

use crate::browser::Browser;
use crate::server::{Client, Engine, Server};

const PASSWORD: &str = "watchpost-demo";

/// A number as pages write it.
fn grouped(n: i64) -> String {
    let digits = n.to_string();
    let places = digits.chars().enumerate();
    places.fold(String::new(), |mut text, (place, digit)| {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

/// The list that the page shows has as many events as the API says.
#[track_caller]
fn agrees(browser: &Browser, server: &Server, ana: &Client<'_>) -> i64 {
    let path = browser.path(server);
    let list = ana.get(&format!("/api/v1{path}")).expect(200);
    let count = list["count"].as_i64().unwrap();
    let least = if list["count_is_minimum"] == true { "At least " } else { "" };
    let many = if count == 1 { "" } else { "s" };
    browser.reads("main nav.pages .hint", &format!("{least}{} event{many}", grouped(count)));
    browser.counts(".event-row", count.min(50) as usize);
    count
}

#[test]
fn a_million_events_are_explored() {
    let server = Server::running(Engine::Sqlite, &[], &["demo", "--no-live", "--events", "1000000"]);
    let ana = server.log_in("ana", PASSWORD);
    // Each of these waits for a while by itself.
    while ana.get("/api/v1/events?search=scan").expect(200)["search_is_behind"] == true {}
    let browser = Browser::start(true);
    browser.go(&format!("{}/events", server.address));
    browser.fill("input[name=username]", "ana");
    browser.fill("input[name=password]", PASSWORD);
    browser.click("main form button");
    browser.find(".event-row");
    assert_eq!(agrees(&browser, &server, &ana), 1_000_000);
    browser.click("[data-facet=source_name] a[aria-label='Only Source vpn-gw']");
    browser.counts(".chip", 1);
    let of_source = agrees(&browser, &server, &ana);
    browser.click("[data-facet=event_type] a[aria-label^='Without Type']");
    browser.counts(".chip", 2);
    assert!(agrees(&browser, &server, &ana) < of_source);
    // Two days of the week, drawn over its bars.
    browser.find("figure.chart.picking");
    browser.draw_over("figure.chart svg", 0.3, 0.6);
    browser.counts(".chip", 4);
    assert!(agrees(&browser, &server, &ana) > 50);
    browser.click("a[rel=next]");
    browser.find("a[rel=prev]");
    browser.counts(".event-row", 50);
    browser.click(".event-row:first-child .open");
    assert!(browser.text(".event-row:first-child .detail").contains("vpn-gw"));
    // A rare word among all of them.
    browser.go(&format!("{}/events?search=mining", server.address));
    agrees(&browser, &server, &ana);
    assert_eq!(browser.complaints(), Vec::<String>::new(), "no error, nothing blocked");
}
