//! User names: what people are recognised by, on pages, in histories and in the audit log. None may look like another
//! or like a word that stands for something else.

use crate::text::{self, Given};
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;
use unicode_security::{GeneralSecurityProfile, MixedScript};

/// The longest user name, as in the services Watchpost replaces.
pub const MAX_USERNAME_CHARS: usize = 150;

/// What stands for something else: for those who are no users in histories and in the audit log, for nobody and for
/// oneself where filters and forms take a name.
const RESERVED: [&str; 20] = [
    "watchpost",
    "command-line",
    "anonymous",
    "system",
    "me",
    "myself",
    "self",
    "none",
    "null",
    "nobody",
    "somebody",
    "everybody",
    "everyone",
    "anyone",
    "unassigned",
    "all",
    "any",
    "unknown",
    "deleted",
    "deactivated",
];

/// The form of a name that is unique: small letters, and one way to write each of them.
pub fn name_key(username: &str) -> String {
    username.nfkc().collect::<String>().to_lowercase()
}

/// Checks a user name: letters and digits of one script and `@ . + - _`, nothing that can't be seen or told apart, and
/// no word that stands for something else. Letters that can be written in several ways are written in one.
pub fn check_username(given: &Given<'_>) -> Result<String, String> {
    let name = text::line(given.required()?, MAX_USERNAME_CHARS)?;
    let name = text::line(&name.nfkc().collect::<String>(), MAX_USERNAME_CHARS)?;
    if RESERVED.contains(&name_key(&name).as_str()) {
        return Err("This name stands for something else in lists, histories and the audit log.".into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "@.+-_".contains(c);
    let known = |c: char| c.is_alphanumeric() && GeneralSecurityProfile::identifier_allowed(c);
    if !name.chars().all(|c| plain(c) || known(c)) || !name.chars().any(char::is_alphanumeric) {
        return Err(
            "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."
                .into(),
        );
    }
    if !name.as_str().is_single_script() {
        return Err("The letters of a username must be of one script: those of others look alike.".into());
    }
    if !name.is_ascii() && skeleton(&name).all(|c| c.is_ascii()) {
        return Err("This username looks like one in plain Latin letters; write it with those.".into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<String, String> {
        check_username(&Given::Text(text.into()))
    }

    #[test]
    fn names_of_many_languages_are_names() {
        for good in [
            "jane.doe+soc@example",
            "Jürgen",
            "Łukasz",
            "анна",
            "Ελένη",
            "田中太郎",
            "たなか",
            "田中たろう",
            "김철수",
            "محمد",
            "analyst_1",
            "user-2",
        ] {
            assert_eq!(checked(good), Ok(good.to_owned()));
        }
        assert_eq!(checked("Ju\u{308}rgen"), Ok("Jürgen".into()), "one way to write it");
        assert_eq!(checked("ａｄｍｉｎ２"), Ok("admin2".into()), "and it is found to be taken by that");
        assert_eq!(name_key("JU\u{308}RGEN"), name_key("jürgen"));
    }

    #[test]
    fn what_looks_like_another_or_can_t_be_seen_is_none() {
        for (wrong, what) in [
            ("", "nothing"),
            ("a b", "a blank"),
            ("<b>", "signs"),
            ("a/b", "a slash"),
            ("x\u{1b}", "a control character"),
            ("...", "nothing to say"),
            ("аdmin", "a Cyrillic letter among Latin ones"),
            ("admіn", "another"),
            ("αdmin", "a Greek one"),
            ("admin\u{661}", "a digit of another script"),
            ("оса", "Cyrillic letters that all look Latin"),
            ("ɑdmin", "a Latin letter that looks like another"),
            ("adm\u{131}n", "one without its dot"),
            ("ad\u{200b}min", "no width"),
            ("admin\u{200d}", "a joiner"),
            ("admin\u{feff}", "a byte order mark"),
            ("\u{202e}nimda", "written from right to left"),
            ("\u{2066}admin", "isolated"),
            ("admin\u{3164}", "a filler"),
            ("admin\u{115f}", "another filler"),
            ("ad\u{ad}min", "a soft hyphen"),
            ("admin\u{34f}", "a joiner of graphemes"),
            ("admin\u{e0041}", "a tag"),
        ] {
            assert!(checked(wrong).is_err(), "{what}: {wrong:?}");
        }
    }

    #[test]
    fn words_that_stand_for_something_else_are_none() {
        for word in RESERVED {
            assert!(checked(word).is_err() && checked(&word.to_uppercase()).is_err(), "{word}");
        }
        assert!(checked("ｎｏｎｅ").is_err() && checked(" me ").is_err());
        assert!(checked("nonette").is_ok() && checked("admin").is_ok());
    }
}
