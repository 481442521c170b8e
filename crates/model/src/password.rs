//! What a new password has to be: long, and nothing that is tried first. Which characters it is made of is its
//! user's business.

use crate::invalid;
use crate::text::Given;

/// Shorter passwords are guessed.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longer ones only make hashing slow.
pub const MAX_PASSWORD_CHARS: usize = 128;

/// The 10,000 passwords that leaks show most often, in small letters and in order.
const COMMON: &str = include_str!("common-passwords.txt");

const TOO_COMMON: &str = "This password is too common.";

/// Whether a text in small letters is one of the passwords that are tried first.
fn is_listed(text: &str) -> bool {
    // Lines of a sorted text: half of what is left lies before or after the line in the middle.
    let mut left = COMMON;
    while !left.is_empty() {
        let middle = left.len() / 2;
        let start = left[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = left[start..].find('\n').map_or(left.len(), |at| start + at);
        match text.cmp(&left[start..end]) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => left = &left[..start],
            std::cmp::Ordering::Greater => left = left.get(end + 1..).unwrap_or_default(),
        }
    }
    false
}

/// Digits and signs that stand for letters.
fn plain(text: &str) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    };
    text.chars().map(letter).collect()
}

/// The text that a password repeats from its beginning to its end, if it does.
fn repeated(text: &str) -> Option<&str> {
    let ends = text.char_indices().map(|(at, _)| at).skip(1);
    ends.take_while(|end| *end <= text.len() / 2).map(|end| &text[..end]).find(|part| {
        let pieces = text.as_bytes().chunks(part.len());
        pieces.into_iter().all(|piece| part.as_bytes().starts_with(piece))
    })
}

/// Whether each character follows from the one before it: `abcdefghijkl`, `987654321098`, `aaaaaaaaaaaa`.
fn is_a_run(text: &str) -> bool {
    let number = |c: char| i64::from(u32::from(c));
    let steps: Vec<i64> =
        text.chars().zip(text.chars().skip(1)).map(|(a, b)| number(b) - number(a)).collect();
    let round = |step: i64| step.rem_euclid(10);
    let digits = text.chars().all(|c| c.is_ascii_digit());
    steps.first().is_some_and(|first| {
        first.abs() <= 1 && steps.iter().all(|step| step == first || digits && round(*step) == round(*first))
    })
}

/// Whether a password is among what is tried first: a common one, a common one made longer with digits and signs, or
/// one over and over.
pub fn is_common(password: &str) -> bool {
    let small = password.to_lowercase();
    let edge = |c: char| !c.is_alphabetic();
    let mut looks = vec![small.as_str(), small.trim_matches(edge), small.trim_end_matches(edge)];
    if let Some(part) = repeated(&small) {
        looks.push(part);
        looks.push(part.trim_matches(edge));
    }
    is_a_run(&small)
        || repeated(&small).is_some_and(|part| part.chars().count() <= 5)
        || looks.iter().any(|look| look.chars().count() >= 4 && (is_listed(look) || is_listed(&plain(look))))
}

/// Whether a password is somebody's name with little around it.
fn is_like(password: &str, name: &str) -> bool {
    let (password, name) = (password.to_lowercase(), name.to_lowercase());
    let around = password.chars().count().saturating_sub(name.chars().count());
    let backwards: String = name.chars().rev().collect();
    name.chars().count() >= 3
        && around < MIN_PASSWORD_CHARS
        && (password.contains(&name)
            || password.contains(&backwards)
            || plain(&password).contains(&plain(&name)))
}

/// Checks that a new password is worth having.
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
    let mail_name = username.split('@').next().unwrap_or_default();
    if is_like(password, username) || is_like(password, mail_name) {
        return Err("The password is too similar to the username.".into());
    }
    if is_common(password) {
        return Err(TOO_COMMON.into());
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<String, String> {
        check_new_password(&Given::Text(text.into()), "alice")
    }

    #[test]
    fn the_list_is_searched_from_its_first_line_to_its_last() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert_eq!(lines.len(), 10_000);
        assert!(lines.is_sorted(), "or it can't be searched");
        assert!(lines.iter().all(|line| is_listed(line)));
        assert!(!is_listed("correct horse") && !is_listed("") && !is_listed("~~~~") && !is_listed("!"));
    }

    #[test]
    fn weak_passwords_are_refused() {
        let weak = [
            "",
            "short",
            "tab\0tab-tab-tab",
            "aaaaaaaaaaaaaaa",
            "123456789012345",
            "987654321098",
            "abcdefghijklmno",
            "alice-alice1",
            "ecila-ecila-x",
            "4l1ce4l1ce11",
            "password1234",
            "Password!!!!!!",
            "P@ssw0rd2026",
            "qwertyqwerty",
            "passwordpassword",
            "dragon123dragon123",
            "1qaz2wsx3edc",
            "abab abab abab",
        ];
        for weak in weak {
            assert!(checked(weak).is_err(), "{weak:?}");
        }
        assert!(checked(&"a1b2c3d4e5".repeat(13)).is_err(), "130 characters");
    }

    #[test]
    fn what_is_long_and_uncommon_is_taken_whatever_it_is_made_of() {
        for good in [
            "correct horse battery",
            "correct-horse-battery",
            "ünïcödé-möhrensaft",
            "739205518364",
            "wolkenbruch im mai",
        ] {
            assert_eq!(checked(good), Ok(good.to_owned()));
        }
        assert!(checked("alice prefers long walks in winter").is_ok(), "a name in a sentence is no harm");
    }
}
