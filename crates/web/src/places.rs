//! Places for what takes the database or a connection for long: so many in all and so many for each account, so that
//! one of them doesn't take them from all others. Whoever comes when there is none waits for a moment, in a short
//! queue, or is told when to come back.

use crate::auth::guard::Caller;
use crate::auth::standing::Holder;
use crate::error::{ApiError, Busy};
use crate::state::AppState;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How many places there are.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// In all.
    all: usize,
    /// For one account or key.
    of_one: usize,
    /// Who may wait of one account or key.
    waiting_of_one: usize,
    /// Who may wait in all.
    waiting: usize,
    /// How long they wait.
    patience: Duration,
}

/// Searches, counts over what isn't counted already, and what else reads far more than it shows. Each has one or two
/// statements of a few milliseconds under way; a page of the console asks for two at once, and its reader may have
/// some windows open.
const SEARCHES: Limits =
    Limits { all: 8, of_one: 2, waiting_of_one: 8, waiting: 64, patience: Duration::from_secs(5) };
/// Pages that put many small counts together, such as the overview.
const PAGES: Limits =
    Limits { all: 32, of_one: 3, waiting_of_one: 16, waiting: 256, patience: Duration::from_secs(10) };
/// Exports: each keeps a core busy for as long as its client takes what is written.
const EXPORTS: Limits = Limits { all: 8, of_one: 2, waiting_of_one: 0, waiting: 0, patience: Duration::ZERO };
/// When a search that was refused may be tried again: by then others are done or were ended.
const SEARCH_AGAIN: Duration = Duration::from_secs(2);
/// The same for an export.
const EXPORT_AGAIN: Duration = Duration::from_secs(15);

/// See the module.
pub(crate) struct Places {
    limits: Limits,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    accounts: Mutex<HashMap<Holder, Own>>,
}

/// What one account or key has.
struct Own {
    free: Arc<Semaphore>,
    /// Places that are taken or waited for.
    inside: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// The account has as many as it may.
    Own,
    /// All are taken.
    All,
}

/// A place that is taken, until it is dropped.
pub(crate) struct Place {
    _of_one: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    _inside: Inside,
}

/// Counts among those of an account, until it is dropped.
struct Inside {
    places: Arc<Places>,
    holder: Holder,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut accounts = self.places.accounts();
        if let Some(own) = accounts.get_mut(&self.holder) {
            own.inside -= 1;
            if own.inside == 0 {
                accounts.remove(&self.holder);
            }
        }
    }
}

/// Counts among those who wait, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Places {
    pub(crate) fn for_searches() -> Arc<Self> {
        Self::new(SEARCHES)
    }

    pub(crate) fn for_pages() -> Arc<Self> {
        Self::new(PAGES)
    }

    pub(crate) fn for_exports() -> Arc<Self> {
        Self::new(EXPORTS)
    }

    fn new(limits: Limits) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(limits.all));
        Arc::new(Self { limits, free, waiting: AtomicUsize::new(0), accounts: Mutex::default() })
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Holder, Own>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, holder: Holder) -> Result<(Inside, Arc<Semaphore>), Full> {
        let Limits { of_one, waiting_of_one, .. } = self.limits;
        let mut accounts = self.accounts();
        let own = accounts
            .entry(holder)
            .or_insert_with(|| Own { free: Arc::new(Semaphore::new(of_one)), inside: 0 });
        if own.inside >= of_one + waiting_of_one {
            return Err(Full::Own);
        }
        own.inside += 1;
        Ok((Inside { places: self.clone(), holder }, own.free.clone()))
    }

    async fn take(self: &Arc<Self>, holder: Holder) -> Result<Place, Full> {
        let (inside, own) = self.enter(holder)?;
        if let Ok(of_one) = own.clone().try_acquire_owned()
            && let Ok(of_all) = self.free.clone().try_acquire_owned()
        {
            return Ok(Place { _of_one: of_one, _of_all: of_all, _inside: inside });
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.limits.waiting {
            return Err(Full::All);
        }
        let until = Instant::now() + self.limits.patience;
        let Ok(Ok(of_one)) = timeout_at(until, own.acquire_owned()).await else { return Err(Full::Own) };
        let Ok(Ok(of_all)) = timeout_at(until, self.free.clone().acquire_owned()).await else {
            return Err(Full::All);
        };
        Ok(Place { _of_one: of_one, _of_all: of_all, _inside: inside })
    }
}

/// A place for a search, or for anything else that reads far more than it shows.
pub(crate) async fn for_search(state: &AppState, caller: &Caller) -> Result<Place, ApiError> {
    state.searches.take(Holder::of(caller)).await.map_err(|full| {
        state.metrics.busy("search");
        let wait = SEARCH_AGAIN;
        match full {
            Full::Own => Busy::own(
                "too_many_searches",
                "You have too many searches under way: wait for them, or narrow them by a time.",
                wait,
            ),
            Full::All => Busy::all("busy", "Too many searches are under way on this server.", wait),
        }
    })
}

/// A place for a page that is put together from many counts.
pub(crate) async fn for_page(state: &AppState, caller: &Caller) -> Result<Place, ApiError> {
    state.pages.take(Holder::of(caller)).await.map_err(|full| {
        state.metrics.busy("page");
        match full {
            Full::Own => Busy::own("too_many_pages", "You have too many pages loading.", SEARCH_AGAIN),
            Full::All => Busy::all("busy", "Too many pages are loading on this server.", SEARCH_AGAIN),
        }
    })
}

/// A place for a list, where its filter makes it a search.
pub(crate) async fn for_list(
    state: &AppState,
    caller: &Caller,
    is_search: bool,
) -> Result<Option<Place>, ApiError> {
    match is_search {
        true => for_search(state, caller).await.map(Some),
        false => Ok(None),
    }
}

/// A place for an export.
pub(crate) async fn for_export(state: &AppState, caller: &Caller) -> Result<Place, ApiError> {
    state.exports.take(Holder::of(caller)).await.map_err(|full| {
        state.metrics.busy("export");
        let wait = EXPORT_AGAIN;
        match full {
            Full::Own => Busy::own(
                "too_many_exports",
                "Two exports of yours are being written: wait for one to end.",
                wait,
            ),
            Full::All => Busy::all("busy", "Too many exports are being written on this server.", wait),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { all: 3, of_one: 2, waiting_of_one: 1, waiting: 2, patience: Duration::from_millis(50) };
    const JOE: Holder = Holder::User(1);
    const JANE: Holder = Holder::User(2);

    #[tokio::test]
    async fn an_account_takes_its_own_places_and_no_more() {
        let places = Places::new(LIMITS);
        let first = places.take(JOE).await.ok();
        let _second = places.take(JOE).await.ok().unwrap();
        assert!(first.is_some());
        let (again, waiting) = (places.clone(), places.clone());
        let third = tokio::spawn(async move { waiting.take(JOE).await });
        tokio::task::yield_now().await;
        assert_eq!(again.take(JOE).await.err(), Some(Full::Own), "one may wait, and no more");
        let _jane = places.take(JANE).await.ok().unwrap();
        assert_eq!(
            places.take(JANE).await.err(),
            Some(Full::All),
            "all are taken, for longer than anybody waits"
        );
        // A caller who waits for too long is told so.
        assert_eq!(third.await.unwrap().err(), Some(Full::Own));
        drop(first);
        assert!(places.take(JOE).await.is_ok());
        assert_eq!(places.accounts().len(), 2);
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_place_and_nothing_is_left_behind() {
        let places = Places::new(Limits { patience: Duration::from_secs(60), ..LIMITS });
        let (first, second) = (places.take(JOE).await.ok().unwrap(), places.take(JOE).await.ok().unwrap());
        let waiting = places.clone();
        let third = tokio::spawn(async move { waiting.take(JOE).await.is_ok() });
        tokio::task::yield_now().await;
        drop(first);
        assert!(third.await.unwrap());
        let gone = places.clone();
        let fourth = tokio::spawn(async move { gone.take(JOE).await.is_ok() });
        tokio::task::yield_now().await;
        fourth.abort();
        drop(second);
        assert!(fourth.await.is_err() || places.accounts().is_empty());
        assert_eq!((places.accounts().len(), places.free.available_permits()), (0, 3));
        assert_eq!(places.waiting.load(Ordering::Acquire), 0);
    }
}
