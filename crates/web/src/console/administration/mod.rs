//! Users and sensor keys, for Admins: one page, and the forms on it.

pub(super) mod keys;
pub(super) mod users;

use crate::auth::session::Session;
use crate::console::guard::{Administrator, filled};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::Base;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use std::collections::BTreeMap;
use watchpost_model::page::{Page, PageRequest};
use watchpost_model::{Invalid, Role, Severity};
use watchpost_pipeline::decode::Fields;

/// Rows of each table; what fits on a screen or two.
const ROWS: u32 = 25;
/// Where the page is.
const HERE: &str = "/admin/";
/// Fields of forms on the page; what was filled in comes back, but never a password.
const KEPT: [&str; 9] = [
    "username",
    "email",
    "role",
    "name",
    "expires_in_days",
    "source_name",
    "max_severity",
    "networks",
    "rate",
];

/// What an Admin sees: which part of the tables, and what came of a form.
struct View {
    status: StatusCode,
    said: Said,
    users_page: u32,
    keys_page: u32,
    /// What is wrong, by field.
    wrong: Invalid,
    /// What else went wrong.
    problem: String,
    /// A secret, shown this once: what it is, for whom, and the secret.
    secret: Option<(&'static str, String, String)>,
    /// What was filled in, in the order of [`KEPT`].
    kept: [String; KEPT.len()],
}

impl View {
    fn new() -> Self {
        Self {
            status: StatusCode::OK,
            said: Said::NOTHING,
            users_page: 1,
            keys_page: 1,
            wrong: Invalid::new(),
            problem: String::new(),
            secret: None,
            kept: Default::default(),
        }
    }

    /// Shows a secret this once.
    fn with_secret(what: &'static str, whose: String, secret: String) -> Self {
        Self { secret: Some((what, whose, secret)), ..Self::new() }
    }

    /// What went wrong with a form, unless it is nothing that a form can mend.
    fn refused(error: ApiError, fields: &Fields<'_>) -> Result<Self, PageError> {
        let kept = KEPT.map(|name| filled(fields, name));
        let view = Self { status: error.status(), kept, ..Self::new() };
        match error {
            ApiError::Invalid(wrong) => Ok(Self { wrong, ..view }),
            ApiError::Conflict("last_admin", problem) => {
                Ok(Self { problem: format!("{problem} Make somebody else an Admin first."), ..view })
            }
            ApiError::Conflict(_, problem) => Ok(Self { problem, ..view }),
            error => Err(error.into()),
        }
    }
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    said: Said,
    Base(base): Base,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let query = query.unwrap_or_default();
    let number = |name: &str| {
        let found = form_urlencoded::parse(query.as_bytes()).find(|(given, _)| given == name);
        match found.map(|(_, number)| number.parse()) {
            None => Ok(1),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(ApiError::NoSuchPage),
        }
    };
    let (users_page, keys_page) = (number("users_page")?, number("keys_page")?);
    page(&state, &session, &base, View { said, users_page, keys_page, ..View::new() }).await
}

async fn page(state: &AppState, session: &Session, base: &str, view: View) -> Result<Response, PageError> {
    let users = state.db.users(&Default::default(), PageRequest::numbered(view.users_page, ROWS)).await?;
    let keys = state.db.keys(PageRequest::numbered(view.keys_page, ROWS)).await?;
    if !users.exists() || !keys.exists() {
        return Err(ApiError::NoSuchPage.into());
    }
    let address = |users: u32, keys: u32| format!("{HERE}?users_page={users}&keys_page={keys}");
    let users_links = neighbours(&users, |number| address(number, view.keys_page));
    let keys_links = neighbours(&keys, |number| address(view.users_page, number));
    let [username, email, role, key_name, days, source_name, max_severity, networks, rate] = view.kept;
    let wanted = Role::parse(&role).unwrap_or(Role::Analyst);
    let wrong = |name: &str| view.wrong.fields().get(name).map(|all| all.join(" ")).unwrap_or_default();
    let beside: BTreeMap<_, _> =
        KEPT.into_iter().chain(["password"]).map(|name| (name, wrong(name))).collect();
    let all_wrong = view.wrong.fields().keys().map(|field| context! { field, text => wrong(field) });
    let page = context! {
        title => "Administration",
        said => view.said.text(),
        problem => view.problem,
        wrong => all_wrong.collect::<Vec<_>>(),
        beside,
        secret => view.secret.map(|(what, whose, secret)| context! { what, whose, secret }),
        users => users.rows.into_iter().map(users::view).collect::<Vec<_>>(),
        users_links,
        keys => keys.rows.into_iter().map(keys::view).collect::<Vec<_>>(),
        keys_links,
        roles => users::roles(wanted),
        username, email, key_name, days, source_name, max_severity, networks, rate,
        severities => Severity::ALL.map(Severity::as_str).to_vec(),
        base,
    };
    let page = render(view.status, "administration.html", Some(session), page);
    Ok(view.said.on(page, &state.settings))
}

/// How many rows a table has, and the ways to its other pages.
fn neighbours<T>(page: &Page<T>, address: impl Fn(u32) -> String) -> Value {
    let number = page.request.number;
    context! {
        count => page.count.number(),
        number,
        next => page.more.then(|| address(number.saturating_add(1))),
        previous => (number > 1).then(|| address(number - 1)),
    }
}

/// Back to the page, on the part of the tables that the form was on.
fn back(done: Done, came_from: Option<String>, state: &AppState) -> Response {
    let same = came_from.filter(|page| page.starts_with("/admin/?"));
    done.then(same.as_deref().unwrap_or(HERE), &state.settings)
}
