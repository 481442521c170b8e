//! The permission of a route is a type in its handler's signature: a route without one doesn't compile, see
//! [`crate::routes::Routes::add`].

use crate::auth::secret::KEY_PREFIX;
use crate::auth::token::Kind;
use crate::error::ApiError;
use crate::state::AppState;
use crate::throttle;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use watchpost_model::access::allows;
use watchpost_model::event::Origin;
use watchpost_model::{Action, Actor, Rank};
use watchpost_pipeline::now;

/// Who is asking.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) rank: Rank,
    pub(crate) actor: Actor,
    pub(crate) peer: IpAddr,
}

impl Caller {
    /// What an event that they hand in is marked with. Nothing for callers without a credential.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match &self.actor {
            Actor::User { id, .. } => Some(Origin::User(*id)),
            Actor::Key { id, .. } => Some(Origin::Key(*id)),
            Actor::CommandLine | Actor::Watchpost | Actor::Anonymous => None,
        }
    }
}

/// A type that lets a request through only when its caller may do one thing.
pub(crate) trait Guard {
    /// The thing.
    const ACTION: Action;
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
    let bucket = match &found {
        Ok(Some(Caller { actor: Actor::User { id, .. }, .. })) => throttle::Caller::User(*id),
        Ok(Some(Caller { actor: Actor::Key { id, .. }, .. })) => throttle::Caller::Key(*id),
        // A wrong credential counts as none, so that guessing is slow.
        _ => throttle::Caller::Anonymous(peer),
    };
    take(state, bucket)?;
    let caller = found?.unwrap_or(Caller { rank: Rank::Anonymous, actor: Actor::Anonymous, peer });
    match allows(caller.rank, action) {
        true => Ok(caller),
        false if caller.rank == Rank::Anonymous => Err(ApiError::NoCredential),
        false => Err(ApiError::needs(action)),
    }
}

/// Takes one request from a bucket, or says how long to wait.
pub(crate) fn take(state: &AppState, bucket: throttle::Caller) -> Result<(), ApiError> {
    state.throttle.take(bucket).map_err(|wait| {
        state.metrics.throttled.inc();
        ApiError::Throttled(wait)
    })
}

/// The address at the other end of the connection.
pub(crate) fn peer(parts: &Parts) -> IpAddr {
    let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    // Only a router that isn't behind a socket has no peer; all such callers share one bucket.
    connected.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

async fn identify(headers: &HeaderMap, peer: IpAddr, state: &AppState) -> Result<Option<Caller>, ApiError> {
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
    let id = claims.user().ok_or(ApiError::BadToken)?;
    let account = state.accounts.user(id).await?.ok_or(ApiError::BadToken)?;
    if account.token_epoch != claims.epoch {
        return Err(ApiError::BadToken);
    }
    let actor = Actor::User { id, name: account.user.username.clone() };
    Ok(Some(Caller { rank: Rank::User(account.user.role), actor, peer }))
}

async fn with_key(secret: &str, peer: IpAddr, state: &AppState) -> Result<Caller, ApiError> {
    let key = state.accounts.key(secret, now()).await?.ok_or(ApiError::BadKey)?;
    let actor = Actor::Key { id: key.id, name: key.name.clone() };
    Ok(Caller { rank: Rank::Sensor, actor, peer })
}
