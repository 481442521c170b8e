//! A full disk: what people do goes on, events are refused, and it heals by itself.

use super::{rounds, start_refused};
use crate::ledger::Ledger;
use crate::server::{ADMIN, Answer, Engine, PASSWORD, Server};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LATE: Duration = Duration::from_secs(60);

/// A disk of a few MiB, for as long as it is held.
pub(super) struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    pub(super) fn new(size: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test mounts a small disk: run it as root, or all of them with `unshare -Urm cargo xtask test`"
        );
        Self { folder }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing more goes in.
    fn fill(&self) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.filler()).unwrap();
        for size in [1 << 20, 4_096, 1] {
            let block = vec![7_u8; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.path()).status().ok();
    }
}

fn server_on(disk: &SmallDisk, mutant: &str) -> Server {
    let data = disk.path().join("data");
    Server::with(Engine::Sqlite, &[("WATCHPOST_DATA_DIR", data.to_str().unwrap()), ("FAULT_MUTANT", mutant)])
}

fn log_in(server: &Server) -> Answer {
    let body = format!(r#"{{"username":"{ADMIN}","password":"{PASSWORD}"}}"#);
    server.anonymous().post_json("/api/v1/auth/login", &body)
}

/// Sends events until they are refused for want of room.
fn write_until_refused(server: &Server, ledger: &Ledger) {
    let late = Instant::now() + LATE;
    while ledger.send(server, true) != Some(503) {
        assert!(Instant::now() < late, "events are never refused");
    }
}

/// What holds while the disk is full.
fn is_as_it_should_be_when_full(server: &Server, ledger: &Ledger) {
    let admin = server.admin();
    let refused = admin.post_json(
        "/api/v1/events",
        r#"{"source_name":"fw","event_type":"t","severity":"LOW","description":"unsaid"}"#,
    );
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("disk is full"), "{}", refused.text);
    assert_ne!(refused.header("retry-after"), "");
    let ready = server.anonymous().get("/readyz");
    assert_eq!((ready.status, ready.json()["writing"].as_str()), (503, Some("disk full")));
    assert_eq!(server.anonymous().get("/healthz").status, 200);
    assert_eq!(admin.get("/api/v1/events?page_size=5").status, 200, "reading goes on");
    for n in 0..40 {
        assert_eq!(ledger.send(server, n % 2 == 0), Some(503));
        if n % 5 == 0 {
            let answer = log_in(server);
            assert_eq!(answer.status, 200, "logging in goes on: {}", answer.text);
        }
    }
    // What people do with alerts goes on, too.
    let alerts = admin.get("/api/v1/alerts?status=OPEN&page_size=1").expect(200);
    if let Some(id) = alerts["results"][0]["id"].as_i64() {
        assert_eq!(admin.post_json(&format!("/api/v1/alerts/{id}/ack"), "{}").status, 200);
    }
    let log = server.log.lock().unwrap();
    let complaints =
        log.lines().filter(|l| l.contains("\"level\":\"ERROR\"") || l.contains("\"level\":\"WARN\""));
    assert!(complaints.count() <= 3, "one line a minute, not one a request:\n{log}");
}

fn heals(server: &Server, ledger: &Ledger, disk: &SmallDisk) {
    disk.free();
    let late = Instant::now() + LATE;
    while server.anonymous().get("/readyz").status != 200 {
        assert!(Instant::now() < late, "it doesn't heal");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ledger.send(server, true), Some(201));
}

#[test]
fn a_full_disk_refuses_events_lets_people_in_and_heals() {
    let disk = SmallDisk::new("64m");
    let mut server = server_on(&disk, "");
    let ledger = Ledger::new(&server);
    for round in 0..rounds(2) {
        for _ in 0..10 {
            ledger.send(&server, true);
        }
        disk.fill();
        write_until_refused(&server, &ledger);
        is_as_it_should_be_when_full(&server, &ledger);
        // Others take the room that was freed: what Watchpost has is enough.
        disk.fill();
        is_as_it_should_be_when_full(&server, &ledger);
        if round % 2 == 0 {
            assert_eq!(server.stop(), Some(0));
            server.restart();
            is_as_it_should_be_when_full(&server, &ledger);
        }
        heals(&server, &ledger, &disk);
    }
    ledger.check(&server);
}

#[test]
fn a_full_disk_without_a_reserve_is_noticed() {
    let disk = SmallDisk::new("64m");
    let server = server_on(&disk, "no_reserve");
    let ledger = Ledger::new(&server);
    disk.fill();
    write_until_refused(&server, &ledger);
    assert!((0..200).any(|_| log_in(&server).status != 200), "without a reserve people are locked out");
}

fn refused_start(data: &Path) -> (Option<i32>, String) {
    start_refused(&[("WATCHPOST_DATA_DIR", data.to_str().unwrap())], data)
}

#[test]
fn a_first_start_on_a_full_disk_leaves_nothing_that_stops_the_next() {
    let disk = SmallDisk::new("60m");
    let data = disk.path().join("data");
    std::fs::create_dir(&data).unwrap();
    disk.fill();
    let (code, said) = refused_start(&data);
    assert!(matches!(code, Some(4 | 7)), "{code:?}: {said}");
    disk.free();
    let server = server_on(&disk, "");
    assert_eq!(log_in(&server).status, 200);
}

#[test]
fn half_a_secret_is_made_anew_only_where_nothing_was_stored() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("secret.key"), "").unwrap();
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_DATA_DIR", data.to_str().unwrap())]);
    assert_eq!(log_in(&server).status, 200);
    assert_eq!(server.stop(), Some(0));
    assert!(std::fs::read_to_string(data.join("secret.key")).unwrap().trim().len() >= 32);
    std::fs::write(data.join("secret.key"), "half").unwrap();
    let (code, said) = refused_start(&data);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("too short") && said.contains("backup"), "{said}");
    assert_eq!(std::fs::read_to_string(data.join("secret.key")).unwrap(), "half", "nothing is thrown away");
}
