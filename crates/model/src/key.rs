//! Sensor keys: the credential of things that send events.

use crate::text::{self, Given};
use crate::{Invalid, KeyId, Timestamp};

/// The longest name of a key.
pub const MAX_KEY_NAME_CHARS: usize = 100;
/// A key that lives longer than ten years is one without an end.
pub const MAX_KEY_DAYS: i64 = 3_650;

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
}

impl NewKey {
    /// Checks all fields; on failure every wrong one is named.
    pub fn check(name: &Given<'_>, expires_in_days: &Given<'_>) -> Result<Self, Invalid> {
        let mut wrong = Invalid::new();
        let name = wrong.take("name", name.required().and_then(|t| text::line(t, MAX_KEY_NAME_CHARS)));
        let days = wrong.take("expires_in_days", check_days(expires_in_days));
        match (name, days) {
            (Some(name), Some(expires_in_days)) => Ok(Self { name, expires_in_days }),
            _ => Err(wrong),
        }
    }
}

fn check_days(given: &Given<'_>) -> Result<Option<i64>, String> {
    let text = match given {
        Given::Missing | Given::Null => return Ok(None),
        given => given.required()?,
    };
    match text.trim().parse() {
        Ok(days) if (1..=MAX_KEY_DAYS).contains(&days) => Ok(Some(days)),
        _ => Err(format!("A whole number of days from 1 to {MAX_KEY_DAYS} is expected.")),
    }
}
