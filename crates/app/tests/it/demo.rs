//! `watchpost demo`: a week that holds together, for this machine only, and nobody's data touched.

use crate::server::{Client, Engine, Server, watchpost};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What everybody logs in with.
const PASSWORD: &str = "watchpost-demo";
const SMALL: [&str; 4] = ["demo", "--no-live", "--events", "2000"];
/// A Wednesday of long ago.
const UNTIL: &str = "2025-06-04T14:00:00Z";

fn run(folder: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    watchpost(folder).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, because: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(because), "{}", said(output));
}

/// All rows of a list, from its first page to its last.
fn all(client: &Client<'_>, list: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut page = client.get(&format!("{list}page_size=100")).expect(200);
    loop {
        rows.extend(page["results"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        let path = next.split_once("/api/").unwrap().1;
        page = client.get(&format!("/api/{path}")).expect(200);
    }
    rows
}

fn count(client: &Client<'_>, list: &str) -> i64 {
    client.get(list).expect(200)["count"].as_i64().unwrap()
}

fn sum(totals: &Value) -> i64 {
    totals.as_object().unwrap().values().filter_map(Value::as_i64).sum()
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(super::Engine::Sqlite); })*
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(super::Engine::Postgres); })*
        }
    };
}
on_both!(
    the_week_holds_together,
    every_state_is_there,
    a_second_start_keeps_what_is_there,
    something_goes_on_happening,
    what_is_no_demo_is_left_alone,
);

fn the_week_holds_together(engine: Engine) {
    let server = Server::running(engine, &[], &SMALL);
    let ana = server.log_in("ana", PASSWORD);
    let events = all(&ana, "/api/v1/events/?");
    assert_eq!((events.len(), count(&ana, "/api/v1/events/")), (2_000, 2_000));
    let ids: BTreeSet<i64> = events.iter().map(|event| event["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 2_000);
    // Newest first by their ids, and by their times as well: both say the same.
    let times: Vec<&str> = events.iter().map(|event| event["created_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older));
    let recent = count(&ana, "/api/v1/events/?since=-1d");
    assert!((40..1_000).contains(&recent), "{recent} of the last day");
    assert_eq!(count(&ana, "/api/v1/events/?until=-169h"), 0, "nothing from before the week");
    assert_eq!(count(&ana, "/api/v1/events/?since=now"), 0, "nor from the future");
    for by in ["severity", "source_name", "event_type"] {
        let counted = ana.get(&format!("/api/v1/stats/events?by={by}&since=-8d&interval=hour&limit=100"));
        assert_eq!(sum(&counted.expect(200)["totals"]), 2_000, "{by}");
    }
    for (field, value) in [("source_name", "vpn-gw"), ("event_type", "intrusion"), ("user", "m.brandt")] {
        let there = events.iter().filter(|event| event[field] == value).count() as i64;
        assert!(there > 0);
        assert_eq!(count(&ana, &format!("/api/v1/events/?{field}={value}")), there, "{field}");
    }
    let stolen = ana.get("/api/v1/alerts/?search=198.51.100.23+18.2").expect(200);
    assert_eq!((&stolen["count"], &stolen["search_is_behind"]), (&Value::from(1), &Value::Null));

    let alerts = all(&ana, "/api/v1/alerts/?");
    let raising = |event: &&Value| ["HIGH", "CRITICAL"].contains(&event["severity"].as_str().unwrap());
    assert_eq!(alerts.len(), events.iter().filter(raising).count());
    let numbers: BTreeSet<i64> = alerts.iter().map(|alert| alert["id"].as_i64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=alerts.len() as i64), "none is missing");
    let totals = ana.get("/api/v1/stats/alerts?since=-8d").expect(200)["totals"].clone();
    for status in ["OPEN", "ACKNOWLEDGED", "RESOLVED"] {
        let there = alerts.iter().filter(|alert| alert["status"] == status).count() as i64;
        assert_eq!(count(&ana, &format!("/api/v1/alerts/?status={status}")), there);
        assert_eq!(totals[status], there);
    }
    let groups = all(&ana, "/api/v1/alerts/groups/?");
    let of = |group: &Value| ["open", "acknowledged", "resolved"].map(|name| group[name].as_i64().unwrap());
    assert_eq!(groups.iter().flat_map(of).sum::<i64>(), alerts.len() as i64);
    let flood = groups
        .iter()
        .find(|group| group["source_name"] == "cam-loading-dock" && group["severity"] == "CRITICAL");
    assert_eq!(of(flood.unwrap()), [152, 0, 1], "the camera's flood is one row");

    let audit = server.command().args(["audit", "verify", "--data-dir", "watchpost-demo"]).output().unwrap();
    assert!(audit.status.success(), "{}", said(&audit));
    let rows = all(&server.log_in("admin", PASSWORD), "/api/v1/audit/?");
    let done: i64 = alerts.iter().map(|alert| alert["version"].as_i64().unwrap() - 1).sum();
    let of_alerts = |row: &&Value| row["action"].as_str().unwrap().starts_with("alert.");
    assert_eq!(rows.iter().filter(of_alerts).count() as i64, done, "everything that was done is in the log");
    let times = rows.iter().map(|row| row["at"].as_str().unwrap());
    assert!(times.is_sorted_by(|newer, older| newer >= older), "the log is in the order of its times");
}

fn every_state_is_there(engine: Engine) {
    let server = Server::running(engine, &[], &SMALL);
    for (name, events) in [("admin", 200), ("ana", 200), ("rob", 200), ("lea", 403)] {
        assert_eq!(server.log_in(name, PASSWORD).get("/api/v1/events/").status, events, "{name}");
    }
    let admin = server.log_in("admin", PASSWORD);
    assert_eq!((count(&admin, "/api/v1/users/"), count(&admin, "/api/v1/keys/")), (4, 3));
    let mut wanted =
        vec!["snoozed=true".to_owned(), "assignee=ana".into(), "assignee=rob".into(), "tag=phishing".into()];
    wanted.extend(["OPEN", "ACKNOWLEDGED", "RESOLVED"].map(|status| format!("status={status}")));
    wanted.extend(
        ["TRUE_POSITIVE", "BENIGN", "FALSE_POSITIVE", "DUPLICATE", "EXPECTED"]
            .map(|one| format!("verdict={one}")),
    );
    for asked in wanted {
        assert!(count(&admin, &format!("/api/v1/alerts/?{asked}")) > 0, "{asked}");
    }
    let alerts = all(&admin, "/api/v1/alerts/?");
    assert!(alerts.iter().any(|alert| alert["title"].as_str().is_some_and(|title| title.contains("18 GB"))));
    assert!(alerts.iter().any(|alert| alert["severity"] != alert["event"]["severity"]));
    let mut actions: BTreeMap<String, usize> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert["version"].as_i64() > Some(1)) {
        let history = all(&admin, &format!("/api/v1/alerts/{}/history/?", alert["id"]));
        let times: Vec<&str> = history.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{history:?}");
        assert!(times[0] == alert["created_at"] && *times.last().unwrap() == alert["updated_at"]);
        for entry in &history {
            let known =
                entry["action"] == "raised" || ["ana", "rob"].contains(&entry["actor"].as_str().unwrap());
            assert!(known, "{entry}");
            let reopened = entry["from"] == "RESOLVED" && entry["to"] == "OPEN";
            let action = if reopened { "reopened" } else { entry["action"].as_str().unwrap() };
            *actions.entry(action.to_owned()).or_default() += 1;
        }
    }
    for action in ["raised", "status", "assign", "snooze", "tags", "title", "severity", "note", "reopened"] {
        assert!(actions.contains_key(action), "{action}: {actions:?}");
    }
    let reactions = admin.get("/api/v1/stats/reactions/?since=-8d").expect(200);
    for (what, most) in [("acknowledge", 86_400.0), ("resolve", 3.0 * 86_400.0)] {
        let mean = reactions[what]["mean"].as_f64().unwrap();
        assert!(60.0 < mean && mean < most, "{reactions}");
    }
}

/// Everything in a week that its seed decides.
fn told(server: &Server) -> Vec<Value> {
    let ana = server.log_in("ana", PASSWORD);
    let mut told = all(&ana, "/api/v1/events/?");
    for alert in all(&ana, "/api/v1/alerts/?") {
        told.extend(all(&ana, &format!("/api/v1/alerts/{}/history/?", alert["id"])));
        told.push(alert);
    }
    told
}

#[test]
fn the_same_seed_and_end_make_the_same_week_on_both_engines() {
    let week = |engine, seed| {
        let arguments = ["demo", "--no-live", "--events", "1000", "--until", UNTIL, "--seed", seed];
        told(&Server::running(engine, &[], &arguments))
    };
    let first = week(Engine::Sqlite, "7");
    assert!(first == week(Engine::Sqlite, "7"), "twice the same");
    assert!(first == week(Engine::Postgres, "7"), "the same on PostgreSQL");
    assert!(first != week(Engine::Sqlite, "8"), "another seed, another week");
    let ends = UNTIL.trim_end_matches('Z');
    let times =
        first.iter().flat_map(|one| ["created_at", "updated_at", "at"].map(|name| one[name].as_str()));
    assert!(times.flatten().all(|at| "2025-05-28T14" <= at && at < ends), "nothing comes after the end");
}

fn a_second_start_keeps_what_is_there(engine: Engine) {
    let mut server = Server::running(engine, &[], &SMALL);
    let note = |server: &Server| {
        let rob = server.log_in("rob", PASSWORD);
        let history = rob.get("/api/v1/alerts/1/history/").text;
        (history.contains("seen by a visitor"), count(&rob, "/api/v1/events/"))
    };
    let rob = server.log_in("rob", PASSWORD);
    rob.post_json("/api/v1/alerts/1/notes/", r#"{"text":"seen by a visitor"}"#).expect(200);
    drop(rob);
    assert_eq!(server.stop(), Some(0));
    // What is asked for the second time is what is there.
    server.set_arguments(&["demo", "--no-live", "--events", "5000"]);
    server.restart();
    assert_eq!(note(&server), (true, 2_000));
    assert!(!server.log.lock().unwrap().contains("Making"));
    let own = server.folder.path().join("watchpost-demo/notes.txt");
    std::fs::write(&own, "mine").unwrap();
    if engine == Engine::Sqlite {
        let busy = server.command().args(["demo", "--fresh", "--listen", "127.0.0.1:0"]).output().unwrap();
        refused(&busy, 7, "another Watchpost server uses");
        assert_eq!(note(&server), (true, 2_000), "nothing is taken from under a server that runs");
    }
    assert_eq!(server.stop(), Some(0));
    let fresh = ["demo", "--fresh", "--no-live", "--events", "1500"];
    match engine {
        Engine::Sqlite => {
            server.set_arguments(&fresh);
            server.restart();
            assert_eq!(note(&server), (false, 1_500));
        }
        Engine::Postgres => {
            let refusal =
                server.command().args(fresh).env("WATCHPOST_LISTEN", "127.0.0.1:0").output().unwrap();
            refused(&refusal, 5, "isn't made anew in its place");
            server.restart();
            assert_eq!(note(&server), (true, 2_000));
        }
    }
    assert_eq!(std::fs::read_to_string(own).unwrap(), "mine", "other files stay");
}

fn something_goes_on_happening(engine: Engine) {
    let server = Server::running(engine, &[], &["demo", "--events", "1000"]);
    let rob = server.log_in("rob", PASSWORD);
    let late = Instant::now() + Duration::from_secs(60);
    while count(&rob, "/api/v1/events/?since=-1m") == 0 || count(&rob, "/api/v1/events/") < 1_001 {
        assert!(Instant::now() < late, "nothing happens");
    }
    let newest = rob.get("/api/v1/events/?page_size=1").expect(200)["results"][0].clone();
    assert!(newest["sensor_key"].as_i64().is_some_and(|key| (1..=3).contains(&key)), "{newest}");
    drop(rob);
    assert_eq!(server.stop(), Some(0), "what goes on stops with the server");
}

fn what_is_no_demo_is_left_alone(engine: Engine) {
    let server = Server::start(engine);
    let before = server.admin().event("HIGH", "a real one");
    let demo = |server: &Server, more: &[&str]| {
        let mut command = server.command();
        command.args(["demo", "--fill-only"]).args(more);
        command.output().unwrap()
    };
    let folder: &[&str] = if engine == Engine::Sqlite { &["watchpost-data"] } else { &[] };
    assert_eq!(server.stop(), Some(0));
    for more in [&[][..], &["--fresh"]] {
        refused(&demo(&server, &[folder, more].concat()), 5, "no demo, and is left as it is");
    }
    let mut server = server;
    server.restart();
    let admin = server.admin();
    assert_eq!(count(&admin, "/api/v1/events/"), 1);
    assert_eq!(admin.get(&format!("/api/v1/events/{}/", before["id"])).status, 200);
    assert_eq!(count(&admin, "/api/v1/users/"), 1);
    drop(admin);
    assert_eq!(server.stop(), Some(0));
    // Somebody else's tables.
    match engine {
        Engine::Sqlite => {
            let other = rusqlite::Connection::open(server.folder.path().join("other.db")).unwrap();
            other.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
            other.close().unwrap();
            let output = demo(&server, &["--database-url", "sqlite://other.db"]);
            refused(&output, 5, "no demo");
        }
        Engine::Postgres => {
            server
                .database()
                .run("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE recipes (name TEXT)");
            refused(&demo(&server, &[]), 5, "no demo");
            assert_eq!(
                server.database().count("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'"),
                1
            );
            // What is empty is taken.
            server.database().run("DROP TABLE recipes");
            let filled = demo(&server, &["--events", "1000"]);
            assert!(filled.status.success(), "{}", said(&filled));
            assert_eq!(server.database().count("SELECT COUNT(*) FROM events"), 1_000);
        }
    }
}

#[test]
fn a_demo_is_served_to_this_machine_only() {
    let folder = TempDir::new().unwrap();
    let strangers = "isn't served at";
    refused(&run(&folder, &["demo", "--listen", "0.0.0.0:0"], &[]), 3, strangers);
    refused(&run(&folder, &["demo"], &[("PORT", "0")]), 3, strangers);
    refused(&run(&folder, &["demo"], &[("WATCHPOST_LISTEN", "[::]:0")]), 3, strangers);
    let public = [("WATCHPOST_PUBLIC_URL", "https://watchpost.example.com")];
    refused(&run(&folder, &["demo"], &public), 3, strangers);
    assert!(!folder.path().join("watchpost-demo").exists(), "nothing was made");
    let made = run(&folder, &["demo", "mine", "--fill-only", "--events", "1000"], &[]);
    assert!(made.status.success(), "{}", said(&made));
    // Nor by the plain server.
    let output = run(&folder, &["serve", "--data-dir", "mine", "--listen", "0.0.0.0:0"], &[]);
    refused(&output, 3, strangers);
    let help = run(&folder, &["demo", "--help"], &[]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in
        ["--events", "--seed", "--until", "--fresh", "--fill-only", "--no-live", "[DIR]", "./watchpost-demo"]
    {
        assert!(help.contains(option), "{option}: {help}");
    }
}

#[test]
fn what_is_asked_for_has_to_make_sense() {
    let folder = TempDir::new().unwrap();
    for wrong in [
        &["--events", "10"][..],
        &["--events", "many"],
        &["--seed", "-1"],
        &["--until", "+1d"],
        &["--until", "yesterday"],
        &["--until", "2024-01-03"],
        &["here", "--data-dir", "there"],
    ] {
        let output = run(&folder, &[&["demo", "--fill-only"], wrong].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", said(&output));
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
    // The folder of the real server is another one, whatever the environment says.
    let environment = [("WATCHPOST_DATA_DIR", "real")];
    let made = run(&folder, &["demo", "--fill-only", "--events", "1000"], &environment);
    assert!(made.status.success(), "{}", said(&made));
    let exists = |name: &str| Path::new(folder.path()).join(name).exists();
    assert!(exists("watchpost-demo/watchpost.db") && !exists("real"));
}

#[test]
fn a_week_that_broke_off_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let fill = ["demo", "--fill-only", "--events", "1000"];
    let made = run(&folder, &fill, &[]);
    assert!(made.status.success(), "{}", said(&made));
    let path = folder.path().join("watchpost-demo/watchpost.db");
    let people = || {
        let database = rusqlite::Connection::open(&path).unwrap();
        database.query_row("SELECT COUNT(*) FROM users", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    // As a power failure leaves it: the last step of all is missing.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("DELETE FROM users WHERE username = 'lea'", [])
        .unwrap();
    assert_eq!(people(), 3);
    let again = run(&folder, &fill, &[]);
    assert!(again.status.success() && said(&again).contains("broke off"), "{}", said(&again));
    assert_eq!(people(), 4);
    let third = run(&folder, &fill, &[]);
    assert!(third.status.success() && !said(&third).contains("Making"), "{}", said(&third));
}
