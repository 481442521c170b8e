//! `Idempotency-Key`: the same request again is answered as the first time, and stores nothing.

use crate::auth::guard::Caller;
use crate::auth::secret::fingerprint;
use crate::error::ApiError;
use crate::state::AppState;
use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use std::time::Duration;
use watchpost_model::{AlertId, EventId, Invalid, Timestamp};
use watchpost_pipeline::{KeyInUse, Keyed, Refused};
use watchpost_store::{Piece, StoreError, faults};

/// The header.
pub(crate) const HEADER: &str = "idempotency-key";
/// In an answer that was given before.
pub(crate) const REPLAYED: &str = "idempotency-replayed";
/// The longest key: clients send a UUID or a hash.
const MAX_KEY_CHARS: usize = 255;

/// How long to wait for the proof that what was stored before is there for good.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// A key as a client sent it.
pub(crate) struct Key(String);

impl Key {
    /// The key of a request, if it has one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(given) = headers.get(HEADER) else { return Ok(None) };
        let given = given.to_str().unwrap_or_default().trim();
        if given.is_empty() || given.len() > MAX_KEY_CHARS {
            let message = format!("1 to {MAX_KEY_CHARS} visible characters of ASCII are expected.");
            return Err(Invalid::field("Idempotency-Key", message).into());
        }
        Ok(Some(Self(given.to_owned())))
    }

    /// The key together with whose it is: two callers may use the same.
    pub(crate) fn scope(&self, caller: &Caller) -> Result<String, ApiError> {
        let origin = caller.origin().ok_or(ApiError::NoCredential)?;
        Ok(fingerprint(&format!("{origin} {}", self.0)))
    }
}

/// A body that is being taken in under a key.
pub(crate) struct KeyedBody {
    scope: String,
    piece: i64,
    hash: Sha256,
    _in_use: KeyInUse,
}

/// What was stored of a piece when it came in first.
pub(crate) struct Before {
    pub(crate) first_event: EventId,
    pub(crate) at: Timestamp,
    pub(crate) alerts: Vec<(EventId, AlertId)>,
}

fn other_body() -> ApiError {
    let detail = "This Idempotency-Key came with another body before.";
    ApiError::Conflict("idempotency_mismatch", detail.into())
}

/// Makes sure that what was stored before is there for good: it may be there because a wait for the standby was cut
/// off, and then the first request was told that nobody knows.
async fn confirm(state: &AppState, piece: &Piece) -> Result<(), ApiError> {
    if faults::mutant("taken_is_stored") {
        return Ok(());
    }
    let patience = faults::within("FIND_OUT", CONFIRM_WITHIN);
    match tokio::time::timeout(patience, state.db.confirm_piece(piece)).await {
        Ok(Ok(())) => Ok(()),
        // It was there a moment ago: the database failed over in between.
        Ok(Err(StoreError::Conflict)) => Err(Refused::Unavailable.into()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ApiError::OutcomeUnknown),
    }
}

impl KeyedBody {
    /// Begins to take in a body; refused while another request with the key is at it.
    pub(crate) fn begin(state: &AppState, caller: &Caller, key: &Key) -> Result<Self, ApiError> {
        let scope = key.scope(caller)?;
        let in_use = state.intake.begin(&scope).ok_or_else(ApiError::in_progress)?;
        Ok(Self { scope, piece: 0, hash: Sha256::new(), _in_use: in_use })
    }

    /// Takes note of a part of the body.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    /// Ends a piece: what came of it before, or what to store with it.
    pub(crate) async fn next(
        &mut self,
        state: &AppState,
        events: usize,
        last: bool,
    ) -> Result<Result<Before, Keyed>, ApiError> {
        let number = self.piece;
        self.piece += 1;
        let body_hash: String =
            self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        match state.db.piece(&self.scope, number).await? {
            None => Ok(Err(Keyed { scope: self.scope.clone(), piece: number, body_hash, last })),
            Some(Piece { body_hash: found, last: ended, events: stored, .. })
                if found != body_hash || ended != last || stored != events as i64 =>
            {
                Err(other_body())
            }
            Some(piece) => {
                confirm(state, &piece).await?;
                let alerts = state.db.alerts_of_piece(&piece).await?;
                Ok(Ok(Before { first_event: piece.first_event, at: piece.at, alerts }))
            }
        }
    }
}
