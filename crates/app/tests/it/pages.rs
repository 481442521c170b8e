//! Pages that say no, and pages that never have to: what is there to press answers.

use crate::console::{form_token, sign_in};
use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Client, Engine, Server};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

on_both_engines!(nothing_that_is_shown_is_refused, pages_that_say_no_lead_on);

/// Pages that are looked at for each role, at most.
const PAGES: usize = 250;

fn unescaped(text: &str) -> String {
    [("&#x2f;", "/"), ("&quot;", "\""), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (written, sign)| text.replace(written, sign))
}

/// A value as forms send it.
fn sent(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// An attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescaped(rest.split_once('"')?.0))
}

/// The tags of a page with this name, each up to its end.
fn tags<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let opened = format!("<{name} ");
    page.match_indices(&opened).map(|(at, _)| page[at..].split_once('>').unwrap().0).collect()
}

/// What pages of one kind have in common: numbers and values differ.
fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let part = |part: &str| match !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()) {
        true => "1".to_owned(),
        // Ids of sessions and jobs.
        false if part.len() == 16 && !part.contains(['-', '.']) => "id".to_owned(),
        false => part.to_owned(),
    };
    let path: Vec<String> = path.split('/').map(part).collect();
    let names: BTreeSet<&str> = query.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
    format!("{}?{}", path.join("/"), names.into_iter().collect::<Vec<_>>().join("&"))
}

/// The forms of a page that change something: where each goes, with what it sends as it stands.
fn forms(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in page.match_indices("<form ") {
        let form = page[at..].split_once("</form>").unwrap().0;
        let tag = form.split_once('>').unwrap().0;
        if attribute(tag, "method").as_deref() != Some("post") {
            continue;
        }
        let mut body = Vec::new();
        for input in tags(form, "input").into_iter().chain(tags(form, "button")) {
            if let (Some(name), false) = (attribute(input, "name"), input.contains("checkbox")) {
                body.push(format!("{name}={}", sent(&attribute(input, "value").unwrap_or_default())));
            }
        }
        let body = body.join("&");
        let actions = tags(form, "button").into_iter().filter_map(|button| attribute(button, "formaction"));
        let actions: Vec<String> = attribute(tag, "action").into_iter().chain(actions).collect();
        found.extend(actions.into_iter().map(|action| (action, body.clone())));
    }
    found
}

/// Looks at every page there is to get to, and at every form on it.
fn walk(client: &Client<'_>, role: &str) -> BTreeMap<String, (String, String)> {
    let (mut waiting, mut seen, mut found) =
        (VecDeque::from(["/".to_owned()]), BTreeSet::new(), BTreeMap::new());
    while let Some(path) = waiting.pop_front() {
        if !seen.insert(kind(&path)) || seen.len() > PAGES {
            continue;
        }
        let page = client.get(&path);
        assert!(
            !matches!(page.status, 303 | 401 | 403 | 404 | 405 | 500..),
            "{role}: {path}: {}",
            page.status
        );
        if !page.header("content-type").starts_with("text/html") {
            continue;
        }
        let links = tags(&page.text, "a").into_iter().filter_map(|tag| attribute(tag, "href"));
        let links = links.filter(|link| link.starts_with('/'));
        waiting.extend(links.map(|link| link.split('#').next().unwrap().to_owned()));
        let asking = tags(&page.text, "form")
            .into_iter()
            .filter(|tag| attribute(tag, "method").as_deref() == Some("get"));
        waiting.extend(asking.filter_map(|tag| attribute(tag, "action")));
        for (action, body) in forms(&page.text) {
            found.entry(kind(&action)).or_insert((action, body));
        }
    }
    assert!(seen.len() > 12, "{role}: only {} pages: the walk is broken", seen.len());
    found
}

fn nothing_that_is_shown_is_refused(server: &Server) {
    let admin = server.admin();
    for n in 0..30 {
        admin.event(if n % 2 == 0 { "HIGH" } else { "CRITICAL" }, &format!("number {n}"));
    }
    admin.post_json("/api/v1/alerts/1/ack", "{}").expect(200);
    for (name, role) in [("ana", "ANALYST"), ("rob", "RESPONDER")] {
        server.user(name, role);
        let client = sign_in(server, name);
        let found = walk(&client, role);
        assert!(found.contains_key("/logout?") && found.contains_key("/account/password?"), "{found:?}");
        assert_eq!(found.contains_key("/alerts/1/act?"), role == "RESPONDER");
        for (action, body) in found.into_values() {
            // A session of its own for each: some of them end it.
            let client = sign_in(server, name);
            let token = form_token(&client.get("/account/"));
            let rest = body.split('&').filter(|pair| !pair.starts_with("form_token="));
            let rest: Vec<&str> = rest.collect();
            let answer = client.post_form(&action, &format!("form_token={token}&{}", rest.join("&")));
            assert!(
                !matches!(answer.status, 401 | 403 | 404 | 405 | 415 | 500..),
                "{role}: {action}: {} {}",
                answer.status,
                answer.text
            );
        }
    }
    walk(&sign_in(server, ADMIN), "ADMIN");
}

/// A page as a browser asks for it that was on another one.
fn came_from(server: &Server, client: &Client<'_>, path: &str, before: &str) -> Answer {
    let cookie = &client.headers[0].1;
    let asked = server.anonymous().with("cookie", cookie).with("accept", "text/html");
    asked.with("referer", &format!("{}{before}", server.address)).get(path)
}

fn pages_that_say_no_lead_on(server: &Server) {
    server.user("ana", "ANALYST");
    server.user("second", "ADMIN");
    let analyst = sign_in(server, "ana");
    let refused = came_from(server, &analyst, "/admin/keys", "/alerts?status=OPEN");
    assert_eq!(refused.status, 403);
    for said in [
        "needs the role Admin",
        "<b>admin</b>, <b>second</b>",
        "aria-label=\"Main\"",
        "Back to where you were",
    ] {
        assert!(refused.text.contains(said), "{said}: {}", refused.text);
    }
    assert!(unescaped(&refused.text).contains("href=\"/alerts?status=OPEN\""));
    for (path, status, said) in [
        ("/nothing", 404, "Nothing here"),
        ("/alerts/99", 404, "There is no such thing"),
        ("/account/password", 405, "This address is for forms only."),
    ] {
        let page = came_from(server, &analyst, path, "/account/");
        assert_eq!(page.status, status, "{path}");
        assert!(
            page.text.contains(said) && page.text.contains("aria-label=\"Main\""),
            "{path}: {}",
            page.text
        );
        assert!(unescaped(&page.text).contains("href=\"/account/\">Back"), "{path}");
        assert!(!page.text.contains("Try again"), "{path}: waiting doesn't help");
    }
    // Strangers are told no names, and other sites are no way back.
    let stranger = server.anonymous().with("accept", "text/html").with("referer", "https://evil.example/");
    let page = stranger.get("/nothing").text;
    assert!(!page.contains("aria-label=\"Main\"") && !page.contains("evil") && page.contains("To Watchpost"));
    assert!(server.anonymous().get("/nothing").text.starts_with('{'), "programs are told in JSON");
}

#[test]
fn a_page_without_a_database_offers_to_try_again() {
    let server = Server::start(Engine::Postgres);
    let admin = sign_in(&server, ADMIN);
    let url = server.database().url();
    let (_, name) = url.rsplit_once('/').unwrap();
    server.database().administer(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    server.database().administer(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    ));
    let asked = server.anonymous().with("cookie", &admin.headers[0].1).with("accept", "text/html");
    let page = asked.get("/alerts?status=OPEN");
    assert_eq!(page.status, 503, "{}", page.text);
    assert!(page.text.contains("Not right now") && !page.header("retry-after").is_empty());
    assert!(unescaped(&page.text).contains("href=\"/alerts?status=OPEN\">Try again"));
}

#[test]
fn whoever_is_too_fast_is_told_when_to_try_again() {
    let server =
        Server::with(Engine::Sqlite, &[("WATCHPOST_THROTTLE", "on"), ("WATCHPOST_RATE_USER", "3/h")]);
    let admin = sign_in(&server, ADMIN);
    let page = loop {
        let page =
            server.anonymous().with("cookie", &admin.headers[0].1).with("accept", "text/html").get("/alerts");
        if page.status != 200 {
            break page;
        }
    };
    assert_eq!(page.status, 429);
    let wait: u64 = page.header("retry-after").parse().unwrap();
    assert!(
        wait > 60 && page.text.contains(&format!("Try again in {} minutes.", wait.div_ceil(60))),
        "{wait}"
    );
    assert!(unescaped(&page.text).contains("href=\"/alerts\">Try again"));
}
