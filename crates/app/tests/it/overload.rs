//! More than can be stored: what is refused is refused at the door, with a time to come back, and nothing is lost.

use crate::server::{Engine, Server};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Lets go of what keeps the database from being written.
type Release = Box<dyn FnOnce()>;

/// Keeps the database from being written, as a disk that stands still does.
fn hold(server: &Server) -> Release {
    match server.engine() {
        Engine::Sqlite => {
            let path = server.folder.path().join("watchpost-data/watchpost.db");
            let holder = rusqlite::Connection::open(path).unwrap();
            holder.busy_timeout(Duration::from_secs(5)).unwrap();
            holder.execute_batch("BEGIN IMMEDIATE").unwrap();
            Box::new(move || holder.execute_batch("ROLLBACK").unwrap())
        }
        Engine::Postgres => server.database().hold("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE"),
    }
}

fn a_store_that_stands_still(engine: Engine) {
    let server = Server::start(engine);
    let (admin, sensor) = (server.admin(), server.sensor());
    admin.event("HIGH", "before");
    let release = hold(&server);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sensor.event("HIGH", "waits for its commit"));
        // The first to be refused is refused because of the age of the one that waits.
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut others = Vec::new();
        let refused = loop {
            assert!(Instant::now() < deadline, "nobody is ever refused");
            let later = server.sensor_like(&sensor);
            let sent = scope.spawn(move || later.send("POST", "/api/v1/events", "application/json", EVENT));
            let patience = Instant::now() + Duration::from_millis(300);
            while !sent.is_finished() && Instant::now() < patience {
                std::thread::yield_now();
            }
            if sent.is_finished() {
                break sent.join().unwrap();
            }
            others.push(sent);
        };
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text);
        assert_eq!(refused.json()["code"], "unavailable");
        let started = Instant::now();
        assert_eq!(admin.get("/healthz").status, 200);
        assert_eq!(admin.get("/api/v1/alerts").expect(200)["count"], 1, "reading goes on");
        assert!(started.elapsed() < Duration::from_secs(2), "and nobody waits for it");
        release();
        assert!(waiting.join().unwrap()["alert"].is_i64(), "who waited is stored");
        let stored = others.into_iter().map(|sent| sent.join().unwrap().status);
        let stored = stored.inspect(|status| assert!([201, 503].contains(status), "{status}"));
        let stored = stored.filter(|status| *status == 201).count() as i64;
        // It heals by itself.
        while admin.send("POST", "/api/v1/events", "application/json", EVENT).status == 503 {
            assert!(Instant::now() < deadline, "it never heals");
        }
        assert_eq!(admin.get("/api/v1/events").expect(200)["count"], 3 + stored, "refused means not stored");
    });
}

const EVENT: &[u8] = br#"{"source_name":"fw","event_type":"t","severity":"LOW","description":"x"}"#;

#[test]
fn a_store_that_stands_still_on_sqlite() {
    a_store_that_stands_still(Engine::Sqlite);
}

#[test]
fn a_store_that_stands_still_on_postgres() {
    a_store_that_stands_still(Engine::Postgres);
}

/// A group of processes that may take so much memory and no more; where one can be made.
struct Cage(PathBuf);

impl Cage {
    fn around(process: u32, bytes: usize) -> Option<Self> {
        for (root, limit, procs) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "cgroup.procs"),
            ("/sys/fs/cgroup", "memory.max", "cgroup.procs"),
        ] {
            let path = PathBuf::from(root).join(format!("watchpost-test-{process}"));
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            let cage = Self(path);
            let limited = std::fs::write(cage.0.join(limit), bytes.to_string());
            if limited.and_then(|()| std::fs::write(cage.0.join(procs), process.to_string())).is_ok() {
                return Some(cage);
            }
        }
        None
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}

/// Far more clients than can be served at once, in a cage of 256 MiB.
fn a_flood_of_clients(engine: Engine) {
    const CLIENTS: usize = 400;
    const EACH: usize = 25;
    let server = Server::start(engine);
    let cage = Cage::around(server.process(), 256 << 20);
    println!("a cage of 256 MiB: {}", if cage.is_some() { "made" } else { "not allowed here" });
    let (sensor, accepted) = (server.sensor(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (client, accepted) = (server.sensor_like(&sensor), &accepted);
            scope.spawn(move || {
                for _ in 0..EACH {
                    let answer = client.send("POST", "/api/v1/events", "application/json", EVENT);
                    match answer.status {
                        201 => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                        503 => assert!(!answer.header("retry-after").is_empty()),
                        other => panic!("{other}: {}", answer.text),
                    }
                }
            });
        }
    });
    let memory = server.memory_kib() / 1024;
    assert!(memory < 200, "{memory} MiB");
    let admin = server.admin();
    assert_eq!(admin.get("/api/v1/events").expect(200)["count"], accepted.load(Ordering::Relaxed));
    // A cage can be taken down when nobody is inside.
    drop(server);
    drop(cage);
}

#[test]
fn a_flood_of_clients_on_sqlite() {
    a_flood_of_clients(Engine::Sqlite);
}

#[test]
fn a_flood_of_clients_on_postgres() {
    a_flood_of_clients(Engine::Postgres);
}
