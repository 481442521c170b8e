//! Tokens as SimpleJWT writes them: HS256, `token_type`, `exp`, `iat`, `jti`, `user_id`; and the session they belong to.

use crate::auth::seal::all_derived;
use crate::auth::secret::random_text;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use watchpost_model::{Timestamp, User, UserId};
use watchpost_pipeline::now;

/// How long an access token opens doors.
pub(crate) const ACCESS_SECONDS: i64 = 15 * 60;
/// How long a refresh token may be swapped.
pub(crate) const REFRESH_SECONDS: i64 = 24 * 60 * 60;
/// However often it is refreshed, a log-in doesn't go on for longer.
pub(crate) const MAX_SECONDS: i64 = 30 * 24 * 60 * 60;
/// Longer than any token of ours; what is longer isn't looked at.
const MAX_TOKEN_BYTES: usize = 2_048;
/// What a clock of another node may be ahead.
const CLOCKS_OFF_SECONDS: i64 = 60;
/// Who makes our tokens, and for whom.
const US: &str = "watchpost";

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Access,
    Refresh,
}

impl Kind {
    /// How long a token of this kind is good for.
    const fn seconds(self) -> i64 {
        match self {
            Self::Access => ACCESS_SECONDS,
            Self::Refresh => REFRESH_SECONDS,
        }
    }
}

/// What a token says. Nothing of it but who, in which session and until when is believed: what the user may do is
/// looked up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    token_type: Kind,
    iss: String,
    aud: String,
    pub(crate) exp: i64,
    iat: i64,
    pub(crate) jti: String,
    user_id: String,
    username: String,
    role: String,
    /// The session that the token belongs to.
    pub(crate) sid: String,
    /// The user's number when it was made; when the user's has moved on, the token is dead.
    pub(crate) epoch: i64,
}

impl Claims {
    pub(crate) fn user(&self) -> Option<UserId> {
        self.user_id.parse().ok()
    }
}

/// The only header that our tokens have: nothing in it chooses a key or an algorithm.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnHeader {
    typ: String,
    alg: String,
}

/// A part of a token, if it is an object: what reads structs would take a list of their fields, too.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn is_ours(token: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header = decoded(header).and_then(|bytes| {
        let header: OwnHeader = object(&bytes)?;
        Some(header.typ == "JWT" && header.alg == "HS256")
    });
    header == Some(true) && decoded(payload).is_some_and(|bytes| bytes.first() == Some(&b'{'))
}

pub(crate) struct Tokens {
    signing: EncodingKey,
    /// The key in use, and those before it while their tokens live.
    checking: Vec<DecodingKey>,
    validation: Validation,
}

impl Tokens {
    /// Signs with the first secret, takes tokens that were signed with any.
    pub(crate) fn new<'a>(secret_keys: impl Iterator<Item = &'a str>) -> Self {
        let keys: Vec<_> = all_derived("watchpost tokens", secret_keys).collect();
        let mut validation = Validation::new(Algorithm::HS256);
        // Looked at by the clock that counts for all nodes, which a library doesn't know.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[US]);
        validation.set_audience(&[US]);
        Self {
            signing: EncodingKey::from_secret(keys.first().expect("there is always the key in use")),
            checking: keys.iter().map(|key| DecodingKey::from_secret(key)).collect(),
            validation,
        }
    }

    /// A token of either kind and its claims.
    pub(crate) fn issue(
        &self,
        kind: Kind,
        user: &User,
        epoch: i64,
        session: &str,
        now: Timestamp,
    ) -> (String, Claims) {
        let seconds = kind.seconds();
        let claims = Claims {
            token_type: kind,
            iss: US.into(),
            aud: US.into(),
            exp: now.seconds() + seconds,
            iat: now.seconds(),
            jti: random_text(32),
            user_id: user.id.to_string(),
            username: user.username.clone(),
            role: user.role.title().to_owned(),
            sid: session.to_owned(),
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
        if token.len() > MAX_TOKEN_BYTES || !is_ours(token) {
            return None;
        }
        let read = |key| decode::<Claims>(token, key, &self.validation).ok();
        let claims = self.checking.iter().find_map(read)?.claims;
        // None of ours is made in the future or for longer.
        let now = now().seconds();
        let ours = claims.exp > now
            && claims.iat <= now + CLOCKS_OFF_SECONDS
            && claims.exp.checked_sub(claims.iat).is_some_and(|lives| lives <= claims.token_type.seconds());
        ours.then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::Role;
    use watchpost_model::user::{Theme, TimeZone};

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
            second_factor: false,
            must_change_password: false,
            single_sign_on: false,
            signed_up: false,
            theme: Theme::default(),
            time_zone: TimeZone::default(),
        }
    }

    fn tokens(secrets: &[&str]) -> Tokens {
        Tokens::new(secrets.iter().copied())
    }

    #[test]
    fn a_token_is_good_for_its_kind_its_time_and_its_key() {
        let now = now();
        let one = tokens(&["one secret"]);
        let (token, _) = one.issue(Kind::Access, &user(), 1, "s", now);
        assert_eq!(one.read(Kind::Access, &token).and_then(|c| c.user()), Some(UserId::new(7)));
        assert!(one.read(Kind::Refresh, &token).is_none(), "an access token refreshes nothing");
        assert!(tokens(&["another"]).read(Kind::Access, &token).is_none());
        let (old, _) = one.issue(Kind::Access, &user(), 1, "s", now.plus_seconds(-ACCESS_SECONDS - 1));
        assert!(one.read(Kind::Access, &old).is_none(), "it has ended");
        let (early, _) = one.issue(Kind::Access, &user(), 1, "s", now.plus_seconds(3_600));
        assert!(one.read(Kind::Access, &early).is_none(), "it comes from the future");
    }

    #[test]
    fn the_key_before_still_opens_while_the_new_one_signs() {
        let (before, now) = (tokens(&["old"]), now());
        let rotated = tokens(&["new", "old"]);
        let (token, _) = before.issue(Kind::Access, &user(), 1, "s", now);
        assert!(rotated.read(Kind::Access, &token).is_some());
        let (token, _) = rotated.issue(Kind::Access, &user(), 1, "s", now);
        assert!(
            before.read(Kind::Access, &token).is_none()
                && tokens(&["new"]).read(Kind::Access, &token).is_some()
        );
    }
}
