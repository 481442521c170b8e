//! Users, for Admins.

use crate::api::auth::{SessionView, session_of};
use crate::api::page::PageView;
use crate::auth::guard::Administrator;
use crate::auth::proof::{AtTimes, Fresh};
use crate::auth::{account, grant};
use crate::body::{Field, Holds, ROLES};
use crate::error::{ApiError, choose_from};
use crate::extract::{Id, Input, ListRequest, based_on};
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::password::check_new_password;
use watchpost_model::text::Given;
use watchpost_model::user::{NewUser, UserChangeRequest, check_email, check_username};
use watchpost_model::{Invalid, Role, User, UserId};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;

const MUST_CHANGE: Field = Field::optional(
    "must_change_password",
    Holds::Flag,
    "Whether the password is one-time: it lets the user choose another within a day. Unless told: true on \
     `/api/v1/users/`, false on `/api/users/`, whose clients know no such step. Counts with a `password` only.",
    "true",
);
const CREATE: &[Field] = &[
    Field::required("username", Holds::Text, "The name to log in with, unique in any letter case.", "jane"),
    Field::required("password", Holds::Secret, "At least 12 characters.", "correct horse battery"),
    Field::optional("email", Holds::Text, "An address.", "jane@example.com"),
    Field::optional("role", Holds::OneOf(ROLES), "What the user may do; ANALYST unless told.", "ANALYST"),
    MUST_CHANGE,
];
const CHANGE: &[Field] = &[
    Field::optional("username", Holds::Text, "The name to log in with.", "jane"),
    Field::optional(
        "password",
        Holds::Secret,
        "A new password; ends all tokens and sessions.",
        "correct horse battery",
    ),
    MUST_CHANGE,
    Field::optional("email", Holds::Text, "An address.", "jane@example.com"),
    Field::optional("role", Holds::OneOf(ROLES), "What the user may do.", "RESPONDER"),
    Field::optional("is_active", Holds::Flag, "Whether the user may log in.", "true"),
    Field::optional(
        "version",
        Holds::Number,
        "The version the change is based on. `If-Match` does the same.",
        "1",
    ),
];
const REPLACE: &[Field] = &[
    Field::required("username", Holds::Text, "The name to log in with.", "jane"),
    Field::optional(
        "password",
        Holds::Secret,
        "A new password; ends all tokens and sessions.",
        "correct horse battery",
    ),
    MUST_CHANGE,
    Field::optional("email", Holds::Text, "An address; none when left out.", "jane@example.com"),
    Field::required("role", Holds::OneOf(ROLES), "What the user may do.", "RESPONDER"),
    Field::optional("is_active", Holds::Flag, "Whether the user may log in; true when left out.", "true"),
    Field::optional(
        "version",
        Holds::Number,
        "The version the change is based on. `If-Match` does the same.",
        "1",
    ),
];

pub(crate) fn routes(routes: &mut Routes) {
    const ALL: &[&str] = &["/api/v1/users", "/api/users"];
    const ONE: &[&str] = &["/api/v1/users/{id}", "/api/users/{id}"];
    routes.add(
        ALL,
        Operation::get("listUsers", "Users", "List users")
            .query(query::USERS)
            .lists::<UserView>("A page of users"),
        list,
    );
    routes.add(
        ALL,
        Operation::post("createUser", "Users", "Make a user")
            .body(CREATE)
            .answers::<UserView>(201, "The new user"),
        create,
    );
    routes.add(
        ONE,
        Operation::get("readUser", "Users", "Read a user").answers::<UserView>(200, "The user"),
        read,
    );
    let refused = "Another user changed it first, or it is the last active Admin";
    routes.add(
        ONE,
        Operation::patch("changeUser", "Users", "Change some of a user")
            .about("One's own password, role and state can't be changed this way.")
            .body(CHANGE)
            .answers::<UserView>(200, "The user as it is now")
            .says(409, refused),
        change,
    );
    routes.add(
        ONE,
        Operation::put("replaceUser", "Users", "Change all of a user")
            .about(
                "What is left out goes back to what a new user has; the password stays unless one is given.",
            )
            .body(REPLACE)
            .answers::<UserView>(200, "The user as it is now")
            .says(409, refused),
        replace,
    );
    routes.add(
        ONE,
        Operation::delete("deactivateUser", "Users", "Deactivate a user")
            .about(
                "The user stays known, so that what they did keeps its author, and can be activated again.",
            )
            .says(204, "Deactivated")
            .says(409, "It is the last active Admin"),
        remove,
    );
    routes.add(
        &["/api/v1/users/{id}/reset-password"],
        Operation::post("resetPassword", "Users", "Give a user a one-time password")
            .about(
                "It lets the user choose a password of their own within a day, and nothing else. All their tokens and \
                 sessions end. Not for oneself.",
            )
            .answers::<OneTimePassword>(200, "Shown this once")
            .says(409, "The user has no password here"),
        reset_password,
    );
    routes.add(
        &["/api/v1/users/{id}/factor"],
        Operation::delete("removeFactorOf", "Users", "Take a user's second factor away")
            .about("For a user who lost it and the recovery codes. All their tokens and sessions end. Not for oneself.")
            .says(204, "Removed"),
        remove_factor,
    );
    routes.add(
        &["/api/v1/users/{id}/sessions"],
        Operation::get("listSessionsOf", "Users", "Where a user is logged in")
            .answers_all::<SessionView>("What was used last comes first"),
        list_sessions,
    );
    routes.add(
        &["/api/v1/users/{id}/sessions"],
        Operation::delete("endSessionsOf", "Users", "Log a user out everywhere").says(204, "Ended"),
        end_sessions,
    );
    routes.add(
        &["/api/v1/users/{id}/sessions/{session}"],
        Operation::delete("endSessionOf", "Users", "Log a user out somewhere").says(204, "Ended"),
        end_session,
    );
}

/// A password that lets its user choose another.
#[derive(Serialize, ToSchema)]
struct OneTimePassword {
    /// Shown this once.
    password: String,
    user: UserView,
}

/// A user. There is nothing secret in it.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    id: i64,
    username: String,
    email: String,
    role: &'static str,
    /// Whether the user may log in.
    is_active: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_login: Option<String>,
    /// Whether logging in takes a second factor.
    second_factor: bool,
    /// Whether the password is one-time and has to be changed.
    must_change_password: bool,
    /// Whether the user logs in by single sign-on and has no password here.
    single_sign_on: bool,
    /// Whether the account was made by sign-up: unless its role is Admin it hands in no events.
    signed_up: bool,
    version: i64,
}

impl UserView {
    pub(crate) fn new(user: User) -> Self {
        Self {
            id: user.id.get(),
            username: user.username,
            email: user.email,
            role: user.role.as_str(),
            is_active: user.active,
            created_at: user.created_at.to_string(),
            last_login: user.last_login_at.map(|at| at.to_string()),
            second_factor: user.second_factor,
            must_change_password: user.must_change_password,
            single_sign_on: user.single_sign_on,
            signed_up: user.signed_up,
            version: user.version,
        }
    }
}

async fn list(
    _: Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<UserView>>, ApiError> {
    let (filter, request) = asked.query.users()?;
    let page = state.db.users(&filter, request).await?;
    PageView::new(page, &asked, UserView::new).map(Json)
}

async fn read(
    _: Administrator,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
) -> Result<Json<UserView>, ApiError> {
    let found = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    Ok(Json(UserView::new(found.user)))
}

/// Whether a password that an Admin gives is one-time, unless it is told: not on the paths of service D, whose clients
/// know no such step.
struct OneTime(bool);

impl FromRequestParts<AppState> for OneTime {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Ok(Self(parts.uri.path().starts_with("/api/v1/")))
    }
}

impl OneTime {
    fn or_told(&self, fields: &Fields<'_>) -> Result<bool, String> {
        Ok(fields.get("must_change_password").flag()?.unwrap_or(self.0))
    }
}

/// A role that was given; its choices are named when it is none.
pub(crate) fn role_of(given: &Given<'_>) -> Result<Role, String> {
    let text = given.required()?;
    Role::parse(text).ok_or_else(|| choose_from(text, ROLES))
}

async fn create(
    AtTimes(Administrator(caller)): AtTimes<Administrator>,
    State(state): State<AppState>,
    one_time: OneTime,
    input: Input,
) -> Result<Response, ApiError> {
    let fields = input.fields()?;
    let role = fields.get("role").or(Given::Text(Role::Analyst.as_str().into()));
    let (username, password, email) = (fields.get("username"), fields.get("password"), fields.get("email"));
    let new = NewUser::check(&username, &password, &email, &role, state.settings.host());
    let mut wrong = Invalid::new();
    let must_change = wrong.take("must_change_password", one_time.or_told(&fields)).unwrap_or_default();
    let new = wrong.and(new)?;
    let user = account::create_user(&state, new, must_change, &caller).await?;
    Ok((StatusCode::CREATED, Json(UserView::new(user))).into_response())
}

/// Checks the fields of a change that are there.
fn changes(
    fields: &Fields<'_>,
    known: &User,
    server: Option<&str>,
    one_time: &OneTime,
) -> Result<UserChangeRequest, Invalid> {
    let mut wrong = Invalid::new();
    let mut change = UserChangeRequest::default();
    let given = |name| match fields.get(name) {
        Given::Missing => None,
        given => Some(given),
    };
    if let Some(name) = given("username") {
        change.username = wrong.take("username", check_username(&name));
    }
    if let Some(email) = given("email") {
        change.email = wrong.take("email", check_email(&email));
    }
    if let Some(role) = given("role") {
        change.role = wrong.take("role", role_of(&role));
    }
    if let Some(password) = given("password") {
        let for_name = change.username.as_deref().unwrap_or(&known.username);
        let others = [change.email.as_deref().unwrap_or(&known.email), server.unwrap_or("")];
        change.password = wrong.take("password", check_new_password(&password, for_name, &others));
        let must_change = wrong.take("must_change_password", one_time.or_told(fields));
        change.must_change_password = must_change.unwrap_or_default();
    }
    change.active = wrong.take("is_active", fields.get("is_active").flag()).flatten();
    wrong.into_result().map(|()| change)
}

async fn change(
    AtTimes(Administrator(caller)): AtTimes<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
    one_time: OneTime,
    headers: HeaderMap,
    input: Input,
) -> Result<Json<UserView>, ApiError> {
    let known = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    let fields = input.fields()?;
    let change = changes(&fields, &known.user, state.settings.host(), &one_time)?;
    let version = based_on(&headers, &fields)?;
    account::change_user(&state, id, change, version, &caller).await.map(UserView::new).map(Json)
}

async fn replace(
    AtTimes(Administrator(caller)): AtTimes<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
    one_time: OneTime,
    headers: HeaderMap,
    input: Input,
) -> Result<Json<UserView>, ApiError> {
    let known = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    let fields = input.fields()?;
    let mut wrong = Invalid::new();
    for name in ["username", "role"] {
        wrong.take(name, fields.get(name).required());
    }
    wrong.into_result()?;
    let mut change = changes(&fields, &known.user, state.settings.host(), &one_time)?;
    change.email.get_or_insert_default();
    change.active.get_or_insert(true);
    let version = based_on(&headers, &fields)?;
    account::change_user(&state, id, change, version, &caller).await.map(UserView::new).map(Json)
}

async fn remove(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
) -> Result<StatusCode, ApiError> {
    let change = UserChangeRequest { active: Some(false), ..UserChangeRequest::default() };
    account::change_user(&state, id, change, None, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_password(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
) -> Result<Json<OneTimePassword>, ApiError> {
    let (user, password) = account::reset_password(&state, id, &caller).await?;
    Ok(Json(OneTimePassword { password, user: UserView::new(user) }))
}

async fn remove_factor(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
) -> Result<StatusCode, ApiError> {
    account::remove_factor(&state, id, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_sessions(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
) -> Result<Json<Vec<SessionView>>, ApiError> {
    state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    let current = caller.session.as_deref();
    let sessions = state.db.sessions_of(id, now()).await?;
    Ok(Json(sessions.into_iter().map(|session| SessionView::new(session, current)).collect()))
}

async fn end_sessions(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
) -> Result<StatusCode, ApiError> {
    state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    state.db.end_sessions_of(id, None, &caller.entry()).await?;
    state.accounts.forget();
    Ok(StatusCode::NO_CONTENT)
}

async fn end_session(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    Path((id, session)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let id: UserId = id.parse().map_err(|_| ApiError::NotFound)?;
    let session = session_of(&state, id, &session).await?;
    grant::end(&state, &session, &caller, "session.end").await?;
    Ok(StatusCode::NO_CONTENT)
}
