//! Users and sensor keys, for Admins.

use crate::api::keys;
use crate::api::users::role_of;
use crate::auth::login;
use crate::auth::secret::generate_password;
use crate::auth::session::Session;
use crate::console::guard::{Administrator, Form};
use crate::console::page::{PageError, render};
use crate::error::ApiError;
use crate::extract::Id;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::{Value, context};
use watchpost_model::key::{NewKey, SensorKey};
use watchpost_model::page::{MAX_PAGE_SIZE, PageRequest};
use watchpost_model::text::Given;
use watchpost_model::user::{NewUser, UserChangeRequest};
use watchpost_model::{Invalid, KeyId, Role, User, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;

/// What the page says on top, after a form.
#[derive(Default)]
struct Said {
    /// What is wrong, by field.
    wrong: Invalid,
    /// What else went wrong.
    problem: String,
    /// A secret, shown this once: what it is, for whom, and the secret.
    secret: Option<(&'static str, String, String)>,
    /// What was filled in, to be kept.
    username: String,
    email: String,
    key_name: String,
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
) -> Result<Response, PageError> {
    page(&state, &session, StatusCode::OK, Said::default()).await
}

fn user_view(user: User) -> Value {
    context! {
        id => user.id.get(),
        username => user.username,
        email => user.email,
        role => user.role.title(),
        active => user.active,
        last_login_at => user.last_login_at.map(|at| at.to_string()),
        roles => Role::ALL.map(|role| context! { value => role.as_str(), says => role.title(), chosen => role == user.role }),
    }
}

fn key_view(key: SensorKey) -> Value {
    context! {
        id => key.id.get(),
        active => key.works_at(now()),
        revoked => key.revoked_at.is_some(),
        name => key.name,
        prefix => key.prefix,
        created_at => key.created_at.to_string(),
        expires_at => key.expires_at.map(|at| at.to_string()),
        last_used_at => key.last_used_at.map(|at| at.to_string()),
    }
}

async fn page(
    state: &AppState,
    session: &Session,
    status: StatusCode,
    said: Said,
) -> Result<Response, PageError> {
    let request = PageRequest { number: 1, size: MAX_PAGE_SIZE };
    let users = state.db.users(request).await?;
    let keys = state.db.keys(request).await?;
    let secret = said.secret.map(|(what, whose, secret)| context! { what, whose, secret });
    let wrong: Vec<_> = said
        .wrong
        .fields()
        .iter()
        .map(|(field, messages)| context! { field, text => messages.join(" ") })
        .collect();
    let page = context! {
        title => "Administration",
        users => users.rows.into_iter().map(user_view).collect::<Vec<_>>(),
        more_users => users.more,
        keys => keys.rows.into_iter().map(key_view).collect::<Vec<_>>(),
        more_keys => keys.more,
        roles => Role::ALL.map(|role| context! { value => role.as_str(), says => role.title() }),
        problem => said.problem,
        wrong,
        secret,
        username => said.username,
        email => said.email,
        key_name => said.key_name,
    };
    Ok(render(status, "administration.html", Some(session), page))
}

fn filled(fields: &Fields<'_>, name: &str) -> String {
    match fields.get(name) {
        Given::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

/// Back to the page with what went wrong, unless it is nothing that a form can mend.
async fn again(
    state: &AppState,
    session: &Session,
    error: ApiError,
    mut said: Said,
) -> Result<Response, PageError> {
    let status = error.status();
    match error {
        ApiError::Invalid(wrong) => said.wrong = wrong,
        ApiError::Conflict(_, problem) => said.problem = problem,
        error => return Err(error.into()),
    }
    page(state, session, status, said).await
}

fn back() -> Response {
    Redirect::to("/admin/").into_response()
}

/// Makes a user; a password that is left out is made up and shown once.
pub(crate) async fn create_user(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (username, email) = (filled(&fields, "username"), filled(&fields, "email"));
    let given = filled(&fields, "password");
    let password = if given.is_empty() { generate_password() } else { given.clone() };
    let as_given = Given::Text(password.as_str().into());
    let kept = Said { username: username.clone(), email, ..Said::default() };
    let checked =
        NewUser::check(&fields.get("username"), &as_given, &fields.get("email"), &fields.get("role"));
    let made = match checked {
        Ok(new) => login::create_user(&state, new, session.caller.actor.clone()).await,
        Err(wrong) => Err(wrong.into()),
    };
    match made {
        Err(error) => again(&state, &session, error, kept).await,
        Ok(_) if !given.is_empty() => Ok(back()),
        Ok(user) => {
            let said = Said { secret: Some(("Password", user.username, password)), ..Said::default() };
            page(&state, &session, StatusCode::OK, said).await
        }
    }
}

/// Changes one thing about a user: the role, whether they may log in, or the password.
pub(crate) async fn change_user(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let mut change = UserChangeRequest::default();
    let mut password = None;
    match filled(&fields, "change").as_str() {
        "role" => {
            change.role =
                Some(role_of(&fields.get("role")).map_err(|m| ApiError::from(Invalid::field("role", m)))?)
        }
        "activate" => change.active = Some(true),
        "deactivate" => change.active = Some(false),
        "password" => password = Some(generate_password()),
        other => {
            return Err(ApiError::from(Invalid::field(
                "change",
                watchpost_model::invalid::not_a_choice(other),
            ))
            .into());
        }
    }
    change.password = password.clone();
    match login::change_user(&state, id, change, None, session.caller.actor.clone()).await {
        Err(error) => again(&state, &session, error, Said::default()).await,
        Ok(user) => match password {
            None => Ok(back()),
            Some(password) => {
                let said =
                    Said { secret: Some(("New password", user.username, password)), ..Said::default() };
                // An Admin who resets their own password has ended this very session, and still sees the new one.
                page(&state, &session, StatusCode::OK, said).await
            }
        },
    }
}

/// Makes a sensor key and shows its secret once.
pub(crate) async fn create_key(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let days = match filled(&fields, "expires_in_days") {
        days if days.trim().is_empty() => Given::Missing,
        days => Given::Text(days.into()),
    };
    let made = match NewKey::check(&fields.get("name"), &days) {
        Ok(new) => keys::create_key(&state, new, &session.caller).await,
        Err(wrong) => Err(wrong.into()),
    };
    match made {
        Ok((key, secret)) => {
            let said = Said { secret: Some(("Sensor key", key.name, secret)), ..Said::default() };
            page(&state, &session, StatusCode::OK, said).await
        }
        Err(error) => {
            let said = Said { key_name: filled(&fields, "name"), ..Said::default() };
            again(&state, &session, error, said).await
        }
    }
}

/// Revokes a sensor key.
pub(crate) async fn revoke_key(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Id(id): Id<KeyId>,
    _: Form,
) -> Result<Response, PageError> {
    keys::revoke_key(&state, id, &session.caller).await?;
    Ok(back())
}
