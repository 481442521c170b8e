//! One user: who they are, where they are signed in, what they did, and what can be done about them.

use super::audit::row_view;
use super::sessions::session_view;
use super::users::view;
use crate::api::users::role_of;
use crate::auth::account::{change_user, remove_factor, reset_password};
use crate::auth::proof::{AtTimes, Fresh};
use crate::auth::session::{IDLE_SECONDS, Session};
use crate::console::guard::{Administrator, Form, filled, version};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::Id;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::page::PageRequest;
use watchpost_model::user::UserChangeRequest;
use watchpost_model::{Invalid, UserId, invalid};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{AuditFilter, SessionFilter};

/// Rows of the audit log that are shown of each kind.
const ROWS: u32 = 8;
/// Sessions that are shown.
const SESSIONS: u32 = 25;
const CHANGE: &FormFields = &[("role", "Role")];

fn address(id: UserId) -> String {
    format!("/admin/users/{id}")
}

async fn page(
    state: &AppState,
    session: &Session,
    id: UserId,
    said: Said,
    came: (Option<Refused>, Option<String>),
) -> Result<Response, PageError> {
    let (refused, password) = came;
    let user = state.db.credentials(id).await?.ok_or(ApiError::NotFound)?.user;
    let sessions = {
        let (filter, now) = (SessionFilter { user: Some(id), kind: None }, now());
        let request = PageRequest::numbered(1, SESSIONS);
        state.db.sessions(filter, now, now.plus_seconds(-IDLE_SECONDS), request).await?
    };
    let current = session.caller.session.as_deref();
    let did = AuditFilter { actors: vec![user.username.clone()], ..AuditFilter::default() };
    let about = AuditFilter { objects: vec![format!("user:{id}")], ..AuditFilter::default() };
    let page = context! {
        title => user.username.as_str(),
        said => said.text(),
        refused => refused.as_ref().map(Refused::view),
        password,
        oneself => user.id == session.user.id,
        more_sessions => sessions.more,
        sessions => sessions.rows.into_iter().map(|one| session_view(one, current)).collect::<Vec<_>>(),
        did => rows(state, &did).await?,
        about => rows(state, &about).await?,
        user => view(user),
    };
    state.refusals.note_reading(&session.caller, "what is about one user");
    let status = refused.as_ref().map_or(StatusCode::OK, |refused| refused.status);
    let page = said.on(render(status, "user.html", Some(session), page), &state.settings);
    Ok(match &refused {
        Some(by) => by.on(page),
        None => page,
    })
}

async fn rows(state: &AppState, filter: &AuditFilter) -> Result<Vec<Value>, PageError> {
    let page = state.db.audit_log(filter, PageRequest::numbered(1, ROWS)).await?;
    Ok(page.rows.into_iter().map(row_view).collect())
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    said: Said,
    Id(id): Id<UserId>,
) -> Result<Response, PageError> {
    page(&state, &session, id, said, (None, None)).await
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

/// Changes one thing about a user: the role, whether they may log in, the password or the second factor.
pub(crate) async fn change(
    AtTimes(Administrator(session)): AtTimes<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (change, done) = wanted(&fields)?;
    let caller = &session.caller;
    let changed = match &done {
        Some(Done::FactorTaken) => remove_factor(&state, id, caller).await.map(|()| None),
        Some(_) => change_user(&state, id, change, version(&fields)?, caller).await.map(|_| None),
        None => reset_password(&state, id, caller).await.map(|(_, password)| Some(password)),
    };
    let came = match changed {
        Ok(None) => return Ok(done.unwrap_or(Done::RoleSet).then(&address(id), &state.settings)),
        Ok(password) => (None, password),
        Err(error @ ApiError::StepUpRequired) => return Err(sent.after(&state, error).await),
        Err(error) => (Some(Refused::new(error, "change", CHANGE, &fields)?), None),
    };
    page(&state, &session, id, Said::NOTHING, came).await
}

/// Ends all sessions of a user.
pub(crate) async fn end_sessions(
    Fresh(Administrator(session)): Fresh<Administrator>,
    State(state): State<AppState>,
    Id(id): Id<UserId>,
    _: Form,
) -> Result<Response, PageError> {
    state.db.credentials(id).await?.ok_or(ApiError::NotFound)?;
    state.db.end_sessions_of(id, None, &session.caller.entry()).await?;
    state.accounts.forget();
    Ok(Done::TheirSessionsEnded.then(&address(id), &state.settings))
}
