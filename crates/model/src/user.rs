//! The people who log in.

pub use crate::name::{MAX_USERNAME_CHARS, check_username, name_key};

use crate::password::check_new_password;
use crate::text::{self, Given};
use crate::{Invalid, Rank, Role, Timestamp, UserId, invalid};

/// The longest address that mail can be sent to (RFC 5321).
pub const MAX_EMAIL_CHARS: usize = 254;

/// A user, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name to log in with, unique in any letter case.
    pub username: String,
    /// An address, or empty.
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may log in.
    pub active: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the user last logged in.
    pub last_login_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
    /// Whether logging in takes a second factor.
    pub second_factor: bool,
    /// Whether the password is one-time and has to be changed.
    pub must_change_password: bool,
    /// Whether the user logs in by single sign-on and has no password here.
    pub single_sign_on: bool,
    /// Whether the account was made by sign-up rather than by an Admin.
    pub signed_up: bool,
    /// How pages look for the user.
    pub theme: Theme,
    /// In which times pages are written for the user.
    pub time_zone: TimeZone,
}

impl User {
    /// What the user counts as when the table of permissions is asked. An Admin is one by another Admin's doing,
    /// however the account was made.
    pub fn rank(&self) -> Rank {
        match self.signed_up && self.role != Role::Admin {
            true => Rank::SignedUp(self.role),
            false => Rank::User(self.role),
        }
    }
}

/// How pages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As everything else on the user's screen.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// The name in the API, as the store keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Reads a name in any letter case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// In which times pages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeZone {
    /// Those of where the browser is.
    #[default]
    Browser,
    /// Those of everybody.
    Utc,
}

impl TimeZone {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Browser, Self::Utc];

    /// The name in the API, as the store keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Utc => "UTC",
        }
    }

    /// Reads a name in any letter case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|zone| zone.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// Checks an address. Only its shape: whether mail arrives is for mail to find out.
pub fn check_email(given: &Given<'_>) -> Result<String, String> {
    let Some(text) = given.optional()? else { return Ok(String::new()) };
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let email = text::line(text, MAX_EMAIL_CHARS)?;
    let well_formed = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !domain.ends_with('.')
    });
    if well_formed && !email.contains(char::is_whitespace) {
        Ok(email)
    } else {
        Err("Enter a valid email address.".into())
    }
}

/// Checks a role's name.
pub fn check_role(given: &Given<'_>) -> Result<Role, String> {
    let text = given.required()?;
    Role::parse(text).ok_or_else(|| invalid::not_a_choice(text))
}

/// A user to be made, every field checked, the password still in the clear.
#[derive(Clone)]
pub struct NewUser {
    /// The name to log in with.
    pub username: String,
    /// The password in the clear.
    pub password: String,
    /// An address, or empty.
    pub email: String,
    /// What the user may do.
    pub role: Role,
}

impl NewUser {
    /// Checks all fields; on failure every wrong one is named. The server's name is none for a password.
    pub fn check(
        username: &Given<'_>,
        password: &Given<'_>,
        email: &Given<'_>,
        role: &Given<'_>,
        server: Option<&str>,
    ) -> Result<Self, Invalid> {
        let mut wrong = Invalid::new();
        let username = wrong.take("username", check_username(username));
        let for_name = username.as_deref().unwrap_or("");
        let email = wrong.take("email", check_email(email));
        let others = [email.as_deref().unwrap_or(""), server.unwrap_or("")];
        let password = wrong.take("password", check_new_password(password, for_name, &others));
        let role = wrong.take("role", check_role(role));
        match (username, password, email, role) {
            (Some(username), Some(password), Some(email), Some(role)) => {
                Ok(Self { username, password, email, role })
            }
            _ => Err(wrong),
        }
    }
}

/// A change of a user, every field checked, the password still in the clear. What is `None` stays.
#[derive(Clone, Default)]
pub struct UserChangeRequest {
    /// A new name.
    pub username: Option<String>,
    /// A new password in the clear.
    pub password: Option<String>,
    /// Whether that password is one-time.
    pub must_change_password: bool,
    /// A new address.
    pub email: Option<String>,
    /// A new role.
    pub role: Option<Role>,
    /// Whether the user may log in.
    pub active: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Given<'_> {
        Given::Text(text.into())
    }

    #[test]
    fn addresses_have_a_shape() {
        assert_eq!(check_email(&Given::Missing), Ok(String::new()));
        assert!(check_email(&given("a@b.example")).is_ok());
        for wrong in ["a", "a@", "@b.c", "a@b", "a@b.c d", "a@b@c.d", "a@b."] {
            assert!(check_email(&given(wrong)).is_err(), "{wrong:?}");
        }
    }
}
