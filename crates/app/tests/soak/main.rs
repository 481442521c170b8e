//! What takes too long for every day: `cargo xtask soak security`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that fails says where")]
#![allow(clippy::print_stdout, reason = "figures for whoever watches")]

#[path = "../it/server.rs"]
#[allow(dead_code, reason = "the daily suite uses all of it")]
mod server;

use server::{Engine, Server};
use std::process::{Command, Stdio};
use watchpost_model::{Actor, Timestamp};
use watchpost_store::{AuditEntry, AuditProof, Db, Location, PostgresOptions, testing};

fn tool(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is needed: run `cargo xtask soak security`"))
}

/// Minutes that a fuzzer has for each role.
fn minutes() -> u64 {
    std::env::var("WATCHPOST_TEST_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// What the fuzzer would end its own session with, and what answers without an end.
const NOT_ASKED: [&str; 3] = ["logOutEverywhere", "changePassword", "stream"];

#[test]
fn every_role_is_answered_as_documented() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for role in ["ADMIN", "RESPONDER", "ANALYST", "sensor"] {
            let server = Server::start(engine);
            let client = match role {
                "sensor" => server.sensor(),
                role => server.user("fuzzer", role),
            };
            let (name, value) = client.headers.last().unwrap();
            let seconds = minutes() * 60;
            let mut command = Command::new(tool("WATCHPOST_TEST_SCHEMATHESIS"));
            command
                .arg("run")
                .arg(format!("{}/api/schema/", server.address))
                .args(["--header", &format!("{name}: {value}"), "--max-time", &seconds.to_string()])
                .args(["--continue-on-failure", "--workers", "1", "--suppress-health-check", "all", "--checks"])
                .arg("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance")
                .current_dir(server.folder.path());
            for operation in NOT_ASKED {
                command.args(["--exclude-operation-id", operation]);
            }
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let summary = said.lines().rev().find(|line| line.contains("===")).unwrap_or_default();
            println!("{engine:?} as {role}: {}", summary.trim_matches(['=', ' ']));
            assert!(output.status.success(), "{said}");
            assert_eq!(server.anonymous().get("/readyz").status, 200);
            let log = server.log.lock().unwrap();
            assert!(!log.contains("something that can't happen did"), "{log}");
        }
    }
}

/// The report without the moduli of keys, which are longer than numbers of JSON may be here.
fn without_moduli(report: &str) -> String {
    let mut text = String::with_capacity(report.len());
    let mut digits = String::new();
    for c in report.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        text.push_str(if digits.len() > 18 { "0" } else { &digits });
        digits.clear();
        text.push(c);
    }
    text
}

#[test]
fn a_scanner_finds_nothing_about_tls() {
    let folder = tempfile::TempDir::new().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "30", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let settings =
        [("WATCHPOST_TLS_CERT", certificate.to_str().unwrap()), ("WATCHPOST_TLS_KEY", key.to_str().unwrap())];
    let server = Server::with(Engine::Sqlite, &settings);
    let report = folder.path().join("report.json");
    let place = server.address.trim_start_matches("http://").replace("127.0.0.1", "localhost");
    let output = Command::new(tool("WATCHPOST_TEST_SSLYZE"))
        .args(["--json_out"])
        .arg(&report)
        .arg(&place)
        .output()
        .unwrap();
    let report = std::fs::read_to_string(&report)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let report: serde_json::Value = serde_json::from_str(&without_moduli(&report)).unwrap();
    let found = &report["server_scan_results"][0]["scan_result"];
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        let accepted = &found[format!("{old}_cipher_suites")]["result"]["accepted_cipher_suites"];
        assert_eq!(accepted.as_array().map(Vec::len), Some(0), "{old}: {accepted}");
    }
    for modern in ["tls_1_2", "tls_1_3"] {
        let accepted = &found[format!("{modern}_cipher_suites")]["result"]["accepted_cipher_suites"];
        let names: Vec<&str> = accepted
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|suite| suite["cipher_suite"]["name"].as_str())
            .collect();
        println!("{modern}: {}", names.join(", "));
        assert!(!names.is_empty());
        let sound = |name: &&str| name.contains("GCM") || name.contains("POLY1305");
        assert!(names.iter().all(|name| sound(&name)), "{names:?}");
    }
    for (hole, field) in [
        ("heartbleed", "is_vulnerable_to_heartbleed"),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"),
        ("tls_compression", "supports_compression"),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"),
    ] {
        assert_eq!(found[hole]["result"][field], false, "{hole}: {}", found[hole]);
    }
    assert_eq!(found["robot"]["result"]["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED");
}

/// Requests as somebody might send them, to be broken in every way.
const SEEDS: [&str; 10] = [
    "GET /api/v1/alerts?status=OPEN&severity=HIGH,CRITICAL&search=%22a%20b%22&since=-24h&cursor=a0-0-7&page=2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\n\r\n",
    "GET /api/v1/events?source_name=a&host=b&src_ip=::1&id=1,2&until=2026-11-20T22:05:45Z&page_size=100 HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\n\r\n",
    "GET /api/v1/stats/events?by=severity&interval=hour&since=-7d HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\n\r\n",
    "GET /api/v1/audit?actor=a&action=user.&address=10.0.0.1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\n\r\n",
    "GET /?status=OPEN&page=3 HTTP/1.1\r\nHost: localhost\r\nCookie: watchpost=abc; watchpost-said=alert-1-OPEN; a=b\r\nAccept: text/html\r\n\r\n",
    "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: 121\r\n\r\n{\"source_name\":\"a\",\"event_type\":\"b\",\"severity\":\"LOW\",\"description\":\"c\",\"attributes\":{\"a\":[1,2.5e3,null,\"\\u00e9\"]}}",
    "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n46\r\n{\"source_name\":\"a\",\"event_type\":\"b\",\"severity\":\"LOW\",\"description\":\"c\"}\n\r\n0\r\n\r\n",
    "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\nContent-Length: 47\r\n\r\nusername=a%20b&password=c&next=%2Falerts&otp=12",
    "POST /api/v1/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Api-Key: wp_x\r\nContent-Length: 26\r\n\r\n{\"refresh\":\"eyJ.eyJ.abcd\"}",
    "PATCH /api/v1/alerts/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: TOKEN\r\nContent-Type: application/json\r\nIf-Match: \"1\"\r\nContent-Length: 25\r\n\r\n{\"status\":\"ACKNOWLEDGED\"}",
];

/// Numbers without end, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    /// A request with a few things changed, taken out, put in, doubled or mixed with another.
    fn broken(&mut self, token: &str) -> Vec<u8> {
        const PIECES: [&str; 16] = [
            "%",
            "%00",
            "\0",
            "\"",
            "{",
            "[",
            "\r\n",
            "=",
            "&",
            ",",
            "99999999999999999999",
            "-1",
            "1e400",
            "é",
            "\u{202e}",
            "%ff",
        ];
        let mut bytes = SEEDS[self.roll(SEEDS.len())].replace("TOKEN", token).into_bytes();
        for _ in 0..=self.roll(6) {
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 => bytes[at] = self.roll(256) as u8,
                1 => drop(bytes.drain(at..(at + 1 + self.roll(8)).min(bytes.len()))),
                2 => drop(bytes.splice(at..at, PIECES[self.roll(PIECES.len())].bytes())),
                3 => {
                    let again: Vec<u8> = bytes[at..(at + 1 + self.roll(40)).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, again));
                }
                _ => {
                    let other = SEEDS[self.roll(SEEDS.len())].as_bytes();
                    let from = self.roll(other.len());
                    bytes.truncate(at.max(1));
                    bytes.extend_from_slice(&other[from..]);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'G');
            }
        }
        bytes
    }
}

#[test]
fn whatever_is_sent_nothing_panics() {
    use std::io::{Read, Write};
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = Server::start(engine);
        let token = server.admin().headers.last().unwrap().1.clone();
        let seed =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        println!("{engine:?}: seed {seed}");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(minutes() * 60);
        let sent: usize = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..4)
                .map(|n| {
                    let (server, token) = (&server, &token);
                    scope.spawn(move || {
                        let mut dice = Dice(seed.wrapping_mul(n * 2 + 1) | 1);
                        let mut sent = 0;
                        while std::time::Instant::now() < until {
                            let mut socket = server.connect();
                            socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
                            let broken = dice.broken(token);
                            socket.write_all(&broken).ok();
                            socket.shutdown(std::net::Shutdown::Write).ok();
                            let mut answer = Vec::new();
                            socket.read_to_end(&mut answer).ok();
                            let answer = String::from_utf8_lossy(&answer);
                            let failed = answer.starts_with("HTTP/1.1 500");
                            assert!(!failed, "{}\n{answer}", String::from_utf8_lossy(&broken));
                            sent += 1;
                        }
                        sent
                    })
                })
                .collect();
            tasks.into_iter().map(|task| task.join().unwrap()).sum()
        });
        assert_eq!(server.anonymous().get("/readyz").status, 200);
        let log = server.log.lock().unwrap();
        assert!(!log.contains("something that can't happen did") && !log.contains("panicked"), "{log}");
        println!("{engine:?}: {sent} broken requests");
    }
}

/// A database with so many rows in its audit log.
async fn filled(location: &Location, rows: i64) -> Db {
    let db = Db::open(location).await.unwrap();
    let at = |n: i64| Timestamp::from_micros(1_795_000_000_000_000 + n);
    db.migrate(at(0)).await.unwrap();
    for n in 0..rows {
        let entry = AuditEntry::local(at(n), Actor::CommandLine);
        db.note(&entry, "test.row", format!("thing:{n}"), format!("number {n}")).await.unwrap();
    }
    db
}

/// Flips one bit in each column of each of a thousand rows, and looks whether the chain says where.
async fn flip(location: &Location) {
    const ROWS: i64 = 1_000;
    let db = filled(location, ROWS).await;
    let broken = async || match db.prove_audit(|_, _| {}).await.unwrap() {
        AuditProof::Broken(row, _) => Some(row),
        AuditProof::Intact(_) => None,
    };
    assert_eq!(broken().await, None);
    let mut found = 0;
    for row in 1..=ROWS {
        for column in ["at", "actor", "address", "action", "object", "detail", "hash"] {
            let (spoil, mend) = match column {
                "at" => ("at = at + 1".to_owned(), "at = at - 1".to_owned()),
                column => (format!("{column} = '!' || {column}"), format!("{column} = substr({column}, 2)")),
            };
            testing::run(&db, &format!("UPDATE audit_log SET {spoil} WHERE id = {row}")).await.unwrap();
            assert_eq!(broken().await, Some(row), "{column} of row {row}");
            testing::run(&db, &format!("UPDATE audit_log SET {mend} WHERE id = {row}")).await.unwrap();
            found += 1;
        }
    }
    assert_eq!(broken().await, None);
    println!("{found} changes, all found where they were");
    db.close().await;
}

#[test]
fn every_change_of_a_thousand_rows_is_found() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    runtime.block_on(flip(&Location::Sqlite(folder.path().join("watchpost.db"))));
    let server = Server::start(Engine::Postgres);
    server.kill();
    server
        .database()
        .run("DELETE FROM audit_log; UPDATE audit_head SET first_id = 1, last_id = 0, hash = ''");
    let options = PostgresOptions { url: server.database().url(), authority: None, connections: 4 };
    runtime.block_on(flip(&Location::Postgres(options)));
}
