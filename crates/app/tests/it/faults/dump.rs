//! A dump that is restored into another cluster of PostgreSQL, whose transaction numbers have nothing to do with those
//! that the feed was written under.

use super::cluster::{Cluster, folder, program};
use crate::database::Database;
use crate::listener::Listener;
use crate::server::{Client, Engine, Server};
use std::collections::BTreeSet;
use std::process::Command;

/// Alerts that the dumped database tells of.
const ALERTS: usize = 40;
/// Transactions that put a cluster ahead of another.
const AHEAD: usize = 4_000;
/// Sessions and keys go on where the data does.
const SECRET: (&str, &str) = ("SECRET_KEY", "a-secret-that-is-moved-along-with-the-data");

/// How the data is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As docs/operations.md says.
    Whole,
    /// The tables first and then the rows, with all triggers in place.
    InParts,
}

fn carried_out(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Moves a database into another, which is empty.
fn move_to(from: &Database, to: &Database, way: Way) {
    let folder = folder();
    let dump = folder.path().join("watchpost.dump");
    carried_out(
        program("pg_dump")
            .args(["--format=custom", "--file"])
            .arg(&dump)
            .arg(from.url())
            .current_dir(folder.path()),
    );
    let parts: &[&[&str]] = match way {
        Way::Whole => &[&[]],
        Way::InParts => &[&["--schema-only"], &["--data-only"]],
    };
    for part in parts {
        carried_out(
            program("pg_restore")
                .args(["--no-owner", "--exit-on-error", "--dbname", &to.url()])
                .args(*part)
                .arg(&dump)
                .current_dir(folder.path()),
        );
    }
}

/// Uses up transaction numbers.
fn go_ahead(database: &Database) {
    database.run(&format!(
        "DO $$ BEGIN FOR i IN 1..{AHEAD} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    ));
}

fn next_transaction(database: &Database) -> i64 {
    database.count("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)")
}

fn listen(server: &Server, client: &Client<'_>, last: &str) -> Listener {
    Listener::open(&server.address, "/api/v1/stream?topics=alerts", &client.headers, last)
}

/// Alerts that a stream tells of, up to one.
fn told_up_to(stream: &mut Listener, last: i64) -> Vec<i64> {
    let mut told = Vec::new();
    while told.last() != Some(&last) {
        told.push(stream.expect("alert").data["id"].as_i64().unwrap());
    }
    told
}

/// Restores what a server of one cluster wrote into another, and goes on there with readers who were at the first.
fn moved(from: Server, to: &Database, way: Way) -> Server {
    let admin = from.admin();
    let mut stream = listen(&from, &admin, "");
    let alerts: BTreeSet<i64> = (0..ALERTS)
        .map(|n| admin.event("CRITICAL", &format!("needle{n} before{way:?}"))["alert"].as_i64().unwrap())
        .collect();
    // One reader has seen half of it, another all.
    let half = *alerts.iter().nth(ALERTS / 2).unwrap();
    told_up_to(&mut stream, half);
    let in_between = stream.last.clone();
    told_up_to(&mut stream, *alerts.last().unwrap());
    let at_the_end = stream.last.clone();
    let key = from.sensor().headers;
    drop(stream);
    assert_eq!(from.stop(), Some(0));
    move_to(from.database(), to, way);
    // Two nodes start at once on what was restored.
    let server = std::thread::scope(|both| {
        let other = both.spawn(|| Server::on(to.again(), &[SECRET]));
        let server = Server::on(to.again(), &[SECRET]);
        drop(other.join().unwrap());
        server
    });
    {
        let admin = server.admin();
        // What was there is told of no more: those who come back load it, and hear what comes from then on.
        let mut readers = [in_between.as_str(), &at_the_end].map(|last| listen(&server, &admin, last));
        for reader in &mut readers {
            assert_eq!(reader.expect("reset").data["reason"], "forgotten");
        }
        let mut sensor = server.anonymous();
        sensor.headers = key;
        let new = sensor.event("CRITICAL", &format!("after{way:?}"))["alert"].as_i64().unwrap();
        assert!(!alerts.contains(&new));
        for reader in &mut readers {
            assert_eq!(told_up_to(reader, new), [new], "each alert once, and none again");
        }
        // Later numbers bring nothing of what was restored either.
        go_ahead(to);
        let last = sensor.event("CRITICAL", &format!("behind{way:?}"))["alert"].as_i64().unwrap();
        for reader in &mut readers {
            assert_eq!(told_up_to(reader, last), [last]);
        }
        let place = readers[0].last.clone();
        let more = sensor.event("CRITICAL", "needle for those who come back")["alert"].as_i64().unwrap();
        assert_eq!(told_up_to(&mut listen(&server, &admin, &place), more), [more]);
        for (word, count) in [("before", ALERTS), ("after", 1), ("behind", 1)] {
            let found = admin.get(&format!("/api/v1/alerts?search={word}{way:?}")).expect(200);
            assert_eq!(found["count"], count, "{word}");
        }
    }
    server
}

#[test]
fn a_dump_is_gone_on_with_in_another_cluster() {
    let (_folder, cluster) = Cluster::fresh();
    let smaller = cluster.database();
    let first = Server::with(Engine::Postgres, &[SECRET]);
    go_ahead(first.database());
    assert!(next_transaction(first.database()) > next_transaction(&smaller) + AHEAD as i64 / 2);
    let second = moved(first, &smaller, Way::Whole);
    // And back again, to larger numbers.
    let larger = Database::create();
    go_ahead(&larger);
    go_ahead(&larger);
    assert!(next_transaction(&larger) > next_transaction(&smaller));
    moved(second, &larger, Way::InParts);
}

/// Where the cluster doesn't say which it is, or a feed is from before that was written down, entries that it hasn't come
/// to yet show it.
#[test]
fn a_feed_that_is_ahead_of_its_cluster_begins_anew() {
    let mut server = Server::start(Engine::Postgres);
    let mut alerts = Vec::new();
    let place = {
        let admin = server.admin();
        let mut stream = listen(&server, &admin, "");
        alerts.push(admin.event("CRITICAL", "before")["alert"].as_i64().unwrap());
        told_up_to(&mut stream, alerts[0]);
        stream.last.clone()
    };
    assert_eq!(server.stop(), Some(0));
    server.database().run("UPDATE feed SET xact = xact + 1000000; UPDATE feed_origin SET cluster = ''");
    server.restart();
    let admin = server.admin();
    let mut stream = listen(&server, &admin, &place);
    assert_eq!(stream.expect("reset").data["reason"], "forgotten");
    alerts.push(admin.event("CRITICAL", "after")["alert"].as_i64().unwrap());
    assert_eq!(told_up_to(&mut stream, alerts[1]), [alerts[1]]);
    assert_eq!(server.database().count("SELECT COUNT(*) FROM feed WHERE xact > 1000000"), 0);
}

/// A database that is exchanged under a server isn't the one whose ids and places it remembers.
#[test]
fn a_database_that_is_exchanged_under_a_server_is_not_written_to() {
    let (_folder, cluster) = Cluster::fresh();
    let database = cluster.database();
    let mut server = Server::on(database.again(), &[]);
    let sensor = server.sensor().headers;
    let sent = |server: &Server| {
        let mut client = server.anonymous();
        client.headers = sensor.clone();
        let body = r#"{"source_name":"fw","event_type":"t","severity":"HIGH","description":"x"}"#;
        client.post_json("/api/v1/events", body).status
    };
    assert_eq!(sent(&server), 201);
    database.administer(
        "ALTER DATABASE watchpost WITH ALLOW_CONNECTIONS false;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'watchpost';",
    );
    database.administer("ALTER DATABASE watchpost RENAME TO earlier");
    database.administer("ALTER DATABASE earlier WITH ALLOW_CONNECTIONS true");
    database.administer("CREATE DATABASE watchpost TEMPLATE earlier");
    assert_eq!(sent(&server), 503);
    assert_eq!(server.anonymous().get("/readyz").status, 503);
    assert!(server.log.lock().unwrap().contains("another database than when this server started"));
    assert_eq!(database.count("SELECT COUNT(*) FROM events"), 1);
    server.kill();
    server.restart();
    assert_eq!(sent(&server), 201);
}
