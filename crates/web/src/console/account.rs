//! One's own account: password, second factor, and where one is logged in.

use crate::api::auth::session_of;
use crate::api::preferences::choose;
use crate::auth::factor::{self, SetUp};
use crate::auth::proof::Fresh;
use crate::auth::session::{self, Session};
use crate::auth::{grant, login};
use crate::console::guard::{Form, SignedIn, filled};
use crate::console::login::{recovery_codes, spaced};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::Base;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::{Value, context};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::{Credentials, Session as Record};

/// Where the page is.
pub(super) const HERE: &str = "/account/";

const PASSWORD: &FormFields =
    &[("current_password", "Password"), ("otp", "Code"), ("new_password", "New password")];
const FACTOR: &FormFields = &[("current_password", "Password"), ("otp", "Code")];
const FIRST_CODE: &FormFields = &[("otp", "Code")];
const LOOKS: &FormFields = &[("theme", "Colours"), ("time_zone", "Times")];

/// What came of a form on the page.
struct View {
    said: Said,
    refused: Option<Refused>,
    set_up: Option<SetUp>,
}

impl View {
    fn new(said: Said) -> Self {
        Self { said, refused: None, set_up: None }
    }

    /// What went wrong with a form, unless it is nothing that a form can mend.
    fn refused(
        error: ApiError,
        form: &'static str,
        shown: &'static FormFields,
        given: &Fields<'_>,
    ) -> Result<Self, PageError> {
        Ok(Self { refused: Some(Refused::new(error, form, shown, given)?), ..Self::new(Said::NOTHING) })
    }
}

async fn known(state: &AppState, session: &Session) -> Result<Credentials, ApiError> {
    state.db.credentials(session.user.id).await?.ok_or(ApiError::NotFound)
}

fn session_view(session: Record, current: Option<&str>) -> Value {
    context! {
        current => current == Some(session.id.as_str()),
        id => session.id,
        kind => session.kind.name(),
        address => session.address,
        agent => session.agent,
        created_at => session.created_at.to_string(),
        last_seen_at => session.last_seen_at.to_string(),
    }
}

async fn page(state: &AppState, session: &Session, view: View) -> Result<Response, PageError> {
    let known = known(state, session).await?;
    let current = session.caller.session.as_deref();
    let sessions = state.db.sessions_of(session.user.id, now()).await?;
    let sessions: Vec<_> = sessions.into_iter().map(|session| session_view(session, current)).collect();
    let set_up = view.set_up.map(|set_up| {
        context! {
            secret => spaced(&set_up.secret),
            picture => Value::from_safe_string(set_up.qr_svg),
            address => set_up.otpauth_url,
            kept => set_up.setup,
        }
    });
    let page = context! {
        title => "Your account",
        said => view.said.text(),
        refused => view.refused.as_ref().map(Refused::view),
        set_up,
        email => known.user.email.as_str(),
        themes => choices(&THEMES_SAID, known.user.theme.as_str()),
        zones => choices(&ZONES_SAID, known.user.time_zone.as_str()),
        others => sessions.len() > 1,
        sessions,
        single_sign_on => known.external_id.is_some(),
        factor => known.factor.secret.is_some(),
        factor_required => factor::is_required(state, &known.user),
        codes_left => known.factor.recovery.len(),
    };
    let status = view.refused.as_ref().map_or(StatusCode::OK, |refused| refused.status);
    let page = view.said.on(render(status, "account.html", Some(session), page), &state.settings);
    Ok(match &view.refused {
        Some(by) => by.on(page),
        None => page,
    })
}

/// What can be chosen about how pages look: the value, and what it says.
const THEMES_SAID: [(&str, &str); 3] = [("system", "As this device"), ("light", "Light"), ("dark", "Dark")];
const ZONES_SAID: [(&str, &str); 2] = [("browser", "As this device"), ("UTC", "UTC")];

fn choices(all: &[(&str, &str)], chosen: &str) -> Vec<Value> {
    let one = |(value, says): &(&str, &str)| context! { value => *value, says => *says, chosen => *value == chosen };
    all.iter().map(one).collect()
}

pub(crate) async fn show(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    said: Said,
) -> Result<Response, PageError> {
    page(&state, &session, View::new(said)).await
}

/// Sets how pages look for whoever is signed in.
pub(crate) async fn prefer(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    match choose(&state, &fields, &session.caller).await {
        Ok(_) => Ok(Done::Preferred.then(HERE, &state.settings)),
        Err(error) => page(&state, &session, View::refused(error, "looks", LOOKS, &fields)?).await,
    }
}

/// Changes the password, which ends every other session; this one goes on under a new cookie.
pub(crate) async fn password(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    headers: HeaderMap,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let changed = async {
        let known =
            login::check_again(&state, &fields, "current_password", session.user.id, &session.caller).await?;
        let password = login::new_password(&state, &known, &fields.get("new_password")).await?;
        let known = login::set_password(&state, &known, password, &session.caller).await?;
        let shown = login::shown_by(&known);
        session::open(&state, &known, "with a new password", shown, &session.caller, &headers).await
    };
    match changed.await {
        Ok(cookie) => {
            let mut response = Done::PasswordChanged.then(HERE, &state.settings);
            response.headers_mut().append(header::SET_COOKIE, cookie);
            Ok(response)
        }
        Err(error) => page(&state, &session, View::refused(error, "password", PASSWORD, &fields)?).await,
    }
}

/// Shows what an authenticator app needs.
pub(crate) async fn set_up_factor(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let prepared = async {
        let known =
            login::check_again(&state, &fields, "current_password", session.user.id, &session.caller).await?;
        factor::prepare(&state, &known, &session.caller).await
    };
    let view = match prepared.await {
        Ok(set_up) => View { set_up: Some(set_up), ..View::new(Said::NOTHING) },
        Err(error) => View::refused(error, "factor", FACTOR, &fields)?,
    };
    page(&state, &session, view).await
}

/// Takes the second factor into use with its first code.
pub(crate) async fn begin_factor(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let before = known(&state, &session).await?;
    match factor::begin_with(&state, &before, &fields, &session.caller).await {
        Ok(codes) => Ok(recovery_codes(&codes, &base, HERE)),
        Err(error) => {
            // What was shown stays on the page, so that the next code can be typed.
            let set_up = factor::shown_again(&state, &before, filled(&fields, "setup"), &session.caller);
            let view = View { set_up, ..View::refused(error, "begin", FIRST_CODE, &fields)? };
            page(&state, &session, view).await
        }
    }
}

pub(crate) async fn new_recovery_codes(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let made = async {
        let known =
            login::check_again(&state, &fields, "current_password", session.user.id, &session.caller).await?;
        factor::new_recovery_codes(&state, known.user.id, &session.caller).await
    };
    match made.await {
        Ok(codes) => Ok(recovery_codes(&codes, &base, HERE)),
        Err(error) => page(&state, &session, View::refused(error, "factor", FACTOR, &fields)?).await,
    }
}

pub(crate) async fn remove_factor(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let removed = async {
        let known =
            login::check_again(&state, &fields, "current_password", session.user.id, &session.caller).await?;
        factor::remove(&state, &known, &session.caller).await
    };
    match removed.await {
        Ok(()) => Ok(Done::FactorRemoved.then(HERE, &state.settings)),
        Err(error) => page(&state, &session, View::refused(error, "factor", FACTOR, &fields)?).await,
    }
}

pub(crate) async fn end_session(
    Fresh(SignedIn(session)): Fresh<SignedIn>,
    State(state): State<AppState>,
    Path(id): Path<String>,
    _: Form,
) -> Result<Response, PageError> {
    match session_of(&state, session.user.id, &id).await {
        Ok(ended) => grant::end(&state, &ended, &session.caller, "session.end").await?,
        // It has ended since the page was made.
        Err(ApiError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Done::SessionEnded.then(HERE, &state.settings))
}

pub(crate) async fn end_other_sessions(
    Fresh(SignedIn(session)): Fresh<SignedIn>,
    State(state): State<AppState>,
    _: Form,
) -> Result<Response, PageError> {
    let this = session.caller.session.as_deref();
    state.db.end_sessions_of(session.user.id, this, &session.caller.entry()).await?;
    state.accounts.forget();
    Ok(Done::SessionsEnded.then(HERE, &state.settings).into_response())
}
