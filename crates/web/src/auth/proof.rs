//! A fresh proof of who is asking ("step-up"): password and second factor, shown in the session no longer ago than
//! [`PROOF_SECONDS`]. Logging in is such a proof, refreshing a token is none. Routes that take one say so by the type of
//! their guard: [`Fresh`], or [`AtTimes`] where what is asked for decides, which [`require`] is called for.

use crate::auth::guard::{Caller, Guard};
use crate::auth::login::check_again;
use crate::auth::refusals::{Asked, Refused};
use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use watchpost_model::access::{PROOF_SECONDS, Proof, is_fresh};
use watchpost_model::{Action, Timestamp};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::StoreError;

/// No time.
const NEVER: i64 = i64::MIN;

/// When somebody last showed who they are in their session. Clones are one: a proof that comes with a form counts for
/// what its handler does.
#[derive(Clone, Debug)]
pub(crate) struct Proved(Arc<AtomicI64>);

impl Proved {
    pub(crate) fn new(at: Option<Timestamp>) -> Self {
        Self(Arc::new(AtomicI64::new(at.map_or(NEVER, Timestamp::micros))))
    }

    pub(crate) fn never() -> Self {
        Self::new(None)
    }

    /// Whether it counts now.
    pub(crate) fn is_fresh(&self) -> bool {
        let at = self.0.load(Ordering::Relaxed);
        is_fresh((at != NEVER).then(|| Timestamp::from_micros(at)), now())
    }
}

/// Refuses whoever didn't show lately who they are, and remembers that.
pub(crate) async fn require(state: &AppState, caller: &Caller, asked: Asked) -> Result<(), ApiError> {
    if caller.proved.is_fresh() {
        return Ok(());
    }
    state.refusals.note(state, caller, Refused::StepUp, asked).await;
    Err(ApiError::StepUpRequired)
}

/// A proof that was just made: until when it counts.
pub(crate) async fn note(state: &AppState, caller: &Caller, how: &str) -> Result<Timestamp, ApiError> {
    let (id, by) = (caller.session.as_deref().ok_or(ApiError::BadToken)?, caller.entry());
    match state.db.prove_session(id, caller.user()?, how, &by).await {
        Err(StoreError::Conflict) => return Err(ApiError::BadToken),
        noted => noted?,
    }
    caller.proved.0.store(by.at.micros(), Ordering::Relaxed);
    state.accounts.forget();
    tracing::info!(user = %caller.actor, peer = %caller.peer, how, "showed again who they are");
    Ok(by.at.plus_seconds(PROOF_SECONDS))
}

/// Has somebody show once more who they are; until when it counts. The field that holds the password has this name.
pub(crate) async fn step_up(
    state: &AppState,
    fields: &Fields<'_>,
    field: &'static str,
    caller: &Caller,
) -> Result<Timestamp, ApiError> {
    let known = check_again(state, fields, field, caller.user()?, caller).await?;
    let how = if known.factor.secret.is_some() { "password and second factor" } else { "password" };
    note(state, caller, how).await
}

/// A guard that knows who it lets through.
pub(crate) trait Knows: Guard + FromRequestParts<AppState> {
    /// Whether it is for pages. Their forms are checked when they are read, see [`crate::console`].
    const PAGES: bool;

    fn caller(&self) -> &Caller;

    /// What a refusal is to who asks.
    fn refused(error: ApiError, parts: &Parts) -> Self::Rejection;
}

/// Lets through whom the guard in it lets through, if they showed lately who they are.
pub(crate) struct Fresh<G>(pub(crate) G);

/// The same where what is asked for decides: its handler calls what calls [`require`].
pub(crate) struct AtTimes<G>(pub(crate) G);

/// What a form's page has to see to before the form is taken.
#[derive(Clone, Copy)]
pub(crate) struct FormTakesProof;

impl<G: Guard> Guard for Fresh<G> {
    const ACTION: Action = G::ACTION;
    const PROOF: Proof = Proof::Always;
}

impl<G: Guard> Guard for AtTimes<G> {
    const ACTION: Action = G::ACTION;
    const PROOF: Proof = Proof::AtTimes;
}

impl<G> FromRequestParts<AppState> for Fresh<G>
where
    G: Knows + Send + Sync,
{
    type Rejection = G::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, G::Rejection> {
        let guard = G::from_request_parts(parts, state).await?;
        if G::PAGES && parts.method == Method::POST {
            // The proof may come with the form.
            parts.extensions.insert(FormTakesProof);
            return Ok(Self(guard));
        }
        match require(state, guard.caller(), Asked::of(parts)).await {
            Ok(()) => Ok(Self(guard)),
            Err(error) => Err(G::refused(error, parts)),
        }
    }
}

impl<G> FromRequestParts<AppState> for AtTimes<G>
where
    G: Guard + FromRequestParts<AppState>,
{
    type Rejection = G::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, G::Rejection> {
        G::from_request_parts(parts, state).await.map(Self)
    }
}
