//! Files in each other's place: backups, and logs and indexes of other times.

use super::{rounds, start_refused};
use crate::ledger::{Ledger, all};
use crate::server::{Engine, Server};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const DATABASE: &str = "watchpost.db";
const LOG: &str = "watchpost.db-wal";
const INDEX: &str = "watchpost-search.db";

fn data(server: &Server) -> PathBuf {
    server.folder.path().join("watchpost-data")
}

fn server_on(data: &Path) -> Server {
    Server::with(Engine::Sqlite, &[("WATCHPOST_DATA_DIR", data.to_str().unwrap())])
}

fn signal(server: &Server, name: &str) {
    let told = Command::new("kill").args([name, &server.process().to_string()]).status().unwrap();
    assert!(told.success());
}

/// Copies a data directory as it is at one moment, as a file system's snapshot does.
fn snapshot(server: &Server) -> TempDir {
    let copy = TempDir::new().unwrap();
    signal(server, "-STOP");
    for entry in std::fs::read_dir(data(server)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    signal(server, "-CONT");
    copy
}

/// Makes a backup by the command, while the server runs; the directory with it.
fn backup(server: &Server, name: &str) -> PathBuf {
    let directory = server.folder.path().join(name);
    let made = server.command().arg("backup").arg(&directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    directory
}

/// Whether what is stored holds all that was acknowledged before a moment, with its alerts, and nothing that wasn't sent.
fn holds(server: &Server, acknowledged: &[(String, i64)]) -> bool {
    let admin = server.admin();
    let stored: BTreeMap<i64, (String, bool)> = all(&admin, "/api/v1/events?page_size=100")
        .iter()
        .map(|event| {
            let severe = matches!(event["severity"].as_str().unwrap(), "HIGH" | "CRITICAL");
            (event["id"].as_i64().unwrap(), (event["description"].as_str().unwrap().to_owned(), severe))
        })
        .collect();
    let mut raised: Vec<i64> = all(&admin, "/api/v1/alerts?page_size=100")
        .iter()
        .map(|alert| alert["event_id"].as_i64().unwrap())
        .collect();
    raised.sort_unstable();
    let severe: Vec<i64> = stored.iter().filter(|(_, (_, severe))| *severe).map(|(id, _)| *id).collect();
    raised == severe
        && stored.values().all(|(description, _)| description.starts_with("number "))
        && acknowledged
            .iter()
            .all(|(description, id)| stored.get(id).is_some_and(|found| found.0 == *description))
}

/// Does something while events come in.
fn under_load<T>(server: &Server, ledger: &Ledger, what: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for many in [true, false] {
            let done = &done;
            scope.spawn(
                move || {
                    while !done.load(Ordering::Relaxed) && ledger.send(server, many).is_some() {}
                },
            );
        }
        let came = what();
        done.store(true, Ordering::Relaxed);
        came
    })
}

/// How a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// A copy of the file after a stop.
    Cold,
    /// By the command, from a log that has gone since.
    ByCommand,
    /// By the command, from the same log that stays behind.
    ByCommandFromThisLog,
    /// Page by page, as SQLite's own backup makes it.
    ByPages,
}

/// What a server does that finds a restored file beside the log of later: its exit code, and what it says. With mistakes of
/// the server that wrote the log, and of the one that finds it.
fn restored_beside_a_log(made: Made, before: &str, mutant: &str) -> (Option<i32>, String) {
    let pages = if made == Made::ByCommandFromThisLog { "100000" } else { "60" };
    let settings = [("FAULT_CHECKPOINT_PAGES", pages), ("FAULT_MUTANT", before)];
    let mut server = Server::with(Engine::Sqlite, &settings);
    let ledger = Ledger::new(&server);
    let write = |server: &Server| (0..20).for_each(|_| assert_eq!(ledger.send(server, true), Some(201)));
    write(&server);
    let restored = match made {
        Made::Cold => {
            assert_eq!(server.stop(), Some(0));
            let kept = std::fs::read(data(&server).join(DATABASE)).unwrap();
            server.restart();
            kept
        }
        Made::ByCommand | Made::ByCommandFromThisLog => {
            std::fs::read(backup(&server, "backup").join(DATABASE)).unwrap()
        }
        Made::ByPages => {
            let copy = snapshot(&server);
            let file = copy.path().join(DATABASE);
            let opened = rusqlite::Connection::open(&file).unwrap();
            opened.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            opened.close().unwrap();
            std::fs::read(file).unwrap()
        }
    };
    let kept = ledger.acknowledged();
    write(&server);
    server.kill();
    let (database, log) = (data(&server).join(DATABASE), data(&server).join(LOG));
    std::fs::write(&database, &restored).unwrap();
    let left_behind = std::fs::read(&log).unwrap();
    let directory = data(&server);
    let (code, said) = start_refused(
        &[("WATCHPOST_DATA_DIR", directory.to_str().unwrap()), ("FAULT_MUTANT", mutant)],
        server.folder.path(),
    );
    if before.is_empty() && mutant.is_empty() {
        assert!(std::fs::read(&database).unwrap() == restored, "the file was written to");
        assert!(std::fs::read(&log).unwrap() == left_behind, "the log was written to");
        // What the message says to do.
        std::fs::rename(&log, log.with_extension("aside")).unwrap();
        std::fs::remove_file(data(&server).join("watchpost.db-shm")).unwrap();
        server.forget_extra();
        server.restart();
        assert!(holds(&server, &kept), "{made:?}: the backup's data");
        let found = server.admin().get("/api/v1/events?search=number").expect(200);
        assert_eq!(
            found["count"].as_i64(),
            Some(kept.len() as i64),
            "search knows nothing of what came later"
        );
    }
    (code, said)
}

#[test]
fn a_log_that_stayed_beside_a_restored_file_is_refused() {
    for made in [Made::Cold, Made::ByCommand, Made::ByCommandFromThisLog, Made::ByPages] {
        let (code, said) = restored_beside_a_log(made, "", "");
        assert_eq!(code, Some(5), "{made:?}: {said}");
        assert!(
            said.contains("watchpost.db and ") && said.contains("watchpost.db-wal don't belong together"),
            "{said}"
        );
    }
}

#[test]
fn a_log_that_is_not_looked_at_and_one_without_marks_are_noticed() {
    // The first doesn't look; the second writes no marks, so that there is nothing to see.
    for (mutant, from_the_beginning) in [("log_unchecked", ""), ("", "log_unbound")] {
        let (_, said) = restored_beside_a_log(Made::Cold, from_the_beginning, mutant);
        assert!(!said.contains("don't belong together"), "{said}");
    }
}

#[test]
fn a_log_without_its_file_is_refused() {
    let server = Server::start(Engine::Sqlite);
    Ledger::new(&server).send(&server, true);
    server.kill();
    std::fs::remove_file(data(&server).join(DATABASE)).unwrap();
    let log = std::fs::read(data(&server).join(LOG)).unwrap();
    let directory = data(&server);
    let settings = [("WATCHPOST_DATA_DIR", directory.to_str().unwrap())];
    let (code, said) = start_refused(&settings, server.folder.path());
    assert_eq!(code, Some(5), "{said}");
    assert!(std::fs::read(data(&server).join(LOG)).unwrap() == log, "what was acknowledged is in it");
}

#[test]
fn all_files_together_start_whenever_they_were_copied() {
    let fresh = || Server::with(Engine::Sqlite, &[("FAULT_CHECKPOINT_PAGES", "40")]);
    let mut server = fresh();
    let mut ledger = Ledger::new(&server);
    for round in 0..rounds(5) {
        // What the check costs grows with what is stored.
        if round % 10 == 9 {
            server = fresh();
            ledger = Ledger::new(&server);
        }
        let (copy, acknowledged) = under_load(&server, &ledger, || {
            std::thread::sleep(Duration::from_millis(50 + super::scatter(round) as u64 % 150));
            let acknowledged = ledger.acknowledged();
            (snapshot(&server), acknowledged)
        });
        assert!(
            holds(&server_on(copy.path()), &acknowledged),
            "a snapshot lacks what was acknowledged before it"
        );
    }
    // A copy without the log is what a snapshot must not be.
    let server = Server::start(Engine::Sqlite);
    let ledger = Ledger::new(&server);
    ledger.send(&server, true);
    let copy = snapshot(&server);
    std::fs::remove_file(copy.path().join(LOG)).unwrap();
    assert!(!holds(&server_on(copy.path()), &ledger.acknowledged()), "a lost log goes unnoticed");
}

#[test]
fn a_backup_made_under_load_holds_what_was_acknowledged_before_it() {
    let fresh = || Server::with(Engine::Sqlite, &[("FAULT_CHECKPOINT_PAGES", "200")]);
    let mut server = fresh();
    let mut ledger = Ledger::new(&server);
    for round in 0..rounds(2) {
        if round % 10 == 9 {
            server = fresh();
            ledger = Ledger::new(&server);
        }
        let (directory, acknowledged) = under_load(&server, &ledger, || {
            std::thread::sleep(Duration::from_millis(200));
            let acknowledged = ledger.acknowledged();
            (backup(&server, &format!("backup-{round}")), acknowledged)
        });
        // What came in behind the backup is missing in it.
        ledger.send(&server, true);
        let restored = server_on(&directory);
        assert!(holds(&restored, &acknowledged), "the backup lacks what was acknowledged before it");
        assert!(!holds(&restored, &ledger.acknowledged()), "a backup that is too old goes unnoticed");
        restored.admin().event("HIGH", "number one after the restore");
    }
    ledger.check(&server);
    let directory = backup(&server, "the-last");
    // What is there is not written over.
    let again = server.command().arg("backup").arg(&directory).output().unwrap();
    assert!(!again.status.success());
}

#[test]
fn a_dump_of_postgres_made_under_load_holds_what_was_acknowledged_before_it() {
    let server = Server::start(Engine::Postgres);
    let ledger = Ledger::new(&server);
    let file = server.folder.path().join("watchpost.dump");
    let run = |program: &str, arguments: &[&str]| {
        let ran = Command::new(program).args(arguments).output();
        let ran = ran.unwrap_or_else(|error| {
            panic!("{program} is needed for this test ({error}): run `cargo xtask test`")
        });
        assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let acknowledged = under_load(&server, &ledger, || {
        std::thread::sleep(Duration::from_millis(300));
        let acknowledged = ledger.acknowledged();
        run("pg_dump", &["--format=custom", "--file", file.to_str().unwrap(), &server.database().url()]);
        acknowledged
    });
    let mut restored = Server::start(Engine::Postgres);
    restored.kill();
    restored.database().run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    run("pg_restore", &["--no-owner", "--dbname", &restored.database().url(), file.to_str().unwrap()]);
    let secret = std::fs::read_to_string(data(&server).join("secret.key")).unwrap();
    restored.set(&[("SECRET_KEY", secret.trim())]);
    restored.restart();
    assert!(holds(&restored, &acknowledged), "the dump lacks what was acknowledged before it");
    restored.admin().event("HIGH", "number one after the restore");
    assert!(!holds(&restored, &ledger.acknowledged()), "a dump that is too old goes unnoticed");
}

/// A server whose database is older than its search index, in which an id of then is another alert's now; whether search knows.
fn search_after_a_restore(mutant: &str) -> bool {
    let mut server = Server::with(Engine::Sqlite, &[("FAULT_MUTANT", mutant)]);
    let quiet = server.admin().event("LOW", "needle of before")["id"].as_i64().unwrap();
    assert_eq!(server.admin().get("/api/v1/events?search=needle").expect(200)["count"], 1);
    assert_eq!(server.stop(), Some(0));
    let kept = std::fs::read(data(&server).join(DATABASE)).unwrap();
    server.restart();
    let raised = server.admin().post_json(&format!("/api/v1/events/{quiet}/alert"), r#"{"severity":"HIGH"}"#);
    assert_eq!(raised.status, 201, "{}", raised.text);
    assert_eq!(server.admin().get("/api/v1/alerts?search=needle").expect(200)["count"], 1);
    assert_eq!(server.stop(), Some(0));
    std::fs::write(data(&server).join(DATABASE), kept).unwrap();
    server.restart();
    server.admin().event("HIGH", "haystack of after");
    let count = |search: &str| {
        server.admin().get(&format!("/api/v1/alerts?search={search}")).expect(200)["count"].as_i64().unwrap()
    };
    (count("needle"), count("haystack")) == (0, 1)
}

#[test]
fn an_index_ahead_of_a_restored_database_is_made_anew_and_one_that_is_kept_is_noticed() {
    assert!(search_after_a_restore(""), "search finds what isn't there");
    assert!(!search_after_a_restore("index_unbound"), "the mistake is not noticed");
}

#[test]
fn an_index_of_before_or_of_another_database_comes_to_the_same() {
    let mut server = Server::start(Engine::Sqlite);
    let index = |server: &Server| data(server).join(INDEX);
    server.admin().event("HIGH", "needle one");
    assert_eq!(server.admin().get("/api/v1/alerts?search=needle").expect(200)["count"], 1);
    assert_eq!(server.stop(), Some(0));
    let before = std::fs::read(index(&server)).unwrap();
    server.restart();
    server.admin().event("HIGH", "needle two");
    assert_eq!(server.admin().get("/api/v1/alerts?search=needle").expect(200)["count"], 2);
    let other = Server::start(Engine::Sqlite);
    other.admin().event("HIGH", "needle elsewhere");
    assert_eq!(other.admin().get("/api/v1/alerts?search=needle").expect(200)["count"], 1);
    assert_eq!(other.stop(), Some(0));
    for replacement in [before, std::fs::read(index(&other)).unwrap()] {
        assert_eq!(server.stop(), Some(0));
        std::fs::write(index(&server), replacement).unwrap();
        server.restart();
        for (search, wanted) in [("needle", 2), ("one", 1), ("two", 1), ("elsewhere", 0)] {
            let found = server.admin().get(&format!("/api/v1/alerts?search={search}")).expect(200);
            assert_eq!(found["count"], wanted, "{search}");
        }
    }
}

/// What `doctor` says about the data, and whether it is good.
fn examined(server: &Server) -> (bool, String) {
    let output = server.command().args(["doctor", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let data = lines.filter(|line| matches!(line["check"].as_str(), Some("data" | "database")));
    let bad: Vec<_> = data.filter(|line| line["ok"] == false).map(|line| line["said"].to_string()).collect();
    assert_eq!(output.status.code(), Some(if said.contains("\"ok\":false") { 8 } else { 0 }), "{said}");
    (bad.is_empty(), bad.join(" "))
}

#[test]
fn what_is_damaged_is_found_by_a_start_and_by_doctor() {
    let server = Server::start(Engine::Sqlite);
    let ledger = Ledger::new(&server);
    (0..40).for_each(|_| assert_eq!(ledger.send(&server, true), Some(201)));
    assert_eq!(server.admin().get("/api/v1/events?search=number").expect(200)["count"], 40 * 17);
    assert!(examined(&server).0, "beside the server: {}", examined(&server).1);
    assert_eq!(server.stop(), Some(0));
    assert!(examined(&server).0, "{}", examined(&server).1);
    let index = rusqlite::Connection::open(data(&server).join(INDEX)).unwrap();
    index.execute("UPDATE search_shards SET texts = texts - 1 WHERE kind = 1", []).unwrap();
    index.close().unwrap();
    let (good, said) = examined(&server);
    assert!(!good && said.contains("679 texts are indexed of 680 events"), "{said}");
    // A page in the middle, as a disk leaves it that lost a write.
    let mut bytes = std::fs::read(data(&server).join(DATABASE)).unwrap();
    let middle = bytes.len() / 8_192 * 4_096;
    bytes[middle..middle + 4_096].fill(0);
    std::fs::write(data(&server).join(DATABASE), bytes).unwrap();
    let directory = data(&server);
    let settings = [("WATCHPOST_DATA_DIR", directory.to_str().unwrap())];
    let (code, said) = start_refused(&settings, server.folder.path());
    assert!(code == Some(5) && said.contains("is damaged"), "{code:?}: {said}");
    assert!(!examined(&server).0, "doctor finds nothing");
}
