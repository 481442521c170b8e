//! The permission of a route is a type in its handler's signature: a route without one doesn't compile, see
//! [`crate::routes::Routes::add`].

use crate::auth::grant;
use crate::auth::proof::{Knows, Proved};
use crate::auth::refusals::{Asked, Refused};
use crate::auth::secret::KEY_PREFIX;
use crate::auth::token::Kind;
use crate::error::ApiError;
use crate::known::Known;
use crate::state::AppState;
use crate::throttle;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use watchpost_model::access::{Proof, allows};
use watchpost_model::event::{EventDraft, Origin};
use watchpost_model::key::SensorKey;
use watchpost_model::net::Rate;
use watchpost_model::text::Given;
use watchpost_model::{Action, Actor, Invalid, Rank, User, UserId};
use watchpost_pipeline::{Detected, now};
use watchpost_store::AuditEntry;

/// Who is asking.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) rank: Rank,
    pub(crate) actor: Actor,
    pub(crate) peer: IpAddr,
    /// The sensor key that they showed.
    pub(crate) key: Option<Arc<SensorKey>>,
    /// The session that their token belongs to.
    pub(crate) session: Option<String>,
    /// When they last showed in it who they are.
    pub(crate) proved: Proved,
}

impl Caller {
    /// Somebody who showed nothing.
    pub(crate) fn anonymous(peer: IpAddr) -> Self {
        let (rank, actor, proved) = (Rank::Anonymous, Actor::Anonymous, Proved::never());
        Self { rank, actor, peer, key: None, session: None, proved }
    }

    /// Somebody who turned out to be this user.
    pub(crate) fn as_user(&self, user: &User) -> Self {
        let actor = Actor::User { id: user.id, name: user.username.clone() };
        Self { rank: user.rank(), actor, ..self.clone() }
    }

    /// Whose rate a request of this user counts for.
    pub(crate) fn bucket(&self, id: UserId) -> throttle::Caller {
        match self.rank {
            Rank::SignedUp(_) => throttle::Caller::SignedUp(id),
            _ => throttle::Caller::User(id),
        }
    }

    /// What the audit log says of who does something now.
    pub(crate) fn entry(&self) -> AuditEntry {
        AuditEntry { at: now(), actor: self.actor.clone(), address: Some(self.peer) }
    }

    /// The event that a draft describes, if this caller may report it. Whoever speaks for one source needn't name it.
    pub(crate) fn detect<'a>(&'a self, mut draft: EventDraft<'a>) -> Result<Detected, NotDetected> {
        let Some(key) = &self.key else { return Ok(Detected::check(&draft)?) };
        if let (Given::Missing, Some(only)) = (&draft.source_name, &key.limits.source_name) {
            draft.source_name = Given::Text(only.as_str().into());
        }
        let detected = Detected::check(&draft)?;
        key.limits.check(&detected.event).map_err(NotDetected::Beyond)?;
        Ok(detected)
    }

    /// The user, where only users get.
    pub(crate) fn user(&self) -> Result<UserId, ApiError> {
        match self.actor {
            Actor::User { id, .. } => Ok(id),
            _ => Err(ApiError::NoCredential),
        }
    }

    /// What an event that they hand in is marked with. Nothing for callers without a credential.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match &self.actor {
            Actor::User { id, .. } => Some(Origin::User(*id)),
            Actor::Key { id, .. } => Some(Origin::Key(*id)),
            Actor::CommandLine | Actor::Watchpost | Actor::Anonymous => None,
        }
    }
}

/// Why an event isn't taken in.
pub(crate) enum NotDetected {
    /// Something is wrong with it.
    Wrong(Invalid),
    /// It is more than the caller's key may report.
    Beyond(Invalid),
}

impl From<Invalid> for NotDetected {
    fn from(wrong: Invalid) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<NotDetected> for ApiError {
    fn from(not: NotDetected) -> Self {
        match not {
            NotDetected::Wrong(wrong) | NotDetected::Beyond(wrong) => wrong.into(),
        }
    }
}

/// A type that lets a request through only when its caller may do one thing.
pub(crate) trait Guard {
    /// The thing.
    const ACTION: Action;
    /// Whether it takes a fresh proof of who they are, too.
    const PROOF: Proof = Proof::Never;
}

macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident => $action:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(
            #[allow(dead_code, reason = "some routes needn't know who it is that may")] pub(crate) Caller,
        );

        impl Guard for $name {
            const ACTION: Action = Action::$action;
        }

        impl Knows for $name {
            const PAGES: bool = false;

            fn caller(&self) -> &Caller {
                &self.0
            }

            fn refused(error: ApiError, _: &Parts) -> ApiError {
                error
            }
        }

        impl FromRequestParts<AppState> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
                admit(Action::$action, parts, state).await.map(Self)
            }
        }
    )*};
}

guards! {
    /// Anybody, known or not.
    Anyone => EnterAnonymously;
    /// Whoever may hand in events.
    Sensor => IngestEvents;
    /// Whoever may hand in events where clients are people.
    SensorOrUser => IngestEventsAsAnyone;
    /// Whoever may read events.
    EventReader => ReadEvents;
    /// Whoever may read alerts.
    AlertReader => ReadAlerts;
    /// Whoever may change alerts.
    AlertChanger => ChangeAlerts;
    /// Any user, for their own account.
    Oneself => UseOwnAccount;
    /// Admins.
    Administrator => Administer;
}

/// Anybody, unmeasured: for what costs next to nothing and must answer whatever else an address asks for, such as
/// probes and the files of pages.
pub(crate) struct Passerby;

impl Guard for Passerby {
    const ACTION: Action = Action::EnterAnonymously;
}

impl FromRequestParts<AppState> for Passerby {
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Ok(Self)
    }
}

async fn admit(action: Action, parts: &Parts, state: &AppState) -> Result<Caller, ApiError> {
    let peer = peer(parts);
    // Where anybody may enter a credential decides nothing: an old token must not keep one from logging in.
    let found = match action {
        Action::EnterAnonymously => Ok(None),
        _ => identify(&parts.headers, peer, state).await,
    };
    match &found {
        Ok(Some(caller)) => take_of(state, caller)?,
        // A wrong credential counts as none, so that guessing is slow.
        _ => take(state, throttle::Caller::Anonymous, peer)?,
    }
    let caller = found?.unwrap_or_else(|| Caller::anonymous(peer));
    require(action, &caller, parts, state).await?;
    if caller.rank != Rank::Anonymous {
        Known::note(parts);
    }
    Ok(caller)
}

/// Refuses a request whose caller may not do something, and remembers that.
pub(crate) async fn require(
    action: Action,
    caller: &Caller,
    parts: &Parts,
    state: &AppState,
) -> Result<(), ApiError> {
    match allows(caller.rank, action) {
        true => Ok(()),
        false if caller.rank == Rank::Anonymous => Err(ApiError::NoCredential),
        false => {
            state.refusals.note(state, caller, Refused::Role(action), Asked::of(parts)).await;
            Err(ApiError::needs(action))
        }
    }
}

/// Takes one request from the bucket of an address, or says how long to wait.
pub(crate) fn take(
    state: &AppState,
    bucket: fn(IpAddr) -> throttle::Caller,
    peer: IpAddr,
) -> Result<(), ApiError> {
    take_at(state, bucket(peer), None, &Actor::Anonymous, peer)
}

/// As [`take`], for a caller who showed a credential and may have a rate of their own.
pub(crate) fn take_of(state: &AppState, caller: &Caller) -> Result<(), ApiError> {
    let (bucket, rate) = match (&caller.actor, &caller.key) {
        (Actor::User { id, .. }, _) => (caller.bucket(*id), None),
        (_, Some(key)) => (throttle::Caller::Key(key.id), key.limits.rate),
        _ => (throttle::Caller::Anonymous(caller.peer), None),
    };
    take_at(state, bucket, rate, &caller.actor, caller.peer)
}

fn take_at(
    state: &AppState,
    bucket: throttle::Caller,
    rate: Option<Rate>,
    actor: &Actor,
    peer: IpAddr,
) -> Result<(), ApiError> {
    state.throttle.take(bucket, rate).map_err(|wait| {
        state.metrics.throttled.inc();
        state.refusals.count(actor, peer, Refused::Throttled);
        ApiError::Throttled(wait)
    })
}

/// From where a request comes, as far as proxies that are trusted say so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// No address: what doesn't come over a socket.
pub(crate) const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// From where a request comes.
pub(crate) fn peer(parts: &Parts) -> IpAddr {
    // Only a router that isn't behind a socket has no peer; all such callers share one bucket.
    parts.extensions.get::<Peer>().map_or(NOWHERE, |peer| peer.0)
}

/// What the client says it is, to recognise a session by; cut, and without what could hide something.
#[derive(Clone, Debug)]
pub(crate) struct Agent(pub(crate) String);

const MAX_AGENT_CHARS: usize = 200;

impl Agent {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let said = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        Self(said.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect())
    }
}

impl FromRequestParts<AppState> for Agent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// Who shows these headers; nobody when they show no credential.
pub(crate) async fn identify(
    headers: &HeaderMap,
    peer: IpAddr,
    state: &AppState,
) -> Result<Option<Caller>, ApiError> {
    if let Some(key) = headers.get("x-api-key") {
        let secret = key.to_str().map_err(|_| ApiError::BadKey)?;
        return with_key(secret.trim(), peer, state).await.map(Some);
    }
    let Some(credential) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let credential = credential.to_str().map_err(|_| ApiError::BadToken)?;
    let Some((scheme, secret)) = credential.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let secret = secret.trim();
    if secret.starts_with(KEY_PREFIX) {
        return with_key(secret, peer, state).await.map(Some);
    }
    let claims = state.tokens.read(Kind::Access, secret).ok_or(ApiError::BadToken)?;
    let (account, session) = grant::whose(state, &claims).await?;
    let proved = Proved::new(session.proved_at);
    let caller = Caller { session: Some(claims.sid), proved, ..Caller::anonymous(peer) };
    Ok(Some(caller.as_user(&account.user)))
}

async fn with_key(secret: &str, peer: IpAddr, state: &AppState) -> Result<Caller, ApiError> {
    let key = state.accounts.key(secret, now()).await?.ok_or(ApiError::BadKey)?;
    let actor = Actor::Key { id: key.id, name: key.name.clone() };
    let caller = Caller { rank: Rank::Sensor, actor, key: Some(key), ..Caller::anonymous(peer) };
    if caller.key.as_ref().is_some_and(|key| !key.limits.lets_in(peer)) {
        state.refusals.note(state, &caller, Refused::KeyAddress, Asked::to("key")).await;
        return Err(ApiError::BadKey);
    }
    Ok(caller)
}
