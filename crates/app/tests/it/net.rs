//! Connections: slow clients, too many of them, and saying goodbye.

use crate::server::{Engine, PASSWORD, Server};
use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::json;
use std::convert::Infallible;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use watchpost::{NetLimits, NetOptions, accept};
use watchpost_web::Known;

/// More than the system's buffers take.
const MUCH: usize = 64 << 20;

/// Answers `/slow` when it is told to, everything else at once with the length of its body.
#[derive(Clone)]
struct Service {
    arrived: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() == "/refuse" {
                return Ok(Response::new("refused".into()));
            }
            if request.uri().path() == "/much" {
                return Ok(Response::new(vec![b'x'; MUCH].into()));
            }
            let (parts, body) = request.into_parts();
            if parts.uri.path() == "/known" {
                Known::note(&parts);
            }
            let request = Request::from_parts(parts, body);
            if request.uri().path() == "/slow" {
                service.arrived.notify_one();
                service.go_on.notified().await;
            }
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
            let said = body.map_or("no body".to_owned(), |body| body.len().to_string());
            Ok(Response::new(said.into()))
        })
    }
}

struct Running {
    address: SocketAddr,
    service: Service,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(limits: NetLimits) -> Self {
        Self::with(NetOptions { limits, ..NetOptions::default() })
    }

    fn with(options: NetOptions) -> Self {
        let service = Service { arrived: Arc::default(), go_on: Arc::default() };
        let (stop, stopped) = oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let served = service.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                accept(listener, served, options, async { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { address: address.recv().unwrap(), service, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

fn everything(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn headers_and_bodies_that_stop_arriving_end_the_request() {
    let limits = NetLimits {
        header_time: Duration::from_millis(300),
        body_pause: Duration::from_millis(300),
        ..NetLimits::default()
    };
    let server = Running::start(limits);
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    assert!(!everything(stream).contains("200 OK"), "the connection is closed, not answered");
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\n123")
        .unwrap();
    assert!(everything(stream).ends_with("no body"), "the handler is told that the body doesn't come");
}

/// Sends a byte of a body now and then until the server says something, or long enough; what it says.
fn trickle(mut stream: TcpStream, head: &str, every: Duration, longest: Duration) -> String {
    stream.write_all(head.as_bytes()).unwrap();
    let begun = Instant::now();
    stream.set_read_timeout(Some(every)).unwrap();
    while begun.elapsed() < longest {
        if stream.write_all(b"x").is_err() {
            return String::new();
        }
        let mut begins = [0];
        match stream.read(&mut begins) {
            Ok(0) => return String::new(),
            Ok(_) => return char::from(begins[0]).to_string() + &everything(stream),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return String::new(),
        }
    }
    panic!("a body that trickles was let go on for {longest:?}");
}

#[test]
fn a_body_that_trickles_ends_the_request() {
    let long = Duration::from_secs(60);
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\nConnection: close\r\n\r\n")
    };
    // Each pause is short enough, of one who is known and of one who isn't; together they are too long.
    let pause = Duration::from_millis(400);
    let limits =
        NetLimits { body_pause: pause, stranger_pause: long, stranger_time: long, ..NetLimits::default() };
    let server = Running::start(limits);
    let said = trickle(server.connect(), &head("/known"), pause / 8, long / 2);
    assert!(said.is_empty() || said.ends_with("no body"), "{said}");
    let limits = NetLimits { body_pause: long, stranger_pause: long, stranger_time: pause, ..limits };
    let server = Running::start(limits);
    let said = trickle(server.connect(), &head("/"), pause / 8, long / 2);
    assert!(said.is_empty() || said.ends_with("no body"), "{said}");
    // One who is known has time that a stranger hasn't.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /known HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
        .unwrap();
    for _ in 0..3 {
        std::thread::sleep(pause);
        stream.write_all(b"x").unwrap();
    }
    assert!(everything(stream).ends_with("\r\n3"));
}

#[test]
fn a_body_that_goes_on_for_too_long_ends_the_request() {
    let long = Duration::from_secs(60);
    // A byte is as good as a second here: no pause is too long.
    let limits = NetLimits { body_time: Duration::from_millis(400), least_rate: 1, ..NetLimits::default() };
    let server = Running::start(limits);
    let head = "POST /known HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\nConnection: close\r\n\r\n";
    let said = trickle(server.connect(), head, Duration::from_millis(50), long / 2);
    assert!(said.is_empty() || said.ends_with("no body"), "{said}");
}

#[test]
fn a_stranger_has_less_time_for_a_body_than_a_sender() {
    let server = Server::start(Engine::Sqlite);
    let host = server.address.trim_start_matches("http://");
    let (credential, secret) = server.sensor().headers.remove(0);
    let event = json!({"source_name": "fw", "event_type": "scan", "severity": "LOW", "description": "x"});
    let body = format!("{event}\n{event}\n");
    let (one, other) = body.split_at(body.len() / 2 + 9);
    let mut sender = server.connect();
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-ndjson\r\n{credential}: {secret}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    sender.write_all(head.as_bytes()).unwrap();
    sender.write_all(one.as_bytes()).unwrap();
    let log_in = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 9999\r\nConnection: close\r\n\r\n{{\"password\":\"{PASSWORD}"
    );
    let said = trickle(server.connect(), &log_in, Duration::from_millis(500), Duration::from_secs(25));
    assert!(!said.contains(" 200 "), "{said}");
    // Meanwhile the sender paused, and goes on.
    sender.write_all(other.as_bytes()).unwrap();
    sender.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let said = everything(sender);
    assert!(said.starts_with("HTTP/1.1 201"), "{said}");
}

#[test]
fn four_addresses_leave_room_for_others() {
    let limits = NetLimits { connections: 200, connections_per_address: 100, ..NetLimits::default() };
    let server = Running::start(limits);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answered = async |from: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
        let mut begins = [0; 12];
        let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut begins));
        matches!(reading.await, Ok(Ok(_))).then_some(stream)
    };
    runtime.block_on(async {
        let mut held = Vec::new();
        for from in 1..=4 {
            let before = held.len();
            while let Some(stream) = answered(from).await {
                held.push(stream);
                assert!(held.len() < 200, "four addresses have all places");
            }
            assert!(held.len() - before >= 16, "each gets some: {}", held.len() - before);
        }
        assert!(answered(5).await.is_some(), "a fifth is let in");
    });
}

#[test]
fn a_request_under_way_is_answered_before_the_server_stops() {
    let mut server = Running::start(NetLimits::default());
    let mut stream = server.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(server.service.arrived.notified());
    server.stop();
    server.service.go_on.notify_one();
    assert!(everything(stream).starts_with("HTTP/1.1 200 OK"));
    server.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(server.address).is_err(), "nobody listens any more");
}

#[test]
fn an_address_has_so_many_connections_and_a_proxy_as_many_as_there_are() {
    let limits = NetLimits { connections_per_address: 2, ..NetLimits::default() };
    let answered = |server: &Running| {
        let mut open: Vec<TcpStream> = Vec::new();
        (0..4)
            .filter(|_| {
                let mut stream = server.connect();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").ok();
                let mut begins = [0; 12];
                let answered = stream.read_exact(&mut begins).is_ok();
                open.push(stream);
                answered
            })
            .count()
    };
    assert_eq!(answered(&Running::start(limits)), 2);
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    assert_eq!(answered(&Running::with(NetOptions { limits, proxies, tls: None })), 4);
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let server = Running::start(NetLimits { connections: 1, ..NetLimits::default() });
    let mut first = server.connect();
    first.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(server.service.arrived.notified());
    let mut second = server.connect();
    second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(second.read(&mut [0; 1]).is_err(), "it waits while the only place is taken");
    server.service.go_on.notify_one();
    assert!(everything(first).contains("200 OK"));
    second.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(everything(second).contains("200 OK"), "and has its turn then");
}

#[test]
fn whoever_takes_nothing_of_an_answer_loses_the_connection() {
    let limits =
        NetLimits { connections: 1, answer_pause: Duration::from_millis(300), ..NetLimits::default() };
    let server = Running::start(limits);
    let mut slow = server.connect();
    slow.write_all(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut next = server.connect();
    next.write_all(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    // The only place is free again; and who reads, with pauses that are short enough, gets everything.
    let mut read = vec![0; 1 << 20];
    let mut all = 0;
    loop {
        match next.read(&mut read).unwrap() {
            0 => break,
            n => all += n,
        }
    }
    assert!(all > MUCH, "{all}");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).ok();
    assert!(rest.len() < MUCH, "the answer was cut: {}", rest.len());
}

/// Reads one answer from a connection that goes on.
fn one_answer(stream: &mut TcpStream, body: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(body) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

#[test]
fn a_refusal_without_reading_the_body_leaves_the_connection_usable_or_says_that_it_ends() {
    let server = Running::start(NetLimits::default());
    let mut stream = server.connect();
    for _ in 0..20 {
        stream.write_all(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n").unwrap();
        // The body comes after the handler has refused, in a packet of its own.
        stream.write_all(b"123").unwrap();
        assert!(!one_answer(&mut stream, "refused").to_lowercase().contains("connection: close"));
    }
    let mut stalled = server.connect();
    stalled.write_all(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert!(everything(stalled).to_lowercase().contains("connection: close"), "the body never came");
    let mut polite = server.connect();
    polite
        .write_all(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    let said = everything(polite).to_lowercase();
    assert!(
        said.starts_with("http/1.1 200") && said.contains("connection: close"),
        "it isn't asked to go on: {said}"
    );
}

#[test]
fn a_request_that_takes_too_long_is_cut_off_before_the_loop_returns() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let service = Service { arrived: Arc::default(), go_on: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let limits = NetLimits { farewell: Duration::from_millis(100), ..NetLimits::default() };
        let options = NetOptions { limits, ..NetOptions::default() };
        let accepting =
            tokio::spawn(accept(listener, service.clone(), options, async { drop(stopped.await) }));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        service.arrived.notified().await;
        stop.send(()).unwrap();
        accepting.await.unwrap().unwrap();
        // What a request holds (a place in the intake, say) has to be free when the parts behind it are stopped.
        assert_eq!(Arc::strong_count(&service.go_on), 1, "no request is left with a hold on the service");
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(everything(stream), "", "the connection is closed without an answer");
    });
}
