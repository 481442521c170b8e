//! The log of SQLite: a checkpoint that fails, and a log that somebody holds.

use super::inject::Injected;
use super::{rounds, scatter};
use crate::ledger::Ledger;
use crate::server::{Client, Engine, Server};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the log may keep of the disk (`LOG_KEPT_BYTES`), and a little.
const LOG_KEPT: u64 = 17 << 20;
const LATE: Duration = Duration::from_secs(60);

fn data(server: &Server, name: &str) -> PathBuf {
    server.folder.path().join("watchpost-data").join(name)
}

fn log_bytes(server: &Server) -> u64 {
    std::fs::metadata(data(server, "watchpost.db-wal")).map_or(0, |found| found.len())
}

/// Many events at once, to fill the log.
fn write_much(admin: &Client<'_>) {
    let line = serde_json::json!({
        "source_name": "fw", "event_type": "t", "severity": "LOW", "description": "x".repeat(900)
    });
    let body = format!("{line}\n").repeat(900);
    assert_eq!(admin.send("POST", "/api/v1/events", "application/x-ndjson", body.as_bytes()).status, 201);
}

/// Whether a server ends itself when its database file can't be synced; what it acknowledged is there after the next start.
fn ends_when_a_checkpoint_fails(round: usize, mutant: &str) -> bool {
    let pages = (200 - scatter(round) % 150).to_string();
    let mut server =
        Server::with(Engine::Sqlite, &[("FAULT_CHECKPOINT_PAGES", &pages), ("FAULT_MUTANT", mutant)]);
    let ledger = Ledger::new(&server);
    for n in 0..1 + round % 8 {
        ledger.send(&server, n % 2 == 0);
    }
    let file = data(&server, "watchpost.db");
    let injected = Injected::into(&server, &["fdatasync:error=EIO", "fsync:error=EIO"], Some(file.as_path()));
    let mut sent = 0;
    let mut code = None;
    // Each adds some twenty pages to the log.
    while code.is_none() && sent < 60 {
        sent += 1;
        ledger.send(&server, true);
        code = server.ended_within(Duration::ZERO);
    }
    let code =
        code.or_else(|| server.ended_within(Duration::from_secs(if mutant.is_empty() { 30 } else { 0 })));
    drop(injected);
    let Some(code) = code else { return false };
    assert_eq!(code, Some(1), "a failing disk ends the server, for a supervisor to start it again");
    server.forget_extra();
    server.restart();
    ledger.check(&server);
    true
}

#[test]
fn a_checkpoint_that_fails_ends_the_server_and_one_that_is_ignored_is_noticed() {
    let rounds = rounds(1);
    for round in 0..rounds {
        assert!(ends_when_a_checkpoint_fails(round, ""), "round {round}: the server went on");
    }
    println!("{rounds} checkpoints that failed, each ended the server, nothing lost");
    assert!(!ends_when_a_checkpoint_fails(0, "checkpoint_ignored"), "the mistake is not noticed");
}

#[test]
fn a_disk_that_fails_under_the_search_index_leaves_events_alone() {
    let mut server = Server::with(Engine::Sqlite, &[("FAULT_CHECKPOINT_PAGES", "50")]);
    let admin = server.admin();
    let file = data(&server, "watchpost-search.db");
    let injected = Injected::into(&server, &["fdatasync:error=EIO", "fsync:error=EIO"], Some(file.as_path()));
    let late = Instant::now() + LATE;
    let mut n = 0;
    while !server.log.lock().unwrap().contains("the disk failed") {
        assert!(Instant::now() < late, "the index never failed");
        n += 1;
        admin.event("HIGH", &format!("needle{n}end in the stack"));
    }
    admin.event("HIGH", "lastneedle");
    assert_eq!(server.anonymous().get("/readyz").status, 200, "events can still be stored");
    // Not what `get` does: it would wait for search to catch up.
    let found = admin.send("GET", "/api/v1/events?search=lastneedle", "", b"").expect(200);
    assert_eq!(found["search_is_behind"], true, "{found}");
    drop(injected);
    assert_eq!(server.stop(), Some(0));
    server.restart();
    let admin = server.admin();
    for wanted in ["lastneedle", &format!("needle{n}end"), "needle1end"] {
        assert_eq!(admin.get(&format!("/api/v1/events?search={wanted}")).expect(200)["count"], 1, "{wanted}");
    }
    assert_eq!(admin.get("/api/v1/events?search=stack").expect(200)["count"], n);
}

/// The size of the log after somebody held a snapshot while much was written, and let go of it.
fn log_after_a_held_snapshot(round: usize, mutant: &str, patience: Duration) -> u64 {
    let server = Server::with(Engine::Sqlite, &[("FAULT_MUTANT", mutant)]);
    let ledger = Ledger::new(&server);
    let admin = server.admin();
    let reader = rusqlite::Connection::open(data(&server, "watchpost.db")).unwrap();
    let snapshot = reader.unchecked_transaction().unwrap();
    snapshot.query_row("SELECT COUNT(*) FROM events", [], |_| Ok(())).unwrap();
    while log_bytes(&server) < (2 + scatter(round) as u64 % 4) * LOG_KEPT {
        write_much(&admin);
    }
    drop(snapshot);
    // It is copied within a second or so; what is written then makes it smaller.
    let late = Instant::now() + patience;
    while log_bytes(&server) > LOG_KEPT && Instant::now() < late {
        ledger.send(&server, true);
        std::thread::sleep(Duration::from_millis(50));
    }
    let bytes = log_bytes(&server);
    drop(reader);
    bytes
}

#[test]
fn the_log_shrinks_after_a_held_snapshot_and_one_that_stays_is_noticed() {
    let rounds = rounds(1);
    for round in 0..rounds {
        assert!(
            log_after_a_held_snapshot(round, "", LATE) <= LOG_KEPT,
            "round {round}: the log keeps what it took"
        );
    }
    println!("{rounds} logs that were held, each shrank");
    assert!(log_after_a_held_snapshot(0, "log_never_shrinks", Duration::from_secs(3)) > LOG_KEPT);
}
