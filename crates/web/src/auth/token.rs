//! Tokens as SimpleJWT writes them: HS256, `token_type`, `exp`, `iat`, `jti`, `user_id`.

use crate::auth::secret::random_text;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use watchpost_model::{Timestamp, User, UserId};

/// How long an access token opens doors.
pub(crate) const ACCESS_SECONDS: i64 = 15 * 60;
/// How long a refresh token may be swapped.
pub(crate) const REFRESH_SECONDS: i64 = 24 * 60 * 60;
/// Longer than any token of ours; what is longer isn't looked at.
const MAX_TOKEN_BYTES: usize = 2_048;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Access,
    Refresh,
}

/// What a token says. Nothing of it but who and until when is believed: what the user may do is looked up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    token_type: Kind,
    pub(crate) exp: i64,
    iat: i64,
    pub(crate) jti: String,
    user_id: String,
    username: String,
    role: String,
    /// The user's number when it was made; when the user's has moved on, the token is dead.
    pub(crate) epoch: i64,
}

impl Claims {
    pub(crate) fn user(&self) -> Option<UserId> {
        self.user_id.parse().ok()
    }
}

pub(crate) struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(crate) fn new(secret_key: &str) -> Self {
        // The secret serves more than one purpose; each has a key of its own.
        let key = Sha256::new().chain_update("watchpost tokens\0").chain_update(secret_key).finalize();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_required_spec_claims(&["exp"]);
        validation.validate_aud = false;
        Self { signing: EncodingKey::from_secret(&key), checking: DecodingKey::from_secret(&key), validation }
    }

    /// A token of either kind and its claims.
    pub(crate) fn issue(&self, kind: Kind, user: &User, epoch: i64, now: Timestamp) -> (String, Claims) {
        let seconds = match kind {
            Kind::Access => ACCESS_SECONDS,
            Kind::Refresh => REFRESH_SECONDS,
        };
        let claims = Claims {
            token_type: kind,
            exp: now.seconds() + seconds,
            iat: now.seconds(),
            jti: random_text(32),
            user_id: user.id.to_string(),
            username: user.username.clone(),
            role: user.role.title().to_owned(),
            epoch,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.signing);
        (token.expect("claims of texts and numbers can be signed"), claims)
    }

    /// The claims of a token of this kind that was signed here and hasn't ended.
    pub(crate) fn read(&self, kind: Kind, token: &str) -> Option<Claims> {
        self.read_any(token).filter(|claims| claims.token_type == kind)
    }

    /// As [`Tokens::read`], for either kind; with the kind.
    pub(crate) fn read_any_kind(&self, token: &str) -> Option<(Kind, Claims)> {
        self.read_any(token).map(|claims| (claims.token_type, claims))
    }

    fn read_any(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        decode::<Claims>(token, &self.checking, &self.validation).ok().map(|data| data.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::Role;

    fn user() -> User {
        User {
            id: UserId::new(7),
            username: "alice".into(),
            email: String::new(),
            role: Role::Admin,
            active: true,
            created_at: Timestamp::from_micros(0),
            last_login_at: None,
            version: 1,
        }
    }

    #[test]
    fn a_token_is_good_for_its_kind_its_time_and_its_key() {
        let now = watchpost_pipeline::now();
        let tokens = Tokens::new("one secret");
        let (token, _) = tokens.issue(Kind::Access, &user(), 1, now);
        assert_eq!(tokens.read(Kind::Access, &token).and_then(|c| c.user()), Some(UserId::new(7)));
        assert!(tokens.read(Kind::Refresh, &token).is_none(), "an access token refreshes nothing");
        assert!(Tokens::new("another").read(Kind::Access, &token).is_none());
        let (old, _) = tokens.issue(Kind::Access, &user(), 1, now.plus_seconds(-ACCESS_SECONDS - 1));
        assert!(tokens.read(Kind::Access, &old).is_none(), "it has ended");
    }
}
