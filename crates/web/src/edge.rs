//! What happens to every request before its route and to every answer after it.

use crate::auth::guard::peer;
use crate::auth::refusals::{BadCredential, Refused};
use crate::console;
use crate::error::ApiError;
use crate::extract::Target;
use crate::forwarded::note_peer;
use crate::routes;
use crate::settings::without_port;
use crate::state::AppState;
use axum::Router;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Request, Uri, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::Service;
use tracing::Instrument;
use watchpost_model::Actor;
use watchpost_model::text::shown;

/// The longest path with its query; filters are far shorter.
const MAX_TARGET_BYTES: usize = 8_192;
/// The longest request id that is taken over from the client.
const MAX_REQUEST_ID_CHARS: usize = 64;
/// Answers that take longer are worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);
/// Paths that answer whatever name they are called by: probes and scrapers use addresses.
const ANY_HOST: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/api/v1/health"];

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything that is served, as one service.
pub fn service(state: AppState) -> Edge {
    Edge { router: routes::router(state.clone()), state }
}

/// The same stack with one route that does everything but store: what storing is measured against.
pub(crate) fn service_without_storing(state: AppState) -> Edge {
    let route = crate::api::events::answer_without_storing();
    Edge { router: Router::new().route("/api/v1/events", route).with_state(state.clone()), state }
}

/// See [`service`].
#[derive(Clone)]
pub struct Edge {
    router: Router,
    state: AppState,
}

impl Service<Request<Body>> for Edge {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let started = Instant::now();
        let id = request_id(&request);
        let state = self.state.clone();
        let refused = check(&request, &state);
        let page = routes::wants_page(request.headers(), request.uri());
        let refuse = if page { console::refusal } else { ApiError::into_response };
        trim_slash(&mut request);
        note_peer(&mut request, &state.settings.trusted_proxies);
        let span = tracing::info_span!(
            "request",
            id = id.to_str().unwrap_or_default(),
            method = %request.method(),
            path = shown(request.uri().path())
        );
        let (parts, body) = request.into_parts();
        let from = peer(&parts);
        let asked = page.then(|| parts.clone());
        let inner = match refused {
            Some(_) => None,
            None => Some(self.router.call(Request::from_parts(parts, body))),
        };
        let answered = async move {
            let response = match (refused, inner) {
                (Some(error), _) => refuse(error),
                (None, Some(inner)) => caught(inner).await.unwrap_or_else(|| refuse(ApiError::Internal)),
                (None, None) => refuse(ApiError::Internal),
            };
            let response = match asked {
                Some(parts) => console::framed(&state, &parts, response).await,
                None => response,
            };
            // Wherever in the server it was found out. Credentials are guessed by the thousand: they are counted.
            if let Some(credential) = response.extensions().get::<BadCredential>() {
                state.refusals.count(&Actor::Anonymous, from, Refused::Credential(*credential));
            }
            let took = started.elapsed();
            log(&response, took);
            state.metrics.answered(response.status().as_u16(), took);
            Ok(finish(response, id, &state))
        };
        Box::pin(answered.instrument(span))
    }
}

fn request_id(request: &Request<Body>) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static RUN: OnceLock<i64> = OnceLock::new();
    let given = request.headers().get(&REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !bytes.is_empty() && bytes.len() <= MAX_REQUEST_ID_CHARS && bytes.iter().all(plain)
    });
    match given {
        Some(id) => id.clone(),
        None => {
            // The time this process counts from makes ids of different runs and nodes differ.
            let run = RUN.get_or_init(|| watchpost_pipeline::now().micros());
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            HeaderValue::try_from(format!("{run:x}-{number:x}")).expect("hexadecimal digits make a header")
        }
    }
}

fn check(request: &Request<Body>, state: &AppState) -> Option<ApiError> {
    let uri = request.uri();
    if uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
        return Some(ApiError::Malformed("The address is too long.".into()));
    }
    if ANY_HOST.contains(&without_slash(uri.path())) {
        return None;
    }
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return Some(ApiError::Malformed("A request names one host.".into()));
    }
    let named = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    let host = without_port(named);
    if state.settings.answers_to(host) {
        return None;
    }
    let shown: String = host.chars().filter(|c| !c.is_control()).take(253).collect();
    Some(ApiError::WrongHost(shown))
}

fn without_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(trimmed) => trimmed,
    }
}

/// Routes are written without a trailing slash; the client may write one. What it wrote is kept for links.
fn trim_slash(request: &mut Request<Body>) {
    let original = request.uri().clone();
    let trimmed = without_slash(original.path());
    if trimmed.len() != original.path().len() {
        let target = match original.query() {
            Some(query) => format!("{trimmed}?{query}"),
            None => trimmed.to_owned(),
        };
        let mut parts = original.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(target).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request.extensions_mut().insert(Target(original));
}

/// A panic in a handler is this request's failure, not the connection's: nothing instead of an answer.
async fn caught<F>(inner: F) -> Option<Response>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    let mut inner = Box::pin(inner);
    let polled =
        std::future::poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(Some(response)),
            Ok(Poll::Ready(Err(never))) => match never {},
            Err(_) => Poll::Ready(None),
        });
    let answer = polled.await;
    if answer.is_none() {
        tracing::error!("a handler panicked");
    }
    answer
}

/// Refusals are quiet, our own failures are loud.
fn log(response: &Response, took: Duration) {
    let status = response.status();
    let took_ms = took.as_secs_f64() * 1000.0;
    // 503 is a refusal: what is the matter is said where it is found out, and not once a request.
    if status.is_server_error() && status != axum::http::StatusCode::SERVICE_UNAVAILABLE {
        tracing::error!(status = status.as_u16(), took_ms, "a request failed");
    } else if took >= SLOW {
        tracing::warn!(status = status.as_u16(), took_ms, "a request was slow");
    } else {
        tracing::debug!(status = status.as_u16(), took_ms, "answered");
    }
}

/// Pages set a policy of their own; everything else loads and frames nothing.
const NOTHING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

fn finish(mut response: Response, id: HeaderValue, state: &AppState) -> Response {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID.clone(), id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if state.settings.secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}
