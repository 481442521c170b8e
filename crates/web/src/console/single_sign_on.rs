//! Signing in at the provider of single sign-on: off to it, and back.

use crate::auth::guard::Caller;
use crate::auth::login::{after_single_sign_on, known_as, lacking, missing};
use crate::auth::session::{self, Session, read_cookie, set_cookie};
use crate::console::guard::{Visitor, own_path};
use crate::console::login::{ask, refused};
use crate::console::problem::PageError;
use crate::console::step_up;
use crate::error::{ApiError, Step};
use crate::extract::Base;
use crate::settings::Settings;
use crate::single_sign_on::{self, Again, Finished, Refused, Returned, SECONDS};
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use watchpost_store::{Credentials, FactorShown};

fn cookie(settings: &Settings) -> &'static str {
    if settings.secure() { "__Host-watchpost-sso" } else { "watchpost-sso" }
}

fn page(state: &AppState, why: Refused) -> Result<Response, PageError> {
    match why {
        Refused::Again(problem) => Ok(refused(state, StatusCode::UNAUTHORIZED, problem, "/")),
        Refused::NotAllowed(problem) => Ok(refused(state, StatusCode::FORBIDDEN, &problem, "/")),
        Refused::Api(error) => Err(error.into()),
    }
}

/// Sends somebody to the provider. A link, not a form: browsers hold where forms lead to against the page's policy.
pub(crate) async fn begin(
    Visitor(session, _): Visitor,
    State(state): State<AppState>,
    Base(base): Base,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let query = query.unwrap_or_default();
    let given = |wanted: &str| form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted);
    let next = given("next");
    let next = own_path(next.as_ref().map_or("", |(_, next)| next));
    let again = match (&session, given("again")) {
        (Some(session), Some((_, held))) => {
            step_up::held_by(&state, session, &held).map(|session| Again { session, held: held.into_owned() })
        }
        _ => None,
    };
    if session.is_some() && again.is_none() {
        return Ok(Redirect::to(next).into_response());
    }
    match single_sign_on::begin(&state, &base, next, again).await {
        Ok(begun) => {
            let kept = set_cookie(&state.settings, cookie(&state.settings), &begun.kept, SECONDS);
            Ok(([(header::SET_COOKIE, kept)], Redirect::to(&begun.address)).into_response())
        }
        Err(why) => page(&state, why),
    }
}

fn returned(query: &str) -> Returned {
    let mut returned = Returned::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let field = match name.as_ref() {
            "code" => &mut returned.code,
            "state" => &mut returned.state,
            "iss" => &mut returned.issuer,
            "error" => &mut returned.error,
            _ => continue,
        };
        *field = Some(value.into_owned());
    }
    returned
}

/// The page that asks for the second factor of Watchpost's own.
async fn step_page(state: &AppState, step: Step, next: &str) -> Result<Response, PageError> {
    let missing = missing(state, &step.halfway).await?.ok_or(ApiError::BadLogin)?;
    Ok(ask(step.status(), &step.halfway, missing, "", next))
}

const ANOTHER: &str =
    "You signed in there as another user, or your session here has ended. Nothing was confirmed.";

/// Goes on with what waited for somebody to show once more who they are.
async fn carry_on(
    state: &AppState,
    session: Option<&Session>,
    known: &Credentials,
    second_factor: bool,
    again: &Again,
) -> Result<Response, PageError> {
    let session = session.filter(|session| {
        session.user.id == known.user.id && session.caller.session.as_deref() == Some(again.session.as_str())
    });
    match session {
        Some(session) => step_up::after_provider(state, session, &again.held, second_factor).await,
        None => page(state, Refused::NotAllowed(ANOTHER.into())),
    }
}

/// Takes somebody in who comes back from the provider.
pub(crate) async fn finish(
    Visitor(session, peer): Visitor,
    State(state): State<AppState>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let caller = Caller::anonymous(peer);
    let kept = read_cookie(&headers, cookie(&state.settings));
    let returned = returned(&query.unwrap_or_default());
    let mut response = match single_sign_on::finish(&state, kept, returned, &caller).await {
        Ok(Finished { known, second_factor, again: Some(again), .. }) => {
            carry_on(&state, session.as_ref(), &known, second_factor, &again).await?
        }
        Ok(Finished { known, next, second_factor, again: None }) => {
            let next = own_path(&next);
            match after_single_sign_on(&state, &known, second_factor) {
                Ok(shown) => {
                    let how = match shown {
                        FactorShown::Provider => "single sign-on with a second factor",
                        _ => "single sign-on",
                    };
                    let opened = session::open(&state, &known, how, shown, &caller, &headers).await?;
                    ([(header::SET_COOKIE, opened)], Redirect::to(next)).into_response()
                }
                Err(step) => {
                    lacking(&state, &known_as(&caller, &known), &step).await;
                    step_page(&state, step, next).await?
                }
            }
        }
        Err(why) => page(&state, why)?,
    };
    // It was for this log-in alone.
    let forgotten = set_cookie(&state.settings, cookie(&state.settings), "", 0);
    response.headers_mut().append(header::SET_COOKIE, forgotten);
    Ok(response)
}
