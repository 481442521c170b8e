//! Searches that take for ever: they are few, they are ended, and nobody else waits for them.

use super::Hold;
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, PASSWORD, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

on_both_engines!(
    thirty_searches_hold_up_nobody_else,
    groups_of_many_sources_hold_up_nobody_else,
    whoever_goes_away_ends_their_search,
);

fn filled(server: &Server) {
    let lines: String = (0..40)
        .map(|n| format!("{}\n", json!({"source_name": "fw", "event_type": "scan", "severity": "CRITICAL", "description": format!("number {n}")})))
        .collect();
    let sent = server.admin().send("POST", "/api/v1/events", "application/x-ndjson", lines.as_bytes());
    assert_eq!(sent.status, 201);
    assert_eq!(server.admin().get("/api/v1/events?search=number").expect(200)["count"], 40);
}

/// Heavy statements that are under way in the database.
fn under_way(server: &Server) -> i64 {
    server.database().count("SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()")
}

fn ask(client: &Client<'_>, server: &Server, path: &str) -> TcpStream {
    let (name, value) = client.headers.last().unwrap();
    let mut socket = server.connect();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

fn answer(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    socket.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

fn thirty_searches_hold_up_nobody_else(plain: &Server) {
    let (server, hold) = Hold::server(plain.engine(), "heavy", 0);
    filled(&server);
    let (admin, rob) = (server.admin(), server.user("rob", "RESPONDER"));
    let cookie = server.anonymous().post_form("/login", &format!("username=rob&password={PASSWORD}"));
    let cookie = cookie.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = server.anonymous().with("cookie", &cookie).with("accept", "text/html");
    let signed_in = server.anonymous().post_form("/login", &format!("username={ADMIN}&password={PASSWORD}"));
    let signed_in = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let overview = server.anonymous().with("cookie", &signed_in);
    hold.begin();
    let paths = [
        "events?search=number",
        "alerts?search=number",
        "events/facets",
        "events/histogram?not_host=x",
        "events?not_host=x",
    ];
    let thirty = || (0..30).map(|n| ask(&rob, &server, &format!("/api/v1/{}", paths[n % paths.len()])));
    let mut asked: Vec<TcpStream> = thirty().collect();
    // Two are under way and eight wait: those behind them are told at once to come back.
    let late = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let answer = rob.send("GET", "/api/v1/events?search=number", "", b"");
        if answer.status == 429 {
            break answer;
        }
        assert!(Instant::now() < late, "nobody is refused: {}", answer.text);
        // It came before the others, and waited until they had gone.
        asked.extend(thirty());
    };
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(refused.json()["code"], "too_many_searches");
    // What reads what it shows goes on, and so does everything of others.
    for _ in 0..3 {
        assert_eq!(server.anonymous().get("/readyz").status, 200);
        assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], 40);
        assert_eq!(rob.get("/api/v1/alerts?status=OPEN").expect(200)["count"], 40);
        admin.event("LOW", "one more");
        assert_eq!(overview.get("/").status, 200);
    }
    // A search that takes too long is ended, on a page and beside it.
    let eve = server.user("eve", "RESPONDER");
    let ended = eve.send("GET", "/api/v1/events?search=number", "", b"");
    assert_eq!(ended.status, 503, "{}", ended.text);
    assert!(["took_too_long", "busy"].contains(&ended.json()["code"].as_str().unwrap()), "{}", ended.text);
    assert_eq!(ended.header("retry-after"), "5");
    let answers: Vec<String> = asked.into_iter().map(answer).collect();
    let count = |status: &str| {
        answers.iter().filter(|answer| answer.starts_with(&format!("HTTP/1.1 {status} "))).count()
    };
    assert_eq!(count("429") + count("503"), answers.len(), "{answers:?}");
    assert!(count("429") >= 20 && count("503") >= 1, "{answers:?}");
    assert!(
        answers.iter().all(|answer| answer.to_ascii_lowercase().contains("retry-after: ")),
        "{answers:?}"
    );
    assert!(answers.iter().any(|answer| answer.contains("took_too_long")), "{answers:?}");
    let shown = page.send("GET", "/events?search=number", "", b"");
    assert_eq!((shown.status, shown.header("retry-after")), (503, "5"), "{}", shown.text);
    assert!(shown.text.contains("took longer than five seconds"), "{}", shown.text);
    hold.end();
    assert_eq!(rob.get("/api/v1/events?search=number").expect(200)["count"], 40, "and later it is found");
    let metrics = admin.get("/metrics").text;
    assert!(metrics.contains("watchpost_busy_total{what=\"search\"}"), "{metrics}");
}

fn whoever_goes_away_ends_their_search(plain: &Server) {
    // Left alone, a search would go on for ten minutes here.
    let (server, hold) = Hold::with(plain.engine(), "heavy", 0, &[("FAULT_HEAVY_SECONDS", "600")]);
    filled(&server);
    let rob = server.user("rob", "RESPONDER");
    let late = Instant::now() + Duration::from_secs(60);
    hold.begin();
    let mut asked: Vec<TcpStream> =
        (0..10).map(|_| ask(&rob, &server, "/api/v1/events?search=number")).collect();
    loop {
        let mut one = ask(&rob, &server, "/api/v1/events?search=number");
        one.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut status = [0; 13];
        if one.read_exact(&mut status).is_ok() && status.starts_with(b"HTTP/1.1 429") {
            break;
        }
        asked.push(one);
        assert!(Instant::now() < late, "no search is ever under way");
    }
    if server.engine() == Engine::Postgres {
        while under_way(&server) == 0 {
            assert!(Instant::now() < late, "no search is ever under way");
        }
    }
    drop(asked);
    hold.end();
    while server.engine() == Engine::Postgres && under_way(&server) > 0 {
        assert!(Instant::now() < late, "a statement that nobody waits for goes on");
    }
    loop {
        let answer = rob.send("GET", "/api/v1/events?search=number", "", b"");
        if answer.status == 200 {
            break;
        }
        assert!(Instant::now() < late, "its place is never free: {}", answer.text);
    }
}

fn groups_of_many_sources_hold_up_nobody_else(plain: &Server) {
    let settings = [("FAULT_FEW_GROUPS", "2"), ("FAULT_HEAVY_SECONDS", "1")];
    let (server, hold) = Hold::with(plain.engine(), "heavy", 0, &settings);
    let lines: String = (0..3)
        .map(|n| format!("{}\n", json!({"source_name": format!("fw-{n}"), "event_type": "scan", "severity": "HIGH", "description": "x"})))
        .collect();
    let admin = server.admin();
    assert_eq!(admin.send("POST", "/api/v1/events", "application/x-ndjson", lines.as_bytes()).status, 201);
    let ana = server.user("ana", "ANALYST");
    let list = |path: &str| admin.send("GET", path, "", b"");
    hold.begin();
    let paths = ["alerts/groups", "alerts?source_name=fw-1&event_type=scan"];
    let asked: Vec<TcpStream> =
        (0..30).map(|n| ask(&ana, &server, &format!("/api/v1/{}", paths[n % 2]))).collect();
    for _ in 0..3 {
        assert_eq!(server.anonymous().get("/readyz").status, 200);
        assert_eq!(list("/api/v1/alerts").expect(200)["count"], 3);
    }
    let answers: Vec<String> = asked.into_iter().map(answer).collect();
    for answer in &answers {
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["429", "503"].contains(&status), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("retry-after: "), "{answer}");
    }
    hold.end();
    assert_eq!(ana.get("/api/v1/alerts/groups").expect(200)["count"], 3);
    // A few groups are read as what they show is.
    drop((admin, ana));
    let (server, hold) = Hold::server(plain.engine(), "heavy", 0);
    server.admin().event("HIGH", "one");
    hold.begin();
    assert_eq!(server.admin().get("/api/v1/alerts/groups").expect(200)["count"], 1);
}
