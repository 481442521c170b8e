//! The documentation: the OpenAPI document and two pages that show it, all from inside the binary.

use crate::auth::guard::{Passerby, identify, peer, take};
use crate::auth::session;
use crate::console::log_in_first;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use crate::throttle;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use flate2::read::GzDecoder;
use std::io::Read;
use std::sync::OnceLock;

struct Asset {
    name: &'static str,
    kind: &'static str,
    packed: &'static [u8],
    /// For the few who don't take it packed; unpacked for the first of them.
    unpacked: OnceLock<Bytes>,
}

impl Asset {
    fn unpacked(&self) -> Result<Bytes, ApiError> {
        if let Some(known) = self.unpacked.get() {
            return Ok(known.clone());
        }
        let mut content = Vec::new();
        GzDecoder::new(self.packed).read_to_end(&mut content).map_err(|_| ApiError::Internal)?;
        Ok(self.unpacked.get_or_init(|| content.into()).clone())
    }
}

macro_rules! packed {
    ($name:literal, $kind:literal) => {
        Asset {
            name: $name,
            kind: $kind,
            packed: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
            unpacked: OnceLock::new(),
        }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 3] = [
    packed!("swagger-ui.css", "text/css; charset=utf-8"),
    packed!("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    packed!("redoc.js", "text/javascript; charset=utf-8"),
];

/// The two lines that start each page; scripts in the page itself aren't allowed.
static STARTERS: [(&str, &str); 2] = [
    ("swagger-start.js", include_str!("static/swagger-start.js")),
    ("redoc-start.js", include_str!("static/redoc-start.js")),
];

/// Both pages style their elements from scripts; ReDoc searches in a worker that it makes itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// An hour: assets change only with the binary.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/schema", "/api/schema"],
        Operation::get("readSchema", "Documentation", "This document")
            .about("For everyone, or for users only, as the operator decides (`WATCHPOST_API_DOCS`).")
            .says(200, "OpenAPI 3.1 as JSON"),
        schema,
    );
    routes.add(&["/api/docs", "/swagger"], Operation::page(Method::GET), swagger);
    routes.add(&["/redoc"], Operation::page(Method::GET), redoc);
    routes.add(&["/docs-assets/{name}"], Operation::page(Method::GET), asset);
}

/// Someone who may read the documentation: anyone, or users only.
struct DocsReader;

impl FromRequestParts<AppState> for DocsReader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        if state.settings.public_docs {
            return Ok(Self);
        }
        let peer = peer(parts);
        let refused = |error: ApiError| error.into_response();
        take(state, throttle::Caller::Anonymous, peer).map_err(refused)?;
        // The pages fetch the document with the cookie of the session that they are shown in.
        if session::look(&parts.headers, peer, state).await.map_err(refused)?.is_some() {
            return Ok(Self);
        }
        match identify(&parts.headers, peer, state).await {
            Ok(Some(caller)) if caller.user().is_ok() => Ok(Self),
            Err(error) if !matches!(error, ApiError::BadToken | ApiError::BadKey) => Err(refused(error)),
            _ if is_page(parts) => Err(log_in_first(parts)),
            _ => Err(refused(ApiError::NoCredential)),
        }
    }
}

/// Whether it is one of the pages for people, which are below `/api/` as well.
fn is_page(parts: &Parts) -> bool {
    !parts.uri.path().ends_with("/schema")
}

async fn schema(_: Passerby, _: DocsReader, State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.schema.clone()).into_response()
}

fn page(html: &'static str) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
}

async fn swagger(_: Passerby, _: DocsReader) -> Response {
    page(include_str!("templates/swagger.html"))
}

async fn redoc(_: Passerby, _: DocsReader) -> Response {
    page(include_str!("templates/redoc.html"))
}

async fn asset(_: Passerby, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some((_, script)) = STARTERS.iter().find(|(starter, _)| *starter == name) {
        return Ok(([(header::CONTENT_TYPE, SCRIPT)], *script).into_response());
    }
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(ApiError::NotFound)?;
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok());
    let packed =
        accepted.is_some_and(|accepted| accepted.split(',').any(|one| one.trim().starts_with("gzip")));
    let mut response = match packed {
        true => (StatusCode::OK, asset.packed).into_response(),
        false => asset.unpacked()?.into_response(),
    };
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    answer.insert(header::CACHE_CONTROL, CACHE);
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
