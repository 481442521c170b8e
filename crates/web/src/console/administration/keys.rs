//! The forms about sensor keys.

use super::{View, back, page};
use crate::api::keys::{create_key, revoke_key};
use crate::console::guard::{Administrator, CameFrom, Form};
use crate::console::problem::PageError;
use crate::console::said::Done;
use crate::extract::{Base, Id};
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::KeyId;
use watchpost_model::key::{GivenKey, NewKey, SensorKey};
use watchpost_pipeline::now;

pub(super) fn view(key: SensorKey) -> Value {
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

/// Makes a sensor key and shows its secret once.
pub(crate) async fn create(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let given = GivenKey {
        name: fields.get("name"),
        expires_in_days: fields.get("expires_in_days"),
        source_name: fields.get("source_name"),
        max_severity: fields.get("max_severity"),
        networks: fields.get("networks"),
        rate: fields.get("rate"),
    };
    let made = match NewKey::check(&given) {
        Ok(new) => create_key(&state, new, &session.caller).await,
        Err(wrong) => Err(wrong.into()),
    };
    let view = match made {
        Ok((key, secret)) => View::with_secret("Sensor key", key.name, secret),
        Err(error) => View::refused(error, &fields)?,
    };
    page(&state, &session, &base, view).await
}

/// Revokes a sensor key.
pub(crate) async fn revoke(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Id(id): Id<KeyId>,
    CameFrom(before): CameFrom,
    _: Form,
) -> Result<Response, PageError> {
    revoke_key(&state, id, &session.caller).await?;
    Ok(back(Done::KeyRevoked, before, &state))
}
