//! Sessions of programs: a pair of tokens, refreshed, looked at and ended.

use crate::auth::accounts::Account;
use crate::auth::factor;
use crate::auth::guard::{Agent, Caller};
use crate::auth::login::{self, Entered, filled, known_as};
use crate::auth::secret::{fingerprint, random_text};
use crate::auth::token::{ACCESS_SECONDS, Claims, Kind, MAX_SECONDS, REFRESH_SECONDS};
use crate::error::ApiError;
use crate::state::AppState;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use watchpost_model::{Invalid, Timestamp, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, FactorShown, Rotation, Session, SessionKind, StoreError};

/// What logging in gives.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    /// Opens doors for 15 minutes: `Authorization: Bearer …`.
    pub(crate) access: String,
    /// Can be swapped once for a new pair, within a day.
    pub(crate) refresh: String,
    /// Codes for whoever loses the second factor that was just set up, each good once. Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery_codes: Option<Vec<String>>,
}

/// What a session is called; nothing secret.
pub(crate) fn session_id() -> String {
    random_text(16)
}

/// A session with tokens that begins now, with what its user showed, and when.
fn begun(
    id: String,
    known: &Credentials,
    seconds: i64,
    (second_factor, proved_at): (FactorShown, Option<Timestamp>),
    caller: &Caller,
    agent: &Agent,
) -> Session {
    let now = now();
    Session {
        id,
        kind: SessionKind::Tokens,
        user: known.user.id,
        token_epoch: known.token_epoch,
        created_at: now,
        last_seen_at: now,
        expires_at: now.plus_seconds(seconds),
        address: caller.peer.to_string(),
        agent: agent.0.clone(),
        second_factor,
        proved_at,
    }
}

/// An access token alone: there is nothing to swap it for, and its session ends with it. It is made in another session,
/// and nothing more was shown in it than in that one.
pub(crate) async fn open_short(
    state: &AppState,
    known: &Credentials,
    how: &str,
    caller: &Caller,
    agent: &Agent,
) -> Result<String, ApiError> {
    let id = session_id();
    let (access, claims) = state.tokens.issue(Kind::Access, &known.user, known.token_epoch, &id, now());
    let made_in = match &caller.session {
        Some(id) => state.db.session(id, now()).await?.ok_or(ApiError::BadToken)?,
        None => return Err(ApiError::BadToken),
    };
    let shown = (made_in.second_factor, made_in.proved_at);
    let session = begun(id, known, ACCESS_SECONDS, shown, caller, agent);
    let by = known_as(caller, known).entry();
    // The secret of a session is what it can be swapped with, and nobody has this one.
    state.db.open_session(&session, &fingerprint(&claims.jti), &by, how).await?;
    Ok(access)
}

/// Begins a session with tokens, for a user who just showed who they are.
pub(crate) async fn open(
    state: &AppState,
    known: &Credentials,
    how: &str,
    shown: FactorShown,
    caller: &Caller,
    agent: &Agent,
) -> Result<TokenPair, ApiError> {
    let (id, now) = (session_id(), now());
    let (access, _) = state.tokens.issue(Kind::Access, &known.user, known.token_epoch, &id, now);
    let (refresh, claims) = state.tokens.issue(Kind::Refresh, &known.user, known.token_epoch, &id, now);
    let session = begun(id, known, REFRESH_SECONDS, (shown, Some(now)), caller, agent);
    let by = known_as(caller, known).entry();
    state.db.open_session(&session, &fingerprint(&claims.jti), &by, how).await?;
    Ok(TokenPair { access, refresh, recovery_codes: None })
}

/// Logs a program in.
pub(crate) async fn log_in(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
    agent: &Agent,
) -> Result<TokenPair, ApiError> {
    let Entered { known, how, shown, recovery_codes } = login::check(state, fields, caller).await?;
    let pair = open(state, &known, &how, shown, caller, agent).await?;
    Ok(TokenPair { recovery_codes, ..pair })
}

/// What a refresh token says, if its signature is ours.
fn refresh_claims(state: &AppState, fields: &Fields<'_>) -> Result<(Claims, UserId), ApiError> {
    let token = filled(&fields.get("refresh")).map_err(|message| Invalid::field("refresh", message))?;
    let claims = state.tokens.read(Kind::Refresh, &token).ok_or(ApiError::BadToken)?;
    let user = claims.user().ok_or(ApiError::BadToken)?;
    Ok((claims, user))
}

/// Swaps a refresh token for a new pair.
pub(crate) async fn refresh(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<TokenPair, ApiError> {
    let (claims, id) = refresh_claims(state, fields)?;
    let account = state.accounts.user(id).await?.ok_or(ApiError::BadToken)?;
    let now = now();
    let session = state.db.session(&claims.sid, now).await?.filter(|session| session.user == id);
    let session = session.ok_or(ApiError::BadToken)?;
    if account.token_epoch != claims.epoch || session.token_epoch != claims.epoch {
        return Err(ApiError::BadToken);
    }
    factor::enough(state, &account.user, &session)?;
    let (user, epoch) = (&account.user, account.token_epoch);
    let (access, _) = state.tokens.issue(Kind::Access, user, epoch, &session.id, now);
    let (refresh, next) = state.tokens.issue(Kind::Refresh, user, epoch, &session.id, now);
    let ends =
        Timestamp::from_micros(0).plus_seconds(next.exp).min(session.created_at.plus_seconds(MAX_SECONDS));
    let by = caller.as_user(user).entry();
    match state.db.rotate(&session.id, &fingerprint(&claims.jti), &fingerprint(&next.jti), ends, &by).await? {
        Rotation::Rotated => Ok(TokenPair { access, refresh, recovery_codes: None }),
        Rotation::Unknown => Err(ApiError::BadToken),
        Rotation::Reused => {
            state.accounts.forget();
            tracing::warn!(user = user.username, "a refresh token was used twice: its session is ended");
            Err(ApiError::BadToken)
        }
    }
}

/// Whether a token of either kind is good.
pub(crate) async fn verify(state: &AppState, fields: &Fields<'_>) -> Result<(), ApiError> {
    let token = filled(&fields.get("token")).map_err(|message| Invalid::field("token", message))?;
    let (kind, claims) = state.tokens.read_any_kind(&token).ok_or(ApiError::BadToken)?;
    let live = match kind {
        Kind::Access => true,
        Kind::Refresh => state.db.is_next(&claims.sid, &fingerprint(&claims.jti), now()).await?,
    };
    whose(state, &claims).await?;
    if live { Ok(()) } else { Err(ApiError::BadToken) }
}

/// Whose token this is and the session that it belongs to, if its user and its session are still welcome.
pub(crate) async fn whose(
    state: &AppState,
    claims: &Claims,
) -> Result<(Arc<Account>, Arc<Session>), ApiError> {
    let id = claims.user().ok_or(ApiError::BadToken)?;
    let account = state.accounts.user(id).await?.ok_or(ApiError::BadToken)?;
    let session = state.accounts.session(&claims.sid, now()).await?.ok_or(ApiError::BadToken)?;
    let good = session.user == id
        && session.kind == SessionKind::Tokens
        && session.token_epoch == claims.epoch
        && account.token_epoch == claims.epoch;
    if !good {
        return Err(ApiError::BadToken);
    }
    factor::enough(state, &account.user, &session)?;
    Ok((account, session))
}

/// Ends the session of a refresh token. One that is ended already is no error.
pub(crate) async fn log_out(state: &AppState, fields: &Fields<'_>, caller: &Caller) -> Result<(), ApiError> {
    let (claims, id) = refresh_claims(state, fields)?;
    let session = state.db.session(&claims.sid, now()).await?.filter(|session| session.user == id);
    let Some(session) = session else { return Ok(()) };
    let Some(account) = state.accounts.user(id).await? else { return Ok(()) };
    end(state, &session, &caller.as_user(&account.user), "logout").await
}

/// Ends one session.
pub(crate) async fn end(
    state: &AppState,
    session: &Session,
    caller: &Caller,
    action: &str,
) -> Result<(), ApiError> {
    match state.db.end_session(session, &caller.entry(), action, "").await {
        // Somebody else ended it, which is as good.
        Ok(()) | Err(StoreError::Conflict) => {
            state.accounts.forget();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
