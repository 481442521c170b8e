//! One account that searches and exports as much as it can, and what everybody else waits for meanwhile.

use crate::minutes;
use crate::server::{Answer, Client, Engine, Server};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const EVENTS: usize = 60_000;
/// Events in one body.
const AT_ONCE: usize = 5_000;
/// Searches of one account at once.
const SEARCHES: usize = 30;
/// Exports of one account at once.
const EXPORTS: usize = 200;

fn filled(server: &Server) {
    let sensor = server.sensor();
    for part in 0..EVENTS / AT_ONCE {
        let line = |n: usize| {
            json!({
                "source_name": format!("fw-{}", n % 50), "event_type": "scan", "severity": (if n.is_multiple_of(20) { "HIGH" } else { "LOW" }),
                "description": format!("number {n} {}", "of many words that are looked for ".repeat(8)),
                "host": format!("host-{}", n % 500), "src_ip": format!("10.0.{}.{}", n % 200, n % 7),
            })
        };
        let lines: String =
            (part * AT_ONCE..(part + 1) * AT_ONCE).map(|n| format!("{}\n", line(n))).collect();
        let sent = sensor.send("POST", "/api/v1/events", "application/x-ndjson", lines.as_bytes());
        assert_eq!(sent.status, 201, "{}", sent.text);
    }
    server.admin().get("/api/v1/events?search=number");
}

/// What the account asks for, over and over.
fn search(n: usize) -> String {
    match n % 5 {
        0 => format!("/api/v1/events?search=many%20words%20looked&not_host=host-{}", n % 500),
        1 => format!("/api/v1/events?search=n*&page=40&page_size=100&since=-{}h", n % 9 + 1),
        2 => "/api/v1/events/histogram?search=words&interval=1m&since=-1h".to_owned(),
        3 => format!("/api/v1/events/facets?search=many&not_source_name=fw-{}", n % 50),
        _ => format!("/api/v1/alerts?search=looked&not_src_ip=10.0.{}.1", n % 200),
    }
}

/// Waits, shortest first.
#[derive(Default)]
struct Waits(Vec<Duration>);

impl Waits {
    fn add(&mut self, begun: Instant) {
        self.0.push(begun.elapsed());
    }

    fn say(&mut self) -> String {
        self.0.sort_unstable();
        let at = |share: usize| self.0.get(self.0.len() * share / 100).or(self.0.last());
        let millis = |wait: Option<&Duration>| wait.map_or(0.0, |wait| wait.as_secs_f64() * 1_000.0);
        format!(
            "{:.0} ms at half, {:.0} ms at 99 %, {:.0} ms at most of {}",
            millis(at(50)),
            millis(at(99)),
            millis(self.0.last()),
            self.0.len()
        )
    }
}

/// Lets one account do something from many connections, and measures what an Admin and a probe wait for.
fn meanwhile(
    server: &Server,
    what: &str,
    connections: usize,
    of_one: &Client<'_>,
    ask: impl Fn(&Client<'_>, usize) -> Answer + Sync,
) {
    let (over, asked, answered, refused) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let admin = server.admin();
    let (mut lists, mut probes) = (Waits::default(), Waits::default());
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let client = server.sensor_like(of_one);
            scope.spawn(|| {
                let client = client;
                while !over.load(Ordering::Relaxed) {
                    let answer = ask(&client, asked.fetch_add(1, Ordering::Relaxed));
                    match answer.status {
                        200 => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        429 | 503 => {
                            assert!(!answer.header("retry-after").is_empty(), "{}", answer.text);
                            refused.fetch_add(1, Ordering::Relaxed);
                            // As often as a client comes that doesn't listen.
                            std::thread::sleep(Duration::from_millis(50));
                        }
                        other => panic!("{other}: {}", answer.text),
                    }
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(minutes() * 60 / 4);
        while Instant::now() < until {
            let begun = Instant::now();
            let list = admin.get("/api/v1/alerts?status=OPEN&page_size=50");
            lists.add(begun);
            assert_eq!(list.status, 200, "{}", list.text);
            let begun = Instant::now();
            let ready = server.anonymous().get("/readyz");
            probes.add(begun);
            assert_eq!(ready.status, 200, "{}", ready.text);
        }
        over.store(true, Ordering::Relaxed);
    });
    println!(
        "{:?}, {what}: {} answered, {} refused; an Admin's list took {}; /readyz {}",
        server.engine(),
        answered.into_inner(),
        refused.into_inner(),
        lists.say(),
        probes.say()
    );
}

#[test]
fn one_account_holds_up_nobody_else() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = Server::start(engine);
        filled(&server);
        let rob = server.user("rob", "RESPONDER");
        meanwhile(&server, "nothing else", 0, &rob, |client, _| client.get("/readyz"));
        let searched = format!("{SEARCHES} searches of one account at once");
        meanwhile(&server, &searched, SEARCHES, &rob, |client, n| client.send("GET", &search(n), "", b""));
        let exported = format!("{EXPORTS} exports of one account at once");
        meanwhile(&server, &exported, EXPORTS, &rob, |client, _| {
            client.send("GET", "/api/v1/events/export?format=csv", "", b"")
        });
    }
}
