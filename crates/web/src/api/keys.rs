//! Sensor keys, for Admins.

use crate::api::page::PageView;
use crate::auth::guard::{Administrator, Caller};
use crate::auth::proof::Fresh;
use crate::auth::secret::generate_key;
use crate::body::{Field, Holds, SEVERITIES};
use crate::error::ApiError;
use crate::extract::{Id, Input, ListRequest};
use crate::openapi::Operation;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::key::{GivenKey, NewKey, SensorKey};
use watchpost_model::{KeyId, Severity};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;

const CREATE: &[Field] = &[
    Field::required("name", Holds::Text, "What the key is for.", "edge-firewall-1"),
    Field::optional(
        "expires_in_days",
        Holds::Number,
        "Days until it stops working; never when left out.",
        "365",
    ),
    Field::optional(
        "source_name",
        Holds::Text,
        "The only source it speaks for; events that name none get it.",
        "edge-firewall-1",
    ),
    Field::optional(
        "max_severity",
        Holds::OneOf(SEVERITIES),
        "The worst it may report; an event above it is refused, and the attempt is in the audit log.",
        "HIGH",
    ),
    Field::optional(
        "networks",
        Holds::Text,
        "Addresses and ranges it may be used from, separated by commas; anywhere when left out.",
        "192.0.2.0/24, 2001:db8::/32",
    ),
    Field::optional(
        "rate",
        Holds::Text,
        "Requests per s, m, h or d, instead of the rate of all keys.",
        "600/m",
    ),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/keys"],
        Operation::get("listKeys", "Sensor keys", "List sensor keys")
            .query(query::PAGES)
            .lists::<KeyView>("A page of keys, without their secrets"),
        list,
    );
    routes.add(
        &["/api/v1/keys"],
        Operation::post("createKey", "Sensor keys", "Make a sensor key")
            .about("The secret is in this answer and nowhere else: it can't be shown again.")
            .body(CREATE)
            .answers::<NewKeyView>(201, "The new key with its secret"),
        create,
    );
    routes.add(
        &["/api/v1/keys/{id}"],
        Operation::get("readKey", "Sensor keys", "Read a sensor key").answers::<KeyView>(200, "The key"),
        read,
    );
    routes.add(
        &["/api/v1/keys/{id}"],
        Operation::delete("revokeKey", "Sensor keys", "Revoke a sensor key")
            .about("It stops working at once and stays in the list.")
            .says(204, "Revoked"),
        revoke,
    );
}

/// A sensor key, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    id: i64,
    /// What it is for.
    name: String,
    /// How the secret begins, to recognise it by.
    prefix: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// When it was last used, to the minute.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// Whether it opens anything now.
    is_active: bool,
    /// The only source it speaks for.
    source_name: Option<String>,
    /// The worst it may report.
    max_severity: Option<&'static str>,
    /// Addresses and ranges it may be used from; empty for anywhere.
    networks: Vec<String>,
    /// Its own rate.
    #[schema(example = "600/m")]
    rate: Option<String>,
}

/// A sensor key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    key: KeyView,
    /// The secret: `Authorization: Bearer …` or `X-Api-Key`. Shown this once.
    secret: String,
}

impl KeyView {
    fn new(key: SensorKey) -> Self {
        let text = |time: Option<watchpost_model::Timestamp>| time.map(|at| at.to_string());
        Self {
            is_active: key.works_at(now()),
            id: key.id.get(),
            name: key.name,
            prefix: key.prefix,
            created_at: key.created_at.to_string(),
            expires_at: text(key.expires_at),
            revoked_at: text(key.revoked_at),
            last_used_at: text(key.last_used_at),
            source_name: key.limits.source_name,
            max_severity: key.limits.max_severity.map(Severity::as_str),
            networks: key.limits.networks.iter().map(ToString::to_string).collect(),
            rate: key.limits.rate.map(|rate| rate.to_string()),
        }
    }
}

/// What was given for a key to be made.
pub(crate) fn given_key<'a>(fields: &Fields<'a>) -> GivenKey<'a> {
    GivenKey {
        name: fields.get("name"),
        expires_in_days: fields.get("expires_in_days"),
        source_name: fields.get("source_name"),
        max_severity: fields.get("max_severity"),
        networks: fields.get("networks"),
        rate: fields.get("rate"),
    }
}

/// Makes a key; with its secret.
pub(crate) async fn create_key(
    state: &AppState,
    new: NewKey,
    caller: &Caller,
) -> Result<(SensorKey, String), ApiError> {
    let (secret, prefix, hash) = generate_key();
    let key = state.db.create_key(new, &prefix, &hash, &caller.entry()).await?;
    state.accounts.forget();
    tracing::info!(key.id = key.id.get(), key.name = key.name, by = %caller.actor, "sensor key created");
    Ok((key, secret))
}

async fn list(
    _: Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<KeyView>>, ApiError> {
    let page = state.db.keys(asked.query.plain()?).await?;
    PageView::new(page, &asked, KeyView::new).map(Json)
}

async fn create(
    Fresh(Administrator(caller)): Fresh<Administrator>,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let fields = input.fields()?;
    let new = NewKey::check(&given_key(&fields))?;
    let (key, secret) = create_key(&state, new, &caller).await?;
    Ok((StatusCode::CREATED, Json(NewKeyView { key: KeyView::new(key), secret })).into_response())
}

async fn read(
    _: Administrator,
    State(state): State<AppState>,
    Id(id): Id<KeyId>,
) -> Result<Json<KeyView>, ApiError> {
    let key = state.db.key(id).await?.ok_or(ApiError::NotFound)?;
    Ok(Json(KeyView::new(key)))
}

async fn revoke(
    Administrator(caller): Administrator,
    State(state): State<AppState>,
    Id(id): Id<KeyId>,
) -> Result<StatusCode, ApiError> {
    revoke_key(&state, id, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a key.
pub(crate) async fn revoke_key(state: &AppState, id: KeyId, caller: &Caller) -> Result<(), ApiError> {
    let key = state.db.revoke_key(id, &caller.entry()).await?;
    state.accounts.forget();
    tracing::info!(key.id = id.get(), key.name = key.name, by = %caller.actor, "sensor key revoked");
    Ok(())
}
