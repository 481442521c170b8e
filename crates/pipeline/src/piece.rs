//! A piece of the feed with what it tells of, loaded once for everybody who wants it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use watchpost_model::alert::HistoryEntry;
use watchpost_model::filter::Watch;
use watchpost_model::{Alert, AlertId, Event};
use watchpost_store::{AlertCounts, Db, FeedEntry, FeedPlace, StoreError};

/// Entries that are read together.
const READ_AT_ONCE: i64 = 100;
/// Things that are loaded together, unless one transaction brought more.
const MAX_THINGS: usize = 500;

type Alerts = HashMap<i64, Alert>;
type Events = HashMap<i64, Event>;
/// What was done to alerts, by the versions that it made.
type History = HashMap<(AlertId, i64), HistoryEntry>;

/// Entries of the feed that lie behind each other.
pub struct Piece {
    db: Db,
    /// In order.
    pub entries: Vec<FeedEntry>,
    /// The place they lie behind.
    behind: FeedPlace,
    /// Whether more was there already when they were read.
    pub(crate) more: bool,
    alerts: OnceCell<Alerts>,
    events: OnceCell<Events>,
    history: OnceCell<History>,
    counts: Arc<Counts>,
    /// Roughly what was loaded, in bytes.
    weight: AtomicUsize,
    /// What was written of it for everybody who reads it.
    written: Mutex<HashMap<Key, Arc<str>>>,
    /// Room for a piece that only one follower reads.
    room: Option<OwnedSemaphorePermit>,
}

/// What tells one thing from another: which kind of news it is, of what, and of which version.
type Key = (u8, i64, i64);

/// How many alerts there are, asked once for everybody.
pub struct Counts {
    db: Db,
    counts: OnceCell<AlertCounts>,
}

impl Counts {
    fn new(db: &Db) -> Arc<Self> {
        Arc::new(Self { db: db.clone(), counts: OnceCell::new() })
    }

    /// How many there were after the piece that these are of, or a little later.
    pub async fn read(&self) -> Result<&AlertCounts, StoreError> {
        self.counts.get_or_try_init(async || self.db.alert_counts().await).await
    }
}

/// What somebody wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// Alerts that are raised and changed.
    pub alerts: bool,
    /// Events.
    pub events: bool,
}

/// One thing that an entry tells of.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// An alert was raised; as it is now.
    Raised(&'a Alert),
    /// An event came in.
    Stored(&'a Event),
    /// An alert was changed; as it is now, and what was done.
    Changed(&'a Alert, &'a HistoryEntry),
}

impl News<'_> {
    /// Whether somebody who watches wants to hear of it.
    pub fn is_wanted(&self, watch: &Watch) -> bool {
        match self {
            Self::Raised(alert) => watch.wants_alert(alert),
            Self::Stored(event) => watch.wants_event(event),
            Self::Changed(alert, change) => watch.wants_change(alert, change),
        }
    }
}

/// What entries tell of, as far as it is wanted.
pub struct Loaded<'a> {
    piece: &'a Piece,
    alerts: Option<(&'a Alerts, &'a History)>,
    events: Option<&'a Events>,
}

fn ids(ranges: &[(i64, i64)]) -> impl Iterator<Item = i64> {
    ranges.iter().flat_map(|(first, last)| *first..=*last)
}

impl Piece {
    /// What lies right behind a place, no more than can be loaded together.
    pub(crate) async fn read(
        db: &Db,
        behind: FeedPlace,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Self>, StoreError> {
        let mut entries = db.feed_after(behind, READ_AT_ONCE).await?;
        let mut things = 0;
        let fits = |entry: &FeedEntry| {
            things += entry.len();
            things <= MAX_THINGS
        };
        let fitting = entries.iter().map(fits).take_while(|fits| *fits).count();
        let more = fitting < entries.len() || entries.len() as i64 == READ_AT_ONCE;
        entries.truncate(fitting.max(1));
        let piece = |entries| Self {
            db: db.clone(),
            entries,
            behind,
            more,
            alerts: OnceCell::new(),
            events: OnceCell::new(),
            history: OnceCell::new(),
            counts: Counts::new(db),
            weight: AtomicUsize::new(0),
            written: Mutex::default(),
            room,
        };
        Ok((!entries.is_empty()).then(|| piece(entries)))
    }

    /// The place behind them.
    pub fn end(&self) -> FeedPlace {
        self.entries.last().map_or(self.behind, |entry| entry.place)
    }

    /// Roughly what was loaded, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    /// How many alerts there are after them. They outlive the piece, which is heavier.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Loads what they tell of.
    pub async fn load(&self, topics: Topics) -> Result<Loaded<'_>, StoreError> {
        let alerts = match topics.alerts {
            true => Some((self.alerts().await?, self.history().await?)),
            false => None,
        };
        let events = match topics.events {
            true => Some(self.events().await?),
            false => None,
        };
        Ok(Loaded { piece: self, alerts, events })
    }

    async fn alerts(&self) -> Result<&Alerts, StoreError> {
        let load = async || {
            let raised = self.entries.iter().flat_map(|entry| ids(&entry.alerts));
            let changed = self.entries.iter().flat_map(|entry| entry.changes.iter());
            let mut ids: Vec<i64> = raised.chain(changed.map(|(alert, _)| alert.get())).collect();
            ids.sort_unstable();
            ids.dedup();
            let alerts = self.db.alerts_by_id(&ids).await?;
            self.add_weight(alerts.values().map(|alert| size_of::<Alert>() + alert.event.weight()));
            Ok(alerts)
        };
        self.alerts.get_or_try_init(load).await
    }

    async fn events(&self) -> Result<&Events, StoreError> {
        let load = async || {
            let ranges: Vec<_> = self.entries.iter().flat_map(|entry| entry.events.iter().copied()).collect();
            let events = self.db.events_between(&ranges).await?;
            self.add_weight(events.iter().map(Event::weight));
            Ok(events.into_iter().map(|event| (event.id.get(), event)).collect())
        };
        self.events.get_or_try_init(load).await
    }

    async fn history(&self) -> Result<&History, StoreError> {
        let load = async || {
            let changes: Vec<_> =
                self.entries.iter().flat_map(|entry| entry.changes.iter().copied()).collect();
            let history = self.db.history_of(&changes).await?;
            self.add_weight(history.values().map(|entry| size_of::<HistoryEntry>() + entry.why.len()));
            Ok(history)
        };
        self.history.get_or_try_init(load).await
    }

    fn add_weight(&self, weights: impl Iterator<Item = usize>) {
        self.weight.fetch_add(weights.sum(), Ordering::Relaxed);
    }
}

impl<'a> Loaded<'a> {
    /// What is written of one of the things they tell of, once for everybody.
    pub fn written(&self, news: &News<'_>, write: impl FnOnce() -> String) -> Arc<str> {
        // Whoever reads it alone has no use for it afterwards.
        if self.piece.room.is_some() {
            return write().into();
        }
        let key = match news {
            News::Raised(alert) => (0, alert.id.get(), 0),
            News::Stored(event) => (1, event.id.get(), 0),
            News::Changed(alert, change) => (2, alert.id.get(), change.version),
        };
        let mut written = self.piece.written.lock().unwrap_or_else(PoisonError::into_inner);
        let text = written.entry(key).or_insert_with(|| {
            let text: Arc<str> = write().into();
            self.piece.add_weight(std::iter::once(text.len()));
            text
        });
        text.clone()
    }

    /// What an entry tells of, in order, each with its number in the entry from 1 on. What isn't wanted is left out and
    /// counted all the same, so that a number means the same to everybody.
    pub fn news<'b>(&self, entry: &'b FeedEntry) -> impl Iterator<Item = (usize, News<'a>)> + use<'a, 'b> {
        let (alerts, events) = (self.alerts, self.events);
        let count = |ranges: &[(i64, i64)]| ids(ranges).count();
        let before_events = count(&entry.alerts);
        let before_changes = before_events + count(&entry.events);
        let raised = alerts.into_iter().flat_map(|(alerts, _)| {
            let news = move |id| alerts.get(&id).map(News::Raised);
            (1..).zip(ids(&entry.alerts).map(news))
        });
        let stored = events.into_iter().flat_map(move |events| {
            let news = move |id| events.get(&id).map(News::Stored);
            (before_events + 1..).zip(ids(&entry.events).map(news))
        });
        let changed = alerts.into_iter().flat_map(move |(alerts, history)| {
            let news = move |change: &(AlertId, i64)| {
                Some(News::Changed(alerts.get(&change.0.get())?, history.get(change)?))
            };
            (before_changes + 1..).zip(entry.changes.iter().map(news))
        });
        raised.chain(stored).chain(changed).filter_map(|(n, news)| Some((n, news?)))
    }
}
