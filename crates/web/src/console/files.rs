//! The files that pages load, from memory. Their addresses change with their content, so browsers may keep them.

use crate::auth::guard::Passerby;
use crate::auth::secret::fingerprint;
use crate::error::ApiError;
use crate::extract::Id;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// What asks for the very content it gets may keep it.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What asks by name alone has to ask again.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("public, no-cache");
/// Characters of a hash that tell one build's file from another's.
const VERSION_CHARS: usize = 16;

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    version: String,
}

impl File {
    fn new(name: &'static str, kind: &'static str, text: &'static str) -> Self {
        let mut version = fingerprint(text);
        version.truncate(VERSION_CHARS);
        Self { name, kind, text, version }
    }
}

static FILES: LazyLock<[File; 10]> = LazyLock::new(|| {
    [
        File::new("app.css", "text/css; charset=utf-8", include_str!("../static/app.css")),
        File::new("work.css", "text/css; charset=utf-8", include_str!("../static/work.css")),
        File::new("events.css", "text/css; charset=utf-8", include_str!("../static/events.css")),
        File::new("events.js", "text/javascript; charset=utf-8", include_str!("../static/events.js")),
        File::new("admin.css", "text/css; charset=utf-8", include_str!("../static/admin.css")),
        File::new("alert.js", "text/javascript; charset=utf-8", include_str!("../static/alert.js")),
        File::new("live.js", "text/javascript; charset=utf-8", include_str!("../static/live.js")),
        File::new("queue.js", "text/javascript; charset=utf-8", include_str!("../static/queue.js")),
        File::new("app.js", "text/javascript; charset=utf-8", include_str!("../static/app.js")),
        File::new("icon.svg", "image/svg+xml", include_str!("../static/icon.svg")),
    ]
});

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

/// Where a page finds a file.
pub(crate) fn address(name: &str) -> Option<String> {
    find(name).map(|file| format!("/static/{name}?v={}", file.version))
}

pub(crate) async fn show(
    _: Passerby,
    Id(name): Id<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = find(&name).ok_or(ApiError::NotFound)?;
    let exact = query.as_deref().and_then(|query| query.strip_prefix("v=")) == Some(&file.version);
    let tag = format!("\"{}\"", file.version);
    let had = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let mut response = match had.split(',').any(|had| had.trim().trim_start_matches("W/") == tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, file.kind)], file.text).into_response(),
    };
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, if exact { KEEP } else { ASK_AGAIN });
    answer.insert(header::ETAG, HeaderValue::try_from(tag).expect("digits in quotes make a header"));
    Ok(response)
}
