//! What is remembered about users, sessions and keys, so that a request needn't ask the database who is asking.
//!
//! A change made through this server is seen at once; one made elsewhere (another node, the command line) when
//! the watch next looks, well within five seconds.

use crate::auth::secret::fingerprint;
use crate::error::ApiError;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use watchpost_model::key::SensorKey;
use watchpost_model::{KeyId, Timestamp, User, UserId};
use watchpost_store::{Db, Session};

/// How often to look for changes made elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many users and how many keys are remembered; more only means asking the database again.
const MAX_REMEMBERED: usize = 10_000;
/// How exactly the last use of a key is known, so that using it isn't a write each time.
const USE_NOTED_EVERY_SECONDS: i64 = 60;

/// A user as far as letting them in goes.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) token_epoch: i64,
}

struct Remembered<K, V> {
    entries: RwLock<HashMap<K, V>>,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn new() -> Self {
        Self { entries: RwLock::default() }
    }

    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn clear(&self) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn insert_if(&self, key: K, value: V, still_true: impl FnOnce() -> bool) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_REMEMBERED {
            entries.clear();
        }
        // Looked at under the lock: a forget that comes later waits for it and clears this entry too.
        if still_true() {
            entries.insert(key, value);
        }
    }
}

pub(crate) struct Accounts {
    db: Db,
    users: Remembered<UserId, Option<Arc<Account>>>,
    keys: Remembered<String, Option<Arc<SensorKey>>>,
    sessions: Remembered<String, Option<Arc<Session>>>,
    /// Moves whenever everything is forgotten; what was read before isn't remembered after.
    generation: AtomicU64,
    key_uses: Mutex<HashMap<KeyId, Timestamp>>,
}

impl Accounts {
    pub(crate) fn new(db: Db) -> Self {
        Self {
            db,
            users: Remembered::new(),
            keys: Remembered::new(),
            sessions: Remembered::new(),
            generation: AtomicU64::new(0),
            key_uses: Mutex::default(),
        }
    }

    /// A user who may log in.
    pub(crate) async fn user(&self, id: UserId) -> Result<Option<Arc<Account>>, ApiError> {
        if let Some(known) = self.users.get(&id) {
            return Ok(known);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let found = self.db.credentials(id).await?.filter(|found| found.user.active);
        let account = found.map(|f| Arc::new(Account { user: f.user, token_epoch: f.token_epoch }));
        self.users.insert_if(id, account.clone(), || self.generation.load(Ordering::Acquire) == generation);
        Ok(account)
    }

    /// The key with this secret, if it works now.
    pub(crate) async fn key(&self, secret: &str, now: Timestamp) -> Result<Option<Arc<SensorKey>>, ApiError> {
        let hash = fingerprint(secret);
        let key = match self.keys.get(hash.as_str()) {
            Some(known) => known,
            None => {
                let generation = self.generation.load(Ordering::Acquire);
                let found = self.db.key_by_hash(&hash).await?.map(|record| Arc::new(record.key));
                let current = || self.generation.load(Ordering::Acquire) == generation;
                self.keys.insert_if(hash, found.clone(), current);
                found
            }
        };
        let key = key.filter(|key| key.works_at(now));
        if let Some(key) = &key {
            self.note_use(key, now);
        }
        Ok(key)
    }

    /// A session that goes on.
    pub(crate) async fn session(&self, id: &str, now: Timestamp) -> Result<Option<Arc<Session>>, ApiError> {
        // Refreshing moves the end of a session along: what is remembered to have ended may go on.
        match self.sessions.get(id) {
            Some(Some(known)) if known.expires_at <= now => {}
            Some(known) => return Ok(known),
            None => {}
        }
        let generation = self.generation.load(Ordering::Acquire);
        let found = self.db.session(id, now).await?.map(Arc::new);
        let current = || self.generation.load(Ordering::Acquire) == generation;
        self.sessions.insert_if(id.to_owned(), found.clone(), current);
        Ok(found)
    }

    fn note_use(&self, key: &SensorKey, now: Timestamp) {
        let known = key.last_used_at.map_or(0, Timestamp::seconds);
        if now.seconds() - known >= USE_NOTED_EVERY_SECONDS {
            self.key_uses.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id, now);
        }
    }

    /// Forgets everything, after a change.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.users.clear();
        self.keys.clear();
        self.sessions.clear();
    }

    /// Looks for changes made elsewhere and writes down when keys were used, until it is dropped.
    pub(crate) async fn watch(&self) {
        let mut seen = None;
        let mut noted = HashMap::new();
        let mut rounds = tokio::time::interval(LOOK_EVERY);
        loop {
            rounds.tick().await;
            match self.db.access_changes().await {
                Ok(found) if seen == Some(found) => {}
                Ok(found) => {
                    seen = Some(found);
                    self.forget();
                }
                Err(error) => {
                    // Not knowing what changed, nothing may be taken for granted.
                    tracing::warn!(%error, "can't look for changes of users and keys");
                    self.forget();
                }
            }
            self.write_down_uses(&mut noted).await;
        }
    }

    async fn write_down_uses(&self, noted: &mut HashMap<KeyId, Timestamp>) {
        let uses = std::mem::take(&mut *self.key_uses.lock().unwrap_or_else(PoisonError::into_inner));
        let due = |id: &KeyId, at: &Timestamp| {
            noted.get(id).is_none_or(|last| at.seconds() - last.seconds() >= USE_NOTED_EVERY_SECONDS)
        };
        let due: Vec<_> = uses.into_iter().filter(|(id, at)| due(id, at)).collect();
        if due.is_empty() {
            return;
        }
        match self.db.note_key_use(&due).await {
            Ok(()) => noted.extend(due),
            Err(error) => tracing::warn!(%error, "the last use of keys could not be noted"),
        }
    }
}
