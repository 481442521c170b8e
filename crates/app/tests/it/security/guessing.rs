//! Whoever guesses passwords gets slower and slower, and nobody is locked out by it.

use super::{audited, tokens};
use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Engine, PASSWORD, Server};
use serde_json::json;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

on_both_engines!(
    guesses_with_one_name_from_one_place_are_slowed,
    guesses_from_many_places_are_slowed_and_a_known_place_is_not,
    guesses_at_once_gain_nothing,
    made_up_addresses_gain_nothing,
);

fn attempt(server: &Server, username: &str, password: &str) -> Answer {
    let body = json!({"username": username, "password": password}).to_string();
    server.anonymous().post_json("/api/v1/auth/login", &body)
}

/// Guesses at a name until it is held up; the name and how it is held. Waits begin with a second, which may pass on a
/// busy machine before the next guess: then another name is guessed at.
fn held_up(server: &Server, prefix: &str, known: bool) -> (String, Answer) {
    let held = (0..8).find_map(|n| {
        let name = format!("{prefix}{n}");
        if known {
            let user =
                json!({"username": name, "password": PASSWORD, "role": "ANALYST", "must_change_password": false});
            server.admin().post_json("/api/v1/users", &user.to_string()).expect(201);
        }
        let statuses: Vec<u16> = (0..14).map(|_| attempt(server, &name, "wrong").status).collect();
        let through = statuses.iter().filter(|status| **status == 401).count();
        let slowed = (5..=9).contains(&through) && statuses.last() == Some(&429);
        let held = attempt(server, &name, PASSWORD);
        (slowed && held.status == 429).then_some((name, held))
    });
    held.unwrap_or_else(|| panic!("{prefix}: nobody is held up, whatever is guessed"))
}

fn guesses_with_one_name_from_one_place_are_slowed(server: &Server) {
    // Known or not makes no difference; the right password waits, too.
    let (_, nobody) = held_up(server, "nobody", false);
    assert_eq!(nobody.expect(429)["code"], "throttled");
    let (name, held) = held_up(server, "jane", true);
    assert_eq!(held.expect(429)["code"], "throttled");
    let wait: u64 = held.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}: minutes at most");
    // Every way to show a password counts together.
    for path in ["/api/auth/login/", "/api/auth/token/", "/v1/auth/login/"] {
        let body = json!({"username": format!("{} ", name.to_uppercase()), "password": PASSWORD}).to_string();
        assert_eq!(server.anonymous().post_json(path, &body).status, 429, "{path}");
    }
    let form = format!("username={name}&password={PASSWORD}");
    assert_eq!(server.anonymous().post_form("/login", &form).status, 429);
    // Somebody else goes in as ever, from the same place.
    tokens(server, ADMIN, PASSWORD);
    let rows = audited(server, "login.failed");
    assert!(
        rows.iter().any(|row| row["object"] == format!("name:{name}") && row["address"] == "127.0.0.1"),
        "{rows:?}"
    );
    assert!(!json!(rows).to_string().contains(PASSWORD));
}

/// Attempts from an address of its own; the statuses.
fn from_address(server: &Server, last: Ipv4Addr, username: &str, password: &str) -> u16 {
    let address: SocketAddr = server.address.trim_start_matches("http://").parse().unwrap();
    let body = json!({"username": username, "password": password}).to_string();
    let request = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((last, 0).into()).unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

fn guesses_from_many_places_are_slowed_and_a_known_place_is_not(server: &Server) {
    // The Admin has logged in from 127.0.0.1; 60 other addresses guess.
    tokens(server, ADMIN, PASSWORD);
    let statuses: Vec<u16> =
        (0..60).map(|n| from_address(server, Ipv4Addr::new(127, 0, 1, n + 1), ADMIN, "wrong")).collect();
    let through = statuses.iter().filter(|status| **status == 401).count();
    assert!(through <= 16, "{through} of 60 guesses were looked at: {statuses:?}");
    let stranger = from_address(server, Ipv4Addr::new(127, 0, 2, 1), ADMIN, PASSWORD);
    assert_eq!(stranger, 429, "who the name belongs to waits at a strange place for seconds");
    tokens(server, ADMIN, PASSWORD);
}

fn guesses_at_once_gain_nothing(server: &Server) {
    server.user("jane", "ANALYST");
    // From a place where nobody logged in.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = || from_address(server, Ipv4Addr::new(127, 0, 3, 1), "jane", "wrong");
        let tasks: Vec<_> = (0..40).map(|_| scope.spawn(guess)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let through = statuses.iter().filter(|status| **status == 401).count();
    assert!((1..=11).contains(&through), "{through}: {statuses:?}");
}

fn made_up_addresses_gain_nothing(server: &Server) {
    let statuses: Vec<u16> = (0..20)
        .map(|n| {
            let body = json!({"username": "nobody", "password": "wrong"}).to_string();
            let client = server
                .anonymous()
                .with("x-forwarded-for", &format!("198.51.100.{n}"))
                .with("x-real-ip", &format!("198.51.100.{n}"))
                .with("forwarded", &format!("for=198.51.100.{n}"));
            client.post_json("/api/v1/auth/login", &body).status
        })
        .collect();
    assert!(statuses.iter().filter(|status| **status == 401).count() <= 11, "{statuses:?}");
    let row = &audited(server, "login.failed")[0];
    assert_eq!(row["address"], "127.0.0.1");
}

#[test]
fn a_trusted_proxy_says_who_guesses() {
    let server = Server::with(Engine::Sqlite, &[("TRUSTED_PROXIES", "127.0.0.1")]);
    let from = |said: &str, password: &str| {
        let body = json!({"username": ADMIN, "password": password}).to_string();
        server.anonymous().with("x-forwarded-for", said).post_json("/api/v1/auth/login", &body).status
    };
    assert_eq!(from("203.0.113.9", PASSWORD), 200);
    for n in 0..40 {
        // What stands on the left is the client's own word.
        from(&format!("203.0.113.9, 198.51.100.7, 10.0.0.{n}"), "wrong");
    }
    assert_eq!(from("203.0.113.9", PASSWORD), 200, "the place it knows isn't held up");
    let rows = audited(&server, "login.failed");
    assert!(rows.iter().all(|row| row["address"].as_str().unwrap().starts_with("10.0.0.")), "{rows:?}");
}

#[test]
fn nodes_count_together_and_memory_stays_flat() {
    let server = Server::start(Engine::Postgres);
    server.user("jane", "ANALYST");
    let nodes = [server.another_node(), server.another_node(), server.another_node()];
    let all: Vec<&Server> = nodes.iter().chain([&server]).collect();
    let place = Ipv4Addr::new(127, 0, 4, 1);
    let before: u64 = all.iter().map(|node| node.memory_kib()).sum();
    let through: usize = std::thread::scope(|scope| {
        let guess = |node: usize| from_address(all[node % all.len()], place, "jane", "wrong");
        let tasks: Vec<_> = (0..40).map(|n| scope.spawn(move || guess(n))).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).filter(|status| *status == 401).count()
    });
    assert!((1..=11).contains(&through), "{through} on four nodes, as on one");
    // As many hashes as there are guesses would take 19 MiB each.
    std::thread::scope(|scope| {
        for n in 0..60_u8 {
            let all = &all;
            scope.spawn(move || {
                let node = all[usize::from(n) % all.len()];
                from_address(node, Ipv4Addr::new(127, 0, 5, n + 1), &format!("nobody{n}"), "wrong")
            });
        }
    });
    let after: u64 = all.iter().map(|node| node.memory_kib()).sum();
    assert!(after < before + 4 * (100 << 10), "from {before} to {after} KiB");
}
