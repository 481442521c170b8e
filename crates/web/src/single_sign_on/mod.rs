//! Logging in to the console at a provider of OpenID Connect: authorization code with PKCE.
//!
//! What belongs to one log-in (state, nonce, verifier, and where to go on) travels sealed in a cookie of the browser
//! that began it, so any node can end it and no other browser can.

pub(crate) mod client;
mod id_token;
mod people;
mod provider;

pub(crate) use provider::Provider;

use crate::auth::guard::Caller;
use crate::auth::seal::Purpose;
use crate::auth::secret::random_text;
use crate::error::ApiError;
use crate::settings::SingleSignOn;
use crate::state::AppState;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use watchpost_pipeline::now;
use watchpost_store::Credentials;

/// Where people come back to.
pub(crate) const CALLBACK: &str = "/login/single-sign-on/callback";
/// How long logging in over there may take.
pub(crate) const SECONDS: i64 = 10 * 60;
/// 238 bits.
const SECRET_CHARS: usize = 40;
/// A verifier of PKCE has 43 characters or more.
const VERIFIER_CHARS: usize = 64;

/// Somebody who is signed in and shows once more who they are.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Again {
    pub(crate) session: String,
    /// The form that waits for it, sealed.
    pub(crate) held: String,
}

/// A log-in that is under way.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    state: String,
    nonce: String,
    verifier: String,
    next: String,
    redirect_uri: String,
    until: i64,
    #[serde(default)]
    again: Option<Again>,
}

/// Where to send somebody, and what their browser keeps meanwhile.
pub(crate) struct Begun {
    pub(crate) address: String,
    pub(crate) kept: String,
}

/// What somebody came back with.
#[derive(Default)]
pub(crate) struct Returned {
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) error: Option<String>,
}

/// Somebody whom the provider lets in.
pub(crate) struct Finished {
    pub(crate) known: Credentials,
    /// Where they wanted to go.
    pub(crate) next: String,
    /// Whether the provider says that they showed a second factor there.
    pub(crate) second_factor: bool,
    /// Where it is no log-in: they are signed in, and the provider has just asked them who they are.
    pub(crate) again: Option<Again>,
}

/// Why nobody is logged in: what is said to them.
pub(crate) enum Refused {
    /// Something that another try may mend.
    Again(&'static str),
    /// They may not.
    NotAllowed(String),
    /// The database.
    Api(ApiError),
}

/// Why an answer of the provider isn't good; for the log.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Provider(#[from] provider::ProviderError),
    #[error(transparent)]
    NotBelieved(#[from] id_token::NotBelieved),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<watchpost_store::StoreError> for Refused {
    fn from(error: watchpost_store::StoreError) -> Self {
        Self::Api(error.into())
    }
}

const UNREACHABLE: Refused = Refused::Again("Signing in there isn't possible right now. The log says why.");

fn configured(state: &AppState) -> Result<(&SingleSignOn, &Provider), Refused> {
    match (&state.settings.single_sign_on, &state.provider) {
        (Some(settings), Some(provider)) => Ok((settings, provider)),
        _ => Err(Refused::Api(ApiError::NotFound)),
    }
}

/// Begins a log-in, or has the provider ask once more.
pub(crate) async fn begin(
    state: &AppState,
    base: &str,
    next: &str,
    again: Option<Again>,
) -> Result<Begun, Refused> {
    let (settings, provider) = configured(state)?;
    let discovered = provider.discover(settings).await.map_err(|error| {
        tracing::error!(%error, "single sign-on");
        UNREACHABLE
    })?;
    let under_way = UnderWay {
        state: random_text(SECRET_CHARS),
        nonce: random_text(SECRET_CHARS),
        verifier: random_text(VERIFIER_CHARS),
        next: next.to_owned(),
        redirect_uri: format!("{base}{CALLBACK}"),
        until: now().seconds() + SECONDS,
        again,
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&under_way.verifier));
    let scope = format!("openid {}", settings.scopes);
    let classes = settings.second_factor_acr.join(" ");
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", &settings.client_id),
        ("redirect_uri", &under_way.redirect_uri),
        ("scope", scope.trim()),
        ("state", &under_way.state),
        ("nonce", &under_way.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ] {
        query.append_pair(name, value);
    }
    // What it is asked for it may not give: what it says is what counts.
    if !classes.is_empty() {
        query.append_pair("acr_values", &classes);
    }
    if under_way.again.is_some() {
        query.append_pair("prompt", "login").append_pair("max_age", "0");
    }
    let page = discovered.authorization_endpoint;
    let address = format!("{page}{}{}", if page.contains('?') { '&' } else { '?' }, query.finish());
    let text = serde_json::to_string(&under_way).expect("texts and numbers can be written as JSON");
    Ok(Begun { address, kept: state.seal.seal(Purpose::SingleSignOn, &text) })
}

/// The log-in that a browser began, if this is the answer to it.
fn under_way(state: &AppState, kept: Option<&str>, returned: &Returned) -> Option<UnderWay> {
    let text = state.seal.open(Purpose::SingleSignOn, kept?)?;
    let under_way: UnderWay = serde_json::from_str(&text).ok()?;
    let same: bool = under_way.state.as_bytes().ct_eq(returned.state.as_deref()?.as_bytes()).into();
    (same && under_way.until > now().seconds()).then_some(under_way)
}

/// Ends a log-in.
pub(crate) async fn finish(
    state: &AppState,
    kept: Option<&str>,
    returned: Returned,
    caller: &Caller,
) -> Result<Finished, Refused> {
    let (settings, provider) = configured(state)?;
    let Some(under_way) = under_way(state, kept, &returned) else {
        return Err(Refused::Again("That log-in took too long, or began in another window. Try again."));
    };
    // RFC 9207: a provider that says who it is must be the one that was asked.
    if returned.issuer.as_ref().is_some_and(|issuer| *issuer != settings.issuer) {
        return Err(refused(state, caller, "another provider answered").await);
    }
    let Some(code) = returned.code.filter(|_| returned.error.is_none()) else {
        let said: String = returned.error.unwrap_or_default().chars().take(80).collect();
        return Err(refused(state, caller, &format!("the provider said no: {said}")).await);
    };
    let checked = async {
        let tokens = provider.redeem(settings, &code, &under_way.verifier, &under_way.redirect_uri).await?;
        let key = id_token::key_id(&tokens.id_token)?;
        let keys = provider.keys_for(settings, key.as_deref()).await?;
        let mut claims = id_token::read(&tokens.id_token, &keys, &under_way.nonce, settings)?;
        if under_way.again.is_some() {
            claims.signed_in_since(under_way.until - SECONDS)?;
        }
        let second_factor = claims.second_factor(settings);
        if !claims.all.contains_key(&settings.role_claim)
            && let Some(more) = provider.more(settings, &tokens).await?
        {
            claims.add(more)?;
        }
        Ok::<_, Failed>((claims.person(settings), second_factor))
    };
    let (person, second_factor) = match checked.await {
        Ok(person) => person,
        Err(why) => return Err(refused(state, caller, &why.to_string()).await),
    };
    let known = people::known_or_new(state, person, caller).await?;
    Ok(Finished { known, next: under_way.next, second_factor, again: under_way.again })
}

/// Remembers a log-in that failed.
async fn refused(state: &AppState, caller: &Caller, why: &str) -> Refused {
    tracing::warn!(peer = %caller.peer, why, "a log-in by single sign-on failed");
    state.metrics.logins_failed.inc();
    match state.db.note(&caller.entry(), "login.failed", "single sign-on", why).await {
        Ok(()) => Refused::Again("The provider's answer was no, or can't be believed. The log says why."),
        Err(error) => error.into(),
    }
}
