//! The console: pages for people.

use crate::routes::Routes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// The templates of all pages.
pub(crate) struct Pages {}

impl Pages {
    pub(crate) fn new() -> Self {
        Self {}
    }
}

pub(crate) fn routes(_routes: &mut Routes) {}

pub(crate) fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}
