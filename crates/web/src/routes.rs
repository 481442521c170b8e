//! The site map: every route with the one thing it lets its caller do, and its documentation.

use crate::auth::guard::Guard;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::state::AppState;
use crate::{api, compat, console, docs};
use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};
use watchpost_model::Action;
use watchpost_model::access::Proof;

/// One route.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) proof: Proof,
    pub(crate) operation: Operation,
    /// Whether the path is another name of one that is documented in full.
    pub(crate) alias: bool,
}

/// The routes as they are put together.
pub(crate) struct Routes {
    pub(crate) router: Router<AppState>,
    pub(crate) entries: Vec<Entry>,
}

/// The handler's first argument is a guard. Implemented for the argument lists of handlers, so that a handler
/// that asks for no permission doesn't compile as a route.
pub(crate) trait Guarded {
    /// What the guard lets through.
    const ACTION: Action;
    /// Whether it takes a fresh proof.
    const PROOF: Proof;
}

macro_rules! guarded {
    ($($rest:ident),*) => {
        impl<Mode, G: Guard, $($rest),*> Guarded for (Mode, G, $($rest,)*) {
            const ACTION: Action = G::ACTION;
            const PROOF: Proof = G::PROOF;
        }
    };
}

guarded!();
guarded!(A);
guarded!(A, B);
guarded!(A, B, C);
guarded!(A, B, C, D);
guarded!(A, B, C, D, E);

impl Routes {
    fn new() -> Self {
        Self { router: Router::new(), entries: Vec::new() }
    }

    /// Adds a route. The first path is the one to document, the others are further names of it.
    pub(crate) fn add<H, T>(&mut self, paths: &[&'static str], operation: Operation, handler: H)
    where
        H: Handler<T, AppState>,
        T: Guarded + 'static,
    {
        let filter = method_filter(&operation.method);
        self.mount(paths, operation, (T::ACTION, T::PROOF), on(filter, handler));
    }

    fn mount(
        &mut self,
        paths: &[&'static str],
        operation: Operation,
        (action, proof): (Action, Proof),
        route: MethodRouter<AppState>,
    ) {
        for (n, path) in paths.iter().enumerate() {
            self.router = std::mem::take(&mut self.router).route(path, route.clone());
            self.entries.push(Entry { path, action, proof, operation: operation.clone(), alias: n > 0 });
        }
    }
}

fn method_filter(method: &Method) -> MethodFilter {
    match *method {
        Method::GET => MethodFilter::GET,
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => unreachable!("operations are made by the functions of openapi, one for each of these methods"),
    }
}

/// Everything that is served.
pub(crate) fn all() -> Routes {
    let mut routes = Routes::new();
    api::auth::routes(&mut routes);
    api::preferences::routes(&mut routes);
    api::events::routes(&mut routes);
    api::explore::routes(&mut routes);
    api::raise::routes(&mut routes);
    api::alerts::routes(&mut routes);
    api::triage::routes(&mut routes);
    api::groups::routes(&mut routes);
    api::jobs::routes(&mut routes);
    api::views::routes(&mut routes);
    api::handover::routes(&mut routes);
    api::stats::routes(&mut routes);
    api::stream::routes(&mut routes);
    api::users::routes(&mut routes);
    api::sessions::routes(&mut routes);
    api::keys::routes(&mut routes);
    api::audit::routes(&mut routes);
    api::settings::routes(&mut routes);
    api::nodes::routes(&mut routes);
    api::health::routes(&mut routes);
    compat::routes(&mut routes);
    docs::routes(&mut routes);
    console::routes(&mut routes);
    routes
}

/// The router with its answers to what is not there.
pub(crate) fn router(state: AppState) -> Router {
    let not_found = async |request: Request| {
        if wants_page(request.headers(), request.uri()) {
            console::not_found()
        } else {
            ApiError::NotFound.into_response()
        }
    };
    let wrong_method = async |request: Request| {
        let error = ApiError::WrongMethod(request.method().to_string());
        if wants_page(request.headers(), request.uri()) {
            console::refusal(error)
        } else {
            error.into_response()
        }
    };
    all().router.fallback(not_found).method_not_allowed_fallback(wrong_method).with_state(state)
}

/// Whether a person with a browser is asking, rather than a program.
pub(crate) fn wants_page(headers: &HeaderMap, uri: &Uri) -> bool {
    let path = uri.path();
    let accepts = headers.get(axum::http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accept| accept.contains("text/html"))
        && !["/api/", "/v1/"].iter().any(|api| path.starts_with(api))
}

/// What suites need to know about a route.
#[derive(Clone, Debug)]
pub struct RouteInfo {
    /// The method.
    pub method: Method,
    /// The path, with `{id}` for ids.
    pub path: &'static str,
    /// What it lets its caller do.
    pub action: Action,
    /// Whether it takes a fresh proof of who is asking.
    pub proof: Proof,
    /// Whether it is in the OpenAPI document.
    pub documented: bool,
    /// Whether it is a page for people, who are sent to log in, rather than told 401.
    pub page: bool,
}

/// Every route there is.
pub fn site_map() -> Vec<RouteInfo> {
    let info = |entry: &Entry| RouteInfo {
        method: entry.operation.method.clone(),
        path: entry.path,
        action: entry.action,
        proof: entry.proof,
        documented: entry.operation.documented(),
        page: entry.operation.is_page(),
    };
    all().entries.iter().map(info).collect()
}
