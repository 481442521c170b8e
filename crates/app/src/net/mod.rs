//! The accept loop. `axum::serve` has no time limit for headers and no limit of connections; this has.

mod body;
mod certificate;
mod handshakes;
mod pace;
mod patient;
mod places;
mod tls;

pub use tls::{Tls, TlsError, TlsFiles};

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, header};
use body::{Paced, Unread, read_past};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use pace::Pace;
use patient::Patient;
use places::Places;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::Service;
use watchpost_model::net::Network;
use watchpost_web::Known;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct NetLimits {
    /// Open at once; more wait in the listener's queue.
    pub connections: usize,
    /// Open at once from one address; more are closed.
    pub connections_per_address: usize,
    /// Until the headers of a request are there; also how long a connection may idle between requests.
    pub header_time: Duration,
    /// Between two pieces of a body whose sender is known.
    pub body_pause: Duration,
    /// All pauses in such a body together.
    pub body_time: Duration,
    /// Between two pieces of a body before that, as of those who log in.
    pub stranger_pause: Duration,
    /// All pauses in such a body together.
    pub stranger_time: Duration,
    /// Between two pieces of an answer that the client takes.
    pub answer_pause: Duration,
    /// Bytes a second that bodies come, and answers are taken with, on average: less is a pause.
    pub least_rate: u64,
    /// Memory for the headers of one request, in bytes.
    pub header_bytes: usize,
    /// Headers in one request.
    pub headers: usize,
    /// How long requests under way may take when the server stops.
    pub farewell: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 1_024,
            header_time: Duration::from_secs(10),
            body_pause: Duration::from_secs(30),
            // Gigabytes over a slow line; a body that breaks off is gone on with under its key.
            body_time: Duration::from_secs(60 * 60),
            stranger_pause: Duration::from_secs(5),
            stranger_time: Duration::from_secs(30),
            answer_pause: Duration::from_secs(30),
            // A line that is slower than this carries no log.
            least_rate: 1 << 10,
            // A long address and a token fit several times.
            header_bytes: 32 << 10,
            headers: 100,
            farewell: Duration::from_secs(10),
        }
    }
}

/// How connections are taken.
#[derive(Clone, Debug, Default)]
pub struct NetOptions {
    /// What they may take.
    pub limits: NetLimits,
    /// Whether they speak TLS.
    pub tls: Option<Tls>,
    /// Addresses that may have as many as there are: proxies, which speak for others.
    pub proxies: Vec<Network>,
}

/// After an error that a moment may heal, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until told to stop, then lets requests under way finish for a while. When it returns, none is
/// left: what they held is free.
pub async fn accept<S>(
    listener: TcpListener,
    service: S,
    options: NetOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let NetOptions { limits, tls, proxies } = options;
    let places = Places::new(limits.connections, limits.connections_per_address, proxies);
    let graceful = GracefulShutdown::new();
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = places.free().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = place.and_then(|place| places.take(place, peer.ip())) else {
                    tracing::debug!(%peer, "a connection was closed: its address has enough of them");
                    continue;
                };
                let (service, watcher, tls) = (service.clone(), graceful.watcher(), tls.clone());
                open.spawn(async move {
                    if let Err(error) = connection(stream, peer, service, limits, tls, watcher).await {
                        tracing::debug!(error, %peer, "a connection ended early");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.farewell, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that took too long were cut off");
        open.shutdown().await;
    }
    if let Some(tls) = tls {
        tls.tell_of_failures(true);
    }
    Ok(())
}

async fn connection<S>(
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    limits: NetLimits,
    tls: Option<Tls>,
    watcher: Watcher,
) -> Result<(), String>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    stream.set_nodelay(true).ok();
    match tls {
        None => serve(stream, peer, service, limits, watcher).await,
        Some(tls) => {
            let greeting = tokio::time::timeout(limits.header_time, tls.greet(stream));
            let greeted = match greeting.await {
                Ok(greeted) => greeted.map_err(|error| error.to_string()),
                Err(_) => Err("its greeting took too long".to_owned()),
            };
            match greeted {
                Ok(stream) => serve(stream, peer, service, limits, watcher).await,
                Err(why) => {
                    tls.greeting_failed(peer.ip(), &why);
                    Err(why)
                }
            }
        }
    }
}

async fn serve<S, I>(
    stream: I,
    peer: SocketAddr,
    service: S,
    limits: NetLimits,
    watcher: Watcher,
) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (unread, known) = (Unread::default(), Known::default());
        let expects = request.headers().contains_key(header::EXPECT);
        let mut request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(Paced::new(body, limits, known.clone(), unread.clone())),
        });
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(known);
        let answering = service.clone().call(request);
        async move {
            let mut response = answering.await?;
            if let Some(body) = unread.take()
                && (expects || !read_past(body).await)
            {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers)
        .half_close(false)
        .serve_connection(
            TokioIo::new(Patient::new(stream, Pace::new(limits.answer_pause, limits.least_rate))),
            service,
        );
    watcher.watch(connection).await.map_err(|error| error.to_string())
}
