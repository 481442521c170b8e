//! Sensor keys: the credential of things that send events.

use crate::net::{Network, Rate};
use crate::text::{self, Given};
use crate::{Invalid, KeyId, NewEvent, Severity, Timestamp, event, invalid};
use std::fmt;
use std::net::IpAddr;

/// The longest name of a key.
pub const MAX_KEY_NAME_CHARS: usize = 100;
/// A key that lives longer than ten years is one without an end.
pub const MAX_KEY_DAYS: i64 = 3_650;

/// Ranges of addresses that a key may be held to.
pub const MAX_KEY_NETWORKS: usize = 50;

/// What a key is held to, beside the time it ends; what is empty isn't limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// The only source it speaks for.
    pub source_name: Option<String>,
    /// The worst it may report.
    pub max_severity: Option<Severity>,
    /// From where it may be used.
    pub networks: Vec<Network>,
    /// How fast, instead of the rate that all keys have.
    pub rate: Option<Rate>,
}

impl KeyLimits {
    /// Whether it may be used from an address.
    pub fn lets_in(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether it may report an event; otherwise what is wrong about which field.
    pub fn check(&self, event: &NewEvent) -> Result<(), Invalid> {
        let mut wrong = Invalid::new();
        if let Some(only) = self.source_name.as_ref().filter(|only| only.as_str() != event.source_name()) {
            wrong.add("source_name", format!("This key speaks for \"{only}\" only."));
        }
        if let Some(worst) = self.max_severity.filter(|worst| event.severity() > *worst) {
            wrong.add("severity", format!("This key reports up to {} only.", worst.as_str()));
        }
        wrong.into_result()
    }

    fn check_given(given: &GivenKey<'_>, wrong: &mut Invalid) -> Self {
        let source_name = wrong.take("source_name", check_source(&given.source_name)).flatten();
        let max_severity = wrong.take("max_severity", check_severity(&given.max_severity)).flatten();
        let networks = wrong.take("networks", check_networks(&given.networks)).unwrap_or_default();
        let rate = wrong.take("rate", check_rate(&given.rate)).flatten();
        Self { source_name, max_severity, networks, rate }
    }
}

impl fmt::Display for KeyLimits {
    /// In words; nothing when it isn't limited.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        said.extend(self.source_name.as_ref().map(|source| format!("only source {source}")));
        said.extend(self.max_severity.map(|severity| format!("up to {}", severity.as_str())));
        said.extend((!self.networks.is_empty()).then(|| format!("from {}", Network::list(&self.networks))));
        said.extend(self.rate.map(|rate| rate.to_string()));
        f.write_str(&said.join(", "))
    }
}

/// The text of an optional field; one that is empty, as forms send it, counts as left out.
fn filled<'a>(given: &'a Given<'_>) -> Result<Option<&'a str>, String> {
    match given {
        Given::Missing | Given::Null => Ok(None),
        given => Ok(Some(given.required()?.trim()).filter(|text| !text.is_empty())),
    }
}

fn check_source(given: &Given<'_>) -> Result<Option<String>, String> {
    filled(given)?.map(|text| text::line(text, event::MAX_NAME_CHARS)).transpose()
}

fn check_severity(given: &Given<'_>) -> Result<Option<Severity>, String> {
    let read = |text| Severity::parse(text).ok_or_else(|| invalid::not_a_choice(text));
    filled(given)?.map(read).transpose()
}

fn check_networks(given: &Given<'_>) -> Result<Vec<Network>, String> {
    let networks = Network::parse_list(filled(given)?.unwrap_or_default()).map_err(|wrong| {
        format!(
            "{} is no address and no range such as 10.0.0.0/8.",
            wrong.chars().take(60).collect::<String>()
        )
    })?;
    match networks.len() > MAX_KEY_NETWORKS {
        true => Err(format!("At most {MAX_KEY_NETWORKS} addresses or ranges are expected.")),
        false => Ok(networks),
    }
}

fn check_rate(given: &Given<'_>) -> Result<Option<Rate>, String> {
    let wrong = || "A rate such as 600/m is expected (s, m, h or d).".to_owned();
    filled(given)?.map(|text| Rate::parse(text).ok_or_else(wrong)).transpose()
}

/// A sensor key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorKey {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// The first characters of the secret, to recognise it by.
    pub prefix: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stops working, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// What it is held to.
    pub limits: KeyLimits,
}

/// What was given for a key to be made.
#[derive(Clone, Debug, Default)]
pub struct GivenKey<'a> {
    /// What it is for.
    pub name: Given<'a>,
    /// Days until it stops working.
    pub expires_in_days: Given<'a>,
    /// The only source it speaks for.
    pub source_name: Given<'a>,
    /// The worst it may report.
    pub max_severity: Given<'a>,
    /// From where it may be used.
    pub networks: Given<'a>,
    /// How fast.
    pub rate: Given<'a>,
}

impl SensorKey {
    /// Whether it opens anything at this time.
    pub fn works_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// Days until it stops working, if ever.
    pub expires_in_days: Option<i64>,
    /// What it is held to.
    pub limits: KeyLimits,
}

impl NewKey {
    /// Checks all fields; on failure every wrong one is named.
    pub fn check(given: &GivenKey<'_>) -> Result<Self, Invalid> {
        let mut wrong = Invalid::new();
        let name = wrong.take("name", given.name.required().and_then(|t| text::line(t, MAX_KEY_NAME_CHARS)));
        let days = wrong.take("expires_in_days", check_days(&given.expires_in_days));
        let limits = KeyLimits::check_given(given, &mut wrong);
        match (name, days) {
            (Some(name), Some(expires_in_days)) if wrong.is_empty() => {
                Ok(Self { name, expires_in_days, limits })
            }
            _ => Err(wrong),
        }
    }
}

fn check_days(given: &Given<'_>) -> Result<Option<i64>, String> {
    let Some(text) = filled(given)? else { return Ok(None) };
    match text.parse() {
        Ok(days) if (1..=MAX_KEY_DAYS).contains(&days) => Ok(Some(days)),
        _ => Err(format!("A whole number of days from 1 to {MAX_KEY_DAYS} is expected.")),
    }
}
