//! Requests that are broken in every way.

use crate::minutes;
use crate::server::{Engine, Server};

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
