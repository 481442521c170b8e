//! The explorer in a real browser.

use super::{event, filled, low};
use crate::browser::Browser;
use crate::server::{Engine, Server};
use serde_json::json;

const ESCAPE: &str = "\u{e00c}";

fn browser(server: &Server, scripts: bool, page: &str) -> Browser {
    let browser = Browser::start(scripts);
    browser.log_in(server);
    browser.go(&format!("{}{page}", server.address));
    browser
}

fn narrowing(scripts: bool) {
    let server = Server::start(Engine::Sqlite);
    filled(&server, 60);
    let browser = browser(&server, scripts, "/events");
    browser.counts(".event-row", 50);
    browser.click("[data-facet=source_name] a[aria-label='Only Source fw']");
    browser.counts(".event-row", 20);
    browser.click("[data-facet=host] a[aria-label='Without Host host-1']");
    browser.counts(".event-row", 16);
    assert_eq!(browser.path(&server), "/events?source_name=fw&not_host=host-1");
    browser.reload();
    browser.counts(".event-row", 16);
    browser.counts(".chip", 2);
    browser.back();
    browser.counts(".event-row", 20);
    // From an event: on its own page, or where it opened.
    browser.click(".event-row:first-child .open");
    let way = |label: &str| format!("a[aria-label='{label}']");
    let shown = if scripts { ".event-row .detail" } else { "main [data-detail]" };
    browser.find(shown);
    browser.click(&format!("{shown} {}", way("Filter by Type login")));
    browser.counts(".event-row", 10);
    assert_eq!(browser.path(&server), "/events?source_name=fw&event_type=login");
    browser.click(".event-row:first-child .open");
    browser.click(&format!("{shown} {}", way("Filter out Host host-2")));
    browser.counts(".event-row", 8);
    browser.click(".chip a[aria-label='Without Source: fw']");
    browser.counts(".event-row", 24);
    // Words and times from the form, beside what is asked for already.
    browser.fill("#search", "port");
    browser.click(".search button");
    browser.counts(".event-row", 8);
    browser.click("nav.tabs a:nth-child(2)");
    browser.find("nav.tabs a:nth-child(2)[aria-current]");
    browser.counts(".event-row", 8);
    browser.click(".menu summary");
    browser.fill(".menu input[name=until]", "2020-01-01");
    browser.click(".menu button");
    browser.reads(".card.empty h2", "Nothing fits");
    browser.click(".ways-out a:last-child");
    browser.counts(".event-row", 50);
    assert_eq!(browser.path(&server), "/events");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "no error, nothing blocked");
}

#[test]
fn lists_are_narrowed_with_scripts() {
    narrowing(true);
}

#[test]
fn lists_are_narrowed_without_scripts() {
    narrowing(false);
}

#[test]
fn an_event_opens_in_its_list_and_raises_an_alert() {
    let server = Server::start(Engine::Sqlite);
    let hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let mut one = event(0);
    (one["description"], one["host"]) = (json!(hostile), json!(hostile));
    server.admin().post_json("/api/v1/events/", &one.to_string()).expect(201);
    low(&server.admin());
    let browser = browser(&server, true, "/events");
    browser.counts(".event-row", 2);
    browser.press(&["j", "j"]);
    browser.press(&["\u{e007}"]);
    assert!(browser.text(".event-row:nth-child(2) .detail").contains(hostile), "shown as text");
    assert_eq!(browser.get("title"), "Events · Watchpost", "nothing of it ran");
    assert_eq!(browser.path(&server), "/events", "the list stays");
    browser.find(".event-row:nth-child(2) .detail button[data-copy-text]:not([hidden])");
    browser.press(&[ESCAPE]);
    browser.counts(".event-row .detail", 0);
    browser.click(".event-row:first-child .open");
    browser.click(".event-row:first-child .raise summary");
    browser.fill(".event-row:first-child input[name=title]", "Slow scan");
    browser.click(".event-row:first-child .raise form button");
    browser.reads(".said", "The alert was raised.");
    assert!(browser.text("h1").contains("Slow scan"));
    assert_eq!(browser.complaints(), Vec::<String>::new(), "no error, nothing blocked");
}

#[test]
fn a_time_is_picked_in_the_chart_and_what_comes_in_is_announced() {
    let server = Server::start(Engine::Sqlite);
    filled(&server, 10);
    let browser = browser(&server, true, "/events?since=-1h&severity=LOW,HIGH");
    browser.counts(".event-row", 6);
    browser.find("figure.chart.picking");
    browser.draw_over("figure.chart svg", 0.1, 0.4);
    browser.reads(".card.empty h2", "Nothing fits");
    let path = browser.path(&server);
    assert!(path.starts_with("/events?severity=LOW,HIGH&since=2") && path.contains("&until=2"), "{path}");
    browser.counts(".chip", 3);
    browser.back();
    browser.draw_over("figure.chart svg", 0.5, 0.999);
    browser.counts(".event-row", 6);
    assert!(browser.path(&server).contains("&until=2"));

    browser.go(&format!("{}/events?severity=LOW", server.address));
    browser.counts(".event-row", 4);
    // The stream tells of what comes after it has begun.
    while browser.count("[data-news]:not([hidden])") == 0 {
        low(&server.admin());
    }
    server.admin().event("CRITICAL", "not in this list");
    assert_eq!(browser.count(".event-row"), 4, "nothing moves by itself");
    browser.click("[data-show-new]");
    browser.find(".event-row:nth-child(5)");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "no error, nothing blocked");
}

#[test]
fn an_export_is_downloaded() {
    let server = Server::start(Engine::Sqlite);
    filled(&server, 30);
    let folder = tempfile::TempDir::new().unwrap();
    let browser = browser(&server, true, "/events?host=host-1");
    let to = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.command("Page.setDownloadBehavior", &to);
    browser.click("a[download][href*='format=csv']");
    let file = loop {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        if let Some(file) = files.into_iter().find(|file| file.extension().is_some_and(|end| end == "csv")) {
            break file;
        }
        assert_eq!(browser.path(&server), "/events?host=host-1", "the page stays");
    };
    let named = file.file_name().unwrap().to_str().unwrap();
    assert!(named.starts_with("watchpost-events-"), "{named}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("\r\n").count(), 7, "{text}");
}
