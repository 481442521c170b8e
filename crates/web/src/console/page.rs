//! What all pages share: the templates, and the policy of what a page may load.

use crate::auth::session::Session;
use crate::console::{chart, client, files, visible};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use std::sync::LazyLock;
use watchpost_model::access::allows;
use watchpost_model::{Action, Timestamp};
use watchpost_pipeline::now;

/// The first page.
pub(crate) const HOME: &str = "/";
/// The alerts that somebody has to look at.
pub(crate) const QUEUE: &str = "/alerts?status=OPEN&snoozed=false";

/// The places of the console, as the bar on top names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Overview,
    Alerts,
    Events,
    Administration,
    Developer,
    /// None of them.
    Elsewhere,
}

impl Place {
    const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Alerts => "Alerts",
            Self::Administration => "Administration",
            Self::Events => "Events",
            Self::Developer => "API",
            Self::Elsewhere => "",
        }
    }

    const fn address(self) -> &'static str {
        match self {
            Self::Overview | Self::Elsewhere => HOME,
            Self::Alerts => QUEUE,
            Self::Events => "/events",
            Self::Administration => "/admin/",
            Self::Developer => "/developer/",
        }
    }

    /// The places that somebody may go to.
    fn of(session: &Session) -> Vec<Self> {
        let may = |action| allows(session.caller.rank, action);
        let mut places = vec![Self::Overview, Self::Alerts];
        places.extend(may(Action::ReadEvents).then_some(Self::Events));
        places.extend(may(Action::Administer).then_some(Self::Administration));
        places.push(Self::Developer);
        places
    }
}

/// What it is called, what it says, which place it belongs to, and whether it is that place itself.
type Template = (&'static str, &'static str, Place, bool);

const TEMPLATES: [Template; 37] = [
    ("layout.html", include_str!("../templates/layout.html"), Place::Elsewhere, false),
    ("login.html", include_str!("../templates/login.html"), Place::Elsewhere, false),
    ("login_step.html", include_str!("../templates/login_step.html"), Place::Elsewhere, false),
    ("step_up.html", include_str!("../templates/step_up.html"), Place::Elsewhere, false),
    ("set_up.html", include_str!("../templates/set_up.html"), Place::Elsewhere, false),
    ("recovery_codes.html", include_str!("../templates/recovery_codes.html"), Place::Elsewhere, false),
    ("account.html", include_str!("../templates/account.html"), Place::Elsewhere, false),
    ("overview.html", include_str!("../templates/overview.html"), Place::Overview, true),
    ("alerts.html", include_str!("../templates/alerts.html"), Place::Alerts, true),
    ("alert.html", include_str!("../templates/alert.html"), Place::Alerts, false),
    ("events.html", include_str!("../templates/events.html"), Place::Events, true),
    ("events_chart.html", include_str!("../templates/events_chart.html"), Place::Elsewhere, false),
    ("event.html", include_str!("../templates/event.html"), Place::Events, false),
    ("event_detail.html", include_str!("../templates/event_detail.html"), Place::Elsewhere, false),
    ("job.html", include_str!("../templates/job.html"), Place::Alerts, false),
    ("users.html", include_str!("../templates/users.html"), Place::Administration, true),
    ("user.html", include_str!("../templates/user.html"), Place::Administration, false),
    ("keys.html", include_str!("../templates/keys.html"), Place::Administration, false),
    ("sessions.html", include_str!("../templates/sessions.html"), Place::Administration, false),
    ("audit.html", include_str!("../templates/audit.html"), Place::Administration, false),
    ("settings.html", include_str!("../templates/settings.html"), Place::Administration, false),
    ("developer.html", include_str!("../templates/developer.html"), Place::Developer, true),
    ("admin_parts.html", include_str!("../templates/admin_parts.html"), Place::Elsewhere, false),
    ("session_rows.html", include_str!("../templates/session_rows.html"), Place::Elsewhere, false),
    ("snippets.html", include_str!("../templates/snippets.html"), Place::Elsewhere, false),
    ("fields.html", include_str!("../templates/fields.html"), Place::Elsewhere, false),
    ("pages.html", include_str!("../templates/pages.html"), Place::Elsewhere, false),
    ("rows.html", include_str!("../templates/rows.html"), Place::Elsewhere, false),
    ("row.html", include_str!("../templates/row.html"), Place::Elsewhere, false),
    ("groups.html", include_str!("../templates/groups.html"), Place::Elsewhere, false),
    ("around.html", include_str!("../templates/around.html"), Place::Elsewhere, false),
    ("views.html", include_str!("../templates/views.html"), Place::Elsewhere, false),
    ("since.html", include_str!("../templates/since.html"), Place::Elsewhere, false),
    ("handover.html", include_str!("../templates/handover.html"), Place::Overview, false),
    ("chart.html", include_str!("../templates/chart.html"), Place::Elsewhere, false),
    ("first_run.html", include_str!("../templates/first_run.html"), Place::Elsewhere, false),
    ("message.html", include_str!("../templates/message.html"), Place::Elsewhere, false),
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
    pages.add_filter("client", |agent: String| visible::line(&client::client(&agent)));
    pages.add_filter("moment", |time: String| chart::moment(&time));
    pages.add_filter("number", number);
    pages.add_filter("ago", |time: String| ago(&time));
    pages.add_function("file", |name: String| {
        let missing = || Error::new(ErrorKind::InvalidOperation, format!("there is no file {name}"));
        files::address(&name).map(Value::from_safe_string).ok_or_else(missing)
    });
    for (name, text, ..) in TEMPLATES {
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

/// A number that can be read at a glance.
fn number(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = if n < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long ago a time is.
fn ago(time: &str) -> String {
    let Some(then) = Timestamp::parse(time) else { return time.to_owned() };
    let seconds = now().seconds() - then.seconds();
    let (n, unit) = match seconds.abs() {
        n @ 0..60 => (n, "second"),
        n @ 60..3_600 => (n / 60, "minute"),
        n @ 3_600..86_400 => (n / 3_600, "hour"),
        n => (n / 86_400, "day"),
    };
    let many = if n == 1 { "" } else { "s" };
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{n} {unit}{many} ago"),
        _ => format!("in {n} {unit}{many}"),
    }
}

/// The bar on top of a page.
fn places(session: &Session, template: &str) -> Vec<Value> {
    let found = TEMPLATES.iter().find(|(name, ..)| *name == template);
    let (at, itself) = found.map_or((Place::Elsewhere, false), |(_, _, place, itself)| (*place, *itself));
    let place = |place: Place| {
        let current = match (place == at, itself) {
            (true, true) => "page",
            (true, false) => "true",
            (false, _) => "",
        };
        context! { says => place.title(), href => place.address(), current }
    };
    Place::of(session).into_iter().map(place).collect()
}

/// A page made from a template. What every page knows is added: who is signed in and what they may.
pub(crate) fn render(status: StatusCode, name: &str, session: Option<&Session>, page: Value) -> Response {
    let me = session.map(|session| {
        let may = |action| allows(session.caller.rank, action);
        context! {
            name => session.user.username.as_str(),
            role => session.user.role.title(),
            form_token => session.form_token.as_str(),
            theme => session.user.theme.as_str(),
            zone => session.user.time_zone.as_str(),
            may_change => may(Action::ChangeAlerts),
            may_read_events => may(Action::ReadEvents),
            may_send_events => may(Action::IngestEvents),
            may_administer => may(Action::Administer),
        }
    });
    let places = session.map(|session| places(session, name)).unwrap_or_default();
    let known = context! { me, page, places, version => env!("CARGO_PKG_VERSION"), template => name };
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
    fn numbers_and_times_are_read_at_a_glance() {
        assert_eq!(
            [0, 999, 1_000, -12_345, 10_000_000].map(number),
            ["0", "999", "1,000", "-12,345", "10,000,000"]
        );
        let before = |seconds: i64| ago(&now().plus_seconds(-seconds).to_string());
        assert_eq!(before(125), "2 minutes ago");
        assert_eq!(before(-7_300), "in 2 hours");
        assert_eq!(before(86_400), "1 day ago");
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
