//! The API corner: a token to try things with, where the documentation is, what to paste where, and a test event.

use crate::api::Case;
use crate::api::events::{EventView, StoredEvent, ingest};
use crate::auth::account::make_analyst;
use crate::auth::grant::open_short;
use crate::auth::guard::Agent;
use crate::auth::proof::Fresh;
use crate::auth::session::Session;
use crate::auth::token::ACCESS_SECONDS;
use crate::console::guard::{Administrator, EventSender, Form, SignedIn};
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::console::snippets::{SOME_KEY, snippets};
use crate::error::ApiError;
use crate::extract::Base;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use watchpost_model::access::allows;
use watchpost_model::key::KeyLimits;
use watchpost_model::{Action, AlertId, EventId, Severity};

/// Where the page is.
const HERE: &str = "/developer/";

const EVENT: &FormFields = &[
    ("severity", "Severity"),
    ("source_name", "Source"),
    ("event_type", "Type"),
    ("description", "Description"),
];
const ANALYST: &FormFields = &[("username", "Name"), ("password", "Password")];

/// What came of a form on the page.
#[derive(Default)]
struct View {
    refused: Option<Refused>,
    token: Option<String>,
    /// The answer to a test event.
    stored: Option<Value>,
    /// The Analyst that was made.
    analyst: Option<Value>,
}

impl View {
    fn refused(by: Refused) -> Self {
        Self { refused: Some(by), ..Self::default() }
    }
}

fn page(session: &Session, base: &str, view: View) -> Response {
    let View { refused, token, stored, analyst } = view;
    let page = context! {
        title => "API",
        refused => refused.as_ref().map(Refused::view),
        token, stored, analyst,
        base,
        minutes => ACCESS_SECONDS / 60,
        severities => Severity::ALL.map(|severity| {
            context! { value => severity.as_str(), says => severity.title() }
        }),
        snippets => snippets(base, SOME_KEY, &KeyLimits::default()),
    };
    let status = refused.as_ref().map_or(StatusCode::OK, |refused| refused.status);
    let page = render(status, "developer.html", Some(session), page);
    match &refused {
        Some(by) => by.on(page),
        None => page,
    }
}

pub(crate) async fn show(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    said: Said,
    Base(base): Base,
) -> Result<Response, PageError> {
    let stored = stored(&state, &session, &said).await?;
    let page = page(&session, &base, View { stored, ..View::default() });
    Ok(said.on(page, &state.settings))
}

/// Makes an access token for whoever is signed in; shown this once.
pub(crate) async fn token(
    Fresh(SignedIn(session)): Fresh<SignedIn>,
    State(state): State<AppState>,
    Base(base): Base,
    agent: Agent,
    _: Form,
) -> Result<Response, PageError> {
    let known = state.db.credentials(session.user.id).await?.ok_or(ApiError::NotFound)?;
    let token = open_short(&state, &known, "from the console", &session.caller, &agent).await?;
    Ok(page(&session, &base, View { token: Some(token), ..View::default() }))
}

/// What the API answered to the test event that led here, for those who may read events.
async fn stored(state: &AppState, session: &Session, said: &Said) -> Result<Option<Value>, PageError> {
    let Some((id, alert)) = said.test_event() else { return Ok(None) };
    if !allows(session.caller.rank, Action::ReadEvents) {
        return Ok(None);
    }
    let Some(event) = state.db.event(id).await? else { return Ok(None) };
    let event = EventView::new(event, Case::Capitals);
    let stored = StoredEvent { event, alert: alert.map(AlertId::get), replayed: false };
    let answer = serde_json::to_string_pretty(&stored).unwrap_or_default();
    Ok(Some(context! { id => stored.event.id, alert => stored.alert, answer }))
}

/// Hands in a test event, as the API takes events in.
pub(crate) async fn event(
    EventSender(session): EventSender,
    State(state): State<AppState>,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    match ingest(&state, sent.input(), &session.caller, Case::Capitals).await {
        Ok(StoredEvent { event, alert, .. }) => {
            let done = Done::TestEvent(EventId::new(event.id), alert.map(AlertId::new));
            Ok(done.then(HERE, &state.settings))
        }
        Err(error) => {
            let refused = Refused::new(error, "event", EVENT, &sent.fields()?)?;
            Ok(page(&session, &base, View::refused(refused)))
        }
    }
}

/// Makes an Analyst.
pub(crate) async fn analyst(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    Base(base): Base,
    sent: Form,
) -> Result<Response, PageError> {
    let fields = sent.fields()?;
    let view = match make_analyst(&state, &fields, &session.caller).await {
        Ok((user, password)) => {
            let made = context! { id => user.id.get(), username => user.username, password };
            View { analyst: Some(made), ..View::default() }
        }
        Err(error) => View::refused(Refused::new(error, "analyst", ANALYST, &fields)?),
    };
    Ok(page(&session, &base, view))
}
