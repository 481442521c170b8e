//! Signing in and out.

use crate::auth::guard::Caller;
use crate::auth::login::{self, Missing};
use crate::auth::session;
use crate::console::guard::{Form, SignedIn, Visitor, filled, own_path};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::error::ApiError;
use crate::extract::Base;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use minijinja::{Value, context};

/// What a browser forgets of this site at a log-out: pages that stay in its cache would be there for who sits down next.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// Not `cookies`: those of all other hosts of the registered domain would go with it, and ours is taken back by itself.
const FORGET: HeaderValue = HeaderValue::from_static("\"cache\", \"storage\"");

/// Everything that the page says and keeps.
#[derive(Default)]
struct View<'a> {
    status: StatusCode,
    username: &'a str,
    problem: &'a str,
    next: &'a str,
    /// Whether a session had to end because its user's role requires a second factor by now.
    factor_missing: bool,
}

pub(crate) async fn show(
    Visitor(session, _): Visitor,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let given = |wanted: &str| form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted);
    let next = given("next");
    let next = own_path(next.as_ref().map_or("", |(_, next)| next));
    if session.is_some() {
        return Redirect::to(next).into_response();
    }
    let factor_missing = given("second-factor").is_some();
    form(&state, &View { next, factor_missing, ..View::default() })
}

/// The page with the name and the password, and what was wrong with them.
pub(crate) fn refused(state: &AppState, status: StatusCode, problem: &str, next: &str) -> Response {
    form(state, &View { status, problem, next, ..View::default() })
}

fn form(state: &AppState, view: &View<'_>) -> Response {
    let View { status, username, problem, next, factor_missing } = *view;
    let single_sign_on = state.settings.single_sign_on.as_ref().map(|provider| provider.name.as_str());
    let page = context! { title => "Sign in", username, problem, next, factor_missing, single_sign_on };
    render(status, "login.html", None, page)
}

/// The page that asks for what the password alone doesn't do.
pub(super) fn ask(
    status: StatusCode,
    halfway: &str,
    missing: Missing,
    problem: &str,
    next: &str,
) -> Response {
    let set_up = missing.set_up.map(|set_up| {
        context! { secret => spaced(&set_up.secret), picture => Value::from_safe_string(set_up.qr_svg), address => set_up.otpauth_url }
    });
    let page = context! {
        title => "Sign in",
        halfway, next, problem, set_up,
        username => missing.username,
        code => missing.code,
        new_password => missing.new_password,
    };
    render(status, "login_step.html", None, page)
}

/// In groups of four, as people type it.
pub(super) fn spaced(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

pub(crate) async fn enter(
    Visitor(_, peer): Visitor,
    State(state): State<AppState>,
    Base(base): Base,
    headers: HeaderMap,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let (username, next) = (filled(&fields, "username"), filled(&fields, "next"));
    let next = own_path(&next);
    let caller = Caller::anonymous(peer);
    let error = match login::check(&state, &fields, &caller).await {
        Ok(entered) => {
            let cookie =
                session::open(&state, &entered.known, &entered.how, entered.shown, &caller, &headers).await?;
            let cookie = [(header::SET_COOKIE, cookie)];
            return Ok(match entered.recovery_codes {
                None => (cookie, Redirect::to(next)).into_response(),
                Some(codes) => (cookie, recovery_codes(&codes, &base, next)).into_response(),
            });
        }
        Err(error) => error,
    };
    // What was given before is kept sealed, so that nobody types a password twice.
    let (halfway, problem) = match &error {
        ApiError::LogInStep(step) => {
            (step.halfway.clone(), if step.code == "otp_wrong" { step.detail } else { "" })
        }
        _ => (filled(&fields, "halfway"), ""),
    };
    let mut page = match login::missing(&state, &halfway).await? {
        Some(missing) => {
            let wrong_code = missing.set_up.is_some() && !filled(&fields, "otp").trim().is_empty();
            let problem = match &error {
                ApiError::LogInStep(_) if wrong_code => {
                    "The code is wrong. Codes change every 30 seconds; is the clock of the device right?"
                        .to_owned()
                }
                ApiError::LogInStep(_) => problem.to_owned(),
                ApiError::Invalid(wrong) => {
                    wrong.fields().values().flatten().cloned().collect::<Vec<_>>().join(" ")
                }
                error => said(error).map_or_else(|| error.detail(), str::to_owned),
            };
            ask(error.status(), &halfway, missing, &problem, next)
        }
        None => match said(&error) {
            Some(problem) => {
                let status = error.status();
                form(&state, &View { status, username: &username, problem, next, ..View::default() })
            }
            None => return Err(error.into()),
        },
    };
    if let Some(wait) = error.into_response().headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    Ok(page)
}

/// What to say of an attempt that failed, if the page itself can say it.
fn said(error: &ApiError) -> Option<&'static str> {
    match error {
        ApiError::BadLogin => Some("The user name or the password is wrong."),
        ApiError::Invalid(_) => Some("A user name and a password are needed."),
        ApiError::Throttled(_) => Some("Too many attempts. Wait a moment and try again."),
        ApiError::Unavailable(detail, _) => Some(detail),
        _ => None,
    }
}

/// The codes for whoever loses the second factor, shown this once.
pub(super) fn recovery_codes(codes: &[String], base: &str, next: &str) -> Response {
    let page = context! { title => "Recovery codes", codes => codes.to_vec(), base, next };
    render(StatusCode::OK, "recovery_codes.html", None, page)
}

pub(crate) async fn leave(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    _: Form,
) -> Result<Response, PageError> {
    let cookie = session::close(&state, &session).await?;
    let headers = [(header::SET_COOKIE, cookie), (CLEAR_SITE_DATA, FORGET)];
    Ok((headers, Redirect::to("/login")).into_response())
}
