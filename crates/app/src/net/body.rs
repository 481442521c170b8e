//! Bodies: those that have to go on arriving, and those that nobody reads.

use axum::body::HttpBody;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How much of a body that nobody wants is read, and for how long.
const MAX_PASSED_BYTES: usize = 256 << 10;
const MAX_PASSING: Duration = Duration::from_millis(500);

/// A body that its handler left unread: a request can be refused without it.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Option<Incoming>>>);

impl Unread {
    fn keep(&self, body: Incoming) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    pub(super) fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads the rest of a body for a moment, so that the connection can carry the next request; whether that was all.
/// Otherwise the client has to be told that the connection ends, or its next request fails.
pub(super) async fn read_past(mut body: Incoming) -> bool {
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
pub(super) struct Paced {
    /// Taken when it is dropped.
    body: Option<Incoming>,
    pause: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether the last thing that was said to the reader is to wait: only its waiting counts, not its own pauses.
    waiting: bool,
    unread: Unread,
}

impl Paced {
    pub(super) fn new(body: Incoming, pause: Duration, unread: Unread) -> Self {
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
