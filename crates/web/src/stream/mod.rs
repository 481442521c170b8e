//! What is committed, told as it happens: `text/event-stream`, for programs and for pages alike.
//!
//! Each stream is a task that follows the feed and writes into a bounded channel, from which the connection takes. A
//! reader that is cut, for whatever reason, comes back with the id of its last message and misses nothing.

mod message;
mod position;
mod rights;
mod teller;

pub use message::line;
pub(crate) use message::{ChangedView, CountsView, ResetView};
pub(crate) use rights::{Door, Reader};

use crate::auth::guard::{Caller, require};
use crate::error::ApiError;
use crate::query::Query;
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use message::Reset;
use position::Position;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use teller::Teller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::Instrument;
use watchpost_model::filter::Watch;
use watchpost_model::{Action, Rank, Role, UserId};
use watchpost_pipeline::{Follower, Topics, now};
use watchpost_store::FEED_KEPT_SECONDS;

/// Pieces of text that wait for a reader. Each is some kilobytes, so a thousand readers that are slow at once hold
/// some ten megabytes.
const WAITING: usize = 4;
/// One user has a tenth of the room, or of what is left of it, and no less than some windows need: ten accounts don't
/// take all of it.
const PARTS: usize = 10;
const FEW: usize = 10;
/// A quarter of the room is for those who triage, and half of that for Admins, however many others watch.
const KEPT_FOR_RESPONDERS: usize = 4;
const KEPT_FOR_ADMINS: usize = 8;
/// When to try again while there is no room.
const LATER: Duration = Duration::from_secs(5);
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a stream can tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Alerts that are raised and changed.
    Alerts,
    /// Events.
    Events,
    /// How many alerts there are.
    Counts,
}

impl Topic {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [("alerts", Self::Alerts), ("events", Self::Events), ("counts", Self::Counts)];
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, topic)| topic)
    }
}

/// What a reader wants to be told.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    alerts: bool,
    events: bool,
    counts: bool,
    watch: Watch,
}

impl Wanted {
    /// These topics; without any, those that most readers want.
    pub(crate) fn new(topics: &[Topic], watch: Watch) -> Self {
        let topics = if topics.is_empty() { &[Topic::Alerts, Topic::Counts] } else { topics };
        let has = |topic| topics.contains(&topic);
        Self { alerts: has(Topic::Alerts), events: has(Topic::Events), counts: has(Topic::Counts), watch }
    }

    /// Whether anything but counts is told.
    fn tells_things(&self) -> bool {
        self.alerts || self.events
    }

    /// What has to be loaded for it: also for counts alone, when only some of the alerts are to be counted.
    fn loads(&self) -> Topics {
        Topics { alerts: self.alerts || (self.counts && self.watch.is_narrowed()), events: self.events }
    }

    /// What its reader has to be allowed.
    fn needs(&self) -> &'static [Action] {
        match self.events {
            true => &[Action::ReadAlerts, Action::ReadEvents],
            false => &[Action::ReadAlerts],
        }
    }
}

/// The room there is for streams: for all, and for each user, so that nobody takes it from all others.
pub(crate) struct Rooms {
    free: Arc<Semaphore>,
    max: usize,
    taken: Mutex<HashMap<UserId, usize>>,
}

impl Rooms {
    /// Room for so many.
    pub(crate) fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, taken: Mutex::default() }
    }

    /// How much of the room is kept for others than those of a rank.
    fn kept_from(&self, rank: Rank) -> usize {
        match rank {
            Rank::User(Role::Admin) => 0,
            Rank::User(Role::Responder) => self.max / KEPT_FOR_ADMINS,
            _ => self.max / KEPT_FOR_RESPONDERS,
        }
    }

    /// How many one user may have while so many are free.
    fn of_one(free: usize) -> usize {
        (free / PARTS).max(FEW)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one stream, until it is dropped.
struct Room {
    _permit: OwnedSemaphorePermit,
    user: UserId,
    state: AppState,
}

impl Room {
    fn take(state: &AppState, user: UserId, rank: Rank) -> Result<Self, ApiError> {
        let (rooms, full) = (&state.streams, |why| ApiError::Unavailable(why, LATER));
        // Who takes room looks at what is left with nobody in between.
        let mut taken = rooms.taken();
        let free = rooms.free.available_permits();
        let mine = taken.get(&user).copied().unwrap_or_default();
        if mine >= Rooms::of_one(free + mine) {
            return Err(full("Too many readers of the stream are connected as this user."));
        }
        if free <= rooms.kept_from(rank) {
            return Err(full("Too many readers of the stream are connected."));
        }
        let permit = rooms.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| full("Too many readers of the stream are connected."))?;
        *taken.entry(user).or_default() += 1;
        drop(taken);
        state.metrics.streams.inc();
        Ok(Self { _permit: permit, user, state: state.clone() })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.state.streams.taken();
        if let Some(mine) = taken.get_mut(&self.user) {
            *mine -= 1;
            if *mine == 0 {
                taken.remove(&self.user);
            }
        }
        self.state.metrics.streams.dec();
    }
}

/// Where a stream begins, and whether its reader has to load everything anew.
async fn begin(
    state: &AppState,
    last: Option<&str>,
) -> Result<(Follower, Position, Option<Reset>), ApiError> {
    let reset = match last.map(str::parse::<Position>) {
        None => None,
        Some(Err(_)) => Some(Reset::Unreadable),
        Some(Ok(last)) if last.at < now().seconds() - FEED_KEPT_SECONDS => Some(Reset::Forgotten),
        Some(Ok(last)) => match state.feed.resume(last.place()).await? {
            Some(follower) => return Ok((follower, last, None)),
            None => Some(Reset::Forgotten),
        },
    };
    let follower = state.feed.follow().await?;
    let position = Position::behind(follower.place(), now());
    Ok((follower, position, reset))
}

/// Begins a stream for a request whose caller may read alerts.
pub(crate) async fn open(
    state: &AppState,
    caller: &Caller,
    door: Door,
    parts: &Parts,
    query: &Query,
) -> Result<Response, ApiError> {
    let wanted = query.stream()?;
    if wanted.events {
        require(Action::ReadEvents, caller, parts, state).await?;
    }
    let room = Room::take(state, caller.user()?, caller.rank)?;
    // A browser that comes back by itself has the newer id in the header; its address is still the first.
    let last = parts.headers.get(&LAST_EVENT_ID).filter(|id| !id.is_empty());
    let last = match last {
        Some(id) => Some(id.to_str().unwrap_or("no text")),
        None => query.get("last_event_id"),
    };
    let (follower, position, reset) = begin(state, last).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let teller = Teller::new(state.clone(), wanted, Reader::of(parts, door), position, sender);
    let telling = async move {
        let why = teller.tell(follower, position, reset).await;
        tracing::debug!(?why, "a stream ended");
        drop(room);
    };
    tokio::spawn(telling.in_current_span());
    Ok(response(receiver))
}

fn response(receiver: mpsc::Receiver<Bytes>) -> Response {
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would collect what is to arrive at once.
    headers.insert(X_ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    response
}
