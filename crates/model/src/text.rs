//! Checked text: what was given for a field, and the rules every text follows.

use crate::invalid;
use std::borrow::Cow;

/// What a body gave for one field, before anything is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given<'a> {
    /// The field isn't there.
    #[default]
    Missing,
    /// The field is `null`.
    Null,
    /// A text, or a number as it was written.
    Text(Cow<'a, str>),
    /// `true` or `false`.
    Flag(bool),
    /// A JSON object, as it was written.
    Object(Cow<'a, str>),
    /// A list of texts.
    List(Vec<Cow<'a, str>>),
    /// Another list, or an object that no field takes.
    Other,
}

impl Given<'_> {
    /// The text that was given, or what is wrong about the field.
    pub fn required(&self) -> Result<&str, String> {
        match self {
            Self::Missing => Err(invalid::REQUIRED.into()),
            Self::Null => Err(invalid::NULL.into()),
            Self::Flag(_) | Self::Object(_) | Self::List(_) | Self::Other => {
                Err("Not a valid string.".into())
            }
            Self::Text(text) => Ok(text),
        }
    }

    /// The text that was given, nothing when it was left out, or what is wrong about the field.
    pub fn optional(&self) -> Result<Option<&str>, String> {
        match self {
            Self::Missing => Ok(None),
            given => given.required().map(Some),
        }
    }

    /// Yes or no, in any of the ways that forms and scripts write it; nothing when it was left out.
    pub fn flag(&self) -> Result<Option<bool>, String> {
        let wrong = || "Must be a valid boolean.".to_owned();
        match self {
            Self::Missing => Ok(None),
            Self::Flag(flag) => Ok(Some(*flag)),
            Self::Null => Err(invalid::NULL.into()),
            Self::Object(_) | Self::List(_) | Self::Other => Err(wrong()),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => Ok(Some(true)),
                "false" | "0" | "off" | "no" => Ok(Some(false)),
                _ => Err(wrong()),
            },
        }
    }

    /// This one, or the other when this one was left out: for fields with a second name.
    pub fn or(self, other: Self) -> Self {
        if self == Self::Missing { other } else { self }
    }
}

/// Characters of a text of others that the log shows: enough to recognise it by.
const SHOWN_CHARS: usize = 200;

/// The beginning of a text, as much of it as a log shows.
pub fn shown(text: &str) -> &str {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Checks a text of one line: trimmed, not blank, no longer than `max_chars`, no NUL.
pub fn line(text: &str, max_chars: usize) -> Result<String, String> {
    let text = text.trim();
    body(text, max_chars)
}

/// Checks a longer text and keeps it exactly as given: not blank, no longer than `max_chars`, no NUL.
pub fn body(text: &str, max_chars: usize) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(invalid::BLANK.into());
    }
    // PostgreSQL can't store NUL and SQLite can: both refuse it here, alike.
    if text.contains('\0') {
        return Err("Null characters are not allowed.".into());
    }
    // The byte length bounds the count of characters, so most texts are never counted.
    if text.len() > max_chars && text.chars().count() > max_chars {
        return Err(format!("Ensure this field has no more than {max_chars} characters."));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(line("  éé ", 2), Ok("éé".into()));
        assert_eq!(line("ééé", 2), Err("Ensure this field has no more than 2 characters.".into()));
    }

    #[test]
    fn blank_and_nul_are_refused_and_a_body_is_kept_as_given() {
        assert_eq!(line(" \t", 9), Err(invalid::BLANK.into()));
        assert_eq!(body("a\0b", 9), Err("Null characters are not allowed.".into()));
        assert_eq!(body(" a\n", 9), Ok(" a\n".into()));
    }
}
