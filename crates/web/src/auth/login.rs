//! Logging in, refreshing, signing up: each action once, whichever path asked for it.

use crate::auth::guard::{Caller, take};
use crate::auth::secret::{fingerprint, random_text};
use crate::auth::token::Kind;
use crate::error::ApiError;
use crate::state::AppState;
use crate::throttle;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::text::Given;
use watchpost_model::user::{NewUser, UserChangeRequest};
use watchpost_model::{Actor, Invalid, Role, Timestamp, User, UserId, invalid};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{AuditEntry, Credentials, RefreshGrant, Rotation, UserChange};

/// What logging in gives.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    /// Opens doors for 15 minutes: `Authorization: Bearer …`.
    pub(crate) access: String,
    /// Can be swapped once for a new pair, within a day.
    pub(crate) refresh: String,
}

/// The text of a field that has to be there; the message otherwise.
fn filled(given: &Given<'_>) -> Result<String, String> {
    match given.required()? {
        "" => Err(invalid::BLANK.into()),
        text => Ok(text.to_owned()),
    }
}

/// The one check of a name and a password, for every way in.
pub(crate) async fn check_password(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<Credentials, ApiError> {
    take(state, throttle::Caller::LogIn(caller.peer))?;
    let mut wrong = Invalid::new();
    let username = wrong.take("username", filled(&fields.get("username")));
    let password = wrong.take("password", filled(&fields.get("password")));
    let (Some(username), Some(password)) = (username, password) else { return Err(wrong.into()) };
    let known = match username.contains('\0') {
        true => None,
        false => state.db.credentials_by_name(username.trim()).await?,
    };
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let right = state.passwords.matches(password, hash).await?;
    match known {
        Some(known) if right && known.user.active => {
            tracing::info!(user = known.user.username, peer = %caller.peer, "logged in");
            state.db.note_login(known.user.id, now()).await?;
            Ok(known)
        }
        _ => {
            tracing::warn!(user = username, peer = %caller.peer, "a log-in failed");
            Err(ApiError::BadLogin)
        }
    }
}

/// Logs in.
pub(crate) async fn log_in(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<TokenPair, ApiError> {
    let known = check_password(state, fields, caller).await?;
    let now = now();
    let (access, _) = state.tokens.issue(Kind::Access, &known.user, known.token_epoch, now);
    let (refresh, claims) = state.tokens.issue(Kind::Refresh, &known.user, known.token_epoch, now);
    let grant = RefreshGrant {
        jti_hash: fingerprint(&claims.jti),
        family: random_text(32),
        user: known.user.id,
        expires_at: Timestamp::from_micros(0).plus_seconds(claims.exp),
    };
    state.db.grant_refresh(&grant).await?;
    Ok(TokenPair { access, refresh })
}

/// Swaps a refresh token for a new pair.
pub(crate) async fn refresh(state: &AppState, fields: &Fields<'_>) -> Result<TokenPair, ApiError> {
    let token = filled(&fields.get("refresh")).map_err(|message| Invalid::field("refresh", message))?;
    let claims = state.tokens.read(Kind::Refresh, &token).ok_or(ApiError::BadToken)?;
    let id = claims.user().ok_or(ApiError::BadToken)?;
    let account = state.accounts.user(id).await?.ok_or(ApiError::BadToken)?;
    if account.token_epoch != claims.epoch {
        return Err(ApiError::BadToken);
    }
    let now = now();
    let (access, _) = state.tokens.issue(Kind::Access, &account.user, account.token_epoch, now);
    let (refresh, new) = state.tokens.issue(Kind::Refresh, &account.user, account.token_epoch, now);
    let (old_hash, new_hash) = (fingerprint(&claims.jti), fingerprint(&new.jti));
    let ends = Timestamp::from_micros(0).plus_seconds(new.exp);
    match state.db.rotate_refresh(&old_hash, &new_hash, id, ends, now).await? {
        Rotation::Rotated => Ok(TokenPair { access, refresh }),
        Rotation::Unknown => Err(ApiError::BadToken),
        Rotation::Reused => {
            tracing::warn!(
                user = account.user.username,
                "a refresh token was used twice: everything that follows from its log-in is ended"
            );
            Err(ApiError::BadToken)
        }
    }
}

/// Whether a token of either kind is good.
pub(crate) async fn verify(state: &AppState, fields: &Fields<'_>) -> Result<(), ApiError> {
    let token = filled(&fields.get("token")).map_err(|message| Invalid::field("token", message))?;
    let (kind, claims) = state.tokens.read_any_kind(&token).ok_or(ApiError::BadToken)?;
    let id = claims.user().ok_or(ApiError::BadToken)?;
    let account = state.accounts.user(id).await?.ok_or(ApiError::BadToken)?;
    let live = match kind {
        Kind::Access => true,
        Kind::Refresh => state.db.refresh_family(&fingerprint(&claims.jti), now()).await?.is_some(),
    };
    match live && account.token_epoch == claims.epoch {
        true => Ok(()),
        false => Err(ApiError::BadToken),
    }
}

/// Ends a refresh token and every one that followed from the same log-in. One that is ended already is no error.
pub(crate) async fn log_out(state: &AppState, fields: &Fields<'_>) -> Result<(), ApiError> {
    let token = filled(&fields.get("refresh")).map_err(|message| Invalid::field("refresh", message))?;
    let claims = state.tokens.read(Kind::Refresh, &token).ok_or(ApiError::BadToken)?;
    state.db.end_refresh_family(&fingerprint(&claims.jti)).await?;
    Ok(())
}

/// Why somebody could not sign up.
pub(crate) enum NoSignUp {
    /// Something about the name or the password.
    Wrong(Invalid),
    /// Anything else.
    Refused(ApiError),
}

/// Makes an account for whoever asks: always an Analyst's, and only while the operator lets people.
pub(crate) async fn sign_up(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<User, NoSignUp> {
    take(state, throttle::Caller::LogIn(caller.peer)).map_err(NoSignUp::Refused)?;
    if !state.settings.signup {
        let detail = "Signing up is switched off here. Ask an Admin for an account.";
        return Err(NoSignUp::Refused(ApiError::NotAllowed(detail.into())));
    }
    let analyst = Given::Text(Role::Analyst.as_str().into());
    let asked = match fields.get("role") {
        Given::Null => Given::Missing,
        asked => asked,
    };
    if let Given::Text(text) = &asked
        && Role::parse(text).is_some_and(|role| role != Role::Analyst)
    {
        let detail = "Whoever signs up is an Analyst; other roles are given by an Admin.";
        return Err(NoSignUp::Refused(ApiError::NotAllowed(detail.into())));
    }
    let email = match fields.get("email") {
        Given::Null => Given::Missing,
        email => email,
    };
    let new = NewUser::check(&fields.get("username"), &fields.get("password"), &email, &asked.or(analyst))
        .map_err(NoSignUp::Wrong)?;
    let actor = Actor::Anonymous;
    create_user(state, new, actor).await.map_err(|error| match error {
        ApiError::Invalid(wrong) => NoSignUp::Wrong(wrong),
        other => NoSignUp::Refused(other),
    })
}

/// Makes a user.
pub(crate) async fn create_user(state: &AppState, new: NewUser, by: Actor) -> Result<User, ApiError> {
    let hash = state.passwords.hash(new.password).await?;
    let by = AuditEntry { at: now(), actor: by };
    let user = state.db.create_user(&new.username, &new.email, new.role, hash, &by).await?;
    state.accounts.forget();
    tracing::info!(user = user.username, role = %user.role, by = %by.actor, "user created");
    Ok(user)
}

/// Changes a user.
pub(crate) async fn change_user(
    state: &AppState,
    id: UserId,
    change: UserChangeRequest,
    version: Option<i64>,
    by: Actor,
) -> Result<User, ApiError> {
    let password_hash = match change.password {
        Some(password) => Some(state.passwords.hash(password).await?),
        None => None,
    };
    let UserChangeRequest { username, email, role, active, .. } = change;
    let change = UserChange { username, email, role, active, password_hash };
    let by = AuditEntry { at: now(), actor: by };
    let user = state.db.update_user(id, change, version, &by).await?;
    state.accounts.forget();
    tracing::info!(user = user.username, role = %user.role, active = user.active, by = %by.actor, "user changed");
    Ok(user)
}
