//! Follows what is committed, by this node and by others, for everybody who watches.
//!
//! One task reads the feed of the database while somebody watches, and keeps what it read last for all of them.
//! Whoever is further behind reads the database on their own until they have caught up, so it makes no difference
//! whether they come back after a minute or have been there all the time.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use watchpost_model::alert::HistoryEntry;
use watchpost_model::{Alert, AlertId, Event};
use watchpost_store::{AlertCounts, Db, FeedEntry, FeedPlace, StoreError};

/// How often to look. What somebody watches should feel instant.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After something went wrong.
const PAUSE: Duration = Duration::from_secs(1);
/// Entries that are read together.
const READ_AT_ONCE: i64 = 500;
/// Things that are loaded together: some megabytes.
const MAX_THINGS: usize = 2_000;
/// Pieces that are kept for all.
const KEPT: usize = 64;

/// Entries of the feed that lie behind each other, with what they tell of, loaded once for everybody who wants it.
pub struct Piece {
    db: Db,
    /// In order.
    pub entries: Vec<FeedEntry>,
    /// The place they lie behind.
    behind: FeedPlace,
    alerts: OnceCell<HashMap<i64, Alert>>,
    events: OnceCell<HashMap<i64, Event>>,
    history: OnceCell<HashMap<(AlertId, i64), HistoryEntry>>,
    counts: OnceCell<AlertCounts>,
}

impl Piece {
    fn new(db: &Db, entries: Vec<FeedEntry>, behind: FeedPlace) -> Self {
        Self {
            db: db.clone(),
            entries,
            behind,
            alerts: OnceCell::new(),
            events: OnceCell::new(),
            history: OnceCell::new(),
            counts: OnceCell::new(),
        }
    }

    /// The place behind them.
    pub fn end(&self) -> FeedPlace {
        self.entries.last().map_or(self.behind, |entry| entry.place)
    }

    /// The alerts that were raised or changed, as they are now, by their ids.
    pub async fn alerts(&self) -> Result<&HashMap<i64, Alert>, StoreError> {
        self.alerts
            .get_or_try_init(async || {
                let raised = self.entries.iter().flat_map(|entry| entry.alerts.iter());
                let mut ids: Vec<i64> = raised.flat_map(|(first, last)| *first..=*last).collect();
                let changed = self.entries.iter().flat_map(|entry| entry.changes.iter());
                ids.extend(changed.map(|(alert, _)| alert.get()));
                ids.sort_unstable();
                ids.dedup();
                self.db.alerts_by_id(&ids).await
            })
            .await
    }

    /// The events, by their ids.
    pub async fn events(&self) -> Result<&HashMap<i64, Event>, StoreError> {
        self.events
            .get_or_try_init(async || {
                let ranges: Vec<_> = self.entries.iter().flat_map(|entry| entry.events.clone()).collect();
                let events = self.db.events_between(&ranges).await?;
                Ok(events.into_iter().map(|event| (event.id.get(), event)).collect())
            })
            .await
    }

    /// What the changes were, by alert and version.
    pub async fn history(&self) -> Result<&HashMap<(AlertId, i64), HistoryEntry>, StoreError> {
        self.history
            .get_or_try_init(async || {
                let changes: Vec<_> = self.entries.iter().flat_map(|entry| entry.changes.clone()).collect();
                self.db.history_of(&changes).await
            })
            .await
    }

    /// How many alerts there are after them, or a little later.
    pub async fn counts(&self) -> Result<&AlertCounts, StoreError> {
        self.counts.get_or_try_init(async || self.db.alert_counts().await).await
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    db: Db,
    /// What was read last, one piece behind the other.
    kept: Mutex<VecDeque<Arc<Piece>>>,
    /// Grows with every piece.
    read: watch::Sender<u64>,
    followers: AtomicUsize,
    somebody: tokio::sync::Notify,
    closed: AtomicBool,
}

impl Feed {
    /// The feed of a database.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            db,
            kept: Mutex::default(),
            read: watch::Sender::new(0),
            followers: AtomicUsize::new(0),
            somebody: tokio::sync::Notify::new(),
            closed: AtomicBool::new(false),
        }))
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.0.followers.load(Ordering::Relaxed)
    }

    /// Sends everybody away: the server stops.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.read.send_modify(|n| *n += 1);
    }

    /// Follows from a place on, or from now.
    pub async fn follow(&self, place: Option<FeedPlace>) -> Result<Follower, StoreError> {
        let place = match place {
            Some(place) => place,
            None => self.0.db.feed_end().await?,
        };
        self.0.followers.fetch_add(1, Ordering::AcqRel);
        self.0.somebody.notify_one();
        Ok(Follower { feed: self.clone(), news: self.0.read.subscribe(), place })
    }

    /// Reads what is committed while somebody follows, until it is dropped.
    pub async fn run(self) {
        let inner = &self.0;
        let mut end = None;
        loop {
            if self.followers() == 0 {
                self.kept().clear();
                end = None;
                inner.somebody.notified().await;
                continue;
            }
            match self.read(&mut end).await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => {
                    tracing::warn!(%error, "what was committed could not be read");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Reads what lies behind the end; whether more is there already.
    async fn read(&self, end: &mut Option<FeedPlace>) -> Result<bool, StoreError> {
        let inner = &self.0;
        let behind = match *end {
            Some(end) => end,
            None => *end.insert(inner.db.feed_end().await?),
        };
        let Some(piece) = piece(&inner.db, behind).await? else { return Ok(false) };
        *end = Some(piece.end());
        let more = piece.entries.len() as i64 == READ_AT_ONCE;
        {
            let mut kept = self.kept();
            kept.push_back(Arc::new(piece));
            while kept.len() > KEPT {
                kept.pop_front();
            }
        }
        inner.read.send_modify(|n| *n += 1);
        Ok(more)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Piece>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kept piece with what comes right behind a place. Nothing when nothing does yet, or when it isn't kept.
    fn kept_behind(&self, place: FeedPlace) -> Option<Arc<Piece>> {
        let kept = self.kept();
        if kept.front().is_none_or(|first| place < first.behind) {
            return None;
        }
        kept.iter().find(|piece| piece.end() > place).cloned()
    }

    /// Whether everything behind a place that was read is kept.
    fn keeps_all_behind(&self, place: FeedPlace) -> bool {
        self.kept().front().is_some_and(|first| place >= first.behind)
    }
}

/// What lies right behind a place, no more than can be loaded together.
async fn piece(db: &Db, behind: FeedPlace) -> Result<Option<Piece>, StoreError> {
    let mut entries = db.feed_after(behind, READ_AT_ONCE).await?;
    let mut things = 0;
    let fits = |entry: &FeedEntry| {
        things += entry.len();
        things <= MAX_THINGS
    };
    let fitting = entries.iter().map(fits).take_while(|fits| *fits).count();
    entries.truncate(fitting.max(1));
    Ok((!entries.is_empty()).then(|| Piece::new(db, entries, behind)))
}

/// Somebody who follows, and where they are.
pub struct Follower {
    feed: Feed,
    news: watch::Receiver<u64>,
    place: FeedPlace,
}

impl Follower {
    /// Behind what was taken.
    pub fn place(&self) -> FeedPlace {
        self.place
    }

    /// The next piece, as soon as there is one; nothing when the server stops. It may begin with entries that were
    /// taken already: those up to [`Follower::place`].
    pub async fn next(&mut self) -> Result<Option<Arc<Piece>>, StoreError> {
        loop {
            self.news.mark_unchanged();
            if self.feed.0.closed.load(Ordering::Acquire) {
                return Ok(None);
            }
            if let Some(piece) = self.feed.kept_behind(self.place) {
                return Ok(Some(piece));
            }
            if !self.feed.keeps_all_behind(self.place)
                && let Some(piece) = piece(&self.feed.0.db, self.place).await?
            {
                return Ok(Some(Arc::new(piece)));
            }
            if self.news.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Says that everything up to a place was taken.
    pub fn took(&mut self, place: FeedPlace) {
        self.place = self.place.max(place);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.0.followers.fetch_sub(1, Ordering::AcqRel);
    }
}
