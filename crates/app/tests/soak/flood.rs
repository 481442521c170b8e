//! A caller who is refused without end, and what that leaves of the audit log.

use crate::server::{Engine, Server};
use crate::{minutes, server};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Refusals of the flood in each minute: each with a path of its own.
const FLOOD: usize = 10_000;
/// Others who are refused once while it goes on.
const OTHERS: usize = 20;
/// Rows that a caller may have in a minute, and bytes of each with all its columns.
const ROWS_A_MINUTE: usize = 150;
const BYTES_A_ROW: usize = 1_000;

/// The rows about refusals, all of them or those of one user.
fn refusals(admin: &server::Client<'_>, of: &str) -> Vec<Value> {
    let exported = admin.get(&format!("/api/v1/audit/export?format=ndjson&action=refused{of}"));
    assert_eq!(exported.status, 200, "{}", exported.text);
    exported.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One of many paths that an Analyst isn't let into.
fn path(n: usize) -> String {
    let padding = "x".repeat(7_000);
    match n % 3 {
        0 => format!("/api/v1/users/{n}?a={padding}"),
        1 => format!("/api/v1/audit?object={n}-{padding}"),
        _ => format!("/api/v1/sessions/{n}{}", &padding[..200]),
    }
}

#[test]
fn a_flood_of_refusals_fills_no_log_and_hides_nobody() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = Server::start(engine);
        let flooder = server.user("flooder", "ANALYST");
        let others: Vec<_> = (0..OTHERS).map(|n| server.user(&format!("other-{n}"), "ANALYST")).collect();
        let (sent, over, started) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
        let until = started + Duration::from_secs(minutes() * 60);
        std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let client = server.sensor_like(&flooder);
                        while !over.load(Ordering::Relaxed) {
                            let n = sent.fetch_add(1, Ordering::Relaxed);
                            let method = if n % 3 == 2 { "DELETE" } else { "GET" };
                            assert_eq!(client.send(method, &path(n), "", b"").status, 403);
                        }
                    })
                })
                .collect();
            // The others come when the flood is in full swing.
            while !tasks.iter().any(|task| task.is_finished()) && sent.load(Ordering::Relaxed) < FLOOD {
                std::thread::sleep(Duration::from_millis(10));
            }
            for other in &others {
                assert_eq!(other.get("/api/v1/users").status, 403);
            }
            while !tasks.iter().any(|task| task.is_finished())
                && (Instant::now() < until || sent.load(Ordering::Relaxed) < FLOOD * minutes() as usize)
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            over.store(true, Ordering::Relaxed);
        });
        let passed = started.elapsed().as_secs() as usize / 60 + 1;
        let sent = sent.into_inner();
        let admin = server.admin();
        for n in 0..OTHERS {
            assert!(!refusals(&admin, &format!("&actor=other-{n}")).is_empty(), "other-{n} isn't in the log");
        }
        let rows = refusals(&admin, "&actor=flooder");
        let bytes: usize = rows.iter().map(|row| row.to_string().len()).sum();
        println!(
            "{engine:?}: {sent} refusals of one caller in {} s left {} rows of {bytes} bytes; all {OTHERS} of others are told",
            started.elapsed().as_secs(),
            rows.len()
        );
        assert!(!rows.is_empty() && rows.len() <= passed * ROWS_A_MINUTE, "{} rows", rows.len());
        assert!(bytes <= rows.len() * BYTES_A_ROW, "{bytes} bytes in {} rows", rows.len());
        assert_eq!(admin.get("/readyz").status, 200);
        let verified = server.command().args(["audit", "verify"]).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
}
