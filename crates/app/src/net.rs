//! The accept loop. `axum::serve` has no time limit for headers and no limit of connections; this has.

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tower::Service;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct NetLimits {
    /// Open at once; more wait in the listener's queue.
    pub connections: usize,
    /// Until the headers of a request are there; also how long a connection may idle between requests.
    pub header_time: Duration,
    /// Between two pieces of a body.
    pub body_pause: Duration,
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
            header_time: Duration::from_secs(10),
            body_pause: Duration::from_secs(30),
            // A long address and a token fit several times.
            header_bytes: 32 << 10,
            headers: 100,
            farewell: Duration::from_secs(10),
        }
    }
}

/// How much of a body that nobody wants is read, and for how long.
const MAX_PASSED_BYTES: usize = 256 << 10;
const MAX_PASSING: Duration = Duration::from_millis(500);

/// After an error that a moment may heal, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until told to stop, then lets requests under way finish for a while. When it returns, none is
/// left: what they held is free.
pub async fn accept<S>(
    listener: TcpListener,
    service: S,
    limits: NetLimits,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, service.clone(), limits);
                let watched = graceful.watch(connection);
                while open.try_join_next().is_some() {}
                open.spawn(async move {
                    if let Err(error) = watched.await {
                        tracing::debug!(%error, %peer, "a connection ended early");
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
    Ok(())
}

fn connection<S>(
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    limits: NetLimits,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>,
>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request: Request<Incoming>| {
        let unread = Unread::default();
        let expects = request.headers().contains_key(header::EXPECT);
        let mut request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(Paced::new(body, limits.body_pause, unread.clone())),
        });
        request.extensions_mut().insert(ConnectInfo(peer));
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
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
}

/// A body that its handler left unread: a request can be refused without it.
#[derive(Clone, Default)]
struct Unread(Arc<Mutex<Option<Incoming>>>);

impl Unread {
    fn keep(&self, body: Incoming) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads the rest of a body for a moment, so that the connection can carry the next request; whether that was all.
/// Otherwise the client has to be told that the connection ends, or its next request fails.
async fn read_past(mut body: Incoming) -> bool {
    let reading = async {
        let mut left = MAX_PASSED_BYTES;
        while let Some(frame) = body.frame().await {
            let read = frame.ok().and_then(|frame| frame.data_ref().map(Bytes::len));
            match read.and_then(|read| left.checked_sub(read)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(MAX_PASSING, reading).await.unwrap_or(false)
}

/// A body that has to go on arriving.
struct Paced {
    /// Taken when it is dropped.
    body: Option<Incoming>,
    pause: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether the last thing that was said to the reader is to wait: only its waiting counts, not its own pauses.
    waiting: bool,
    unread: Unread,
}

impl Paced {
    fn new(body: Incoming, pause: Duration, unread: Unread) -> Self {
        Self { body: Some(body), pause, deadline: None, waiting: false, unread }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            self.unread.keep(body);
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            this.waiting = false;
            if !matches!(frame, Some(Ok(_))) {
                // It ended, well or badly: there is nothing left of it.
                this.body = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        // Most bodies are there when they are asked for and never need a timer.
        let pause = this.pause;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        if !std::mem::replace(&mut this.waiting, true) {
            deadline.as_mut().reset(Instant::now() + pause);
        }
        match deadline.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}
