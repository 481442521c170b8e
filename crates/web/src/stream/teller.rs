//! One stream: follows the feed, says what its reader wants to hear, and ends when nobody may or wants to hear it.

use crate::state::AppState;
use crate::stream::message::{self, Reset, Tally};
use crate::stream::position::Position;
use crate::stream::{Reader, Wanted};
use axum::body::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use watchpost_pipeline::{Counts, Follower, Loaded, News, Next, Piece, now};
use watchpost_store::{FeedEntry, StoreError};

/// How long a reader that was cut waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// So often something is said, so that nobody in between takes the connection for dead.
const STILL_HERE_EVERY: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two messages of counts.
const COUNTS_EVERY: Duration = Duration::from_secs(1);
/// How often to look whether the reader still may, give or take a second: not all of them at once.
const RIGHTS_EVERY: Duration = Duration::from_secs(5);
/// How often in a row that may fail before the reader is taken for one who may not: a minute.
const MAX_UNSURE: u32 = 12;
/// After the database couldn't be read.
const PAUSE: Duration = Duration::from_secs(1);
/// What is said together.
const PIECE_BYTES: usize = 16 << 10;
/// After so many things others get their turn: most may be left out, and looking for words takes time.
const THINGS_IN_A_TURN: usize = 32;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The reader went.
    Gone,
    /// The reader took nothing.
    Slow,
    /// The reader may not any more.
    Rights,
    /// The server stops.
    Stopped,
}

/// See the module.
pub(super) struct Teller {
    state: AppState,
    wanted: Wanted,
    reader: Reader,
    sender: mpsc::Sender<Bytes>,
    so_far: Mutex<SoFar>,
    /// Wakes whoever says counts.
    counts_due: Notify,
}

/// What was said so far.
struct SoFar {
    /// Behind what was handled.
    handled: Position,
    /// Behind what the reader was told of, which is what a message may say.
    told: Position,
    /// What no message of counts has said yet.
    tally: Tally,
    /// How many alerts there were after that; nothing to ask anew.
    counts: Option<Arc<Counts>>,
}

/// Messages that are said together, and the position behind them.
struct Outbox {
    text: String,
    position: Position,
}

impl Teller {
    pub(super) fn new(
        state: AppState,
        wanted: Wanted,
        reader: Reader,
        position: Position,
        sender: mpsc::Sender<Bytes>,
    ) -> Self {
        let so_far = SoFar { handled: position, told: position, tally: Tally::default(), counts: None };
        Self { state, wanted, reader, sender, so_far: Mutex::new(so_far), counts_due: Notify::new() }
    }

    /// Tells until there is a reason to end.
    pub(super) async fn tell(&self, follower: Follower, from: Position, reset: Option<Reset>) -> End {
        let mut text = message::beginning(RETRY, from);
        text.extend(reset.map(|reason| message::reset(from, reason)));
        let telling = async {
            if let Err(end) = self.say(|_| text).await {
                return end;
            }
            self.counts_due.notify_one();
            tokio::select! {
                Err(end) = self.tell_news(follower, from) => end,
                Err(end) = self.tell_counts() => end,
                Err(end) = self.tell_that_it_is_there() => end,
            }
        };
        tokio::select! {
            end = telling => end,
            () = self.watch_rights() => End::Rights,
            () = self.state.feed.closed() => End::Stopped,
            () = self.sender.closed() => End::Gone,
        }
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something as soon as there is room for it; what, is decided then.
    async fn say(&self, what: impl FnOnce(&mut SoFar) -> String) -> Result<(), End> {
        let Ok(room) = timeout(PATIENCE, self.sender.reserve()).await else { return Err(End::Slow) };
        let room = room.map_err(|_| End::Gone)?;
        let text = what(&mut self.so_far());
        if !text.is_empty() {
            room.send(text.into());
        }
        Ok(())
    }

    /// Follows the feed.
    async fn tell_news(&self, mut follower: Follower, from: Position) -> Result<Never, End> {
        let mut outbox = Outbox { text: String::new(), position: from };
        loop {
            let taken = match follower.next().await {
                Ok(Next::Piece(piece)) => self.tell_piece(&piece, &mut follower, &mut outbox, from).await,
                Ok(Next::Lost) => self.begin_anew(&mut follower, &mut outbox).await,
                Err(error) => Err(error.into()),
            };
            match taken {
                Ok(()) => {}
                Err(Trouble::End(end)) => return Err(end),
                Err(Trouble::Store(error)) => {
                    tracing::debug!(%error, "a stream waits for the database");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Tells of a piece of the feed. Nothing of it was told when that fails for the database's sake.
    async fn tell_piece(
        &self,
        piece: &Piece,
        follower: &mut Follower,
        outbox: &mut Outbox,
        from: Position,
    ) -> Result<(), Trouble> {
        let loaded = piece.load(self.wanted.loads()).await?;
        let (taken, mut tally) = (follower.place(), Tally::default());
        for entry in piece.entries.iter().filter(|entry| entry.place > taken) {
            self.tell_entry(entry, &loaded, from.handled_of(entry), &mut tally, outbox).await?;
            follower.took(entry.place);
        }
        self.flush(outbox).await?;
        let mut so_far = self.so_far();
        so_far.handled = outbox.position;
        let counted = self.wanted.counts && !tally.is_empty();
        if counted {
            so_far.tally.add(tally);
            so_far.counts = Some(piece.counts());
            self.counts_due.notify_one();
        }
        // For whoever hears only counts, what isn't counted yet isn't told.
        if self.wanted.tells_things() || so_far.tally.is_empty() {
            so_far.told = outbox.position;
        }
        Ok(())
    }

    async fn tell_entry(
        &self,
        entry: &FeedEntry,
        loaded: &Loaded<'_>,
        handled: usize,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) -> Result<(), End> {
        if !self.wanted.loads().alerts && self.wanted.counts {
            count(entry, handled, tally);
        }
        // The last one says that the entry is wholly told, so each waits until it is known to be followed by another.
        let mut last: Option<(usize, News<'_>)> = None;
        for (turn, (number, news)) in loaded.news(entry).enumerate() {
            if turn % THINGS_IN_A_TURN == THINGS_IN_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
            if number <= handled || !news.is_wanted(&self.wanted.watch) {
                continue;
            }
            match news {
                News::Raised(_) => tally.raise(1),
                News::Changed(alert, _) => tally.change(alert.id),
                News::Stored(_) => {}
            }
            if !self.tells(&news) {
                continue;
            }
            if let Some((number, news)) = last.replace((number, news)) {
                self.put(&news, Position::within(entry, Some(number)), loaded, outbox).await?;
            }
        }
        let behind = Position::within(entry, None);
        if let Some((_, news)) = last {
            self.put(&news, behind, loaded, outbox).await?;
        }
        outbox.position = behind;
        Ok(())
    }

    fn tells(&self, news: &News<'_>) -> bool {
        match news {
            News::Raised(_) | News::Changed(..) => self.wanted.alerts,
            News::Stored(_) => self.wanted.events,
        }
    }

    async fn put(
        &self,
        news: &News<'_>,
        id: Position,
        loaded: &Loaded<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), End> {
        let data = loaded.written(news, || message::data(news));
        message::say(&mut outbox.text, message::name(news), id, &data);
        outbox.position = id;
        match outbox.text.len() < PIECE_BYTES {
            true => Ok(()),
            false => self.flush(outbox).await,
        }
    }

    async fn flush(&self, outbox: &mut Outbox) -> Result<(), End> {
        if outbox.text.is_empty() {
            return Ok(());
        }
        let (text, position) = (std::mem::take(&mut outbox.text), outbox.position);
        self.say(|so_far| {
            so_far.told = position;
            text
        })
        .await
    }

    /// Goes on from now, for a reader that was too far behind.
    async fn begin_anew(&self, follower: &mut Follower, outbox: &mut Outbox) -> Result<(), Trouble> {
        *follower = self.state.feed.follow().await?;
        outbox.position = Position::behind(follower.place(), now());
        let position = outbox.position;
        let reset = |so_far: &mut SoFar| {
            *so_far = SoFar { handled: position, told: position, tally: Tally::default(), counts: None };
            message::reset(position, Reset::Forgotten)
        };
        self.say(reset).await?;
        self.counts_due.notify_one();
        Ok(())
    }

    /// Says how many alerts there are: at the beginning, and when that has changed.
    async fn tell_counts(&self) -> Result<Never, End> {
        if !self.wanted.counts {
            return std::future::pending().await;
        }
        loop {
            self.counts_due.notified().await;
            let counts = self.so_far().counts.clone();
            let found = match &counts {
                Some(counts) => counts.read().await.cloned(),
                None => self.state.db.alert_counts().await,
            };
            match found {
                Ok(found) => {
                    let counts = |so_far: &mut SoFar| {
                        let tally = std::mem::take(&mut so_far.tally);
                        if !self.wanted.tells_things() {
                            so_far.told = so_far.handled;
                        }
                        message::counts(so_far.told, tally, &found)
                    };
                    self.say(counts).await?;
                }
                Err(error) => {
                    tracing::debug!(%error, "a stream waits for the database");
                    self.counts_due.notify_one();
                }
            }
            sleep(COUNTS_EVERY).await;
        }
    }

    /// Says now and then that there is nothing new.
    async fn tell_that_it_is_there(&self) -> Result<Never, End> {
        loop {
            sleep(STILL_HERE_EVERY).await;
            self.say(|so_far| message::still_here(so_far.told.still(now()))).await?;
        }
    }

    /// Returns when the reader may not read this any more.
    async fn watch_rights(&self) {
        let mut unsure = 0;
        while unsure <= MAX_UNSURE {
            sleep(RIGHTS_EVERY.mul_f64(rand::random_range(0.8..1.0))).await;
            match self.reader.still_may(self.wanted.needs(), &self.state).await {
                Ok(true) => unsure = 0,
                Ok(false) => return,
                // Nothing is known, and as nothing can be read, nothing is told.
                Err(_) => unsure += 1,
            }
        }
    }
}

/// What never comes.
enum Never {}

/// Counts what an entry raised and changed, of which so much was handled before.
fn count(entry: &FeedEntry, handled: usize, tally: &mut Tally) {
    let ids =
        |ranges: &[(i64, i64)]| ranges.iter().map(|(first, last)| last - first + 1).sum::<i64>() as usize;
    let (raised, stored) = (ids(&entry.alerts), ids(&entry.events));
    tally.raise(raised.saturating_sub(handled));
    let changes = entry.changes.iter().skip(handled.saturating_sub(raised + stored));
    changes.for_each(|(alert, _)| tally.change(*alert));
}

/// Why telling stopped.
enum Trouble {
    End(End),
    Store(StoreError),
}

impl From<End> for Trouble {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
