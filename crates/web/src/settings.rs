//! What the operator decides about HTTP.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use watchpost_model::Role;
use watchpost_model::net::{Network, Rate};

/// A rate for each class of caller.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Callers without a credential, by address.
    pub anonymous: Rate,
    /// Attempts to log in or sign up, by address.
    pub login: Rate,
    /// Each user.
    pub user: Rate,
    /// Each user whose account was made by sign-up.
    pub signed_up: Rate,
    /// Each sensor key.
    pub key: Rate,
}

/// Everything that can be set about the web side.
#[derive(Clone)]
pub struct Settings {
    /// What tokens are signed with.
    pub secret_key: String,
    /// What they were signed with before: what it signed and sealed is still good.
    pub previous_secret_key: Option<String>,
    /// Names this server answers to; `*` is any, `.example.com` is that name and all below it.
    pub allowed_hosts: Vec<String>,
    /// The address people use, when it isn't the one a request came to.
    pub public_url: Option<String>,
    /// Whether people may sign up by themselves, as Analysts.
    pub signup: bool,
    /// What a scraper of metrics has to show.
    pub metrics_token: Option<String>,
    /// Whether metrics are for this machine without a token: only where nothing but this machine reaches the server.
    pub local_metrics: bool,
    /// Whether the documentation of the API is for everyone, rather than for users.
    pub public_docs: bool,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// Readers of the live stream at once.
    pub max_streams: usize,
    /// Rates, or no throttling.
    pub rates: Option<Rates>,
    /// Whether resolving an alert takes a verdict.
    pub verdict_required: bool,
    /// Roles that have to have a second factor.
    pub second_factor_roles: Vec<Role>,
    /// Proxies whose word on where a request comes from counts.
    pub trusted_proxies: Vec<Network>,
    /// Whether this server speaks TLS itself.
    pub tls: bool,
    /// Where people may log in instead.
    pub single_sign_on: Option<SingleSignOn>,
    /// Where checkpoints of the audit log are shipped to.
    pub shipping: Option<Shipping>,
    /// All of it as the operator wrote it, for Admins to look at.
    pub in_force: Vec<SettingInForce>,
}

/// Where checkpoints of the audit log go by themselves.
#[derive(Clone)]
pub struct Shipping {
    /// Where to.
    pub to: ShipTo,
    /// How often.
    pub every: Duration,
    /// What webhooks are signed with.
    pub secret: Option<String>,
}

/// What takes checkpoints.
#[derive(Clone)]
pub enum ShipTo {
    /// A file that each is added to, a line each.
    File(PathBuf),
    /// A directory with a file for each.
    Directory(PathBuf),
    /// A server that each is sent to.
    Webhook(String),
}

/// One setting as it is in force. What is secret isn't in it.
#[derive(Clone, Debug)]
pub struct SettingInForce {
    /// Its name in the environment.
    pub name: &'static str,
    /// Its flag on the command line, where it has one.
    pub flag: Option<&'static str>,
    /// What it is when nobody says anything.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// Whether its value is a secret.
    pub secret: bool,
    /// Whether it has a value at all.
    pub set: bool,
    /// Its value; nothing for a secret.
    pub value: Option<String>,
    /// Where the value came from.
    pub from: &'static str,
}

/// A provider of OpenID Connect.
#[derive(Clone)]
pub struct SingleSignOn {
    /// The provider's address, as it calls itself.
    pub issuer: String,
    /// What this server is called there.
    pub client_id: String,
    /// What it shows there.
    pub client_secret: Option<String>,
    /// What is asked for, beside `openid`.
    pub scopes: String,
    /// The claim that says what somebody may do here.
    pub role_claim: String,
    /// Which role each of its values gives; `*` is any.
    pub roles: Vec<(String, Role)>,
    /// Values of the claim `acr` that say that a second factor was shown there.
    pub second_factor_acr: Vec<String>,
    /// Values of the claim `amr` that say so.
    pub second_factor_amr: Vec<String>,
    /// What the button says.
    pub name: String,
    /// Certificates of further authorities, as DER.
    pub authorities: Vec<Vec<u8>>,
}

impl fmt::Debug for Settings {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("allowed_hosts", &self.allowed_hosts)
            .field("public_url", &self.public_url)
            .field("signup", &self.signup)
            .field("max_body", &self.max_body)
            .field("rates", &self.rates)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Whether people reach this server over TLS, as far as it knows.
    pub fn secure(&self) -> bool {
        self.tls || self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// The name people know this server by, if it was told.
    pub(crate) fn host(&self) -> Option<&str> {
        self.public_url.as_deref().and_then(host_of_url)
    }

    /// The secret in use, and the one before it.
    pub(crate) fn secret_keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.secret_key.as_str()).chain(self.previous_secret_key.as_deref())
    }

    /// Whether this server answers to a name (without its port).
    pub fn answers_to(&self, host: &str) -> bool {
        let own = self.public_url.as_deref().and_then(host_of_url);
        own.is_some_and(|own| own.eq_ignore_ascii_case(host))
            || self.allowed_hosts.iter().any(|allowed| matches_host(allowed, host))
    }
}

fn matches_host(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('.') {
        _ if allowed == "*" => true,
        None => allowed.eq_ignore_ascii_case(host),
        Some(domain) => {
            let below = host.len().checked_sub(domain.len()).and_then(|at| host.split_at_checked(at));
            below.is_some_and(|(sub, end)| {
                end.eq_ignore_ascii_case(domain) && (sub.is_empty() || sub.ends_with('.'))
            })
        }
    }
}

/// The name in an address, without its port.
pub fn host_of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    Some(without_port(rest.split('/').next()?))
}

/// A host without its port; the brackets of an IPv6 address stay.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_by_name_by_domain_or_all() {
        assert!(matches_host("localhost", "LOCALHOST"));
        assert!(!matches_host("localhost", "localhost.evil"));
        assert!(matches_host(".example.com", "a.example.com"));
        assert!(matches_host(".example.com", "example.com"));
        assert!(!matches_host(".example.com", "badexample.com"));
        assert!(!matches_host(".example.com", "é"));
        assert!(matches_host("*", "anything"));
        assert_eq!(without_port("[::1]:8000"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("localhost:80"), "localhost");
    }
}
