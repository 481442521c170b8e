//! What the provider says of somebody, signed: checked as OpenID Connect Core 3.1.3.7 asks.

use crate::settings::SingleSignOn;
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use watchpost_model::Role;

/// Signatures that only the provider can make. None with a shared secret, which an address of ours could leak.
const SIGNED_WITH: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// What the provider's clock may be off.
const LEEWAY_SECONDS: u64 = 60;
/// Longer than any ID token with groups.
const MAX_BYTES: usize = 64 << 10;
const MAX_SUBJECT_CHARS: usize = 255;

/// Why an ID token isn't believed; for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotBelieved {
    #[error("the ID token is no token")]
    NoToken,
    #[error("the ID token is signed with an algorithm that isn't taken")]
    Algorithm,
    #[error("the ID token is signed with a key that the provider doesn't list")]
    Key,
    #[error("the ID token isn't good: {0}")]
    Check(String),
    #[error("the ID token answers another log-in")]
    Nonce,
    #[error("the ID token is for several, and not for us")]
    Party,
    #[error("it isn't clear about whom the provider speaks")]
    Subject,
    #[error("the provider doesn't say that it asked just now who it is (`auth_time`)")]
    NotAskedAgain,
}

#[derive(Deserialize)]
struct Signed {
    sub: String,
    #[serde(default)]
    nonce: String,
    azp: Option<String>,
    aud: Value,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What the provider says of somebody.
pub(super) struct Claims {
    /// Never given to anybody else.
    pub(super) subject: String,
    pub(super) all: Map<String, Value>,
}

/// Somebody as the provider knows them.
pub(super) struct Person {
    /// Never given to anybody else.
    pub(super) id: String,
    /// What they may be called here, the best first.
    pub(super) names: Vec<String>,
    pub(super) email: String,
    /// The highest role that what they are gives.
    pub(super) role: Option<Role>,
}

/// Which key signed a token, if it says so.
pub(super) fn key_id(token: &str) -> Result<Option<String>, NotBelieved> {
    if token.len() > MAX_BYTES {
        return Err(NotBelieved::NoToken);
    }
    let header = decode_header(token).map_err(|_| NotBelieved::NoToken)?;
    match SIGNED_WITH.contains(&header.alg) {
        true => Ok(header.kid),
        false => Err(NotBelieved::Algorithm),
    }
}

/// Whether a key is for checking signatures, by its own word.
fn checks_signatures(key: &Jwk) -> bool {
    let uses = key.common.public_key_use.as_ref().is_none_or(|uses| *uses == PublicKeyUse::Signature);
    let operations = key.common.key_operations.as_ref();
    uses && operations.is_none_or(|all| all.contains(&KeyOperations::Verify))
}

/// What a token says, if one of these keys signed it and it is for us, now, and the answer to our question.
pub(super) fn read(
    token: &str,
    keys: &[Jwk],
    nonce: &str,
    settings: &SingleSignOn,
) -> Result<Claims, NotBelieved> {
    key_id(token)?;
    let algorithm = decode_header(token).map_err(|_| NotBelieved::NoToken)?.alg;
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.client_id]);
    let usable = keys.iter().filter(|key| {
        let said = key.common.key_algorithm;
        checks_signatures(key) && said.is_none_or(|said| said.to_string() == format!("{algorithm:?}"))
    });
    let mut last = NotBelieved::Key;
    for key in usable {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match decode::<Signed>(token, &key, &validation) {
            Ok(decoded) => return answered(decoded.claims, nonce, settings),
            Err(error) => last = NotBelieved::Check(error.to_string()),
        }
    }
    Err(last)
}

/// What a token says, if it is the answer to our question.
fn answered(claims: Signed, nonce: &str, settings: &SingleSignOn) -> Result<Claims, NotBelieved> {
    if claims.nonce != nonce {
        return Err(NotBelieved::Nonce);
    }
    let several = claims.aud.as_array().is_some_and(|all| all.len() > 1);
    match &claims.azp {
        Some(party) if *party != settings.client_id => return Err(NotBelieved::Party),
        None if several => return Err(NotBelieved::Party),
        _ => {}
    }
    if claims.sub.is_empty() || claims.sub.contains('\0') || claims.sub.chars().count() > MAX_SUBJECT_CHARS {
        return Err(NotBelieved::Subject);
    }
    Ok(Claims { subject: claims.sub, all: claims.others })
}

impl Claims {
    /// Adds what the provider says elsewhere of the same person; what it signed stays.
    pub(super) fn add(&mut self, more: Map<String, Value>) -> Result<(), NotBelieved> {
        if more.get("sub").and_then(Value::as_str) != Some(&self.subject) {
            return Err(NotBelieved::Subject);
        }
        for (name, value) in more {
            self.all.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Whether the provider says that it asked for this log-in who it is, rather than knew it from one before. To be
    /// asked before [`Claims::add`].
    pub(super) fn signed_in_since(&self, asked_at: i64) -> Result<(), NotBelieved> {
        let at = self.all.get("auth_time").and_then(Value::as_i64);
        let earliest = asked_at - LEEWAY_SECONDS.cast_signed();
        at.filter(|at| *at >= earliest).map(|_| ()).ok_or(NotBelieved::NotAskedAgain)
    }

    /// Whether the provider says that a second factor was shown there. To be asked before [`Claims::add`]: only what
    /// it signed counts.
    pub(super) fn second_factor(&self, settings: &SingleSignOn) -> bool {
        let said = |claim: &str, wanted: &[String]| {
            let is_wanted =
                |value: &Value| value.as_str().is_some_and(|said| wanted.iter().any(|one| one == said));
            match self.all.get(claim) {
                Some(Value::Array(all)) => all.iter().any(is_wanted),
                Some(one) => is_wanted(one),
                None => false,
            }
        };
        said("acr", &settings.second_factor_acr) || said("amr", &settings.second_factor_amr)
    }

    /// Who that is.
    pub(super) fn person(&self, settings: &SingleSignOn) -> Person {
        let text = |name: &str| self.all.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let email = text("email");
        let names = [text("preferred_username"), email.clone(), text("nickname"), self.subject.clone()];
        Person {
            id: format!("{} {}", settings.issuer, self.subject),
            names: names.into_iter().filter(|name| !name.is_empty()).collect(),
            email,
            role: role(self.all.get(&settings.role_claim), &settings.roles),
        }
    }
}

/// The highest role that one of the values of a claim gives.
fn role(claim: Option<&Value>, roles: &[(String, Role)]) -> Option<Role> {
    let values: Vec<&str> = match claim {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let given = roles.iter().filter(|(value, _)| value == "*" || values.contains(&value.as_str()));
    given.map(|(_, role)| *role).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_counts_and_none_is_none() {
        let roles = [("leads".to_owned(), Role::Admin), ("soc".into(), Role::Responder)];
        let role = |claim: Value| role(Some(&claim), &roles);
        assert_eq!(role("soc".into()), Some(Role::Responder));
        assert_eq!(role(serde_json::json!(["soc", "leads", 7])), Some(Role::Admin));
        assert_eq!(role(serde_json::json!(["SOC", "lead"])), None);
        assert_eq!([role(Value::Null), role(true.into()), role(serde_json::json!({"soc": 1}))], [None; 3]);
        let all = [("*".to_owned(), Role::Analyst)];
        assert_eq!(super::role(None, &all), Some(Role::Analyst));
    }
}
