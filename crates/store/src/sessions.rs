//! Log-ins that go on: in the console by a cookie, elsewhere by tokens. Of secrets only hashes are kept.

use crate::audit::AuditEntry;
use crate::clauses::Clauses;
use crate::db::{Batch, Row};
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::page::{Page, PageRequest};
use watchpost_model::{Timestamp, UserId};

macro_rules! select_sessions {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, user_id, token_epoch, created_at, last_seen_at, expires_at, address, agent, second_factor, proved_at FROM sessions ",
            $rest
        )
    };
}

const OPEN: &str = "INSERT INTO sessions (id, kind, secret_hash, user_id, token_epoch, created_at, last_seen_at, expires_at, address, agent, second_factor, proved_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11)";
const BY_ID: &str = select_sessions!("WHERE id = ?1 AND expires_at > ?2");
const BY_SECRET: &str = select_sessions!("WHERE secret_hash = ?1 AND expires_at > ?2 AND last_seen_at > ?3");
const OF_USER: &str =
    select_sessions!("WHERE user_id = ?1 AND expires_at > ?2 ORDER BY last_seen_at DESC, id LIMIT 200");
const OF_ALL: &str = "SELECT s.id, s.kind, s.user_id, s.token_epoch, s.created_at, s.last_seen_at, s.expires_at, s.address, s.agent, s.second_factor, s.proved_at, u.username
     FROM sessions s JOIN users u ON u.id = s.user_id";
const SWAP: &str = "UPDATE sessions SET secret_hash = ?3, expires_at = ?4, last_seen_at = ?5
     WHERE id = ?1 AND secret_hash = ?2 AND expires_at > ?5";
const IS_NEXT: &str = "SELECT id FROM sessions WHERE id = ?1 AND secret_hash = ?2 AND expires_at > ?3";
const SEEN: &str = "UPDATE sessions SET last_seen_at = ?2 WHERE id = ?1";
const END: &str = "DELETE FROM sessions WHERE id = ?1";
const PROVE: &str = "UPDATE sessions SET proved_at = ?2 WHERE id = ?1 AND expires_at > ?2";
pub(crate) const END_OTHERS: &str = "DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2";
const LOGGED_IN: &str = "UPDATE users SET last_login_at = ?2 WHERE id = ?1";
const FORGET_EXPIRED: &str = "DELETE FROM sessions WHERE expires_at <= ?1";
pub(crate) const END_SESSIONS_OF: &str = "DELETE FROM sessions WHERE user_id = ?1";

/// Where somebody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// In a browser, by a cookie.
    Console,
    /// A program, by tokens.
    Tokens,
}

impl SessionKind {
    const fn code(self) -> i64 {
        match self {
            Self::Console => 1,
            Self::Tokens => 2,
        }
    }

    fn from_code(code: i64) -> Option<Self> {
        [Self::Console, Self::Tokens].into_iter().find(|kind| kind.code() == code)
    }

    /// Reads a name in any letter case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Console, Self::Tokens].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Its name in the API and in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Tokens => "tokens",
        }
    }
}

/// The second factor that was shown in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FactorShown {
    /// None, or it isn't known: the session is older than this column.
    #[default]
    None,
    /// Watchpost's own.
    Own,
    /// One at the provider of single sign-on, by its word.
    Provider,
}

impl FactorShown {
    const fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Own => 1,
            Self::Provider => 2,
        }
    }

    fn from_code(code: Option<i64>) -> Self {
        let known = [Self::Own, Self::Provider].into_iter();
        known.into_iter().find(|shown| Some(shown.code()) == code).unwrap_or_default()
    }
}

/// One log-in that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What it is called; nothing secret.
    pub id: String,
    /// What it is for.
    pub kind: SessionKind,
    /// Whose it is.
    pub user: UserId,
    /// The user's number when it began; when the user's has moved on, the session is dead.
    pub token_epoch: i64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen_at: Timestamp,
    /// When it ends, used or not.
    pub expires_at: Timestamp,
    /// From where it was begun.
    pub address: String,
    /// What the client said it is.
    pub agent: String,
    /// The second factor that was shown in it.
    pub second_factor: FactorShown,
    /// When its user last showed who they are in it; nothing where that isn't known.
    pub proved_at: Option<Timestamp>,
}

/// Which of everybody's sessions are wanted; what is `None` wants all.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionFilter {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only these.
    pub kind: Option<SessionKind>,
}

/// What became of an attempt to swap a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The old one is used up, the new one holds.
    Rotated,
    /// The old one had been used before: somebody has a copy. The session is ended.
    Reused,
    /// There is no such session (any more).
    Unknown,
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.text(0)?,
        kind: row.code(1, SessionKind::from_code)?,
        user: UserId::new(row.int(2)?),
        token_epoch: row.int(3)?,
        created_at: Timestamp::from_micros(row.int(4)?),
        last_seen_at: Timestamp::from_micros(row.int(5)?),
        expires_at: Timestamp::from_micros(row.int(6)?),
        address: row.text(7)?,
        agent: row.text(8)?,
        second_factor: FactorShown::from_code(row.opt_int(9)?),
        proved_at: row.opt_int(10)?.map(Timestamp::from_micros),
    })
}

impl Db {
    /// Begins a session, which is somebody's log-in: with its row in the audit log, which says how they got in.
    pub async fn open_session(
        &self,
        session: &Session,
        secret_hash: &str,
        by: &AuditEntry,
        how: &str,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.one(
            OPEN,
            vec![
                session.id.as_str().into(),
                session.kind.code().into(),
                secret_hash.into(),
                session.user.get().into(),
                session.token_epoch.into(),
                session.created_at.micros().into(),
                session.expires_at.micros().into(),
                session.address.as_str().into(),
                session.agent.as_str().into(),
                session.second_factor.code().into(),
                session.proved_at.map(Timestamp::micros).into(),
            ],
        );
        batch.any(LOGGED_IN, vec![session.user.get().into(), by.at.micros().into()]);
        batch.audit(by, "login", format!("user:{}", session.user), format!("{}, {how}", session.kind.name()));
        self.write(Arc::new(batch)).await
    }

    /// A session that hasn't ended.
    pub async fn session(&self, id: &str, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let row = self.read_one(BY_ID, vec![id.into(), now.micros().into()]).await?;
        row.map(|row| session(&row)).transpose()
    }

    /// The session with a secret, if it has neither ended nor been left alone since `idle_since`.
    pub async fn session_by_secret(
        &self,
        secret_hash: &str,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let params = vec![secret_hash.into(), now.micros().into(), idle_since.micros().into()];
        self.read_one(BY_SECRET, params).await?.map(|row| session(&row)).transpose()
    }

    /// Where a user is logged in, what was used last first.
    pub async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let rows = self.read(OF_USER, vec![user.get().into(), now.micros().into()]).await?;
        rows.iter().map(session).collect()
    }

    /// A page of everybody's sessions that still open something, each with its user's name, what was used last first.
    /// Those of the console end when they are left alone since `idle_since`.
    pub async fn sessions(
        &self,
        filter: SessionFilter,
        now: Timestamp,
        idle_since: Timestamp,
        request: PageRequest,
    ) -> Result<Page<(Session, String)>, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        clauses.with("s.expires_at > {}", now.micros());
        clauses.with("(s.kind <> 1 OR s.last_seen_at > {})", idle_since.micros());
        clauses.push("s.token_epoch = u.token_epoch AND u.active = 1".into());
        clauses.one_of("s.user_id", filter.user.iter().map(|user| user.get()));
        clauses.one_of("s.kind", filter.kind.iter().map(|kind| kind.code()));
        let count = self.bounded_count("sessions s JOIN users u ON u.id = s.user_id", &clauses).await?;
        let matching = clauses.sql();
        let (rows, skipped) = (clauses.param(i64::from(request.size) + 1), clauses.param(request.offset()));
        let sql =
            format!("{OF_ALL}{matching} ORDER BY s.last_seen_at DESC, s.id LIMIT ?{rows} OFFSET ?{skipped}");
        self.page_of(sql, clauses.params, count, request, |row| Ok((session(row)?, row.text(11)?))).await
    }

    /// Whether a session goes on and this is the secret that is to be used next.
    pub async fn is_next(&self, id: &str, secret_hash: &str, now: Timestamp) -> Result<bool, StoreError> {
        let params = vec![id.into(), secret_hash.into(), now.micros().into()];
        Ok(self.read_one(IS_NEXT, params).await?.is_some())
    }

    /// Swaps the secret of a session for its next. Of many attempts at once exactly one succeeds; another with the
    /// same secret comes from a copy, and the session ends.
    pub async fn rotate(
        &self,
        id: &str,
        secret_hash: &str,
        next_hash: &str,
        expires_at: Timestamp,
        by: &AuditEntry,
    ) -> Result<Rotation, StoreError> {
        let mut batch = Batch::new();
        let (ends, now) = (expires_at.micros(), by.at.micros());
        batch.one(SWAP, vec![id.into(), secret_hash.into(), next_hash.into(), ends.into(), now.into()]);
        match self.write(Arc::new(batch)).await {
            Ok(()) => return Ok(Rotation::Rotated),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
        let Some(session) = self.session(id, by.at).await? else { return Ok(Rotation::Unknown) };
        let detail = ": a refresh token was used twice";
        match self.end_session(&session, by, "session.reuse", detail).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(Rotation::Reused),
            Err(error) => Err(error),
        }
    }

    /// Notes that a session was used.
    pub async fn note_session_use(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(SEEN, vec![id.into(), now.micros().into()]);
        self.write(Arc::new(batch)).await
    }

    /// Notes that a session's user showed once more who they are. [`StoreError::Conflict`] when it has ended.
    pub async fn prove_session(
        &self,
        id: &str,
        user: UserId,
        how: &str,
        by: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(PROVE, vec![id.into(), by.at.micros().into()]);
        batch.audit(by, "session.prove", format!("user:{user}"), how);
        self.write(Arc::new(batch)).await
    }

    /// Ends a session. [`StoreError::Conflict`] when it has ended.
    pub async fn end_session(
        &self,
        session: &Session,
        by: &AuditEntry,
        action: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(END, vec![session.id.as_str().into()]);
        let detail = format!("{} from {}{detail}", session.kind.name(), session.address);
        batch.audit(by, action, format!("user:{}", session.user), detail);
        self.write(Arc::new(batch)).await
    }

    /// Ends a user's sessions, but one perhaps.
    pub async fn end_sessions_of(
        &self,
        user: UserId,
        but: Option<&str>,
        by: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.access_changed();
        batch.any(END_OTHERS, vec![user.get().into(), but.unwrap_or_default().into()]);
        let which = if but.is_some() { "all others" } else { "all" };
        batch.audit(by, "session.end", format!("user:{user}"), which);
        self.write(Arc::new(batch)).await
    }

    /// Forgets sessions and attempts to log in that have ended anyway.
    pub async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(FORGET_EXPIRED, vec![now.micros().into()]);
        batch.forget_attempts(now);
        self.write(Arc::new(batch)).await
    }
}
