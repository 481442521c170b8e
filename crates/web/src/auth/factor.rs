//! The second factor: set up, asked for, taken away.

use crate::auth::guard::Caller;
use crate::auth::login::filled;
use crate::auth::seal::Purpose;
use crate::auth::totp;
use crate::error::ApiError;
use crate::state::AppState;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::{Invalid, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, StoreError};

/// What an authenticator app needs.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct SetUp {
    /// To type in where no camera is at hand.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    pub(crate) secret: String,
    /// What the picture says.
    pub(crate) otpauth_url: String,
    /// A QR code, as SVG.
    pub(crate) qr_svg: String,
}

/// What proves that somebody has the second factor.
pub(crate) enum Shown {
    /// Nothing was given.
    Nothing,
    /// It fits.
    Right,
    /// It doesn't.
    Wrong,
}

impl SetUp {
    fn new(state: &AppState, known: &Credentials, secret: String) -> Self {
        let issuer = match state.settings.host() {
            Some(host) => format!("Watchpost {host}"),
            None => "Watchpost".to_owned(),
        };
        let otpauth_url = totp::address(&secret, &known.user.username, &issuer);
        let qr_svg = totp::picture(&otpauth_url).unwrap_or_default();
        Self { secret, otpauth_url, qr_svg }
    }

    /// The secret that waits for its first code; a new one if none does.
    pub(crate) async fn prepare(state: &AppState, known: &Credentials) -> Result<Self, ApiError> {
        let waiting =
            known.factor.pending.as_deref().and_then(|sealed| state.seal.open(Purpose::Factor, sealed));
        let secret = match waiting {
            Some(secret) => secret,
            None => {
                let secret = totp::new_secret();
                let sealed = state.seal.seal(Purpose::Factor, &secret);
                state.db.prepare_factor(known.user.id, &sealed).await?;
                secret
            }
        };
        Ok(Self::new(state, known, secret))
    }
}

/// What an authenticator app needs, where no second factor is in use.
pub(crate) async fn prepare(state: &AppState, known: &Credentials) -> Result<SetUp, ApiError> {
    if known.factor.secret.is_some() {
        let detail = "A second factor is in use; remove it first.";
        return Err(ApiError::Conflict("factor_in_use", detail.into()));
    }
    SetUp::prepare(state, known).await
}

/// Takes the secret that waits into use with the code that was filled in.
pub(crate) async fn begin_with(
    state: &AppState,
    known: &Credentials,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<Vec<String>, ApiError> {
    let code = filled(&fields.get("otp")).map_err(|message| Invalid::field("otp", message))?;
    let wrong = || Invalid::field("otp", "This isn't the code of the second factor that was set up.").into();
    begin(state, known, &code, caller).await?.ok_or_else(wrong)
}

/// Whether a role has to have a second factor here.
pub(crate) fn is_required(state: &AppState, known: &Credentials) -> bool {
    state.settings.second_factor_roles.contains(&known.user.role) && known.external_id.is_none()
}

/// Takes the secret that waits into use, when this is its code. The recovery codes, shown this once.
pub(crate) async fn begin(
    state: &AppState,
    known: &Credentials,
    given: &str,
    caller: &Caller,
) -> Result<Option<Vec<String>>, ApiError> {
    let Some(sealed) = known.factor.pending.as_deref() else { return Ok(None) };
    let Some(secret) = state.seal.open(Purpose::Factor, sealed) else { return Ok(None) };
    let Some(step) = totp::step_of(&secret, given, now()) else { return Ok(None) };
    let (codes, hashes) = totp::recovery_codes();
    state.db.begin_factor(known.user.id, sealed, step, &hashes, &caller.entry()).await?;
    state.accounts.forget();
    tracing::info!(user = known.user.username, "a second factor is in use");
    Ok(Some(codes))
}

/// Whether a code, or a recovery code, is right. Each is good once.
pub(crate) async fn check(
    state: &AppState,
    known: &Credentials,
    given: &str,
    caller: &Caller,
) -> Result<Shown, ApiError> {
    if given.trim().is_empty() {
        return Ok(Shown::Nothing);
    }
    let id = known.user.id;
    let opened = known.factor.secret.as_deref().map(|sealed| state.seal.open(Purpose::Factor, sealed));
    if let Some(None) = opened {
        tracing::error!(
            user = known.user.username,
            "the secret of a second factor can't be read: SECRET_KEY was changed without SECRET_KEY_PREVIOUS; recovery codes still work"
        );
    }
    let step = opened.flatten().and_then(|secret| totp::step_of(&secret, given, now()));
    let right = match step {
        Some(step) => state.db.use_factor_step(id, step).await?,
        None => {
            let used = totp::recovery_hash(given);
            state.db.use_recovery_code(id, &known.factor.recovery, &used, &caller.entry()).await?
        }
    };
    Ok(if right { Shown::Right } else { Shown::Wrong })
}

/// Takes the second factor away at its user's wish, unless the role has to have one.
pub(crate) async fn remove(state: &AppState, known: &Credentials, caller: &Caller) -> Result<(), ApiError> {
    if is_required(state, known) {
        let detail = "Your role has to have a second factor.";
        return Err(ApiError::Conflict("factor_required", detail.into()));
    }
    if known.factor.secret.is_some() {
        state.db.end_factor(known.user.id, &caller.entry()).await?;
        state.accounts.forget();
    }
    Ok(())
}

/// New recovery codes instead of those that are left.
pub(crate) async fn new_recovery_codes(
    state: &AppState,
    user: UserId,
    caller: &Caller,
) -> Result<Vec<String>, ApiError> {
    let (codes, hashes) = totp::recovery_codes();
    match state.db.replace_recovery_codes(user, &hashes, &caller.entry()).await {
        Ok(()) => Ok(codes),
        Err(StoreError::Conflict) => {
            Err(ApiError::Conflict("no_factor", "There is no second factor to recover.".into()))
        }
        Err(error) => Err(error.into()),
    }
}
