//! The live stream: whoever reads it gets everything once, wherever they are cut, and nobody gets what they may not.

mod once;

use crate::browser::Browser;
use crate::listener::{Listener, Message};
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, PASSWORD, Server};
use once::{one_goes_on_in_the_middle_of_a_transaction, readers_that_are_cut_get_everything_once};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

on_both_engines!(
    what_happens_is_told,
    readers_that_are_cut_get_everything_once,
    one_goes_on_in_the_middle_of_a_transaction,
    ids_that_cannot_be_gone_on_from_are_said_to_be_so,
    streams_are_for_those_who_may,
    whoever_loses_their_rights_is_ended,
);

const LINES: &str = "application/x-ndjson";

fn listen(server: &Server, client: &Client<'_>, query: &str, last: &str) -> Listener {
    Listener::open(&server.address, &format!("/api/v1/stream?{query}"), &client.headers, last)
}

fn sign_in(server: &Server, username: &str) -> Vec<(String, String)> {
    let answer = server.anonymous().post_form("/login", &format!("username={username}&password={PASSWORD}"));
    assert_eq!(answer.status, 303, "{}", answer.text);
    vec![("cookie".into(), answer.header("set-cookie").split(';').next().unwrap().into())]
}

fn event(source: &str, severity: &str, description: &str) -> Value {
    json!({"source_name": source, "event_type": "scan", "severity": severity, "description": description, "host": "h1"})
}

/// Stores many events in one transaction.
fn store(client: &Client<'_>, events: &[Value]) {
    let body = events.iter().map(|event| format!("{event}\n")).collect::<String>();
    let sent = client.send("POST", "/api/v1/events?atomic=true", LINES, body.as_bytes());
    assert_eq!(sent.status, 201, "{}", sent.text);
}

fn what_happens_is_told(server: &Server) {
    let admin = server.admin();
    let mut all = listen(server, &admin, "topics=alerts,events", "");
    let mut counted = listen(server, &admin, "topics=counts", "");
    let mut page = Listener::open(&server.address, "/stream?topics=events", &sign_in(server, ADMIN), "");
    for stream in [&mut all, &mut page] {
        let head = stream.head.to_lowercase();
        for header in
            ["200 ok", "content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"]
        {
            assert!(head.contains(header), "{header} is missing: {head}");
        }
        assert_eq!(stream.block().unwrap()[0], "retry: 1000");
        assert!(!stream.last.is_empty(), "who is cut before anything happens has where to go on from, too");
    }
    let first = counted.next().unwrap().data;
    assert_eq!((&first["alerts"]["OPEN"]["CRITICAL"], &first["raised"]), (&json!(0), &json!(0)));
    let raised = admin.event("CRITICAL", "one\r\ntwo\u{2028}three: \u{1b}[31m");
    let alert = all.expect("alert");
    assert_eq!(alert.data, admin.get(&format!("/api/v1/alerts/{}", raised["alert"])).expect(200));
    let event = all.expect("event");
    let shown = admin.get(&format!("/api/v1/events/{}", raised["id"])).expect(200);
    assert_eq!((&event.data, &page.expect("event").data), (&shown, &shown));
    let path = format!("/api/v1/alerts/{}", raised["alert"]);
    let body = json!({"verdict": "BENIGN", "why": "a test"}).to_string();
    let resolved = admin.post_json(&format!("{path}/resolve"), &body).expect(200);
    let change = all.expect("change");
    assert_eq!(change.data["alert"], resolved);
    let history = admin.get(&format!("{path}/history")).expect(200);
    assert_eq!(change.data["change"], history["results"][1]);
    // Counts come once a second at most, and tell of everything in between.
    let (mut raised, mut changed) = (0, BTreeSet::new());
    while raised == 0 || changed.is_empty() {
        let counts = counted.next().unwrap().data;
        raised += counts["raised"].as_i64().unwrap();
        changed.extend(counts["changed"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()));
        let standing = &counts["alerts"];
        let total = standing["OPEN"]["CRITICAL"].as_i64().unwrap()
            + standing["RESOLVED"]["CRITICAL"].as_i64().unwrap();
        assert_eq!(total, 1, "{counts}");
    }
    assert_eq!((raised, changed.len()), (1, 1));
    let metrics = admin.get("/metrics").text;
    assert!(metrics.contains("watchpost_streams 3"), "{metrics}");
}

fn ids_that_cannot_be_gone_on_from_are_said_to_be_so(server: &Server) {
    let admin = server.admin();
    let mut stream = listen(server, &admin, "topics=events", "");
    stream.block().unwrap();
    let now: i64 = stream.last.split('.').next().unwrap().parse().unwrap();
    let elsewhere = if server.engine() == Engine::Sqlite { 700 } else { 0 };
    for (last, reason) in [
        ("1.0.1".to_owned(), "forgotten"),
        (format!("{}.0.0", now - 3_700), "forgotten"),
        (format!("{now}.{elsewhere}.3"), "forgotten"),
        (format!("{now}.999999999.1"), "forgotten"),
        ("x".into(), "unreadable"),
        (format!("{now}.1"), "unreadable"),
        (format!("{now}.0.1.0"), "unreadable"),
    ] {
        let mut stream = listen(server, &admin, "topics=events", &last);
        let reset = stream.next().unwrap();
        assert_eq!((reset.name.as_str(), &reset.data), ("reset", &json!({ "reason": reason })), "{last}");
        admin.event("LOW", &last);
        assert_eq!(stream.next().unwrap().data["description"], last, "it goes on from now");
    }
    // What was forgotten while somebody was away, which only the database knows.
    let mut stream = listen(server, &admin, "topics=events", "");
    stream.block().unwrap();
    admin.event("LOW", "missed");
    admin.event("LOW", "kept");
    let second = (stream.next().unwrap(), stream.next().unwrap()).1;
    forget_all_but_one(server);
    let mut late = listen(server, &admin, "topics=events", &stream.last);
    let mut too_late = listen(server, &admin, "topics=events", &format!("{now}.{}", first_place(server)));
    admin.event("LOW", "now");
    assert_eq!(late.next().unwrap().data["description"], "now");
    assert_eq!(
        (second.data["description"].as_str(), too_late.next().unwrap().name.as_str()),
        (Some("kept"), "reset")
    );
}

/// Makes the feed look as if all but its last entry had been forgotten for their age.
fn forget_all_but_one(server: &Server) {
    let script = "DELETE FROM feed WHERE seq < (SELECT MAX(seq) FROM feed);
         INSERT INTO upkeep (name, n) VALUES ('feed.forgotten', 1) ON CONFLICT DO NOTHING";
    execute(server, script);
}

/// A place of the feed that comes before everything in it.
fn first_place(server: &Server) -> &'static str {
    match server.engine() {
        Engine::Sqlite => "0.1",
        Engine::Postgres => "3.1",
    }
}

/// Changes the database past the server.
fn execute(server: &Server, script: &str) {
    match server.engine() {
        Engine::Postgres => server.database().run(script),
        Engine::Sqlite => {
            let path = server.folder.path().join("watchpost-data/watchpost.db");
            let database = rusqlite::Connection::open(path).unwrap();
            database.busy_timeout(Duration::from_secs(5)).unwrap();
            database.execute_batch(script).unwrap();
        }
    }
}

fn streams_are_for_those_who_may(server: &Server) {
    let (ann, rob) = (server.user("ann", "ANALYST"), server.user("rob", "RESPONDER"));
    let ask = |client: &Client<'_>, query: &str| listen(server, client, query, "").status();
    let events = "topics=alerts,events";
    assert_eq!([ask(&ann, ""), ask(&rob, events), ask(&server.admin(), events)], [200, 200, 200]);
    assert_eq!([ask(&ann, events), ask(&server.sensor(), ""), ask(&server.anonymous(), "")], [403, 403, 401]);
    let refused = ann.get("/api/v1/stream?topics=events").expect(403);
    assert_eq!(refused["code"], "permission_denied");
    assert!(refused["detail"].as_str().unwrap().contains("Responder"), "{refused}");
    let audited = server.admin().get("/api/v1/audit?action=refused").expect(200);
    assert_eq!(audited["results"][0]["object"], "GET /api/v1/stream");
    let page = |cookie: &[(String, String)], query: &str| {
        Listener::open(&server.address, &format!("/stream?{query}"), cookie, "")
    };
    let cookie = sign_in(server, "ann");
    assert_eq!((page(&cookie, "").status(), page(&cookie, events).status()), (200, 403));
    assert!(page(&ann.headers, "").head.to_lowercase().contains("location: /login"), "no token opens a page");
    let mut foreign = cookie.clone();
    foreign.push(("sec-fetch-site".into(), "same-site".into()));
    assert_eq!(page(&foreign, "").status(), 403, "another site's page");
    let cookie_at_the_api = Listener::open(&server.address, "/api/v1/stream", &cookie, "");
    assert_eq!(cookie_at_the_api.status(), 401);

    let wrong =
        ann.get("/api/v1/stream?topics=alerts,none&severity=x&status=OPEN&since=-1h&host=%00").expect(400);
    assert_eq!(
        wrong.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["host", "severity", "since", "status", "topics"]
    );
    assert!(wrong["topics"][0].as_str().unwrap().contains("alerts, events, counts"), "{wrong}");
    assert_eq!(page(&cookie, "topics=x").status(), 400);
}

/// How long a reader who lost their rights may go on: looked at every five seconds, on a busy machine.
const ENDED_WITHIN: Duration = Duration::from_secs(12);

fn whoever_loses_their_rights_is_ended(server: &Server) {
    let admin = server.admin();
    let user = |name: &str| {
        let client = server.user(name, "RESPONDER");
        let id = client.get("/api/v1/auth/me").expect(200)["id"].clone();
        (client, format!("/api/v1/users/{id}"))
    };
    let page = |name: &str, topics: &str| {
        let query = format!("/stream?topics={topics}");
        Listener::open(&server.address, &query, &sign_in(server, name), "")
    };
    let ((demoted, demoted_path), (gone, gone_path), (left, _), (idle, idle_path)) =
        (user("demoted"), user("gone"), user("left"), user("idle"));
    let mut ended = vec![
        ("demoted", listen(server, &demoted, "topics=events", "")),
        ("demoted in the console", page("demoted", "events,alerts")),
        ("deactivated", listen(server, &gone, "", "")),
        ("deactivated in the console", page("gone", "alerts")),
        ("logged out", listen(server, &left, "topics=counts", "")),
        ("idle", page("idle", "alerts")),
    ];
    let mut stay = vec![
        ("demoted, but may", listen(server, &demoted, "topics=alerts", "")),
        ("demoted in the console, but may", page("demoted", "alerts")),
        ("not idle", listen(server, &idle, "topics=alerts", "")),
        ("another", listen(server, &admin, "topics=alerts", "")),
    ];
    for (who, stream) in ended.iter_mut().chain(&mut stay) {
        assert_eq!(stream.status(), 200, "{who}");
        stream.block().unwrap();
    }
    let started = Instant::now();
    let id = idle_path.rsplit('/').next().unwrap();
    execute(
        server,
        &format!(
            "UPDATE sessions SET last_seen_at = last_seen_at - 7300000000 WHERE kind = 1 AND user_id = {id}"
        ),
    );
    admin.patch_json(&demoted_path, r#"{"role":"ANALYST"}"#).expect(200);
    assert_eq!(admin.send("DELETE", &gone_path, "", b"").status, 204);
    assert_eq!(left.post_json("/api/v1/auth/logout-all", "").status, 204);
    for (who, stream) in &mut ended {
        stream.rest();
        assert!(stream.ended, "{who}: the end is said");
        assert!(started.elapsed() < ENDED_WITHIN, "{who}: {:?}", started.elapsed());
    }
    let raised = admin.event("HIGH", "afterwards");
    for (who, stream) in &mut stay {
        assert_eq!(stream.expect("alert").data["id"], raised["alert"], "{who}");
    }
    // A stream is no use of its session.
    let path = format!("SELECT COUNT(*) FROM sessions WHERE user_id = {id} AND last_seen_at > created_at");
    assert_eq!(count(server, &path), 0);
}

fn count(server: &Server, query: &str) -> i64 {
    match server.engine() {
        Engine::Postgres => server.database().count(query),
        Engine::Sqlite => {
            let path = server.folder.path().join("watchpost-data/watchpost.db");
            rusqlite::Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
        }
    }
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off_and_comes_back() {
    let server = Server::start(Engine::Sqlite);
    let admin = server.admin();
    let mut slow = listen(&server, &admin, "topics=events", "");
    let mut other = listen(&server, &admin, "topics=alerts", "");
    slow.block().unwrap();
    // More than the system holds for a reader.
    let large = event("a", "LOW", &"x".repeat(60_000));
    for _ in 0..12 {
        store(&admin, &vec![large.clone(); 50]);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !admin.get("/metrics").text.contains("watchpost_streams 1\n") {
        assert!(Instant::now() < deadline, "it is never cut off");
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut seen: Vec<String> = slow.rest().iter().map(Message::about).collect();
    assert!(seen.len() < 600, "{} of 600", seen.len());
    let mut again = listen(&server, &admin, "topics=events", &slow.last);
    while seen.len() < 600 {
        seen.push(again.next().expect("the rest").about());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 600, "each once");
    admin.event("HIGH", "still here");
    assert_eq!(other.expect("alert").data["event"]["description"], "still here", "nobody else is held up");
}

#[test]
fn there_is_room_for_so_many_readers() {
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_MAX_STREAMS", "2")]);
    let admin = server.admin();
    let (first, second) = (listen(&server, &admin, "", ""), listen(&server, &admin, "", ""));
    let refused = admin.get("/api/v1/stream");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"), "{}", refused.text);
    let cookie = sign_in(&server, ADMIN);
    let page = Listener::open(&server.address, "/stream", &cookie, "");
    assert!(page.status() == 503 && page.head.contains("retry-after: 5"), "{}", page.head);
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(20);
    while listen(&server, &admin, "", "").status() == 503 {
        assert!(Instant::now() < deadline, "whoever goes makes room");
    }
    drop(second);
}

#[test]
fn nobody_takes_all_the_room_from_others() {
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_MAX_STREAMS", "20")]);
    let lea = server.user("lea", "ANALYST");
    let hers: Vec<Listener> = (0..10).map(|_| listen(&server, &lea, "", "")).collect();
    assert!(hers.iter().all(|listener| listener.status() == 200));
    let refused = lea.get("/api/v1/stream");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"), "{}", refused.text);
    assert!(refused.text.contains("as this user"), "{}", refused.text);
    let other = listen(&server, &server.admin(), "", "");
    assert_eq!(other.status(), 200, "there is room for others");
    drop(hers);
    let deadline = Instant::now() + Duration::from_secs(20);
    while listen(&server, &lea, "", "").status() == 503 {
        assert!(Instant::now() < deadline, "whoever goes makes room");
    }
}

#[test]
fn there_is_room_for_those_who_triage_however_many_watch() {
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_MAX_STREAMS", "40")]);
    let mut open = Vec::new();
    let mut as_many_as_there_are = |name: &str, role: &str| {
        let client = server.user(name, role);
        let mut n = 0;
        loop {
            let listener = listen(&server, &client, "", "");
            if listener.status() != 200 {
                return n;
            }
            open.push(listener);
            n += 1;
            assert!(n <= 40);
        }
    };
    let analysts: usize = (0..4).map(|n| as_many_as_there_are(&format!("lea{n}"), "ANALYST")).sum();
    assert_eq!(analysts, 30, "a quarter is kept");
    assert_eq!(as_many_as_there_are("rob", "RESPONDER"), 5, "for those who triage");
    assert_eq!(listen(&server, &server.admin(), "", "").status(), 200, "and for Admins");
}

#[test]
fn a_server_that_stops_sends_its_readers_away_and_they_come_back() {
    let mut server = Server::start(Engine::Sqlite);
    let headers = server.admin().headers;
    let open = |server: &Server, last: &str| {
        Listener::open(&server.address, "/api/v1/stream?topics=alerts", &headers, last)
    };
    let mut streams: Vec<Listener> = (0..5).map(|_| open(&server, "")).collect();
    server.admin().event("HIGH", "before");
    for stream in &mut streams {
        stream.expect("alert");
    }
    let started = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for stream in &mut streams {
        assert!(stream.rest().is_empty() && stream.ended, "the end is said");
    }
    server.restart();
    server.admin().event("HIGH", "after");
    let mut again = open(&server, &streams[0].last);
    assert_eq!(again.next().unwrap().data["event"]["description"], "after");
}

#[test]
fn a_quiet_stream_says_that_it_is_there_and_how_far() {
    let server = Server::start(Engine::Sqlite);
    let mut stream = listen(&server, &server.admin(), "topics=alerts", "");
    stream.block().unwrap();
    let first: i64 = stream.last.split('.').next().unwrap().parse().unwrap();
    // What isn't wanted moves the reader along all the same.
    server.admin().event("LOW", "x");
    let block = stream.block().unwrap();
    assert!(block[0].starts_with(':') && block.len() == 2, "{block:?}");
    let later: i64 = stream.last.split('.').next().unwrap().parse().unwrap();
    assert!(later >= first + 14, "{block:?}");
    assert!(stream.last.ends_with(".0.1"), "{block:?}");
}

#[test]
fn a_browser_comes_back_by_itself_and_misses_nothing() {
    let mut server = Server::start(Engine::Sqlite);
    let browser = Browser::start(true);
    browser.log_in(&server);
    browser.find("main h1");
    // A page that doesn't watch by itself.
    browser.go(&format!("{}/account", server.address));
    browser.reads("main h1", "Your account");
    browser.run(
        "window.told = []; window.stream = new EventSource('/stream?topics=alerts');
         stream.addEventListener('alert', (message) => told.push(JSON.parse(message.data).event.description));",
    );
    let reads = |script: &str, wanted: Value| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while browser.run(script) != wanted {
            assert!(Instant::now() < deadline, "{script}: {} and not {wanted}", browser.run(script));
        }
    };
    reads("return stream.readyState", json!(1));
    server.admin().event("HIGH", "before");
    reads("return told", json!(["before"]));
    let listen = server.address.trim_start_matches("http://").to_owned();
    assert_eq!(server.stop(), Some(0));
    server.set(&[("WATCHPOST_LISTEN", &listen)]);
    server.restart();
    server.admin().event("HIGH", "while it was away");
    reads("return told", json!(["before", "while it was away"]));
    server.admin().event("HIGH", "after");
    reads("return told", json!(["before", "while it was away", "after"]));
}
