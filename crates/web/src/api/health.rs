//! Whether the server lives, whether it is ready, and what it counts.

use crate::auth::guard::{Passerby, peer};
use crate::auth::refusals::{BadCredential, Refused};
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use watchpost_model::Actor;
use watchpost_pipeline::{clock_difference, clock_is_off};
use watchpost_store::{LATEST, known_step};

/// A database that takes longer to answer isn't ready.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/healthz"],
        Operation::get("healthz", "Health", "Whether the process lives").answers::<Alive>(200, "It does"),
        alive,
    );
    routes.add(
        &["/readyz", "/api/v1/health"],
        Operation::get("readyz", "Health", "Whether the database answers, is up to date and has room")
            .answers::<Ready>(200, "It does")
            .answers::<Ready>(503, "It doesn't"),
        ready,
    );
    routes.add(
        &["/metrics"],
        Operation::get("metrics", "Health", "Counters for Prometheus")
            .about(
                "For a caller that shows the token that WATCHPOST_METRICS_TOKEN sets. Without one, for this machine only, \
                 and only while the server has no public address, no proxy and no listener for others.",
            )
            .says(200, "The counters as text")
            .says(401, "The caller is on another machine or shows no token")
            .says(403, "A token is needed, and none is set"),
        metrics,
    );
}

/// The process lives.
#[derive(Serialize, ToSchema)]
struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
    /// The version of Watchpost.
    version: &'static str,
}

/// Whether the server can do its work.
#[derive(Serialize, ToSchema)]
struct Ready {
    #[schema(example = "ok")]
    status: &'static str,
    /// Whether the database answers.
    database: &'static str,
    /// Whether its schema is the one this version needs: `pending` while steps are missing, `node too old` when it has steps
    /// that this node would have to know to write.
    migrations: &'static str,
    /// Whether events can be stored: `disk full` while there is no room for them.
    writing: &'static str,
    /// Whether this machine's clock agrees with the database's: `off by 12 s` when it doesn't. The database's is used then,
    /// so that the server can do its work.
    clock: String,
    /// The version of Watchpost.
    version: &'static str,
}

fn clock() -> String {
    match clock_difference() {
        Some(seconds) if clock_is_off() => format!("off by {seconds:.0} s"),
        _ => "ok".to_owned(),
    }
}

async fn alive(_: Passerby) -> Json<Alive> {
    Json(Alive { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

async fn ready(_: Passerby, State(state): State<AppState>) -> Response {
    let (database, migrations) = match tokio::time::timeout(PATIENCE, state.db.health()).await {
        Ok(Ok(health)) if health.step < LATEST => ("ok", "pending"),
        Ok(Ok(health)) if health.least_step > known_step() => ("ok", "node too old"),
        // Newer steps that this node needn't know change nothing for it.
        Ok(Ok(_)) => ("ok", "ok"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the database doesn't answer");
            ("unreachable", "unknown")
        }
        Err(_) => ("too slow", "unknown"),
    };
    let writing = if state.db.is_full() { "disk full" } else { "ok" };
    let good = (database, migrations, writing) == ("ok", "ok", "ok");
    let (code, status) =
        if good { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (
        code,
        Json(Ready {
            status,
            database,
            migrations,
            writing,
            clock: clock(),
            version: env!("CARGO_PKG_VERSION"),
        }),
    )
        .into_response()
}

/// Whoever may see the counters.
struct Scraper;

impl FromRequestParts<AppState> for Scraper {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let allowed = match &state.settings.metrics_token {
            Some(token) => {
                let shown = parts.headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
                let shown = shown.and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default();
                let good = bool::from(shown.as_bytes().ct_eq(token.as_bytes()));
                if !good && !shown.is_empty() {
                    let refused = Refused::Credential(BadCredential::MetricsToken);
                    state.refusals.count(&Actor::Anonymous, peer(parts), refused);
                }
                good
            }
            None if !state.settings.local_metrics => {
                let detail = "Metrics take a token here: this server has a public address, a proxy or a listener for others, so that where a request comes from says nothing. Set WATCHPOST_METRICS_TOKEN and show it as `Authorization: Bearer …`.";
                return Err(ApiError::NotAllowed(detail.into()));
            }
            // A proxy on this machine speaks for others, and says so.
            None => {
                let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"];
                peer(parts).to_canonical().is_loopback()
                    && !forwarded.iter().any(|h| parts.headers.contains_key(*h))
            }
        };
        if allowed { Ok(Self) } else { Err(ApiError::NoCredential) }
    }
}

async fn metrics(_: Passerby, _: Scraper, State(state): State<AppState>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.text()).into_response()
}
