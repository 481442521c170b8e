//! Follows what is committed, by this node and by others, for everybody who watches.
//!
//! One task reads the feed of the database while somebody watches, and keeps what it read last for all of them.
//! Whoever is further behind reads the database on their own until they have caught up, so it makes no difference
//! whether they come back after a minute or have been there all the time.

use crate::piece::Piece;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use watchpost_store::{Db, FeedPlace, StoreError};

/// How often to look. What somebody watches should feel instant.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After something went wrong.
const PAUSE: Duration = Duration::from_secs(1);
/// Pieces that are kept for all, as long as they aren't too heavy together.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 << 20;
/// Pieces that followers who are behind hold at once: they wait for each other, and the others for nobody.
const CATCHING_UP: usize = 16;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    db: Db,
    kept: Mutex<Kept>,
    /// Grows whenever there is more to be found in what is kept.
    news: watch::Sender<u64>,
    followers: AtomicUsize,
    somebody: Notify,
    catching_up: Arc<Semaphore>,
    closed: watch::Sender<bool>,
}

/// What was read last.
#[derive(Default)]
struct Kept {
    /// Everything behind this place that was read is kept; nothing while nobody follows.
    from: Option<FeedPlace>,
    /// One behind the other.
    pieces: VecDeque<Arc<Piece>>,
}

impl Kept {
    fn begin(&mut self, from: Option<FeedPlace>) {
        *self = Self { from, pieces: VecDeque::new() };
    }

    fn add(&mut self, piece: Piece) {
        self.pieces.push_back(Arc::new(piece));
        let is_too_much = |pieces: &VecDeque<Arc<Piece>>| {
            pieces.len() > KEPT || pieces.iter().map(|piece| piece.weight()).sum::<usize>() > KEPT_BYTES
        };
        while self.pieces.len() > 1 && is_too_much(&self.pieces) {
            self.from = self.pieces.pop_front().map(|forgotten| forgotten.end());
        }
    }
}

/// Where to find what lies behind a place.
enum Where {
    /// Here.
    Kept(Arc<Piece>),
    /// It is still to come.
    ToCome,
    /// In the database; from this place on it would be kept.
    Further(Option<FeedPlace>),
}

impl Feed {
    /// The feed of a database.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            db,
            kept: Mutex::default(),
            news: watch::Sender::new(0),
            followers: AtomicUsize::new(0),
            somebody: Notify::new(),
            catching_up: Arc::new(Semaphore::new(CATCHING_UP)),
            closed: watch::Sender::new(false),
        }))
    }

    /// Sends everybody away: the server stops.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }

    /// Resolves when everybody has to go.
    pub async fn closed(&self) {
        // The sender lives as long as this does.
        self.0.closed.subscribe().wait_for(|closed| *closed).await.ok();
    }

    /// Follows from now on.
    pub async fn follow(&self) -> Result<Follower, StoreError> {
        Ok(self.follow_from(self.0.db.feed_end().await?))
    }

    /// Follows from a place on; nobody when it isn't one of this feed, or something behind it is forgotten.
    pub async fn resume(&self, place: FeedPlace) -> Result<Option<Follower>, StoreError> {
        let db = &self.0.db;
        let there = db.feed_knows(place).await? && db.feed_keeps(place).await?;
        Ok(there.then(|| self.follow_from(place)))
    }

    fn follow_from(&self, place: FeedPlace) -> Follower {
        self.0.followers.fetch_add(1, Ordering::AcqRel);
        self.0.somebody.notify_one();
        Follower { feed: self.clone(), news: self.0.news.subscribe(), place }
    }

    /// Reads what is committed while somebody follows, until it is dropped.
    pub async fn run(self) {
        let inner = &self.0;
        let mut end = None;
        loop {
            if inner.followers.load(Ordering::Acquire) == 0 {
                end = None;
                self.kept().begin(None);
                inner.somebody.notified().await;
                continue;
            }
            match self.read(&mut end).await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => {
                    tracing::warn!(%error, "what was committed could not be read");
                    // It may last: whether nothing is forgotten meanwhile is for followers to find out.
                    end = None;
                    self.kept().begin(None);
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
            None => {
                let place = inner.db.feed_end().await?;
                self.kept().begin(Some(place));
                // Whoever looked before this was known looks again: what came in between is only in the database.
                self.tell();
                *end.insert(place)
            }
        };
        let Some(piece) = Piece::read(&inner.db, behind, None).await? else { return Ok(false) };
        *end = Some(piece.end());
        let more = piece.more;
        self.kept().add(piece);
        self.tell();
        Ok(more)
    }

    fn tell(&self) {
        self.0.news.send_modify(|n| *n += 1);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn behind(&self, place: FeedPlace) -> Where {
        let kept = self.kept();
        if kept.from.is_none_or(|from| place < from) {
            return Where::Further(kept.from);
        }
        let next = kept.pieces.iter().find(|piece| piece.end() > place);
        next.map_or(Where::ToCome, |piece| Where::Kept(piece.clone()))
    }
}

/// What comes next for a follower.
pub enum Next {
    /// What lies behind their place. It may begin with entries that they took already: those up to it.
    Piece(Arc<Piece>),
    /// Something behind their place was forgotten before they took it: they have to begin anew.
    Lost,
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

    /// What comes next, as soon as it is there.
    pub async fn next(&mut self) -> Result<Next, StoreError> {
        loop {
            self.news.mark_unchanged();
            match self.feed.behind(self.place) {
                Where::Kept(piece) => return Ok(Next::Piece(piece)),
                Where::ToCome => {}
                Where::Further(kept_from) => {
                    if let Some(next) = self.read().await? {
                        return Ok(next);
                    }
                    // Nothing lies between.
                    if let Some(from) = kept_from {
                        self.took(from);
                        continue;
                    }
                }
            }
            // The sender lives as long as the feed, of which this has one.
            self.news.changed().await.ok();
        }
    }

    /// Reads the database, for one follower alone.
    async fn read(&self) -> Result<Option<Next>, StoreError> {
        let inner = &self.feed.0;
        let room = inner.catching_up.clone().acquire_owned().await.ok();
        let piece = Piece::read(&inner.db, self.place, room).await?;
        // Asked afterwards: what is still kept now was there when it was read.
        Ok(match (inner.db.feed_keeps(self.place).await?, piece) {
            (false, _) => Some(Next::Lost),
            (true, piece) => piece.map(|piece| Next::Piece(Arc::new(piece))),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use watchpost_model::event::Origin;
    use watchpost_model::text::Given;
    use watchpost_model::{DetailsDraft, EventDraft, EventId, NewEvent, Timestamp, UserId};
    use watchpost_store::{FEED_KEPT_SECONDS, Ingest, Location, Names, ingest};

    /// A database of one's own.
    async fn open(folder: &tempfile::TempDir) -> Db {
        let db = Db::open(&Location::Sqlite(folder.path().join("x.db"))).await.expect("a database");
        db.migrate(now()).await.expect("its tables");
        db
    }

    /// Commits an event at a time.
    async fn commit(db: &Db, id: i64, at: Timestamp) {
        let text = |text: &'static str| Given::Text(text.into());
        let draft = EventDraft {
            source_name: text("fw"),
            event_type: text("scan"),
            severity: text("LOW"),
            description: text("x"),
            details: DetailsDraft::default(),
        };
        let event = NewEvent::check(&draft).expect("a good event");
        let event = event.stored(EventId::new(id), at, Origin::User(UserId::new(1)));
        let content = Ingest { events: Arc::new(vec![event]), alerts: vec![], pieces: vec![], late: false };
        let batch = ingest(db.engine(), content, &mut Names::default(), 0);
        db.write(Arc::new(batch)).await.expect("it is stored");
    }

    /// The events that come next.
    async fn next(follower: &mut Follower) -> Vec<i64> {
        let next = tokio::time::timeout(Duration::from_secs(20), follower.next()).await;
        let Next::Piece(piece) = next.expect("something comes").expect("the database answers") else {
            panic!("nothing is lost")
        };
        let place = follower.place();
        let news = piece.entries.iter().filter(|entry| entry.place > place);
        let events = news.flat_map(|entry| entry.events.iter().map(|(first, _)| *first)).collect();
        follower.took(piece.end());
        events
    }

    #[tokio::test]
    async fn what_comes_before_the_first_look_is_not_waited_for_until_the_next() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let db = open(&folder).await;
        let feed = Feed::new(db.clone());
        let mut early = feed.follow().await.expect("the database answers");
        // As if nobody had looked yet when it asked, and something came before somebody did.
        let place = early.place();
        let mut waiting = Box::pin(early.next());
        let soon = tokio::time::timeout(Duration::from_millis(200), &mut waiting);
        assert!(soon.await.is_err(), "there is nothing yet");
        commit(&db, 1, now()).await;
        let running = tokio::spawn(feed.clone().run());
        let found = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(matches!(found.expect("it comes").expect("the database answers"), Next::Piece(_)));
        assert_eq!(next(&mut early).await, [1]);
        // From then on it is told, to those who have been there and to those who come back.
        let mut again = feed.resume(place).await.expect("the database answers").expect("all of it is kept");
        for id in 2..=5 {
            commit(&db, id, now()).await;
            assert_eq!(next(&mut early).await, [id]);
        }
        let mut all = Vec::new();
        while all.len() < 5 {
            all.extend(next(&mut again).await);
        }
        assert_eq!(all, [1, 2, 3, 4, 5]);
        drop((early, again));
        running.abort();
    }

    #[tokio::test]
    async fn whoever_comes_too_late_hears_so() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let db = open(&folder).await;
        let feed = Feed::new(db.clone());
        let mut follower = feed.follow().await.expect("the database answers");
        let place = follower.place();
        let long_ago = now().plus_seconds(-2 * FEED_KEPT_SECONDS);
        for id in 1..=3 {
            commit(&db, id, long_ago).await;
        }
        while db.forget_feed(now().plus_seconds(-FEED_KEPT_SECONDS), None).await.expect("it forgets") {}
        assert!(matches!(follower.next().await, Ok(Next::Lost)));
        assert!(feed.resume(place).await.expect("the database answers").is_none());
        follower = feed.follow().await.expect("the database answers");
        commit(&db, 4, now()).await;
        assert_eq!(next(&mut follower).await, [4]);
    }
}
