//! What is known of the provider: where its pages are and which keys it signs with.

use super::client::{Client, Failed};
use crate::settings::SingleSignOn;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what the provider says of itself is taken for granted.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How often keys may be asked for because one is missing.
const KEYS_EVERY: Duration = Duration::from_secs(10);

/// Why a log-in at the provider can't go on; for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    #[error("the provider's {0}: {1}")]
    Failed(&'static str, Failed),
    #[error("the provider's {0} can't be read: {1}")]
    Unreadable(&'static str, serde_json::Error),
    #[error("the provider calls itself {0}: WATCHPOST_OIDC_ISSUER has to say the same")]
    OtherIssuer(String),
    #[error("the provider's {0} is at {1}, to which secrets aren't sent: it is not over TLS")]
    Unsafe(&'static str, String),
    #[error("the provider doesn't take PKCE with S256")]
    NoPkce,
}

/// The document at `/.well-known/openid-configuration`, as far as it matters.
#[derive(Clone, Deserialize)]
pub(super) struct Discovered {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What a code is swapped for.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    access_token: Option<String>,
}

struct Known {
    discovered: Discovered,
    keys: JwkSet,
    read_at: Instant,
    keys_at: Instant,
}

pub(crate) struct Provider {
    client: Client,
    known: Mutex<Option<Arc<Known>>>,
}

fn read<T: for<'a> Deserialize<'a>>(what: &'static str, bytes: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(bytes).map_err(|error| ProviderError::Unreadable(what, error))
}

/// A part of `application/x-www-form-urlencoded`, which client ids and secrets are encoded as before Base64.
fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl Provider {
    pub(crate) fn new(settings: &SingleSignOn) -> Self {
        Self { client: Client::new(&settings.authorities), known: Mutex::new(None) }
    }

    fn remembered(&self) -> Option<Arc<Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().filter(|known| known.read_at.elapsed() < FRESH)
    }

    fn remember(&self, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        known
    }

    async fn keys(&self, discovered: &Discovered) -> Result<JwkSet, ProviderError> {
        let failed = |error| ProviderError::Failed("list of keys", error);
        let bytes = self.client.get(&discovered.jwks_uri).await.map_err(failed)?;
        // A key of a kind that isn't known here is no reason to do without the others.
        #[derive(Deserialize)]
        struct Any {
            keys: Vec<serde_json::Value>,
        }
        let any: Any = read("list of keys", &bytes)?;
        let keys = any.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        Ok(JwkSet { keys })
    }

    async fn known(&self, settings: &SingleSignOn) -> Result<Arc<Known>, ProviderError> {
        if let Some(known) = self.remembered() {
            return Ok(known);
        }
        let address = format!("{}/.well-known/openid-configuration", settings.issuer.trim_end_matches('/'));
        let failed = |error| ProviderError::Failed("description", error);
        let discovered: Discovered = read("description", &self.client.get(&address).await.map_err(failed)?)?;
        discovered.check(settings)?;
        let keys = self.keys(&discovered).await?;
        Ok(self.remember(Known { discovered, keys, read_at: Instant::now(), keys_at: Instant::now() }))
    }

    /// What the provider says of itself.
    pub(super) async fn discover(&self, settings: &SingleSignOn) -> Result<Discovered, ProviderError> {
        Ok(self.known(settings).await?.discovered.clone())
    }

    /// The keys that may have signed something with this key id. Keys change: one that is missing is asked for.
    pub(super) async fn keys_for(
        &self,
        settings: &SingleSignOn,
        id: Option<&str>,
    ) -> Result<Vec<Jwk>, ProviderError> {
        let fitting = |keys: &JwkSet| -> Vec<Jwk> {
            let fits = |key: &&Jwk| id.is_none() || key.common.key_id.as_deref() == id;
            keys.keys.iter().filter(fits).cloned().collect()
        };
        let known = self.known(settings).await?;
        let found = fitting(&known.keys);
        if !found.is_empty() || known.keys_at.elapsed() < KEYS_EVERY {
            return Ok(found);
        }
        let keys = self.keys(&known.discovered).await?;
        let found = fitting(&keys);
        let (discovered, read_at) = (known.discovered.clone(), known.read_at);
        self.remember(Known { discovered, keys, read_at, keys_at: Instant::now() });
        Ok(found)
    }

    /// What the provider says beside the ID token: many keep that short and tell the rest here.
    pub(super) async fn more(
        &self,
        settings: &SingleSignOn,
        tokens: &Tokens,
    ) -> Result<Option<Map<String, Value>>, ProviderError> {
        let known = self.known(settings).await?;
        let (Some(address), Some(token)) = (&known.discovered.userinfo_endpoint, &tokens.access_token) else {
            return Ok(None);
        };
        let Ok(mut shown) = HeaderValue::try_from(format!("Bearer {token}")) else { return Ok(None) };
        shown.set_sensitive(true);
        let failed = |error| ProviderError::Failed("word on a person", error);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, shown)]);
        let bytes = self.client.get_with(address, headers).await.map_err(failed)?;
        read("word on a person", &bytes).map(Some)
    }

    /// Swaps the code that somebody came back with for the ID token.
    pub(super) async fn redeem(
        &self,
        settings: &SingleSignOn,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<Tokens, ProviderError> {
        let known = self.known(settings).await?;
        let (headers, form) = known.discovered.redemption(settings, code, verifier, redirect_uri);
        let failed = |error| ProviderError::Failed("answer to the code", error);
        let sent = self.client.post(&known.discovered.token_endpoint, headers, form);
        read("answer to the code", &sent.await.map_err(failed)?)
    }
}

impl Discovered {
    fn check(&self, settings: &SingleSignOn) -> Result<(), ProviderError> {
        if self.issuer != settings.issuer {
            return Err(ProviderError::OtherIssuer(self.issuer.clone()));
        }
        // Over TLS unless the provider itself is on this machine.
        let scheme = if settings.issuer.starts_with("https://") { "https://" } else { "http" };
        for (what, address) in [
            ("page to log in at", &self.authorization_endpoint),
            ("answer to codes", &self.token_endpoint),
            ("list of keys", &self.jwks_uri),
            ("word on people", self.userinfo_endpoint.as_ref().unwrap_or(&settings.issuer)),
        ] {
            if !address.starts_with(scheme) {
                return Err(ProviderError::Unsafe(what, address.clone()));
            }
        }
        match &self.code_challenge_methods_supported {
            Some(methods) if !methods.iter().any(|method| method == "S256") => Err(ProviderError::NoPkce),
            _ => Ok(()),
        }
    }

    /// What to send for a code.
    fn redemption(
        &self,
        settings: &SingleSignOn,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> (HeaderMap, String) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", verifier);
        let mut headers = HeaderMap::new();
        match &settings.client_secret {
            Some(secret) if self.takes_basic() => {
                let pair = format!("{}:{}", form_encoded(&settings.client_id), form_encoded(secret));
                let shown = format!("Basic {}", STANDARD.encode(pair));
                let mut shown = HeaderValue::try_from(shown).expect("Base64 makes a header");
                shown.set_sensitive(true);
                headers.insert(AUTHORIZATION, shown);
            }
            Some(secret) => {
                form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret);
            }
            None => {
                form.append_pair("client_id", &settings.client_id);
            }
        }
        (headers, form.finish())
    }

    /// What providers take unless they say otherwise.
    fn takes_basic(&self) -> bool {
        let said = self.token_endpoint_auth_methods_supported.as_ref();
        said.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}
