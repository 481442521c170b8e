//! What all pages share: the templates, and the policy of what a page may load.

use crate::auth::session::Session;
use crate::console::{files, visible};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use std::sync::LazyLock;
use watchpost_model::Action;
use watchpost_model::access::allows;

/// The first page.
pub(crate) const HOME: &str = "/";

const TEMPLATES: [(&str, &str); 11] = [
    ("layout.html", include_str!("../templates/layout.html")),
    ("login.html", include_str!("../templates/login.html")),
    ("login_step.html", include_str!("../templates/login_step.html")),
    ("set_up.html", include_str!("../templates/set_up.html")),
    ("recovery_codes.html", include_str!("../templates/recovery_codes.html")),
    ("account.html", include_str!("../templates/account.html")),
    ("alerts.html", include_str!("../templates/alerts.html")),
    ("alert.html", include_str!("../templates/alert.html")),
    ("administration.html", include_str!("../templates/administration.html")),
    ("pages.html", include_str!("../templates/pages.html")),
    ("message.html", include_str!("../templates/message.html")),
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
    pages.add_filter("line", |text: String| visible::line(&text));
    pages.add_filter("block", |text: String| visible::block(&text));
    pages.add_filter("clock", |time: String| clock(&time));
    pages.add_function("file", |name: String| {
        let missing = || Error::new(ErrorKind::InvalidOperation, format!("there is no file {name}"));
        files::address(&name).map(Value::from_safe_string).ok_or_else(missing)
    });
    for (name, text) in TEMPLATES {
        pages
            .add_template(name, text)
            .expect("the templates are part of the program and are compiled in its tests");
    }
    pages
});

/// Compiles the templates, so that a broken one is noticed at the start.
pub(crate) fn prepare() {
    LazyLock::force(&PAGES);
}

/// A time in RFC 3339 as people read it: to the second, the zone said once at the foot of the page.
fn clock(time: &str) -> String {
    let seconds = time.split_once('.').map_or(time, |(seconds, _)| seconds);
    seconds.replacen('T', " ", 1)
}

/// A page made from a template. What every page knows is added: who is signed in and what they may.
pub(crate) fn render(status: StatusCode, name: &str, session: Option<&Session>, page: Value) -> Response {
    let me = session.map(|session| {
        let may = |action| allows(session.caller.rank, action);
        context! {
            name => session.user.username.as_str(),
            role => session.user.role.title(),
            form_token => session.form_token.as_str(),
            may_change => may(Action::ChangeAlerts),
            may_administer => may(Action::Administer),
        }
    });
    let known = context! { me, page, version => env!("CARGO_PKG_VERSION"), template => name };
    match PAGES.get_template(name).and_then(|template| template.render(known)) {
        Ok(html) => (status, [(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, template = name, "a page could not be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made. The log says why.")
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(clock("2026-11-20T22:05:45.000007Z"), "2026-11-20 22:05:45");
    }

    #[test]
    fn every_template_compiles() {
        prepare();
        assert_eq!(PAGES.templates().count(), TEMPLATES.len());
    }

    #[test]
    fn a_template_escapes_whatever_it_is_called_and_refuses_what_it_was_not_given() {
        let escaped = PAGES.render_named_str("notes.txt", "{{ x|line }}", context! { x => "<b>\u{202e}\"'" });
        assert_eq!(escaped.expect("x is there"), "&lt;b&gt;\u{fffd}&quot;&#x27;");
        assert!(PAGES.render_str("{{ y }}", context! { x => 1 }).is_err());
        assert!(PAGES.render_str("{{ file('nothing.css') }}", context! {}).is_err());
    }
}
