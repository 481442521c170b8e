//! Connections: slow clients, too many of them, and saying goodbye.

use axum::body::Body;
use axum::http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use watchpost::{NetLimits, NetOptions, accept};

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
