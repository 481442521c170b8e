//! Clocks that are wrong: of this machine, of the database's, and for a moment only.

use super::cluster::{Cluster, Template};
use super::rounds;
use crate::ledger::{Ledger, all};
use crate::server::{Client, Engine, Server};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use watchpost_model::Timestamp;

const LATE: Duration = Duration::from_secs(60);
/// How far times may be ahead of the clock, in seconds.
const SLACK: i64 = 5;
/// Far further than a test takes.
const NEXT_YEAR: i64 = 300 * 86_400;

/// What this machine's clock shows.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(since.as_micros() as i64)
}

/// A clock that a test sets, for processes that run.
struct Clock {
    folder: TempDir,
}

impl Clock {
    fn new() -> Self {
        let clock = Self { folder: tempfile::Builder::new().prefix("watchpost-clock-").tempdir().unwrap() };
        Cluster::give(clock.folder.path());
        clock.set("+0");
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// Shows a time from now on: `+1y` is ahead by a year, `@2038-01-19 03:14:00` goes on from there, and without the `@`
    /// it stands still.
    fn set(&self, shown: &str) {
        // Never is there half of it.
        let aside = self.folder.path().join("next");
        std::fs::write(&aside, format!("{shown}\n")).unwrap();
        std::fs::rename(aside, self.file()).unwrap();
    }

    /// What has a process go by it.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let library =
            std::env::var("WATCHPOST_TEST_FAKETIME").expect("libfaketime is needed: run `cargo xtask test`");
        vec![
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("TZ", "UTC".into()),
        ]
    }

    /// A server that goes by it.
    fn server(&self, engine: Engine, more: &[(&str, &str)]) -> Server {
        let own = self.settings();
        let mut settings: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.extend(more);
        Server::with(engine, &settings)
    }
}

fn event(severity: &str, description: &str) -> String {
    json!({"source_name": "fw", "event_type": "t", "severity": severity, "description": description})
        .to_string()
}

/// The time that an answer names.
#[track_caller]
fn time(row: &Value, field: &str) -> Timestamp {
    Timestamp::parse(row[field].as_str().unwrap_or_default()).unwrap_or_else(|| panic!("{field}: {row}"))
}

/// Whether a time is one between others, or a little ahead.
fn is_between(at: Timestamp, before: Timestamp, after: Timestamp) -> bool {
    before.plus_seconds(-1) <= at && at <= after.plus_seconds(SLACK + 1)
}

/// A value of the counters.
fn counter(server: &Server, name: &str) -> f64 {
    let text = server.anonymous().get("/metrics").text;
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

/// Waits until the server has once forgotten whatever it thinks is old.
fn wait_for_upkeep(server: &Server) {
    let late = Instant::now() + LATE;
    while counter(server, "watchpost_upkeep_rounds_total") < 1.0 {
        assert!(Instant::now() < late, "nothing is ever forgotten");
    }
}

/// What doctor says of something, and whether it says that it is good.
fn doctor(server: &Server, check: &str) -> (String, bool) {
    let said = server.command().args(["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named: Vec<Value> = lines.filter(|line| line["check"] == check).collect();
    let said: Vec<String> = named.iter().map(|line| line["said"].to_string()).collect();
    (said.join(" "), named.iter().all(|line| line["ok"] == true))
}

/// Events and alerts of a server that was started again and again.
fn restarted(engine: Engine, ends: impl Fn(&Server, usize), starts: usize) {
    let mut server = Server::start(engine);
    let key = server.sensor().headers[0].1.clone();
    let mut alerts = Vec::new();
    for n in 0..starts {
        if n > 0 {
            ends(&server, n);
            server.restart();
        }
        let sensor = server.anonymous().with("x-api-key", &key);
        let before = now();
        let stored = sensor.post_json("/api/v1/events", &event("HIGH", &format!("number {n}"))).expect(201);
        let at = time(&stored, "created_at");
        assert!(is_between(at, before, now().plus_seconds(-SLACK)), "start {n}: {at} after {before}");
        alerts.push(stored["alert"].as_i64().unwrap());
    }
    let admin = server.admin();
    let shown = admin.get("/api/v1/alerts?until=now&page_size=100").expect(200);
    assert_eq!(shown["count"].as_i64(), Some(starts as i64), "everything was raised before now");
    assert_eq!(admin.get("/api/v1/events?until=now&page_size=100").expect(200)["count"], starts);
    assert_eq!(alerts, (1..=starts as i64).collect::<Vec<_>>(), "numbers without gaps");
    let last = alerts.last().unwrap();
    let changed = admin.post_json(&format!("/api/v1/alerts/{last}/ack"), "{}").expect(200);
    assert!(time(&changed, "acknowledged_at") >= time(&changed, "created_at"), "{changed}");
}

#[test]
fn starts_move_neither_times_nor_numbers() {
    let stop = |server: &Server, _| assert_eq!(server.stop(), Some(0));
    restarted(Engine::Postgres, stop, 12);
    restarted(
        Engine::Sqlite,
        |server, n| match n % 2 {
            0 => server.kill(),
            _ => stop(server, n),
        },
        30,
    );
}

/// Sends a few events, and checks what is said of them; their ids.
fn send(sensor: &Client<'_>, from: usize, to: usize) -> Vec<(i64, Timestamp)> {
    let one = |n: usize| {
        let severity = ["LOW", "HIGH"][n % 2];
        let stored = sensor.post_json("/api/v1/events", &event(severity, &format!("number {n}"))).expect(201);
        (stored["id"].as_i64().unwrap(), time(&stored, "created_at"))
    };
    let sent: Vec<_> = (from..to).map(one).collect();
    assert!(sent.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "in order: {sent:?}");
    sent
}

/// Waits until a server has taken notice of another time: at once where it is its own clock's, and otherwise when it asks
/// the database the next time.
fn notices(server: &Server, what: &str, mut is_there: impl FnMut() -> bool) {
    let late = Instant::now() + LATE;
    while !is_there() {
        assert!(server.engine() == Engine::Postgres && Instant::now() < late, "{what}: not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const JUMPS: [&str; 8] = [
    "-5m",
    "+1h",
    "+1y",
    "@2038-01-19 03:14:05",
    "@2020-01-01 00:00:00",
    "@2093-01-01 00:00:00",
    // This one stands still.
    "2027-03-01 12:00:00",
    "+3s",
];

/// Whether events have the right times after a clock was wrong in each of these ways, and nothing else suffered.
fn heals_after_jumps(server: &Server, clock: &Clock) -> bool {
    let mut ledger = Ledger::new(server);
    ledger.by_hour = false;
    let (sensor, admin) = (server.sensor(), server.admin());
    let (mut right, mut number) = (true, 0);
    for jump in (0..rounds(1)).flat_map(|_| JUMPS) {
        clock.set(jump);
        let mut said = sensor.post_json("/api/v1/events", &event("LOW", "number of the jump"));
        match jump {
            "@2020-01-01 00:00:00" | "@2093-01-01 00:00:00" => {
                notices(server, jump, || {
                    let refused = said.status == 503;
                    if !refused {
                        said = sensor.post_json("/api/v1/events", &event("LOW", "number of the jump"));
                    }
                    refused
                });
                assert_ne!(said.header("retry-after"), "");
                assert!(said.text.contains("clock is wrong"), "{}", said.text);
                assert_eq!(server.anonymous().get("/healthz").status, 200);
            }
            _ => {
                let before = now();
                assert_eq!(said.status, 201, "{jump}: {}", said.text);
                notices(server, jump, || {
                    let at = time(&said.json(), "created_at");
                    said = sensor.post_json("/api/v1/events", &event("LOW", "number of the jump"));
                    jump == "+3s" || !is_between(at, before, now())
                });
                for n in 0..4 {
                    assert_eq!(ledger.send(server, n % 2 == 1), Some(201), "{jump}");
                }
            }
        }
        clock.set("+0");
        let before = now();
        if server.engine() == Engine::Postgres {
            notices(server, "the right time", || {
                let stored = sensor.post_json("/api/v1/events", &event("LOW", "number of the way back"));
                is_between(time(&stored.expect(201), "created_at"), before, now())
            });
        }
        number += 4;
        let sent = send(&sensor, number, number + 4);
        right &= sent.iter().all(|(_, at)| is_between(*at, before, now()));
        assert_eq!(ledger.send(server, true), Some(201), "after {jump}");
        assert_eq!(admin.get("/api/v1/auth/me").status, 200, "whoever is logged in stays so, after {jump}");
    }
    let all = all(&admin, "/api/v1/events?page_size=100");
    let ids: Vec<i64> = all.iter().map(|event| event["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "each once, in the order of the list");
    let found = admin.get("/api/v1/events?search=number&page_size=1").expect(200);
    assert_eq!(found["count"].as_i64(), Some(all.len() as i64), "search finds each of them once");
    let said = Ledger::acknowledged(&ledger);
    assert!(said.iter().all(|(_, id)| ids.contains(id)), "what was acknowledged is there");
    right
}

#[test]
fn a_clock_that_jumps_loses_nothing_and_times_are_right_afterwards() {
    let clock = Clock::new();
    let mut server = clock.server(Engine::Sqlite, &[]);
    assert!(heals_after_jumps(&server, &clock), "times of a wrong clock");
    let (events, good) = doctor(&server, "events");
    assert!(events.contains("from a time that is still to come") && events.contains("2038"), "{events}");
    assert!(good, "what a wrong clock left is nothing bad");
    // A search index that is made anew holds the same.
    let count = |server: &Server| {
        server.admin().get("/api/v1/events?search=number&page_size=1").expect(200)["count"].clone()
    };
    let before = count(&server);
    for file in [None, Some("watchpost-search.db")] {
        assert_eq!(server.stop(), Some(0));
        if let Some(file) = file {
            std::fs::remove_file(server.folder.path().join("watchpost-data").join(file)).unwrap();
        }
        server.restart();
        let (start, sensor) = (now(), server.sensor());
        let sent = send(&sensor, 900, 902);
        assert!(sent.iter().all(|(_, at)| is_between(*at, start, now())), "after a restart, too: {sent:?}");
        assert!(count(&server).as_i64() > before.as_i64(), "{before}");
        assert!(doctor(&server, "data").1, "the index fits what is stored");
    }
    let mistaken = clock.server(Engine::Sqlite, &[("FAULT_MUTANT", "ids_never_go_back")]);
    assert!(!heals_after_jumps(&mistaken, &clock), "the mistake is not noticed");
}

#[test]
fn a_database_whose_clock_jumps_loses_nothing_and_times_are_right_afterwards() {
    let (clock, template) = (Clock::new(), Template::new());
    let folder = tempfile::Builder::new().prefix("watchpost-cluster-").tempdir().unwrap();
    Cluster::give(folder.path());
    let cluster = template.put_into(folder.path());
    let settings = clock.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    cluster.start_with(&settings);
    let server = Server::on(cluster.database(), &[]);
    assert!(heals_after_jumps(&server, &clock), "times of a wrong clock");
    let (events, good) = doctor(&server, "events");
    assert!(good && events.contains("from a time that is still to come"), "{events}");
}

/// Whether a request with a key is answered from it after a start with the clock a year ahead.
fn key_outlives_a_wrong_start(server: &mut Server, clock: &Clock) -> bool {
    let key = server.sensor().headers[0].1.clone();
    let send = |server: &Server| {
        let sensor = server.anonymous().with("x-api-key", &key).with("idempotency-key", "once");
        sensor.post_json("/api/v1/events", &event("HIGH", "the one")).expect(201)["id"].as_i64().unwrap()
    };
    let first = send(server);
    assert_eq!(server.stop(), Some(0));
    clock.set("+1y");
    server.restart();
    wait_for_upkeep(server);
    assert_eq!(server.stop(), Some(0));
    clock.set("+0");
    server.restart();
    let again = send(server);
    let stored = server.admin().get("/api/v1/events?page_size=5").expect(200)["count"].as_i64().unwrap();
    (again == first, stored) == (true, 1)
}

#[test]
fn a_start_with_a_wrong_clock_forgets_nothing() {
    let clock = Clock::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut server = clock.server(engine, &[]);
        assert!(key_outlives_a_wrong_start(&mut server, &clock), "{engine:?}: a key was forgotten");
    }
    let mut mistaken = clock.server(Engine::Sqlite, &[("FAULT_MUTANT", "forget_by_clock")]);
    assert!(!key_outlives_a_wrong_start(&mut mistaken, &clock), "the mistake is not noticed");
}

/// A second node of a server, whose clock is another.
fn node_with(clock: &Clock, server: &Server, mutant: &str) -> Server {
    let mut node = server.another_node();
    node.kill();
    let secret = std::fs::read_to_string(server.folder.path().join("watchpost-data/secret.key")).unwrap();
    let own = clock.settings();
    let mut settings: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.extend([("SECRET_KEY", secret.trim()), ("FAULT_MUTANT", mutant)]);
    node.set(&settings);
    node.restart();
    node
}

/// Whether two nodes agree about the time although the clock of one is set otherwise.
fn nodes_agree(mutant: &str) -> bool {
    let clock = Clock::new();
    let server = Server::start(Engine::Postgres);
    clock.set("+10s");
    let node = node_with(&clock, &server, mutant);
    let key = server.sensor().headers[0].1.clone();
    let sensors = [&server, &node].map(|server| server.anonymous().with("x-api-key", &key));
    let (mut agree, mut ids) = (true, Vec::new());
    for shown in ["+10s", "-10s", "+1y", "@2020-01-01 00:00:00", "-5m", "+0"] {
        clock.set(shown);
        for sensor in &sensors {
            let before = now();
            let stored = sensor.post_json("/api/v1/events", &event("HIGH", shown));
            if stored.status == 503 && !mutant.is_empty() {
                return false;
            }
            let stored = stored.expect(201);
            agree &= is_between(time(&stored, "created_at"), before, now().plus_seconds(-SLACK));
            ids.push(stored["id"].as_i64().unwrap());
            // Raised here, acknowledged there, by somebody who logged in here.
            let alert = stored["alert"].as_i64().unwrap();
            let admin = server.admin();
            let there = node.sensor_like(&admin);
            let changed = there.post_json(&format!("/api/v1/alerts/{alert}/ack"), "{}");
            let is_later = |changed: &Value| time(changed, "acknowledged_at") >= time(changed, "created_at");
            agree &= changed.status == 200 && is_later(&changed.json());
        }
        if mutant.is_empty() {
            let off = !matches!(shown, "+0");
            let ready = node.anonymous().get("/readyz").expect(200)["clock"].as_str().unwrap().to_owned();
            assert_eq!(ready.starts_with("off by "), off, "{shown}: {ready}");
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12, "each id is given out once");
    agree &=
        server.database().count("SELECT MAX(created_at) FROM events") < now().plus_seconds(SLACK).micros();
    agree
}

#[test]
fn nodes_whose_clocks_differ_go_by_the_database() {
    assert!(nodes_agree(""), "the clock of a node counts");
    assert!(!nodes_agree("own_clock"), "the mistake is not noticed");
}

#[test]
fn a_server_starts_whatever_the_clock_shows() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for shown in ["@2020-01-01 00:00:00", "@2093-01-01 00:00:00"] {
            let clock = Clock::new();
            clock.set(shown);
            let server = clock.server(engine, &[]);
            let admin = server.admin();
            let said = admin.post_json("/api/v1/events", &event("HIGH", "early"));
            // On PostgreSQL it is the database's clock that counts.
            assert_eq!(
                said.status,
                if engine == Engine::Sqlite { 503 } else { 201 },
                "{shown}: {}",
                said.text
            );
            clock.set("+0");
            let before = now();
            let sensor = server.sensor();
            let sent = send(&sensor, 0, 2);
            assert!(sent.iter().all(|(_, at)| is_between(*at, before, now())), "{shown}: {sent:?}");
        }
    }
}

/// The statements that leave events of a coming month where those of no month are, and the month's place.
fn misplace(server: &Server, events: i64) -> (String, i64) {
    let month = now().month().next().next();
    let place = format!("events_{}_{:02}", month.year, month.month);
    let first = watchpost_model::id::event_id_floor(month.start()).get();
    server.database().run(&format!(
        "SET watchpost.step = '1000';
         DROP TABLE {place};
         INSERT INTO events SELECT {first} + n, {}, e.source_name, e.event_type, e.severity, 'number of then ' || n, e.user_id, e.key_id
         FROM generate_series(1, {events}) n, (SELECT * FROM events LIMIT 1) e",
        month.start().micros()
    ));
    (place, first + 1)
}

#[test]
fn events_of_a_coming_month_keep_no_server_from_starting() {
    for (at_most, events) in [("100", 100), ("10", 100)] {
        let mut server = Server::with(Engine::Postgres, &[("FAULT_MOVED_AT_MOST", at_most)]);
        server.admin().event("LOW", "number one");
        assert_eq!(server.stop(), Some(0));
        let (place, id) = misplace(&server, events);
        assert!(doctor(&server, "partitions").0.contains("100 events from "), "doctor names them");
        server.restart();
        let admin = server.admin();
        assert_eq!(admin.get(&format!("/api/v1/events/{id}")).expect(200)["description"], "number of then 1");
        let year_ahead = now().plus_seconds(NEXT_YEAR);
        let list = format!("/api/v1/events?since=now&until={year_ahead}&page_size=100");
        assert_eq!(admin.get(&list).expect(200)["count"], events, "they are in lists");
        admin.event("LOW", "number two");
        let moved = at_most == "100";
        let exists = format!("SELECT COUNT(*) FROM pg_tables WHERE tablename = '{place}'");
        assert_eq!(server.database().count(&exists), i64::from(moved));
        if moved {
            assert_eq!(server.database().count(&format!("SELECT COUNT(*) FROM {place}")), events);
        } else {
            assert!(server.log.lock().unwrap().contains("they stay there"), "it is said");
        }
        assert_eq!(doctor(&server, "partitions").0.is_empty(), moved);
    }
}
