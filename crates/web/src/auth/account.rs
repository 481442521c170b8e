//! Users and what they hold: made, changed, given a new password.

use crate::auth::guard::{Caller, take};
use crate::auth::proof;
use crate::auth::refusals::{Asked, Refused};
use crate::auth::secret::{generate_password, random_text};
use crate::error::ApiError;
use crate::state::AppState;
use crate::throttle;
use watchpost_model::page::PageRequest;
use watchpost_model::text::Given;
use watchpost_model::user::{NewUser, UserChangeRequest};
use watchpost_model::{Actor, Invalid, Role, Timestamp, User, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{NewAccount, NewPassword, StoreError, UserChange, UserFilter};

/// How long a password that was given to somebody lets them choose another.
pub const ONE_TIME_SECONDS: i64 = 24 * 60 * 60;

/// Why somebody could not sign up.
pub(crate) enum NoSignUp {
    /// Something about the name or the password.
    Wrong(Invalid),
    /// Anything else.
    Refused(ApiError),
}

/// Lets a request to sign up begin: only while the operator has switched it on.
pub(crate) async fn may_sign_up(state: &AppState, caller: &Caller) -> Result<(), ApiError> {
    take(state, throttle::Caller::LogIn, caller.peer)?;
    match state.settings.signup {
        true => Ok(()),
        false => {
            state.refusals.note(state, caller, Refused::SignUpOff, Asked::to("sign-up")).await;
            let detail = "Sign-up is switched off on this server. Ask an Admin for an account; the operator can switch it on with WATCHPOST_SIGNUP=on.";
            Err(ApiError::NotAllowed(detail.into()))
        }
    }
}

/// Makes an account for a caller who may sign up: always an Analyst's, and one that hands in no events.
pub(crate) async fn sign_up(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<User, NoSignUp> {
    let analyst = Given::Text(Role::Analyst.as_str().into());
    let asked = match fields.get("role") {
        Given::Null => Given::Missing,
        asked => asked,
    };
    if let Given::Text(text) = &asked
        && Role::parse(text).is_some_and(|role| role != Role::Analyst)
    {
        state.refusals.note(state, caller, Refused::SignUpRole, Asked::to("sign-up")).await;
        let detail = "A user who signs up is an Analyst; other roles are given by an Admin.";
        return Err(NoSignUp::Refused(ApiError::NotAllowed(detail.into())));
    }
    let email = match fields.get("email") {
        Given::Null => Given::Missing,
        email => email,
    };
    let (username, password) = (fields.get("username"), fields.get("password"));
    let new = NewUser::check(&username, &password, &email, &asked.or(analyst), state.settings.host())
        .map_err(NoSignUp::Wrong)?;
    add(state, new, None, caller, true).await.map_err(|error| match error {
        ApiError::Invalid(wrong) => NoSignUp::Wrong(wrong),
        other => NoSignUp::Refused(other),
    })
}

/// A field that was left out, `null` or blank is made up.
pub(crate) fn or_made_up(given: Given<'_>, made_up: impl FnOnce() -> String) -> Given<'_> {
    match given {
        Given::Missing | Given::Null => Given::Text(made_up().into()),
        Given::Text(text) if text.trim().is_empty() => Given::Text(made_up().into()),
        given => given,
    }
}

/// Makes an Analyst, with a name and a password that are made up where they are left out; with the password, which
/// needn't be changed unless that is asked for: it is for a program.
pub(crate) async fn make_analyst(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<(User, String), ApiError> {
    let username =
        or_made_up(fields.get("username"), || format!("analyst_{}", random_text(8).to_lowercase()));
    let password = or_made_up(fields.get("password"), generate_password);
    let role = Given::Text(Role::Analyst.as_str().into());
    let must_change = fields.get("must_change_password").flag();
    let must_change = must_change.map_err(|why| Invalid::field("must_change_password", why))?;
    let new = NewUser::check(&username, &password, &Given::Missing, &role, state.settings.host())?;
    let password = new.password.clone();
    Ok((create_user(state, new, must_change == Some(true), caller).await?, password))
}

/// Until when a password that is one-time lets its user choose another.
fn one_time(must_change: bool) -> Option<Timestamp> {
    must_change.then(|| now().plus_seconds(ONE_TIME_SECONDS))
}

/// Makes a user. A password that must be changed lets its user in once within a day, to do so. Making an Admin takes a
/// fresh proof.
pub(crate) async fn create_user(
    state: &AppState,
    new: NewUser,
    must_change: bool,
    caller: &Caller,
) -> Result<User, ApiError> {
    if new.role == Role::Admin {
        proof::require(state, caller, Asked::to("a new Admin")).await?;
    }
    add(state, new, one_time(must_change), caller, false).await
}

async fn add(
    state: &AppState,
    new: NewUser,
    until: Option<Timestamp>,
    caller: &Caller,
    signed_up: bool,
) -> Result<User, ApiError> {
    let password = NewPassword { hash: state.passwords.hash(new.password).await?, until };
    let by = caller.entry();
    let account = NewAccount {
        username: &new.username,
        email: &new.email,
        role: new.role,
        password,
        external_id: None,
        signed_up,
    };
    let user = state.db.create_account(account, &by).await?;
    state.accounts.forget();
    tracing::info!(user = user.username, role = %user.role, signed_up, by = %by.actor, "user created");
    Ok(user)
}

/// Whether a change takes a fresh proof: it makes somebody an Admin who can log in, or lets the caller in as another.
fn takes_proof(change: &UserChangeRequest, user: &User) -> bool {
    let is = user.role == Role::Admin && user.active;
    let becomes = change.role.unwrap_or(user.role) == Role::Admin && change.active.unwrap_or(user.active);
    change.password.is_some()
        || (becomes && !is)
        || (change.role == Some(Role::Admin) && user.role != Role::Admin)
}

/// Whether a change is about what lets its user in, and what they may.
fn is_about_access(change: &UserChangeRequest, user: &User) -> bool {
    let UserChangeRequest { role, active, password, .. } = change;
    password.is_some()
        || role.is_some_and(|role| role != user.role)
        || active.is_some_and(|active| active != user.active)
}

fn is_oneself(caller: &Caller, id: UserId) -> bool {
    matches!(&caller.actor, Actor::User { id: own, .. } if *own == id)
}

const OWN_ACCOUNT: &str = "This way is for other users: an Admin's token alone doesn't change that Admin's own access. \
    Your own password: /api/v1/auth/password/, your own second factor: /api/v1/auth/factor/ (in the console: your \
    account, behind your name). Your role, or deactivating yourself: ask another Admin.";

/// Refuses an Admin what is about their own access, and remembers that.
async fn not_oneself(state: &AppState, caller: &Caller, id: UserId) -> ApiError {
    state.refusals.note(state, caller, Refused::OwnAccount, Asked::to(format!("user:{id}"))).await;
    ApiError::NotAllowed(OWN_ACCOUNT.into())
}

/// Whether there is no other active Admin.
async fn is_last_admin(state: &AppState, user: &User) -> Result<bool, ApiError> {
    let admins = UserFilter { role: Some(Role::Admin), active: Some(true), search: None };
    let found = state.db.users(&admins, PageRequest::numbered(1, 2)).await?;
    Ok(found.rows.iter().all(|admin| admin.id == user.id))
}

/// Changes a user. An Admin can't change their own access with it, and some changes take a fresh proof.
pub(crate) async fn change_user(
    state: &AppState,
    id: UserId,
    change: UserChangeRequest,
    version: Option<i64>,
    caller: &Caller,
) -> Result<User, ApiError> {
    let known = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    if is_oneself(caller, id) && is_about_access(&change, &known.user) {
        if change.password.is_none() && is_last_admin(state, &known.user).await? {
            return Err(StoreError::LastAdmin.into());
        }
        return Err(not_oneself(state, caller, id).await);
    }
    if takes_proof(&change, &known.user) {
        proof::require(state, caller, Asked::to(format!("user:{id}"))).await?;
    }
    let password = match change.password {
        Some(_) if known.external_id.is_some() => return Err(no_password_here()),
        Some(password) => {
            let hash = state.passwords.hash(password).await?;
            Some(NewPassword { hash, until: one_time(change.must_change_password) })
        }
        None => None,
    };
    let UserChangeRequest { username, email, role, active, .. } = change;
    let change = UserChange { username, email, role, active, password };
    let by = caller.entry();
    let user = state.db.update_user(id, change, version, &by).await?;
    state.accounts.forget();
    tracing::info!(user = user.username, role = %user.role, active = user.active, by = %by.actor, "user changed");
    Ok(user)
}

fn no_password_here() -> ApiError {
    let detail = "This user logs in by single sign-on and has no password here.";
    ApiError::Conflict("single_sign_on", detail.into())
}

/// Gives a user a password that lets them in once, to choose one of their own; shown this once.
pub(crate) async fn reset_password(
    state: &AppState,
    id: UserId,
    caller: &Caller,
) -> Result<(User, String), ApiError> {
    let known = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    if is_oneself(caller, id) {
        return Err(not_oneself(state, caller, id).await);
    }
    proof::require(state, caller, Asked::to(format!("user:{id}"))).await?;
    if known.external_id.is_some() {
        return Err(no_password_here());
    }
    let password = generate_password();
    let until = now().plus_seconds(ONE_TIME_SECONDS);
    let new = NewPassword { hash: state.passwords.hash(password.clone()).await?, until: Some(until) };
    let change = UserChange { password: Some(new), ..UserChange::default() };
    let user = state.db.update_user(id, change, Some(known.user.version), &caller.entry()).await?;
    state.accounts.forget();
    tracing::info!(user = user.username, by = %caller.actor, "password reset");
    Ok((user, password))
}

/// Takes a user's second factor away, for one who lost it and the recovery codes. It ends all their sessions.
pub(crate) async fn remove_factor(state: &AppState, id: UserId, caller: &Caller) -> Result<(), ApiError> {
    let known = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    if is_oneself(caller, id) {
        return Err(not_oneself(state, caller, id).await);
    }
    proof::require(state, caller, Asked::to(format!("user:{id}"))).await?;
    if known.factor.secret.is_some() {
        state.db.end_factor(id, None, &caller.entry()).await?;
        state.accounts.forget();
        tracing::warn!(user = known.user.username, by = %caller.actor, "second factor removed");
    }
    Ok(())
}
