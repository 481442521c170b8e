//! The list of users, and the form that makes one.

use super::{paged, roles, ways};
use crate::auth::account::create_user;
use crate::auth::proof::AtTimes;
use crate::auth::secret::generate_password;
use crate::auth::session::Session;
use crate::console::guard::{Administrator, Form, filled};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::query::Query;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::text::Given;
use watchpost_model::user::NewUser;
use watchpost_model::{Invalid, Role, User};

/// Where the page is.
const HERE: &str = "/admin/users";
/// What can be wrong with what the list is narrowed to; its choices offer nothing that is.
const FILTER: &FormFields = &[];
const NEW: &FormFields = &[
    ("username", "Name"),
    ("email", "Address"),
    ("password", "Password"),
    ("role", "Role"),
    ("must_change_password", "Must be changed"),
];

pub(super) fn view(user: User) -> Value {
    context! {
        id => user.id.get(),
        version => user.version,
        username => user.username,
        email => user.email,
        role => user.role.title(),
        active => user.active,
        second_factor => user.second_factor,
        single_sign_on => user.single_sign_on,
        signed_up => user.signed_up,
        must_change_password => user.must_change_password,
        created_at => user.created_at.to_string(),
        last_login_at => user.last_login_at.map(|at| at.to_string()),
        roles => roles(user.role),
    }
}

/// What came of the form.
enum Came {
    Nothing,
    Refused(Refused),
    /// A password for this user, shown this once.
    Password(User, String),
}

async fn page(
    state: &AppState,
    session: &Session,
    asked: ListRequest,
    said: Said,
    came: Came,
) -> Result<Response, PageError> {
    let asked = paged(asked);
    let (mut status, mut refused, mut made) = (StatusCode::OK, None, None);
    let (links, users) = match asked.query.users() {
        Ok((filter, request)) => {
            let page = state.db.users(&filter, request).await?;
            (Some(ways(&page, &asked, HERE)?), page.rows)
        }
        Err(error) => {
            let by = Refused::filter(error, FILTER, &asked)?;
            (status, refused) = (by.status, Some(by));
            (None, Vec::new())
        }
    };
    match came {
        Came::Nothing => {}
        Came::Refused(by) => (status, refused) = (by.status, Some(by)),
        Came::Password(user, password) => {
            let must_change = user.must_change_password;
            made = Some(context! { id => user.id.get(), username => user.username, password, must_change });
        }
    }
    let kept = refused.as_ref().map(Refused::view);
    let page = context! {
        title => "Users",
        said => said.text(),
        refused => kept,
        made,
        search => asked.query.get("search").unwrap_or_default(),
        chosen_role => asked.query.get("role").unwrap_or_default().to_ascii_uppercase(),
        chosen_state => asked.query.get("is_active").unwrap_or_default(),
        narrowed => ["search", "role", "is_active"].iter().any(|name| asked.query.has(name)),
        links,
        users => users.into_iter().map(view).collect::<Vec<_>>(),
        roles => roles(Role::Analyst),
    };
    let page = said.on(render(status, "users.html", Some(session), page), &state.settings);
    Ok(match &refused {
        Some(by) => by.on(page),
        None => page,
    })
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    said: Said,
    asked: ListRequest,
) -> Result<Response, PageError> {
    page(&state, &session, asked, said, Came::Nothing).await
}

/// Makes a user; a password that is left out is made up and shown once.
pub(crate) async fn create(
    AtTimes(Administrator(session)): AtTimes<Administrator>,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let given = filled(&fields, "password");
    let password = if given.is_empty() { generate_password() } else { given.clone() };
    let as_given = Given::Text(password.as_str().into());
    let (username, email, role) = (fields.get("username"), fields.get("email"), fields.get("role"));
    let checked = NewUser::check(&username, &as_given, &email, &role, state.settings.host());
    let must_change = fields.get("must_change_password").flag();
    let must_change = must_change.map_err(|why| Invalid::field("must_change_password", why));
    let made = match checked.and_then(|new| Ok((new, must_change?.unwrap_or(true)))) {
        Ok((new, must_change)) => create_user(&state, new, must_change, &session.caller).await,
        Err(wrong) => Err(wrong.into()),
    };
    let came = match made {
        Ok(_) if !given.is_empty() => return Ok(Done::UserMade.then(HERE, &state.settings)),
        Ok(user) => Came::Password(user, password),
        Err(error @ ApiError::StepUpRequired) => return Err(sent.after(&state, error).await),
        Err(error) => Came::Refused(Refused::new(error, "new", NEW, &fields)?),
    };
    let asked = ListRequest { query: Query::parse("")?, address: HERE.to_owned() };
    page(&state, &session, asked, Said::NOTHING, came).await
}
