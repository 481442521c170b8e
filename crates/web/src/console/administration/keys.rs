//! Sensor keys: the list, the form that makes one, and what to paste where with a key that was just made.

use super::{paged, ways};
use crate::api::keys::{create_key, given_key, revoke_key};
use crate::auth::proof::Fresh;
use crate::auth::session::Session;
use crate::console::guard::{Administrator, Form};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::console::snippets::snippets;
use crate::extract::{Base, Id, ListRequest};
use crate::query::Query;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::key::{NewKey, SensorKey};
use watchpost_model::{KeyId, Severity};
use watchpost_pipeline::now;

/// Where the page is.
const HERE: &str = "/admin/keys";
const NEW: &FormFields = &[
    ("name", "What it is for"),
    ("source_name", "Only for source"),
    ("max_severity", "Up to severity"),
    ("networks", "From addresses"),
    ("rate", "Own rate"),
    ("expires_in_days", "Days until it expires"),
];

fn view(key: SensorKey) -> Value {
    context! {
        id => key.id.get(),
        active => key.works_at(now()),
        revoked => key.revoked_at.is_some(),
        name => key.name,
        prefix => key.prefix,
        created_at => key.created_at.to_string(),
        expires_at => key.expires_at.map(|at| at.to_string()),
        last_used_at => key.last_used_at.map(|at| at.to_string()),
        limits => key.limits.to_string(),
    }
}

/// What came of the form.
enum Came {
    Nothing,
    Refused(Refused),
    /// What is said of the key that was made, with its secret.
    Made(Value),
}

async fn page(
    state: &AppState,
    session: &Session,
    asked: ListRequest,
    said: Said,
    came: Came,
) -> Result<Response, PageError> {
    let asked = paged(asked);
    let keys = state.db.keys(asked.query.plain()?).await?;
    let (status, refused, made) = match came {
        Came::Nothing => (StatusCode::OK, None, None),
        Came::Refused(by) => (by.status, Some(by), None),
        Came::Made(made) => (StatusCode::OK, None, Some(made)),
    };
    let page = context! {
        title => "Sensor keys",
        said => said.text(),
        refused => refused.as_ref().map(Refused::view),
        made,
        links => ways(&keys, &asked, HERE)?,
        keys => keys.rows.into_iter().map(view).collect::<Vec<_>>(),
        severities => Severity::ALL.map(|severity| {
            context! { value => severity.as_str(), says => severity.title() }
        }),
    };
    let page = said.on(render(status, "keys.html", Some(session), page), &state.settings);
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

/// Makes a sensor key and shows its secret once.
pub(crate) async fn create(
    Fresh(Administrator(session)): Fresh<Administrator>,
    State(state): State<AppState>,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let made = match NewKey::check(&given_key(&fields)) {
        Ok(new) => create_key(&state, new, &session.caller).await,
        Err(wrong) => Err(wrong.into()),
    };
    let came = match made {
        Ok((key, secret)) => Came::Made(context! {
            name => key.name,
            snippets => snippets(&base, &secret, &key.limits),
            secret,
        }),
        Err(error) => Came::Refused(Refused::new(error, "new", NEW, &fields)?),
    };
    let asked = ListRequest { query: Query::parse("")?, address: HERE.to_owned() };
    page(&state, &session, asked, Said::NOTHING, came).await
}

/// Revokes a sensor key.
pub(crate) async fn revoke(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Id(id): Id<KeyId>,
    _: Form,
) -> Result<Response, PageError> {
    revoke_key(&state, id, &session.caller).await?;
    Ok(Done::KeyRevoked.then(HERE, &state.settings))
}
