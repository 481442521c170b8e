//! Logging in: the one check of a name, a password and what else is needed, for every way in.

use crate::auth::factor::{self, Pending, SetUp, Shown};
use crate::auth::guard::{Caller, take};
use crate::auth::passwords;
use crate::auth::patience::Attempt;
use crate::auth::refusals::{Asked, Refused};
use crate::auth::seal::Purpose;
use crate::error::{ApiError, Step};
use crate::state::AppState;
use crate::throttle;
use serde::{Deserialize, Serialize};
use watchpost_model::password::check_new_password;
use watchpost_model::text::{Given, shown};
use watchpost_model::{Actor, Invalid, UserId, invalid};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, FactorShown, NewPassword, UserChange};

/// How long a page may take to ask for what is missing after the password.
const STEP_SECONDS: i64 = 10 * 60;
const OTP_REQUIRED: &str = "The code of the second factor is needed: log in with it as `otp`.";
const SET_UP_REQUIRED: &str = "A second factor is required: add this secret to an authenticator app and log in again with its code as `otp` and this `setup`.";

/// Somebody who showed everything that is needed.
pub(crate) struct Entered {
    pub(crate) known: Credentials,
    /// What they showed, for the audit log.
    pub(crate) how: String,
    /// The second factor that they showed.
    pub(crate) shown: FactorShown,
    /// The recovery codes of a second factor that was set up on the way.
    pub(crate) recovery_codes: Option<Vec<String>>,
}

/// The text of a field that has to be there; the message otherwise.
pub(crate) fn filled(given: &Given<'_>) -> Result<String, String> {
    match given.required()? {
        "" => Err(invalid::BLANK.into()),
        text => Ok(text.to_owned()),
    }
}

/// The text of a field that may be missing.
pub(crate) fn given(fields: &Fields<'_>, name: &str) -> String {
    match fields.get(name) {
        Given::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

/// A password that was right, in the hand of a page that asks for the rest.
#[derive(Serialize, Deserialize)]
struct Halfway {
    user: i64,
    username: String,
    epoch: i64,
    until: i64,
    /// Whether the provider of single sign-on said who it is, in place of a password.
    #[serde(default)]
    single_sign_on: bool,
    /// The second factor that is set up on the way. It lives and dies with this log-in.
    #[serde(default)]
    pending: Option<Pending>,
}

impl Halfway {
    /// What goes on from here. A log-in that is halfway already keeps its time, and its secret while the user is the same.
    fn new(state: &AppState, known: &Credentials, before: Option<&Self>) -> Self {
        let needed = known.factor.secret.is_none() && factor::is_required(state, &known.user);
        let kept = before.and_then(|before| before.pending.clone()).filter(|kept| kept.is_of(known));
        Self {
            user: known.user.id.get(),
            username: known.user.username.clone(),
            epoch: known.token_epoch,
            single_sign_on: before.is_some_and(|before| before.single_sign_on),
            until: before.map_or_else(|| now().seconds() + STEP_SECONDS, |before| before.until),
            pending: needed.then(|| kept.unwrap_or_else(|| Pending::new(known))),
        }
    }

    fn sealed(&self, state: &AppState) -> String {
        let text = serde_json::to_string(self).expect("texts and numbers can be written as JSON");
        state.seal.seal(Purpose::LogInStep, &text)
    }

    fn open(state: &AppState, sealed: &str) -> Option<Self> {
        let text = state.seal.open(Purpose::LogInStep, sealed)?;
        let halfway: Self = serde_json::from_str(&text).ok()?;
        (halfway.until > now().seconds()).then_some(halfway)
    }

    /// Whether it is this user's, and the password it stands for is still theirs.
    fn is_of(&self, known: &Credentials) -> bool {
        known.user.id == UserId::new(self.user) && known.token_epoch == self.epoch
    }
}

/// What a log-in that is halfway still needs.
pub(crate) struct Missing {
    pub(crate) username: String,
    /// A code of the second factor in use.
    pub(crate) code: bool,
    /// A second factor.
    pub(crate) set_up: Option<SetUp>,
    /// A password of one's own.
    pub(crate) new_password: bool,
}

/// What a log-in still needs, if the password was right a moment ago.
pub(crate) async fn missing(state: &AppState, sealed: &str) -> Result<Option<Missing>, ApiError> {
    let Some(halfway) = Halfway::open(state, sealed) else { return Ok(None) };
    let found = state.db.credentials(UserId::new(halfway.user)).await?;
    let Some(known) = found.filter(|known| halfway.is_of(known)) else { return Ok(None) };
    let code = known.factor.secret.is_some();
    let pending = halfway.pending.filter(|_| !code);
    let set_up = pending.map(|pending| SetUp::new(state, &known, &pending, sealed.to_owned()));
    let new_password = known.password_until.is_some();
    Ok(Some(Missing { username: known.user.username, code, set_up, new_password }))
}

/// What is shown for a name.
struct Proof {
    username: String,
    /// Without it, what was kept of a log-in that is halfway has to do.
    password: Option<String>,
    kept: Option<Halfway>,
}

fn proof(state: &AppState, fields: &Fields<'_>) -> Result<Proof, ApiError> {
    // Pages call it by the one name, programs by the other.
    let sealed = match given(fields, "halfway") {
        none if none.is_empty() => given(fields, "setup"),
        sealed => sealed,
    };
    let kept = Halfway::open(state, &sealed);
    if !sealed.is_empty() && given(fields, "password").is_empty() {
        let fresh = kept.ok_or(ApiError::BadLogin)?;
        return Ok(Proof { username: fresh.username.clone(), password: None, kept: Some(fresh) });
    }
    let mut wrong = Invalid::new();
    let username = wrong.take("username", filled(&fields.get("username")));
    let password = wrong.take("password", filled(&fields.get("password")));
    match (username, password) {
        (Some(username), Some(password)) => Ok(Proof { username, password: Some(password), kept }),
        _ => Err(wrong.into()),
    }
}

/// Remembers and answers an attempt that failed.
async fn failed(state: &AppState, username: &str, caller: &Caller, why: &str) -> ApiError {
    let username = shown(username);
    tracing::warn!(user = username, peer = %caller.peer, why, "a log-in failed");
    state.metrics.logins_failed.inc();
    let shown: String = username.chars().take(150).collect();
    match state.db.note(&caller.entry(), "login.failed", format!("name:{shown}"), why).await {
        Ok(()) => ApiError::BadLogin,
        Err(error) => error.into(),
    }
}

/// Checks everything that logging in takes. What is missing is asked for, what is wrong is counted.
pub(crate) async fn check(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<Entered, ApiError> {
    take(state, throttle::Caller::LogIn, caller.peer)?;
    let Proof { username, password, kept } = proof(state, fields)?;
    let attempt = Attempt::begin(state, &username, caller).await?;
    let kept = kept.filter(|kept| attempt.known.as_ref().is_some_and(|known| kept.is_of(known)));
    let right = match &password {
        Some(password) => password_fits(state, attempt.known.as_ref(), password).await?,
        None => kept.is_some(),
    };
    let expired = |known: &Credentials| known.password_until.is_some_and(|until| until <= now());
    let known = match &attempt.known {
        Some(known) if right && known.user.active && !expired(known) => known.clone(),
        Some(known) if right && known.user.active => {
            let why = "the one-time password has expired";
            return Err(failed(state, &known.user.username, caller, why).await);
        }
        _ => return Err(failed(state, &username, caller, "wrong name or password, or deactivated").await),
    };
    // From here on it is known who is asking.
    let caller = &known_as(caller, &known);
    if let Some(password) = &password {
        renew_hash(state, &known, password).await;
    }
    let by_provider = password.is_none() && kept.as_ref().is_some_and(|kept| kept.single_sign_on);
    let mut how = if by_provider { "single sign-on" } else { "password" }.to_owned();
    // Looked at before the code of the second factor, which is good once.
    let halfway = Halfway::new(state, &known, kept.as_ref());
    let rest = async {
        let own_password = own_password(state, fields, &known, &halfway).await?;
        let codes = second_factor(state, fields, &known, &halfway, caller, &mut how).await?;
        Ok::<_, ApiError>((own_password, codes))
    };
    let (own_password, recovery_codes) = match rest.await {
        Ok(rest) => rest,
        Err(error) => {
            if let ApiError::LogInStep(step) = &error {
                lacking(state, caller, step).await;
            }
            return Err(error);
        }
    };
    let known = match recovery_codes {
        Some(_) => state.db.credentials(known.user.id).await?.ok_or(ApiError::BadLogin)?,
        None => known,
    };
    let known = match own_password {
        Some(password) => set_password(state, &known, password, caller).await?,
        None => known,
    };
    attempt.succeeded(state, known.user.id).await?;
    tracing::info!(user = known.user.username, peer = %caller.peer, how, "logged in");
    let shown = shown_by(&known);
    Ok(Entered { known, how, shown, recovery_codes })
}

/// Notes that a password was right, and not all that is needed. A wrong code is a log-in that failed already.
pub(crate) async fn lacking(state: &AppState, caller: &Caller, step: &Step) {
    if step.code != "otp_wrong" {
        state.refusals.note(state, caller, Refused::LogInStep(step.code), Asked::to("log-in")).await;
    }
}

/// What a user has shown who was just asked for everything they have: those with a second factor are never let off.
pub(crate) fn shown_by(known: &Credentials) -> FactorShown {
    match known.factor.secret {
        Some(_) => FactorShown::Own,
        None => FactorShown::None,
    }
}

/// What a user has shown whom the provider of single sign-on lets in; or what is asked for beside it, as after a
/// password. A second factor over there counts if the provider says so.
pub(crate) fn after_single_sign_on(
    state: &AppState,
    known: &Credentials,
    by_provider: bool,
) -> Result<FactorShown, Step> {
    if by_provider {
        return Ok(FactorShown::Provider);
    }
    let halfway = Halfway { single_sign_on: true, ..Halfway::new(state, known, None) };
    match (&halfway.pending, &known.factor.secret) {
        (None, None) => Ok(FactorShown::None),
        (_, Some(_)) => Err(Step::new("otp_required", OTP_REQUIRED, halfway.sealed(state))),
        (Some(_), None) => Err(Step::new("second_factor_setup", SET_UP_REQUIRED, halfway.sealed(state))),
    }
}

/// The caller as the user they turned out to be.
pub(crate) fn known_as(caller: &Caller, known: &Credentials) -> Caller {
    let actor = Actor::User { id: known.user.id, name: known.user.username.clone() };
    Caller { rank: known.user.rank(), actor, ..caller.clone() }
}

/// Whether this is the user's password. Takes as long when there is no user, or none with a password.
async fn password_fits(
    state: &AppState,
    known: Option<&Credentials>,
    password: &str,
) -> Result<bool, ApiError> {
    let hash = known.filter(|known| known.external_id.is_none()).map(|known| known.password_hash.clone());
    state.passwords.matches(password.to_owned(), hash).await
}

/// Hashes a password that was right anew, where its hash is one of other parameters than today's. The log-in goes on
/// without.
async fn renew_hash(state: &AppState, known: &Credentials, password: &str) {
    if !passwords::is_dated(&known.password_hash) {
        return;
    }
    let renewed = async {
        let hash = state.passwords.hash(password.to_owned()).await?;
        Ok::<_, ApiError>(state.db.rehash(known.user.id, &known.password_hash, &hash).await?)
    };
    match renewed.await {
        Ok(()) => {
            tracing::info!(user = known.user.username, "the password is hashed with today's parameters")
        }
        Err(error) => tracing::warn!(?error, "a password could not be hashed anew"),
    }
}

async fn second_factor(
    state: &AppState,
    fields: &Fields<'_>,
    known: &Credentials,
    halfway: &Halfway,
    caller: &Caller,
    how: &mut String,
) -> Result<Option<Vec<String>>, ApiError> {
    let otp = given(fields, "otp");
    if known.factor.secret.is_some() {
        return match factor::check(state, known, &otp, caller).await? {
            Shown::Right => {
                how.push_str(" and second factor");
                Ok(None)
            }
            Shown::Nothing => Err(Step::new("otp_required", OTP_REQUIRED, halfway.sealed(state)).into()),
            Shown::Wrong => {
                failed(state, &known.user.username, caller, "wrong second factor").await;
                let detail = "The code is wrong, or was used before.";
                Err(Step::new("otp_wrong", detail, halfway.sealed(state)).into())
            }
        };
    }
    // There is one where the role requires it.
    let Some(pending) = &halfway.pending else { return Ok(None) };
    let begun = match otp.trim().is_empty() {
        true => None,
        false => factor::begin(state, known, pending, &otp, None, caller).await?,
    };
    match begun {
        Some(codes) => {
            how.push_str(" and a new second factor");
            Ok(Some(codes))
        }
        None => {
            let sealed = halfway.sealed(state);
            let set_up = SetUp::new(state, known, pending, sealed.clone());
            Err(Step::new("second_factor_setup", SET_UP_REQUIRED, sealed).with(&set_up).into())
        }
    }
}

/// Whoever comes with a one-time password chooses one of their own.
async fn own_password(
    state: &AppState,
    fields: &Fields<'_>,
    known: &Credentials,
    halfway: &Halfway,
) -> Result<Option<String>, ApiError> {
    if known.password_until.is_none() {
        return Ok(None);
    }
    if given(fields, "new_password").is_empty() {
        let detail = "This password was given to you: log in with one of your own as `new_password`.";
        return Err(Step::new("password_change_required", detail, halfway.sealed(state)).into());
    }
    new_password(state, known, &fields.get("new_password")).await.map(Some)
}

/// A password that a user may change to.
pub(crate) async fn new_password(
    state: &AppState,
    known: &Credentials,
    chosen: &Given<'_>,
) -> Result<String, ApiError> {
    let wrong = |message: String| Invalid::field("new_password", message);
    let others = [known.user.email.as_str(), state.settings.host().unwrap_or("")];
    let password = check_new_password(chosen, &known.user.username, &others).map_err(wrong)?;
    if password_fits(state, Some(known), &password).await? {
        return Err(wrong("This is the password you had.".into()).into());
    }
    Ok(password)
}

/// Gives a user a password of their own choice, which ends everything they were logged in to.
pub(crate) async fn set_password(
    state: &AppState,
    known: &Credentials,
    password: String,
    caller: &Caller,
) -> Result<Credentials, ApiError> {
    let new = NewPassword { hash: state.passwords.hash(password).await?, until: None };
    let change = UserChange { password: Some(new), ..UserChange::default() };
    // No version: what else was changed meanwhile is no reason to keep the old password.
    state.db.update_user(known.user.id, change, None, &caller.entry()).await?;
    state.accounts.forget();
    state.db.credentials(known.user.id).await?.ok_or(ApiError::BadLogin)
}

/// Checks once more that it is the user who asks, for what a stolen session must not be able to do. The field that
/// holds the password has this name.
pub(crate) async fn check_again(
    state: &AppState,
    fields: &Fields<'_>,
    field: &'static str,
    id: UserId,
    caller: &Caller,
) -> Result<Credentials, ApiError> {
    take(state, throttle::Caller::LogIn, caller.peer)?;
    let known = state.db.credentials(id).await?.ok_or(ApiError::BadToken)?;
    if known.external_id.is_some() {
        let detail = "Your account belongs to single sign-on: password and second factor are kept there. Sign in there \
            once more from the console; a token that is made there then has that proof.";
        return Err(ApiError::NotAllowed(detail.into()));
    }
    let password = filled(&fields.get(field)).map_err(|message| Invalid::field(field, message))?;
    let attempt = Attempt::begin(state, &known.user.username, caller).await?;
    if !password_fits(state, Some(&known), &password).await? {
        failed(state, &known.user.username, caller, "wrong password in a session").await;
        return Err(Invalid::field(field, "The password is wrong.").into());
    }
    renew_hash(state, &known, &password).await;
    code_again(state, fields, &known, caller).await?;
    attempt.succeeded(state, id).await?;
    Ok(known)
}

/// The same for somebody who just signed in once more at the provider of single sign-on: what is left is the code of
/// Watchpost's own second factor, for those who have one.
pub(crate) async fn check_code_again(
    state: &AppState,
    fields: &Fields<'_>,
    known: &Credentials,
    caller: &Caller,
) -> Result<(), ApiError> {
    take(state, throttle::Caller::LogIn, caller.peer)?;
    let attempt = Attempt::begin(state, &known.user.username, caller).await?;
    code_again(state, fields, known, caller).await?;
    attempt.succeeded(state, known.user.id).await
}

async fn code_again(
    state: &AppState,
    fields: &Fields<'_>,
    known: &Credentials,
    caller: &Caller,
) -> Result<(), ApiError> {
    if known.factor.secret.is_none() {
        return Ok(());
    }
    match factor::check(state, known, &given(fields, "otp"), caller).await? {
        Shown::Right => Ok(()),
        Shown::Nothing => Err(Invalid::field("otp", invalid::REQUIRED).into()),
        Shown::Wrong => {
            failed(state, &known.user.username, caller, "wrong second factor in a session").await;
            Err(Invalid::field("otp", "The code is wrong, or was used before.").into())
        }
    }
}
