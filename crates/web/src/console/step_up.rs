//! Showing once more who one is, for what takes a fresh proof: the form that was sent is kept sealed in the page that
//! asks, which sends it on, with the password, to where it was sent before.

use crate::auth::login;
use crate::auth::proof::{self, Fresh};
use crate::auth::seal::Purpose;
use crate::auth::session::Session;
use crate::console::guard::{Form, SignedIn, filled, own_path};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::error::ApiError;
use crate::extract::Input;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use watchpost_pipeline::decode::Fields;
use watchpost_pipeline::now;
use watchpost_store::Credentials;

/// Where the page is.
const HERE: &str = "/step-up";
/// How long a form is kept.
const SECONDS: i64 = 10 * 60;
const FIELDS: &FormFields = &[("current_password", "Password"), ("otp", "Code")];

/// A form that waits. It is kept by the browser, sealed.
#[derive(Serialize, Deserialize)]
struct Held {
    session: String,
    /// Where it was sent to.
    to: String,
    /// What it said.
    form: String,
    until: i64,
    /// Whether the provider of single sign-on has just said who it is, in place of a password.
    by_provider: bool,
}

impl Held {
    fn new(session: &Session, to: &str, form: &str) -> Self {
        let session = session.caller.session.clone().unwrap_or_default();
        let until = now().seconds() + SECONDS;
        Self { session, to: to.to_owned(), form: form.to_owned(), until, by_provider: false }
    }

    fn sealed(&self, state: &AppState) -> String {
        let text = serde_json::to_string(self).expect("texts and numbers can be written as JSON");
        state.seal.seal(Purpose::HeldForm, &text)
    }

    fn open(state: &AppState, session: &Session, sealed: &str) -> Option<Self> {
        let held: Self = serde_json::from_str(&state.seal.open(Purpose::HeldForm, sealed)?).ok()?;
        let its = session.caller.session.as_deref() == Some(held.session.as_str());
        (its && held.until > now().seconds()).then_some(held)
    }
}

async fn known(state: &AppState, session: &Session) -> Result<Credentials, ApiError> {
    state.db.credentials(session.user.id).await?.ok_or(ApiError::NotFound)
}

/// The page that asks for what is missing before a form can go on.
async fn page(
    state: &AppState,
    session: &Session,
    held: &Held,
    status: StatusCode,
    refused: Option<Refused>,
) -> Result<Response, PageError> {
    let known = known(state, session).await?;
    let provider = state.settings.single_sign_on.as_ref().map(|provider| provider.name.as_str());
    let elsewhere = known.external_id.is_some() && !held.by_provider;
    let page = context! {
        title => "Confirm your identity",
        held => held.sealed(state),
        to => held.to.as_str(),
        refused => refused.as_ref().map(Refused::view),
        confirmed => false,
        next => "",
        elsewhere, provider,
        password => known.external_id.is_none(),
        code => known.factor.secret.is_some(),
    };
    let page = render(status, "step_up.html", Some(session), page);
    Ok(match &refused {
        Some(by) => by.on(page),
        None => page,
    })
}

/// The page from which it goes on: with a form that was held, or to an address.
fn confirmed(state: &AppState, session: &Session, held: Option<&Held>, next: &str) -> Response {
    let page = context! {
        title => "Identity confirmed",
        held => held.map_or_else(String::new, |held| held.sealed(state)),
        to => held.map_or("", |held| held.to.as_str()),
        refused => Value::UNDEFINED,
        confirmed => true,
        next,
        elsewhere => false,
        provider => "",
        password => false,
        code => false,
    };
    render(StatusCode::OK, "step_up.html", Some(session), page)
}

/// Asks somebody who sent a form to show once more who they are.
pub(super) async fn ask_for(state: &AppState, session: &Session, to: &str, form: &str) -> PageError {
    match page(state, session, &Held::new(session, to, form), StatusCode::UNAUTHORIZED, None).await {
        Ok(page) => PageError::Ask(Box::new(page)),
        Err(error) => error,
    }
}

/// The form that was held, if this is the answer to the question and it is right; any other form as it is.
pub(super) async fn carried_on(
    state: &AppState,
    session: &Session,
    sent: Input,
    to: &str,
) -> Result<Input, PageError> {
    let fields = sent.fields()?;
    let sealed = filled(&fields, "held");
    if sealed.is_empty() {
        return Ok(sent);
    }
    let held = Held::open(state, session, &sealed).filter(|held| held.to == to).ok_or(PageError::Forged)?;
    if session.caller.proved.is_fresh() {
        return Ok(Input::of_form(held.form));
    }
    if let Err(error) = prove(state, session, &held, &fields).await {
        let status = error.status();
        let refused = Refused::new(error, "proof", FIELDS, &fields)?;
        let held = Held { until: now().seconds() + SECONDS, ..held };
        return Err(PageError::Ask(Box::new(page(state, session, &held, status, Some(refused)).await?)));
    }
    Ok(Input::of_form(held.form))
}

async fn prove(
    state: &AppState,
    session: &Session,
    held: &Held,
    fields: &Fields<'_>,
) -> Result<(), ApiError> {
    let caller = &session.caller;
    if held.by_provider {
        login::check_code_again(state, fields, &known(state, session).await?, caller).await?;
        proof::note(state, caller, "single sign-on and second factor").await?;
    } else {
        proof::step_up(state, fields, "current_password", caller).await?;
    }
    Ok(())
}

/// Asks before a page is shown that takes a proof.
pub(crate) async fn show(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let query = query.unwrap_or_default();
    let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    let next = own_path(next.as_ref().map_or("", |(_, next)| next));
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    page(&state, &session, &Held::new(&session, HERE, &form), StatusCode::OK, None).await
}

/// Goes on to the page that was asked for: what it shows may be a file, so the way there is a link.
pub(crate) async fn finish(
    Fresh(SignedIn(session)): Fresh<SignedIn>,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    let next = filled(&sent.fields()?, "next");
    Ok(confirmed(&state, &session, None, own_path(&next)))
}

/// The session whose form is held, if it is this one: for the way to the provider of single sign-on.
pub(super) fn held_by(state: &AppState, session: &Session, sealed: &str) -> Option<String> {
    Held::open(state, session, sealed).map(|held| held.session)
}

/// Goes on after somebody signed in once more at the provider of single sign-on, as the user whose session it is.
pub(super) async fn after_provider(
    state: &AppState,
    session: &Session,
    sealed: &str,
    second_factor: bool,
) -> Result<Response, PageError> {
    let held = Held::open(state, session, sealed).ok_or(PageError::Forged)?;
    let held = Held { by_provider: true, until: now().seconds() + SECONDS, ..held };
    if !second_factor && known(state, session).await?.factor.secret.is_some() {
        return page(state, session, &held, StatusCode::UNAUTHORIZED, None).await;
    }
    proof::note(state, &session.caller, "single sign-on").await?;
    Ok(confirmed(state, session, Some(&held), ""))
}
