//! One request is one request: what proxies and servers could read differently is refused.

use crate::server::{Engine, Server};

/// How many answers a connection got to these bytes, and the statuses.
fn answers(server: &Server, said: &str) -> Vec<String> {
    let heard = server.connect_and_say(said);
    heard.match_indices("HTTP/1.1 ").map(|(at, _)| heard[at + 9..at + 12].to_owned()).collect()
}

/// A request in which another one hides, if its body is taken to be shorter than it is.
fn hiding(headers: &str, body: &str) -> String {
    format!(
        "POST /api/v1/auth/verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
    )
}

const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn contradictory_requests_are_refused_or_end_the_connection() {
    let server = Server::start(Engine::Sqlite);
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let cases: Vec<(&str, String)> = vec![
        ("both lengths", hiding("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &chunked)),
        (
            "both, the other way round",
            hiding("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &chunked),
        ),
        ("two lengths", hiding("Content-Length: 2\r\nContent-Length: 60\r\n", &format!("{{}}{HIDDEN}"))),
        ("two lengths in one", hiding("Content-Length: 2, 60\r\n", &format!("{{}}{HIDDEN}"))),
        ("a length with a sign", hiding("Content-Length: +2\r\n", &format!("{{}}{HIDDEN}"))),
        ("a negative length", hiding("Content-Length: -1\r\n", HIDDEN)),
        ("a length in hex", hiding("Content-Length: 0x2\r\n", &format!("{{}}{HIDDEN}"))),
        ("a length beyond numbers", hiding("Content-Length: 99999999999999999999\r\n", HIDDEN)),
        ("a length with a blank", hiding("Content-Length: 2 0\r\n", HIDDEN)),
        ("no length of a length", hiding("Content-Length:\r\n", HIDDEN)),
        ("a name with a blank", hiding("Content-Length : 2\r\n", &format!("{{}}{HIDDEN}"))),
        ("a name with a tab", hiding("Content-Length\t: 2\r\n", &format!("{{}}{HIDDEN}"))),
        ("a folded header", hiding("Content-Length: 2\r\n\tX: 1\r\n", HIDDEN)),
        ("a folded encoding", hiding("Transfer-Encoding:\r\n chunked\r\n", &chunked)),
        ("an unknown encoding", hiding("Transfer-Encoding: xchunked\r\n", &chunked)),
        ("chunked not last", hiding("Transfer-Encoding: chunked, identity\r\n", &chunked)),
        (
            "identity",
            hiding("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", &format!("{{}}{HIDDEN}")),
        ),
        ("chunked twice", hiding("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", &chunked)),
        ("encoding with a control", hiding("Transfer-Encoding: \u{b}chunked\r\n", &chunked)),
        ("encoding in quotes", hiding("Transfer-Encoding: \"chunked\"\r\n", &chunked)),
        ("encoding with NUL", hiding("Transfer-Encoding: chunked\u{0}\r\n", &chunked)),
        (
            "a chunk with a sign",
            hiding("Transfer-Encoding: chunked\r\n", &format!("+2\r\n{{}}\r\n{chunked}")),
        ),
        ("a chunk in 0x", hiding("Transfer-Encoding: chunked\r\n", &format!("0x2\r\n{{}}\r\n{chunked}"))),
        (
            "a chunk beyond numbers",
            hiding("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{{}}\r\n{chunked}")),
        ),
        ("a chunk without its end", hiding("Transfer-Encoding: chunked\r\n", &format!("2\r\n{{}}{chunked}"))),
        ("a chunk ended by LF", hiding("Transfer-Encoding: chunked\r\n", &format!("2\n{{}}\n0\n\n{HIDDEN}"))),
        ("a negative chunk", hiding("Transfer-Encoding: chunked\r\n", &format!("-1\r\n{{}}\r\n{chunked}"))),
        ("a chunk of nothing", hiding("Transfer-Encoding: chunked\r\n", &format!("\r\n{{}}\r\n{chunked}"))),
        (
            "endless extensions",
            hiding(
                "Transfer-Encoding: chunked\r\n",
                &format!("2;{}\r\n{{}}\r\n{chunked}", "x".repeat(64 << 10)),
            ),
        ),
        (
            "endless trailers",
            hiding(
                "Transfer-Encoding: chunked\r\n",
                &format!("0\r\n{}\r\n{HIDDEN}", "X: 1\r\n".repeat(20_000)),
            ),
        ),
        ("CR alone", format!("GET /healthz HTTP/1.1\rHost: localhost\r\r{HIDDEN}")),
        (
            "NUL in a header",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\u{0}b\r\n\r\n{HIDDEN}"),
        ),
        (
            "a header without a name",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n{HIDDEN}"),
        ),
        (
            "a line that is no header",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n{HIDDEN}"),
        ),
        ("HTTP/1.2", format!("GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n{HIDDEN}")),
        ("HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("a blank in the address", format!("GET /health z HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}")),
        ("a tab before the address", format!("GET\t/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}")),
        (
            "101 headers",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n{HIDDEN}", "X: 1\r\n".repeat(101)),
        ),
        (
            "an endless header",
            format!(
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n{HIDDEN}",
                "x".repeat(128 << 10)
            ),
        ),
        (
            "an endless line",
            format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}", "x".repeat(128 << 10)),
        ),
    ];
    assert!(cases.len() >= 40, "{}", cases.len());
    let mut wrong = Vec::new();
    for (name, said) in &cases {
        let heard = answers(&server, said);
        // Refused, or answered once with the connection closed: what hid behind it is never a request of its own.
        let hidden_answered = heard.iter().any(|status| status == "200");
        if hidden_answered || heard.len() > 1 {
            wrong.push(format!("{name}: {heard:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // The server is as well as before, and two requests that are two get two answers.
    let two = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}");
    assert_eq!(answers(&server, &two), ["200", "200"]);
    let kept = hiding("Transfer-Encoding: chunked\r\n", &format!("2\r\n{{}}\r\n{chunked}"));
    assert_eq!(answers(&server, &kept), ["400", "200"], "a whole one, and the next");
}

#[test]
fn names_of_hosts_and_targets_can_t_be_played_with() {
    let server = Server::start(Engine::Sqlite);
    let status = |said: String| answers(&server, &said).first().cloned().unwrap_or_default();
    for host in [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example:80",
        "",
        "localhost, evil.example",
        "127.0.0.1.nip.io",
        "*",
    ] {
        let said = format!("GET /api/v1/alerts HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(said), "400", "{host}");
    }
    let two =
        "GET /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(two.into()), "400", "two names");
    let absolute =
        "GET http://evil.example/api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(absolute.into()), "400", "the target names another");
    for path in [
        "/static/../../etc/passwd",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%5c..%5cx",
        "/static/%00",
        "/static/app.css%00.html",
        "/docs-assets/..%2f..%2f..%2fetc%2fpasswd",
        "/docs-assets//etc/passwd",
        "/static/....//....//etc/passwd",
        "/static/%252e%252e%252fetc%252fpasswd",
        "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "//etc/passwd",
    ] {
        let said = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let heard = server.connect_and_say(&said);
        assert!(heard.starts_with("HTTP/1.1 4") && !heard.contains("root:"), "{path}: {heard}");
    }
}
