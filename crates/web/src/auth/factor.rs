//! The second factor: set up, asked for, taken away.

use crate::auth::guard::Caller;
use crate::auth::login::filled;
use crate::auth::seal::Purpose;
use crate::auth::totp;
use crate::error::ApiError;
use crate::state::AppState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use watchpost_model::{Invalid, User, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, FactorShown, NewFactor, Session, StoreError};

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
    /// Has to come back with the first code, within ten minutes. It holds the secret, sealed: nothing is kept here.
    pub(crate) setup: String,
}

/// How long a secret waits for its first code.
pub(crate) const SET_UP_SECONDS: i64 = 10 * 60;

/// A secret that waits for its first code. It is kept by who asked for it, sealed, and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    secret: String,
    /// The user's version when it was made: any change of the user makes it worthless.
    version: i64,
}

/// A secret that a signed-in user sets up, with all that it is bound to.
#[derive(Debug, Serialize, Deserialize)]
struct InSession {
    user: i64,
    epoch: i64,
    session: String,
    until: i64,
    pending: Pending,
}

impl InSession {
    /// Whether it was made for this user, in this session, and not too long ago.
    fn is_good(&self, known: &Credentials, session: Option<&str>, now: i64) -> bool {
        self.user == known.user.id.get()
            && self.epoch == known.token_epoch
            && session == Some(self.session.as_str())
            && self.until > now
    }
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

impl Pending {
    /// A secret that nobody has seen yet.
    pub(crate) fn new(known: &Credentials) -> Self {
        Self { secret: totp::new_secret(), version: known.user.version }
    }

    /// Whether the user is still as they were when it was made: otherwise it can't be taken into use.
    pub(crate) fn is_of(&self, known: &Credentials) -> bool {
        self.version == known.user.version
    }
}

impl SetUp {
    /// What an app needs for a secret that waits, and what has to come back with its first code.
    pub(crate) fn new(state: &AppState, known: &Credentials, pending: &Pending, setup: String) -> Self {
        let secret = pending.secret.clone();
        let issuer = match state.settings.host() {
            Some(host) => format!("Watchpost {host}"),
            None => "Watchpost".to_owned(),
        };
        let otpauth_url = totp::address(&secret, &known.user.username, &issuer);
        let qr_svg = totp::picture(&otpauth_url).unwrap_or_default();
        Self { secret, otpauth_url, qr_svg, setup }
    }
}

fn none_in_use(known: &Credentials) -> Result<(), ApiError> {
    match known.factor.secret {
        None => Ok(()),
        Some(_) => {
            let detail = "A second factor is in use; remove it first.";
            Err(ApiError::Conflict("factor_in_use", detail.into()))
        }
    }
}

/// What an authenticator app needs, for a signed-in user without a second factor. Each call makes a new secret.
pub(crate) async fn prepare(
    state: &AppState,
    known: &Credentials,
    caller: &Caller,
) -> Result<SetUp, ApiError> {
    none_in_use(known)?;
    let pending = Pending::new(known);
    let kept = InSession {
        user: known.user.id.get(),
        epoch: known.token_epoch,
        session: caller.session.clone().ok_or(ApiError::BadToken)?,
        until: now().seconds() + SET_UP_SECONDS,
        pending,
    };
    let text = serde_json::to_string(&kept).expect("texts and numbers can be written as JSON");
    state.db.note(&caller.entry(), "factor.setup", format!("user:{}", known.user.id), "").await?;
    Ok(SetUp::new(state, known, &kept.pending, state.seal.seal(Purpose::FactorSetUp, &text)))
}

/// The secret that comes back from a signed-in user, if it is theirs and still waits.
fn waiting(state: &AppState, known: &Credentials, setup: &str, caller: &Caller) -> Option<Pending> {
    let text = state.seal.open(Purpose::FactorSetUp, setup)?;
    let kept: InSession = serde_json::from_str(&text).ok()?;
    kept.is_good(known, caller.session.as_deref(), now().seconds()).then_some(kept.pending)
}

/// The same secret once more, for a page whose code was wrong.
pub(crate) fn shown_again(
    state: &AppState,
    known: &Credentials,
    setup: String,
    caller: &Caller,
) -> Option<SetUp> {
    let pending = waiting(state, known, &setup, caller)?;
    known.factor.secret.is_none().then(|| SetUp::new(state, known, &pending, setup))
}

/// Takes a secret that a signed-in user set up into use, with the code that was filled in.
pub(crate) async fn begin_with(
    state: &AppState,
    known: &Credentials,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<Vec<String>, ApiError> {
    none_in_use(known)?;
    let mut missing = Invalid::new();
    let code = missing.take("otp", filled(&fields.get("otp")));
    let setup = missing.take("setup", filled(&fields.get("setup")));
    let (Some(code), Some(setup)) = (code, setup) else { return Err(missing.into()) };
    let gone = "This set-up has expired, or belongs to another session. Begin again.";
    let pending = waiting(state, known, &setup, caller).ok_or_else(|| Invalid::field("setup", gone))?;
    let wrong = || Invalid::field("otp", "This isn't the code of the second factor that was set up.").into();
    let session = caller.session.as_deref();
    begin(state, known, &pending, &code, session, caller).await?.ok_or_else(wrong)
}

/// Whether a user's role has to have a second factor here.
pub(crate) fn is_required(state: &AppState, user: &User) -> bool {
    state.settings.second_factor_roles.contains(&user.role)
}

/// Lets a session go on, unless its user's role requires a second factor by now and none was shown in it. Asked
/// whenever a session or a token is used: what was required when it began doesn't matter.
pub(crate) fn enough(state: &AppState, user: &User, session: &Session) -> Result<(), ApiError> {
    match session.second_factor == FactorShown::None && is_required(state, user) {
        true => Err(ApiError::FactorMissing { in_use: user.second_factor }),
        false => Ok(()),
    }
}

/// Takes a secret that waits into use, when this is its code. The recovery codes, shown this once.
pub(crate) async fn begin(
    state: &AppState,
    known: &Credentials,
    pending: &Pending,
    given: &str,
    session: Option<&str>,
    caller: &Caller,
) -> Result<Option<Vec<String>>, ApiError> {
    let Some(step) = totp::step_of(&pending.secret, given, now()) else { return Ok(None) };
    let (codes, hashes) = totp::recovery_codes();
    let new = NewFactor {
        sealed: &state.seal.seal(Purpose::Factor, &pending.secret),
        step,
        recovery: &hashes,
        version: pending.version,
        token_epoch: known.token_epoch,
        session,
    };
    state.db.begin_factor(known.user.id, new, &caller.entry()).await?;
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
    let sealed = known.factor.secret.as_deref();
    let opened = sealed.map(|sealed| state.seal.open_with_which(Purpose::Factor, sealed));
    if let Some(None) = opened {
        tracing::error!(
            user = known.user.username,
            "the secret of a second factor can't be read: SECRET_KEY was changed without SECRET_KEY_PREVIOUS; recovery codes still work"
        );
    }
    let opened = opened.flatten();
    let step = opened.as_ref().and_then(|(secret, _)| totp::step_of(secret, given, now()));
    let right = match step {
        Some(step) => {
            let right = state.db.use_factor_step(id, step).await?;
            // The key before the one in use can be taken away once whoever logs in has left it behind.
            if let (true, Some((secret, false)), Some(before)) = (right, &opened, sealed) {
                reseal(state, id, before, secret).await;
            }
            right
        }
        None => {
            let used = totp::recovery_hash(given);
            state.db.use_recovery_code(id, &known.factor.recovery, &used, &caller.entry()).await?
        }
    };
    Ok(if right { Shown::Right } else { Shown::Wrong })
}

/// Seals a secret anew with the key in use. A log-in goes on without: the old seal is good until its key is gone.
async fn reseal(state: &AppState, user: UserId, before: &str, secret: &str) {
    let sealed = state.seal.seal(Purpose::Factor, secret);
    match state.db.reseal_factor(user, before, &sealed).await {
        Ok(true) => tracing::info!(%user, "the secret of a second factor is sealed with the key in use"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "the secret of a second factor could not be sealed anew"),
    }
}

/// Takes the second factor away at its user's wish, unless the role has to have one.
pub(crate) async fn remove(state: &AppState, known: &Credentials, caller: &Caller) -> Result<(), ApiError> {
    if is_required(state, &known.user) {
        let detail = "Your role has to have a second factor.";
        return Err(ApiError::Conflict("factor_required", detail.into()));
    }
    if known.factor.secret.is_some() {
        state.db.end_factor(known.user.id, caller.session.as_deref(), &caller.entry()).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::user::{Theme, TimeZone};
    use watchpost_model::{Role, Timestamp};

    fn known(token_epoch: i64) -> Credentials {
        let user = User {
            id: UserId::new(7),
            username: "jane".into(),
            email: String::new(),
            role: Role::Analyst,
            active: true,
            created_at: Timestamp::from_micros(0),
            last_login_at: None,
            version: 1,
            second_factor: false,
            must_change_password: false,
            single_sign_on: false,
            signed_up: false,
            theme: Theme::default(),
            time_zone: TimeZone::default(),
        };
        Credentials {
            user,
            password_hash: String::new(),
            token_epoch,
            password_until: None,
            factor: watchpost_store::Factor::default(),
            external_id: None,
        }
    }

    #[test]
    fn a_secret_waits_for_its_user_in_its_session_for_ten_minutes() {
        let jane = known(3);
        let pending = Pending::new(&jane);
        assert_ne!(pending.secret, Pending::new(&jane).secret, "each is new");
        let until = 1_000 + SET_UP_SECONDS;
        let kept = InSession { user: 7, epoch: 3, session: "s".into(), until, pending };
        assert!(kept.is_good(&jane, Some("s"), until - 1));
        assert!(!kept.is_good(&jane, Some("s"), until), "it took too long");
        assert!(!kept.is_good(&jane, Some("another"), 1_000) && !kept.is_good(&jane, None, 1_000));
        assert!(!kept.is_good(&known(4), Some("s"), 1_000), "the password was changed meanwhile");
    }
}
