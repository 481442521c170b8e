//! What all pages share: templates, the policy of what they may load, files, and pages that say no.

use crate::auth::guard::Passerby;
use crate::auth::session::Session;
use crate::error::ApiError;
use crate::extract::Id;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::LazyLock;
use watchpost_model::Action;

/// The first page.
pub(crate) const HOME: &str = "/";

const TEMPLATES: [(&str, &str); 6] = [
    ("layout.html", include_str!("../templates/layout.html")),
    ("login.html", include_str!("../templates/login.html")),
    ("alerts.html", include_str!("../templates/alerts.html")),
    ("alert.html", include_str!("../templates/alert.html")),
    ("administration.html", include_str!("../templates/administration.html")),
    ("message.html", include_str!("../templates/message.html")),
];

const FILES: [(&str, &str, &str); 3] = [
    ("app.css", "text/css; charset=utf-8", include_str!("../static/app.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../static/app.js")),
    ("icon.svg", "image/svg+xml", include_str!("../static/icon.svg")),
];

/// No script and no style but our own files, nothing from elsewhere, no frames.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    // Whatever a template is called: what sensors send is hostile.
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.add_filter("line", |text: String| visible(&text, false));
    pages.add_filter("block", |text: String| visible(&text, true));
    for (name, text) in TEMPLATES {
        pages
            .add_template(name, text)
            .expect("the templates are part of the program and are compiled in its tests");
    }
    pages
});

/// Compiles the templates, so that the first page isn't slower than the others.
pub(crate) fn prepare() {
    LazyLock::force(&PAGES);
}

/// Text in which nothing hides: controls and marks that turn the reading direction become visible.
fn visible(text: &str, lines: bool) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' if lines => c,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// A page made from a template. What every page knows is added: who is signed in and what they may.
pub(crate) fn render(status: StatusCode, name: &str, session: Option<&Session>, page: Value) -> Response {
    let me = session.map(|session| {
        let may = |action| watchpost_model::access::allows(session.caller.rank, action);
        context! {
            name => session.username.as_str(),
            role => session.role.title(),
            form_token => session.form_token.as_str(),
            may_change => may(Action::ChangeAlerts),
            may_administer => may(Action::Administer),
        }
    });
    let template = PAGES.get_template(name);
    let made = template
        .and_then(|template| template.render(context! { me, page, version => env!("CARGO_PKG_VERSION") }));
    match made {
        Ok(html) => (status, [(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, template = name, "a page could not be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made. The log says why.")
                .into_response()
        }
    }
}

fn message(status: StatusCode, session: Option<&Session>, title: &str, text: &str) -> Response {
    render(status, "message.html", session, context! { title, text })
}

/// The page for what is not there.
pub(crate) fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, None, "Nothing here", "There is no such page, or it is gone.")
}

/// Why a page can't be shown.
pub(crate) enum PageError {
    /// Not signed in; and where to go afterwards.
    LogIn(String),
    /// Signed in, and not allowed to.
    NotAllowed(Box<Session>, Action),
    /// A form that none of our pages sent.
    Forged,
    /// What the API would answer.
    Api(ApiError),
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<watchpost_store::StoreError> for PageError {
    fn from(error: watchpost_store::StoreError) -> Self {
        Self::Api(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn(next) => {
                let next = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                Redirect::to(&format!("/login?next={next}")).into_response()
            }
            Self::NotAllowed(session, action) => message(
                StatusCode::FORBIDDEN,
                Some(&session),
                "Not for your role",
                &format!(
                    "You are signed in as {} ({}). This needs {}.",
                    session.username,
                    session.role.title(),
                    action.who()
                ),
            ),
            Self::Forged => message(
                StatusCode::FORBIDDEN,
                None,
                "This form can't be trusted",
                "It was not sent by a page of this session. Go back, reload the page and try again.",
            ),
            Self::Api(error) => {
                let status = error.status();
                let (title, text) = match status {
                    StatusCode::NOT_FOUND => ("Nothing here", "There is no such thing, or it is gone."),
                    StatusCode::TOO_MANY_REQUESTS => {
                        ("A little slower", "Too many requests. Wait a moment and try again.")
                    }
                    StatusCode::BAD_REQUEST => {
                        ("That can't be read", "Something in the address or the form is not understood.")
                    }
                    status if status.is_server_error() => (
                        "Not right now",
                        "Watchpost can't do this at the moment. Try again; its log says why.",
                    ),
                    _ => ("That didn't work", "It could not be done."),
                };
                // Headers such as Retry-After stay.
                let headers = error.into_response().headers().get(header::RETRY_AFTER).cloned();
                let mut response = message(status, None, title, text);
                if let Some(wait) = headers {
                    response.headers_mut().insert(header::RETRY_AFTER, wait);
                }
                response
            }
        }
    }
}

/// A file that pages load.
pub(crate) async fn file(_: Passerby, Id(name): Id<String>) -> Result<Response, ApiError> {
    let (_, kind, text) = FILES.iter().find(|(known, ..)| *known == name).ok_or(ApiError::NotFound)?;
    let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=3600")];
    Ok((headers, *text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_compiles_and_escapes() {
        prepare();
        let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[2J";
        let page = context! { title => hostile, text => hostile };
        let response = render(StatusCode::OK, "message.html", None, page);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(visible(hostile, false), "<script>alert(1)</script>\u{fffd}\u{241b}[2J");
        assert_eq!(visible("a\nb", true), "a\nb");
    }
}
