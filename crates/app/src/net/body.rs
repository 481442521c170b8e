//! Bodies: those that have to go on arriving, and those that nobody reads.

use super::NetLimits;
use super::pace::Pace;
use axum::body::HttpBody;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use watchpost_web::Known;

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

/// A body that has to go on arriving. Only its reader's waiting counts, not what the reader does in between.
pub(super) struct Paced {
    /// Taken when it is dropped.
    body: Option<Incoming>,
    limits: NetLimits,
    /// Whether its sender is known, which is known when it is read.
    known: Known,
    pace: Option<Pace>,
    unread: Unread,
}

impl Paced {
    pub(super) fn new(body: Incoming, limits: NetLimits, known: Known, unread: Unread) -> Self {
        Self { body: Some(body), limits, known, pace: None, unread }
    }

    fn pace(&mut self) -> &mut Pace {
        let (limits, known) = (&self.limits, &self.known);
        self.pace.get_or_insert_with(|| match known.is_known() {
            true => Pace::within(limits.body_pause, limits.least_rate, limits.body_time),
            false => Pace::within(limits.stranger_pause, limits.least_rate, limits.stranger_time),
        })
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
            let read = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
            this.pace().went_on(read.unwrap_or_default());
            if !matches!(frame, Some(Ok(_))) {
                // It ended, well or badly: there is nothing left of it.
                this.body = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        this.pace().wait(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}
