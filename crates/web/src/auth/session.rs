//! Sessions of the console: a cookie that only the console's own pages look at.

use crate::auth::guard::{Agent, Caller, peer, take_of};
use crate::auth::login::known_as;
use crate::auth::proof::Proved;
use crate::auth::seal::derived;
use crate::auth::secret::{fingerprint, random_text};
use crate::auth::{factor, grant};
use crate::error::ApiError;
use crate::extract::host;
use crate::settings::{Settings, without_port};
use crate::state::AppState;
use aws_lc_rs::hmac;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use watchpost_model::{Timestamp, User};
use watchpost_pipeline::now;
use watchpost_store::{Credentials, FactorShown, Session as Record, SessionKind};

/// Left alone for longer, a session ends: somebody went home.
pub(crate) const IDLE_SECONDS: i64 = 2 * 60 * 60;
/// No session lasts longer than a long shift.
const MAX_SECONDS: i64 = 12 * 60 * 60;
/// How exactly the last use is known, so that looking at a page isn't a write each time.
const SEEN_EVERY_SECONDS: i64 = 60;
/// What a page says when it keeps itself current: nobody has to sit in front of it.
const BACKGROUND: HeaderName = HeaderName::from_static("x-watchpost-background");
/// 238 bits.
const COOKIE_CHARS: usize = 40;

/// Who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    pub(crate) user: User,
    /// What forms of this session carry, so that no other site can send them.
    pub(crate) form_token: String,
    /// When it was last used, to the minute.
    last_seen_at: Timestamp,
}

/// The prefix makes browsers refuse the cookie unless it is secure and for this host alone.
fn cookie_name(settings: &Settings) -> &'static str {
    if settings.secure() { "__Host-watchpost" } else { "watchpost" }
}

/// A cookie that a request carries.
pub(crate) fn read_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The header that hands over a cookie for so many seconds; none takes it back. For letters, digits, `-` and `_`.
pub(crate) fn set_cookie(settings: &Settings, name: &str, value: &str, seconds: i64) -> HeaderValue {
    let secure = if settings.secure() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::try_from(text).expect("letters, digits, - and _ make a header")
}

/// What makes the tokens of forms.
pub(crate) struct Forms(hmac::Key);

impl Forms {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &derived("watchpost forms", &settings.secret_key)))
    }

    /// The token that forms of the session with this cookie carry.
    fn token(&self, cookie: &str) -> String {
        let tag = hmac::sign(&self.0, cookie.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The session of a request, if it has a live one. This is a use of it.
pub(crate) async fn current(parts: &Parts, state: &AppState) -> Result<Option<Session>, ApiError> {
    let Some(found) = look(&parts.headers, peer(parts), state).await? else { return Ok(None) };
    let now = now();
    if let Some(id) = &found.caller.session
        && !parts.headers.contains_key(BACKGROUND)
        && now.seconds() - found.last_seen_at.seconds() >= SEEN_EVERY_SECONDS
        // Looking goes on while nothing can be written: that is when people need to look.
        && let Err(error) = state.db.note_session_use(id, now).await
    {
        tracing::warn!(%error, "the last use of a session could not be noted");
    }
    take_of(state, &found.caller)?;
    Ok(Some(found))
}

/// The session whose cookie these headers carry, if it is a live one, without using it. One that lacks the second
/// factor that its user's role requires by now is [`ApiError::FactorMissing`].
pub(crate) async fn look(
    headers: &HeaderMap,
    peer: IpAddr,
    state: &AppState,
) -> Result<Option<Session>, ApiError> {
    let Some(cookie) = read_cookie(headers, cookie_name(&state.settings)) else { return Ok(None) };
    let now = now();
    let found =
        state.db.session_by_secret(&fingerprint(cookie), now, now.plus_seconds(-IDLE_SECONDS)).await?;
    let Some(record) = found.filter(|record| record.kind == SessionKind::Console) else { return Ok(None) };
    let Some(account) = state.accounts.user(record.user).await? else { return Ok(None) };
    if account.token_epoch != record.token_epoch {
        return Ok(None);
    }
    let user = &account.user;
    factor::enough(state, user, &record)?;
    let proved = Proved::new(record.proved_at);
    let caller = Caller { session: Some(record.id), proved, ..Caller::anonymous(peer) };
    Ok(Some(Session {
        caller: caller.as_user(user),
        user: user.clone(),
        form_token: state.forms.token(cookie),
        last_seen_at: record.last_seen_at,
    }))
}

/// Begins a session with a new id, whatever cookie came before it, for a user who just showed who they are; the header
/// that hands it over.
pub(crate) async fn open(
    state: &AppState,
    known: &Credentials,
    how: &str,
    shown: FactorShown,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<HeaderValue, ApiError> {
    if let Some(before) = read_cookie(headers, cookie_name(&state.settings)) {
        let now = now();
        let found = state.db.session_by_secret(&fingerprint(before), now, Timestamp::from_micros(0)).await?;
        if let Some(record) = found {
            grant::end(state, &record, caller, "session.replace").await?;
        }
    }
    let (cookie, now) = (random_text(COOKIE_CHARS), now());
    let record = Record {
        id: grant::session_id(),
        kind: SessionKind::Console,
        user: known.user.id,
        token_epoch: known.token_epoch,
        created_at: now,
        last_seen_at: now,
        expires_at: now.plus_seconds(MAX_SECONDS),
        address: caller.peer.to_string(),
        agent: Agent::of(headers).0,
        second_factor: shown,
        proved_at: Some(now),
    };
    let by = known_as(caller, known).entry();
    state.db.open_session(&record, &fingerprint(&cookie), &by, how).await?;
    Ok(set_cookie(&state.settings, cookie_name(&state.settings), &cookie, MAX_SECONDS))
}

/// Ends the session of a request; the header that takes the cookie back.
pub(crate) async fn close(state: &AppState, session: &Session) -> Result<HeaderValue, ApiError> {
    if let Some(id) = &session.caller.session
        && let Some(record) = state.db.session(id, now()).await?
    {
        grant::end(state, &record, &session.caller, "logout").await?;
    }
    Ok(set_cookie(&state.settings, cookie_name(&state.settings), "", 0))
}

/// Whether a form comes from one of our own pages, by what the browser says about where it was.
pub(crate) fn from_own_page(parts: &Parts, settings: &Settings) -> bool {
    let said = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(site) = said("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    // Older browsers say only the origin; what says nothing at all isn't a browser and has no cookie to abuse,
    // but the token decides about that.
    let Some(origin) = said("origin") else { return true };
    let Some((_, from)) = origin.split_once("://") else { return false };
    from.eq_ignore_ascii_case(host(parts))
        || settings.public_url.as_deref().is_some_and(|url| url.eq_ignore_ascii_case(origin))
            && without_port(from).eq_ignore_ascii_case(without_port(host(parts)))
}

impl Session {
    /// Whether a form carries this session's token.
    pub(crate) fn made(&self, token: &str) -> bool {
        self.form_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}
