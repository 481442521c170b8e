//! The people who log in.

use crate::text::{self, Given};
use crate::{Invalid, Role, Timestamp, UserId, invalid};

/// The longest user name, as in the services Watchpost replaces.
pub const MAX_USERNAME_CHARS: usize = 150;
/// The longest address that mail can be sent to (RFC 5321).
pub const MAX_EMAIL_CHARS: usize = 254;
/// Shorter passwords are guessed.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longer ones only make hashing slow.
pub const MAX_PASSWORD_CHARS: usize = 128;

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
}

/// Checks a user name: letters, digits and `@ . + - _`.
pub fn check_username(given: &Given<'_>) -> Result<String, String> {
    let name = text::line(given.required()?, MAX_USERNAME_CHARS)?;
    if name.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c)) {
        Ok(name)
    } else {
        Err("Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."
            .into())
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

/// Checks that a new password is worth having: long enough, not the user's name, not all digits.
pub fn check_new_password(given: &Given<'_>, username: &str) -> Result<String, String> {
    let password = given.required()?;
    let chars = password.chars().count();
    if password.is_empty() {
        return Err(invalid::BLANK.into());
    }
    if chars > MAX_PASSWORD_CHARS {
        return Err(format!("Ensure this field has no more than {MAX_PASSWORD_CHARS} characters."));
    }
    if password.contains('\0') {
        return Err("Null characters are not allowed.".into());
    }
    if chars < MIN_PASSWORD_CHARS {
        return Err(format!(
            "This password is too short. It must contain at least {MIN_PASSWORD_CHARS} characters."
        ));
    }
    if password.chars().all(|c| c.is_ascii_digit()) {
        return Err("This password is entirely numeric.".into());
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) {
        return Err("This password is one character over and over.".into());
    }
    if !username.is_empty()
        && password.to_lowercase().contains(&username.to_lowercase())
        && chars < username.chars().count() + MIN_PASSWORD_CHARS
    {
        return Err("The password is too similar to the username.".into());
    }
    Ok(password.to_owned())
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
    /// Checks all fields; on failure every wrong one is named.
    pub fn check(
        username: &Given<'_>,
        password: &Given<'_>,
        email: &Given<'_>,
        role: &Given<'_>,
    ) -> Result<Self, Invalid> {
        let mut wrong = Invalid::new();
        let username = wrong.take("username", check_username(username));
        let for_name = username.as_deref().unwrap_or("");
        let password = wrong.take("password", check_new_password(password, for_name));
        let email = wrong.take("email", check_email(email));
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
    fn weak_passwords_are_refused() {
        for weak in ["", "short", "123456789012345", "aaaaaaaaaaaaaaa", "alice-alice1", "tab\0tab-tab-tab"] {
            assert!(check_new_password(&given(weak), "alice").is_err(), "{weak:?}");
        }
        assert!(check_new_password(&given(&"a1".repeat(65)), "alice").is_err(), "130 characters");
        assert!(check_new_password(&given("correct horse battery"), "alice").is_ok());
    }

    #[test]
    fn user_names_and_addresses_have_a_shape() {
        assert!(check_username(&given("jane.doe+soc@example")).is_ok());
        for wrong in ["", "a b", "<b>", "a/b", "x\u{1b}"] {
            assert!(check_username(&given(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(check_email(&Given::Missing), Ok(String::new()));
        assert!(check_email(&given("a@b.example")).is_ok());
        for wrong in ["a", "a@", "@b.c", "a@b", "a@b.c d", "a@b@c.d", "a@b."] {
            assert!(check_email(&given(wrong)).is_err(), "{wrong:?}");
        }
    }
}
