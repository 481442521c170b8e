//! The forms about users.

use super::{View, back, page};
use crate::api::users::role_of;
use crate::auth::account::{change_user, create_user, remove_factor, reset_password};
use crate::auth::secret::generate_password;
use crate::console::guard::{Administrator, CameFrom, Form, filled, version};
use crate::console::problem::PageError;
use crate::console::said::Done;
use crate::extract::{Base, Id};
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::text::Given;
use watchpost_model::user::{NewUser, UserChangeRequest};
use watchpost_model::{Invalid, Role, User, UserId, invalid};
use watchpost_pipeline::decode::Fields;

/// All roles to choose from.
pub(super) fn roles(chosen: Role) -> Vec<Value> {
    let one =
        |role: Role| context! { value => role.as_str(), says => role.title(), chosen => role == chosen };
    Role::ALL.map(one).to_vec()
}

pub(super) fn view(user: User) -> Value {
    context! {
        id => user.id.get(),
        version => user.version,
        username => user.username,
        email => user.email,
        active => user.active,
        second_factor => user.second_factor,
        single_sign_on => user.single_sign_on,
        must_change_password => user.must_change_password,
        last_login_at => user.last_login_at.map(|at| at.to_string()),
        roles => roles(user.role),
    }
}

/// Makes a user; a password that is left out is made up and shown once.
pub(crate) async fn create(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    CameFrom(before): CameFrom,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let given = filled(&fields, "password");
    let password = if given.is_empty() { generate_password() } else { given.clone() };
    let as_given = Given::Text(password.as_str().into());
    let checked =
        NewUser::check(&fields.get("username"), &as_given, &fields.get("email"), &fields.get("role"));
    let made = match checked {
        Ok(new) => create_user(&state, new, &session.caller).await,
        Err(wrong) => Err(wrong.into()),
    };
    let view = match made {
        Err(error) => View::refused(error, &fields)?,
        Ok(_) if !given.is_empty() => return Ok(back(Done::UserMade, before, &state)),
        Ok(user) => View::with_secret("Password", user.username, password),
    };
    page(&state, &session, &base, view).await
}

/// One thing to change about a user, and what is said when it was done. A new password is said by showing it.
fn wanted(fields: &Fields<'_>) -> Result<(UserChangeRequest, Option<Done>), Invalid> {
    let mut change = UserChangeRequest::default();
    let done = match filled(fields, "change").as_str() {
        "role" => {
            let role = role_of(&fields.get("role")).map_err(|message| Invalid::field("role", message))?;
            change.role = Some(role);
            Some(Done::RoleSet)
        }
        "activate" => {
            change.active = Some(true);
            Some(Done::Activated)
        }
        "deactivate" => {
            change.active = Some(false);
            Some(Done::Deactivated)
        }
        // A password is given apart, see [`change`].
        "password" => None,
        "factor" => Some(Done::FactorTaken),
        other => return Err(Invalid::field("change", invalid::not_a_choice(other))),
    };
    Ok((change, done))
}

/// Changes one thing about a user: the role, whether they may log in, or the password.
pub(crate) async fn change(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
    (CameFrom(before), Base(base)): (CameFrom, Base),
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (change, done) = wanted(&fields)?;
    let caller = &session.caller;
    let changed = match done {
        Some(Done::FactorTaken) => remove_factor(&state, id, caller).await.map(|()| None),
        Some(_) => change_user(&state, id, change, version(&fields)?, caller).await.map(|_| None),
        // An Admin who resets their own password has ended this very session, and still sees the new one.
        None => reset_password(&state, id, caller).await.map(Some),
    };
    let view = match (changed, done) {
        (Ok(Some((user, password))), _) => View::with_secret("One-time password", user.username, password),
        (Ok(None), done) => return Ok(back(done.unwrap_or(Done::RoleSet), before, &state)),
        (Err(error), _) => View { kept: Default::default(), ..View::refused(error, &fields)? },
    };
    page(&state, &session, &base, view).await
}
