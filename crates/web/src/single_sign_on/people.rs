//! People who log in at the provider, as users here: made when they first come, with the role that the provider gives.

use super::id_token::Person;
use super::{Refused, refused};
use crate::auth::guard::Caller;
use crate::auth::login::known_as;
use crate::state::AppState;
use watchpost_model::text::Given;
use watchpost_model::user::{check_email, check_username};
use watchpost_model::{Role, User};
use watchpost_store::{Credentials, NewAccount, NewPassword, StoreError, UserChange};

/// Names tried before giving up: `jane`, `jane-2`, …
const NAMES: usize = 20;

/// The user that somebody is here.
pub(super) async fn known_or_new(
    state: &AppState,
    person: Person,
    caller: &Caller,
) -> Result<Credentials, Refused> {
    let found = state.db.credentials_by_external_id(&person.id).await?;
    let Some(role) = person.role else {
        let who = person.names.first().cloned().unwrap_or_default();
        refused(state, caller, &format!("nothing gives {who} a role")).await;
        return Err(Refused::NotAllowed(
            "You are known there, but nothing gives you a role here. Ask an Admin.".into(),
        ));
    };
    let known = match found {
        Some(known) if !known.user.active => {
            refused(state, caller, &format!("{} is deactivated", known.user.username)).await;
            return Err(Refused::NotAllowed("Your account is deactivated. Ask an Admin.".into()));
        }
        Some(known) => with_role(state, known, role, caller).await?,
        None => {
            let user = create(state, &person, role, caller).await?;
            let found = state.db.credentials(user.id).await?;
            found.ok_or(Refused::Api(crate::error::ApiError::NotFound))?
        }
    };
    tracing::info!(user = known.user.username, peer = %caller.peer, "logged in by single sign-on");
    Ok(known)
}

/// The user with the role that the provider gives now.
async fn with_role(
    state: &AppState,
    known: Credentials,
    role: Role,
    caller: &Caller,
) -> Result<Credentials, Refused> {
    if known.user.role == role {
        return Ok(known);
    }
    let change = UserChange { role: Some(role), ..UserChange::default() };
    let by = known_as(caller, &known).entry();
    match state.db.update_user(known.user.id, change, None, &by).await {
        Ok(user) => {
            state.accounts.forget();
            Ok(Credentials { user, ..known })
        }
        // Somebody has to be able to let others in again: the last Admin stays one, and the log says so.
        Err(StoreError::LastAdmin) => {
            tracing::warn!(
                user = known.user.username,
                "the provider takes the last Admin's role away; it is kept"
            );
            Ok(known)
        }
        Err(error) => Err(error.into()),
    }
}

/// None of the names that the provider knows somebody by can be one here.
async fn no_name(state: &AppState, name: &str, why: &str, caller: &Caller) -> Refused {
    refused(state, caller, &format!("{name} can't be a user name: {why}")).await;
    Refused::NotAllowed(format!(
        "The provider calls you {name}, which can't be a user name here. {why} Have it changed at the provider."
    ))
}

/// Makes a user. A name that is taken belongs to somebody else, whatever the provider says: accounts are never joined
/// by their names or addresses.
async fn create(state: &AppState, person: &Person, role: Role, caller: &Caller) -> Result<User, Refused> {
    let text = |text: &str| Given::Text(text.to_owned().into());
    let email = check_email(&text(&person.email)).unwrap_or_default();
    let checked: Vec<_> = person.names.iter().map(|name| check_username(&text(name))).collect();
    let name = match (checked.iter().find_map(|name| name.as_ref().ok()), checked.first()) {
        (Some(name), _) => name.clone(),
        (None, Some(Err(why))) => return Err(no_name(state, &person.names[0], why, caller).await),
        (None, _) => "user".into(),
    };
    for number in 1..=NAMES {
        let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let new = NewAccount {
            username: &name,
            email: &email,
            role,
            // Without a password: the hash matches none.
            password: NewPassword { hash: String::new(), until: None },
            external_id: Some(&person.id),
            signed_up: false,
        };
        match state.db.create_account(new, &caller.entry()).await {
            Ok(user) => {
                state.accounts.forget();
                tracing::info!(user = user.username, %role, "user made by single sign-on");
                return Ok(user);
            }
            // They may have come in two windows at once.
            Err(StoreError::Taken(_)) => {
                if let Some(known) = state.db.credentials_by_external_id(&person.id).await? {
                    return Ok(known.user);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refused::NotAllowed(format!("The name {name} is taken here. Ask an Admin.")))
}
