//! What handlers take from a request: bodies, ids in paths, query parameters.

use crate::bulk::key::Key;
use crate::console;
use crate::error::ApiError;
use crate::query::Query;
use crate::routes::wants_page;
use crate::state::AppState;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::convert::Infallible;
use std::str::FromStr;
use watchpost_model::Invalid;
use watchpost_pipeline::decode::{Fields, Format};

/// How much of a body that is too large is read only to be forgotten.
const MAX_DRAINED_BYTES: usize = 16 << 20;

/// A body that was read whole and whose kind is known.
pub(crate) struct Input {
    format: Format,
    bytes: Bytes,
    /// The `Idempotency-Key` it came with.
    key: Option<Key>,
}

impl Input {
    pub(crate) fn new(headers: &HeaderMap, format: Format, bytes: Bytes) -> Result<Self, ApiError> {
        Ok(Self { format, bytes, key: Key::of(headers)? })
    }

    /// The key it came with, and its bytes.
    pub(crate) fn keyed(&self) -> Option<(&Key, &[u8])> {
        self.key.as_ref().map(|key| (key, self.bytes.as_ref()))
    }

    /// Another body of the same request, as a form writes it.
    pub(crate) fn of_form(text: String) -> Self {
        Self { format: Format::Form, bytes: text.into(), key: None }
    }

    /// The body as a form writes it; empty for another.
    pub(crate) fn text(&self) -> &str {
        match self.format {
            Format::Form => std::str::from_utf8(&self.bytes).unwrap_or_default(),
            Format::Json => "",
        }
    }

    /// Its fields by name.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, ApiError> {
        if self.bytes.is_empty() && self.format == Format::Json {
            return Ok(Fields::default());
        }
        Fields::decode(self.format, &self.bytes).map_err(|error| match error.into_invalid() {
            Ok(wrong) => ApiError::Invalid(wrong),
            Err(reason) => ApiError::Malformed(reason),
        })
    }
}

impl FromRequest<AppState> for Input {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let format = format_of(request.headers(), request.body())?;
        let (parts, body) = request.into_parts();
        let bytes = read_body(body, state.settings.max_body).await?;
        Self::new(&parts.headers, format, bytes)
    }
}

fn format_of(headers: &HeaderMap, body: &Body) -> Result<Format, ApiError> {
    let Some(named) = headers.get(header::CONTENT_TYPE) else {
        // No body needs no kind.
        return match body.is_end_stream() {
            true => Ok(Format::Json),
            false => Err(ApiError::WrongMediaType(String::new())),
        };
    };
    let named = named.to_str().unwrap_or_default();
    let kind = named.split(';').next().unwrap_or_default().trim();
    match kind {
        _ if kind.eq_ignore_ascii_case("application/json") => Ok(Format::Json),
        _ if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Ok(Format::Form),
        _ => Err(ApiError::WrongMediaType(kind.chars().take(100).collect())),
    }
}

/// How a body is written that may hold one event or many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    One(Format),
    /// A JSON value on each line.
    Lines,
}

/// What a body of events is said to be.
pub(crate) fn sent_format(headers: &HeaderMap, body: &Body) -> Result<Sent, ApiError> {
    let named = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Sent::Lines),
        _ => format_of(headers, body).map(Sent::One),
    }
}

async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    // What says beforehand that it is too long is refused without being kept.
    if body.size_hint().lower() > limit as u64 {
        drain(&mut body).await;
        return Err(ApiError::TooLarge(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            drain(&mut body).await;
            Err(ApiError::TooLarge(limit))
        }
        Err(error) => Err(body_error(error.as_ref())),
    }
}

/// What became of a body that didn't arrive whole.
pub(crate) fn body_error(error: &(dyn std::error::Error + 'static)) -> ApiError {
    if was_slow(error) { ApiError::TooSlow } else { ApiError::Malformed("The body ended early.".into()) }
}

/// Reads on for a while and keeps nothing: a client that is still sending would miss the answer.
pub(crate) async fn drain(body: &mut Body) {
    let mut left = MAX_DRAINED_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn was_slow(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The id in a path. One that can't be an id names nothing: 404.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr + Send> FromRequestParts<AppState> for Id<T> {
    type Rejection = NoSuchThing;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, NoSuchThing> {
        let none = NoSuchThing { page: wants_page(&parts.headers, &parts.uri) };
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => text.parse().map(Self).map_err(|_| none),
            Err(_) => Err(none),
        }
    }
}

/// 404 as whoever asks reads it: a page for people, JSON for programs.
pub(crate) struct NoSuchThing {
    page: bool,
}

impl IntoResponse for NoSuchThing {
    fn into_response(self) -> Response {
        if self.page { console::not_found() } else { ApiError::NotFound.into_response() }
    }
}

/// The path and query as the client wrote them, before anything was trimmed.
#[derive(Clone)]
pub(crate) struct Target(pub(crate) Uri);

/// Everything that lists need: parameters, and where the request went.
pub(crate) struct ListRequest {
    pub(crate) query: Query,
    /// Scheme, host and path; pages link to each other with it.
    pub(crate) address: String,
}

impl FromRequestParts<AppState> for ListRequest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let target = parts.extensions.get::<Target>().map_or(&parts.uri, |target| &target.0);
        let query = Query::parse(target.query().unwrap_or_default())?;
        Ok(Self { query, address: format!("{}{}", base(parts, state), target.path()) })
    }
}

/// Scheme and host by which people reach this server.
fn base(parts: &Parts, state: &AppState) -> String {
    match &state.settings.public_url {
        Some(url) => url.clone(),
        None => format!("{}://{}", if state.settings.tls { "https" } else { "http" }, host(parts)),
    }
}

/// Scheme and host by which people reach this server, for commands to copy.
pub(crate) struct Base(pub(crate) String);

impl FromRequestParts<AppState> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self(base(parts, state)))
    }
}

/// The name the client called this server by.
pub(crate) fn host(parts: &Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// The version a change is based on: `If-Match`, or the field `version`; nothing when neither is given.
pub(crate) fn based_on(headers: &HeaderMap, fields: &Fields<'_>) -> Result<Option<i64>, ApiError> {
    use watchpost_model::text::Given;
    let stated = match (headers.get(header::IF_MATCH), fields.get("version")) {
        (Some(tag), _) => {
            let tag = tag.to_str().unwrap_or_default().trim();
            if tag == "*" {
                return Ok(None);
            }
            tag.trim_start_matches("W/").trim_matches('"').to_owned()
        }
        (None, Given::Missing | Given::Null) => return Ok(None),
        (None, given) => given.required().map_err(|m| Invalid::field("version", m))?.to_owned(),
    };
    match stated.parse() {
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(Invalid::field("version", "A valid integer is required.").into()),
    }
}
