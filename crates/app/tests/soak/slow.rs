//! Bodies that come a byte at a time, from as many connections as a few addresses may have.

use crate::minutes;
use crate::server::{Engine, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// As the defaults are to each other: four addresses take all places.
const PLACES: usize = 400;
const PLACES_OF_AN_ADDRESS: usize = 100;
const ADDRESSES: [&str; 4] = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];
/// How often a byte of a body comes.
const BYTE_EVERY: Duration = Duration::from_secs(12);
/// How long an honest client waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is sent before the bytes come: without a credential, with a key, and as a form.
fn heads(key: &str) -> [String; 3] {
    let head = |path: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n{more}\r\n")
    };
    [
        head("/api/v1/auth/login", "Content-Type: application/json\r\n"),
        head("/api/v1/events", &format!("Content-Type: application/x-ndjson\r\nX-Api-Key: {key}\r\n")),
        head("/login", "Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n"),
    ]
}

/// Keeps a place for as long as the server lets it, and takes the next one then.
async fn keep_places(from: SocketAddr, to: SocketAddr, head: String, longest: Arc<AtomicU64>) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from).unwrap();
        let Ok(mut stream) = socket.connect(to).await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        if stream.write_all(head.as_bytes()).await.is_err() {
            continue;
        }
        // From the first byte that the server may count.
        let begun = Instant::now();
        let mut answer = [0; 1_024];
        loop {
            tokio::select! {
                read = stream.read(&mut answer) => {
                    if !matches!(read, Ok(1..)) {
                        break;
                    }
                }
                () = tokio::time::sleep(BYTE_EVERY) => {
                    if stream.write_all(b" ").await.is_err() {
                        break;
                    }
                }
            }
            longest.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
        longest.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// How long an honest client waited for an answer; nothing when it gave up.
fn honest(to: SocketAddr) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).ok()?;
    let answered = answer[..read].starts_with(b"HTTP/1.1 200");
    (answered && begun.elapsed() < PATIENCE).then(|| begun.elapsed())
}

#[test]
fn slow_bodies_from_four_addresses_keep_nobody_out() {
    let places = [
        ("WATCHPOST_MAX_CONNECTIONS", PLACES.to_string()),
        ("WATCHPOST_MAX_CONNECTIONS_PER_ADDRESS", PLACES_OF_AN_ADDRESS.to_string()),
    ];
    let places: Vec<(&str, &str)> = places.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::with(Engine::Sqlite, &places);
    let to: SocketAddr = server.address.trim_start_matches("http://").parse().unwrap();
    let key = server.sensor().headers[0].1.clone();
    let longest = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for address in ADDRESSES {
        let from = SocketAddr::new(address.parse().unwrap(), 0);
        for n in 0..PLACES_OF_AN_ADDRESS {
            let head = heads(&key)[n % 3].clone();
            runtime.spawn(keep_places(from, to, head, longest.clone()));
        }
    }
    let (mut waits, mut gave_up) = (Vec::new(), 0);
    let until = Instant::now() + Duration::from_secs(minutes() * 60);
    while Instant::now() < until {
        match honest(to) {
            Some(wait) => waits.push(wait.as_millis()),
            None => gave_up += 1,
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    runtime.shutdown_background();
    waits.sort_unstable();
    let at =
        |share: usize| waits.get(waits.len() * share / 100).or(waits.last()).copied().unwrap_or_default();
    println!(
        "{} slow bodies at a time from {} addresses: of {} honest requests {gave_up} gave up; waits {} ms at half, {} ms at 99 %, {} ms at most; the longest slow body kept its place for {} s",
        PLACES,
        ADDRESSES.len(),
        waits.len() + gave_up,
        at(50),
        at(99),
        waits.last().copied().unwrap_or_default(),
        longest.load(Ordering::Relaxed) / 1_000
    );
    assert_eq!(gave_up, 0, "an honest client didn't get in");
    assert!(!waits.is_empty());
}
