//! What a new password has to be: long, and nothing that is tried first. Which characters it is made of is its
//! user's business.

use crate::invalid;
use crate::text::Given;

/// Shorter passwords are guessed.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longer ones only make hashing slow.
pub const MAX_PASSWORD_CHARS: usize = 128;

/// What is left of a password without names, the calendar and years has to be this long.
const MIN_OWN_CHARS: usize = 8;

/// The 10,000 passwords that leaks show most often and the 5,000 most frequent of those that are long enough to be
/// taken, in small letters and in order.
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

/// What people put before a year: seasons, months and days of the week.
const CALENDAR: &str = "spring summer autumn fall winter january february march april may june july august september \
    october november december monday tuesday wednesday thursday friday saturday sunday \
    frühling fruehling fruhling frühjahr fruehjahr sommer herbst januar jänner februar feber märz maerz marz mai juni \
    juli oktober dezember montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag \
    printemps été automne hiver janvier février fevrier mars avril juin juillet août septembre octobre novembre \
    décembre decembre lundi mardi mercredi jeudi vendredi samedi dimanche \
    primavera verano otoño otono invierno enero febrero marzo abril mayo junio julio agosto septiembre octubre \
    noviembre diciembre lunes martes miercoles jueves viernes domingo \
    estate autunno inverno gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre";

/// The product's own name.
const PRODUCT: &str = "watchpost";

/// The words that somebody who guesses this user's password on this server tries first, in small letters: the longest
/// first, since one may be the beginning of another.
fn words(username: &str, others: &[&str]) -> Vec<Vec<char>> {
    let parts = |text: &str, shortest: usize| -> Vec<String> {
        let small = text.to_lowercase();
        let parts =
            small.split(|c: char| !c.is_alphanumeric()).filter(|part| part.chars().count() >= shortest);
        parts.map(str::to_owned).collect()
    };
    let whole: String = username.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let mut words = vec![PRODUCT.to_owned()];
    words.extend((whole.chars().count() >= 3).then_some(whole));
    words.extend(parts(username, 3));
    words.extend(others.iter().flat_map(|other| parts(other, 4)));
    let mut words: Vec<Vec<char>> = words.iter().map(|word| plain(word).chars().collect()).collect();
    let backwards: Vec<Vec<char>> = words.iter().map(|word| word.iter().rev().copied().collect()).collect();
    words.extend(backwards);
    words.extend(CALENDAR.split_whitespace().map(|word| word.chars().collect()));
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
}

/// Where a year of somebody's life begins among digits.
fn is_year(digits: &[char]) -> bool {
    let year: String = digits.iter().collect();
    year.len() == 4 && year.parse::<u32>().is_ok_and(|year| (1940..2040).contains(&year))
}

/// Whether a password is nothing but names, the calendar, years and what is common, in any order: `watchpost2026!`,
/// `Sommer2026Sommer`.
fn is_made_of_names(password: &str, username: &str, others: &[&str]) -> bool {
    let small: Vec<char> = password.to_lowercase().chars().collect();
    let small: Vec<char> = small.into_iter().filter(|c| c.is_alphanumeric() || "!|@$".contains(*c)).collect();
    let letters: Vec<char> = plain(&small.iter().collect::<String>()).chars().collect();
    let mut own = vec![true; small.len()];
    for word in words(username, others) {
        for start in 0..(letters.len() + 1).saturating_sub(word.len()) {
            let place = start..start + word.len();
            if letters[place.clone()] == word && own[place.clone()].iter().all(|own| *own) {
                own[place].fill(false);
            }
        }
    }
    for start in 0..small.len().saturating_sub(3) {
        let place = start..start + 4;
        if is_year(&small[place.clone()]) && own[place.clone()].iter().all(|own| *own) {
            own[place].fill(false);
        }
    }
    if own.iter().all(|own| *own) {
        return false;
    }
    let rest: String = small.iter().zip(&own).map(|(c, own)| if *own { *c } else { ' ' }).collect();
    let mut pieces: Vec<&str> = rest.split_whitespace().collect();
    pieces.sort_unstable();
    pieces.dedup();
    let worth = |piece: &&str| match is_common(piece) {
        true => 0,
        false => piece.chars().filter(|c| c.is_alphanumeric()).count(),
    };
    pieces.iter().map(worth).sum::<usize>() < MIN_OWN_CHARS
}

/// Checks that a new password is worth having. `others` is what else is known about its user and the server: the
/// user's address, the server's name.
pub fn check_new_password(given: &Given<'_>, username: &str, others: &[&str]) -> Result<String, String> {
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
    if is_made_of_names(password, username, others) {
        return Err("This password is made of names, common words and years, which are tried first.".into());
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<String, String> {
        check_new_password(
            &Given::Text(text.into()),
            "alice",
            &["a.smithers@acme.example", "siem.acme.example"],
        )
    }

    #[test]
    fn the_list_is_searched_from_its_first_line_to_its_last() {
        let lines: Vec<_> = COMMON.lines().collect();
        let long = lines.iter().filter(|line| line.chars().count() >= MIN_PASSWORD_CHARS).count();
        assert_eq!((lines.len(), long), (14_944, 5_000));
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
            "leavemealone",
            "qazwsxedcrfv",
            "WebSolutions",
            "zxcasdqwe123",
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
    fn names_and_years_are_refused() {
        let weak = [
            "watchpost2026!",
            "Watchpost!!!!",
            "W4tchp0st-2025",
            "watch-post-2026-x",
            "tsophctaw2026!",
            "Sommer2026Sommer",
            "Frühling2026Frühling",
            "summer-winter-26",
            "2025Oktober2026",
            "Alice1985Alice1985!",
            "smithers+watchpost",
            "acme-siem-2026!!",
            "Watchpost-admin-2026",
            "acmeacmeacme1234",
        ];
        for weak in weak {
            assert!(checked(weak).is_err(), "{weak:?}");
        }
        // What is left without them stands by itself.
        for good in
            ["watchpost-x7Tq9mLw", "sommerregen auf blech", "739205518364", "in may the owls were quiet"]
        {
            assert_eq!(checked(good), Ok(good.to_owned()));
        }
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
