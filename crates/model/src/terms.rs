//! What a text is found by: the words of the full-text index, cut the same way for texts and for questions.
//!
//! A text is cut at blanks, quotes, brackets and the like. Each piece is a term as a whole, so that addresses, host
//! names, paths, hashes and CVE ids are found as they are written, and so are its parts: `edge-fw1.example.com:443`
//! is found by itself, by `edge-fw1.example.com`, and by `edge`, `fw1`, `example`, `com` and `443`.

use crate::Event;

/// Longer terms are cut: a SHA-512 in hexadecimal has 128 characters.
pub const MAX_TERM_BYTES: usize = 128;
/// The index knows so many different terms of a text; no sentence has more.
pub const MAX_TERMS: usize = 4_000;
/// Words in one question.
pub const MAX_WORDS: usize = 20;

fn cuts(c: char) -> bool {
    match c {
        'a'..='z' | '0'..='9' | 'A'..='Z' | '.' | '-' | '_' | ':' | '/' => false,
        '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '|' | '=' | '!'
        | '?' | '*' => true,
        _ if c.is_ascii() => c.is_ascii_whitespace() || c.is_ascii_control(),
        '“' | '”' | '„' | '‘' | '’' | '«' | '»' => true,
        _ => c.is_whitespace() || c.is_control(),
    }
}

/// The signs of ASCII that a term may hold beside letters and digits.
pub const INSIDE_TERMS: &str = "#$%&+-./:=@\\^_~";

fn inner_cuts(c: char) -> bool {
    matches!(c, '/' | '\\' | ':' | '@' | '%' | '&' | '+' | '#' | '~' | '^' | '$')
}

fn trimmed(piece: &str) -> &str {
    piece.trim_matches(|c: char| !c.is_alphanumeric())
}

fn bounded(term: &str) -> &str {
    &term[..term.floor_char_boundary(MAX_TERM_BYTES)]
}

/// Every term of a text in small letters; some occur more than once.
pub fn each_term(text: &str, mut see: impl FnMut(&str)) {
    let text = text.to_lowercase();
    for piece in text.split(cuts).map(trimmed).filter(|piece| !piece.is_empty()) {
        see(bounded(piece));
        if piece.chars().all(char::is_alphanumeric) {
            continue;
        }
        for part in piece.split(inner_cuts).map(trimmed) {
            if part.len() < piece.len() && !part.is_empty() {
                see(bounded(part));
            }
            let words = part.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() < part.len());
            words.filter(|word| !word.is_empty()).for_each(|word| see(bounded(word)));
        }
    }
}

/// The term by which an event with this value in a field is found. No word of a text or a question begins like it:
/// those are cut at `=`. Different values may have the same term, so whoever looks by it looks at the value again.
pub fn field_term(field: &str, value: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || INSIDE_TERMS.contains(c) { c } else { '=' };
    let folded: String = value.to_ascii_lowercase().chars().map(kept).collect();
    bounded(&format!("={field}={folded}")).to_owned()
}

/// Whether no other value, but in other letter case, has the same term: then the index alone knows who has it.
pub fn is_own_term(field: &str, value: &str) -> bool {
    let kept = |c: char| c.is_alphanumeric() || (c != '=' && INSIDE_TERMS.contains(c));
    // A longer one is cut in front of a character that would end behind the bound.
    let cut_from = MAX_TERM_BYTES - ('\u{10ffff}'.len_utf8() - 1);
    value.chars().all(kept) && field.len() + value.len() + 2 < cut_from
}

/// One word of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// In small letters.
    pub text: String,
    /// Only terms that are this word; otherwise also those that begin with it.
    pub whole: bool,
}

/// What to look for: every word has to be in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    text: String,
    words: Vec<Word>,
}

impl Search {
    /// Reads a question. Words in double quotes are looked for whole, others also as the beginning of a term.
    pub fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        for (n, part) in text.split('"').enumerate() {
            // Every second part stands in quotes, unless the last quote was never closed.
            let whole = n % 2 == 1 && text.matches('"').count() > n;
            let lower = part.to_lowercase();
            let pieces = lower.split(cuts).map(trimmed).filter(|piece| !piece.is_empty());
            words.extend(pieces.map(|piece| Word { text: bounded(piece).to_owned(), whole }));
        }
        words.truncate(MAX_WORDS);
        Self { text: text.to_owned(), words }
    }

    /// The question as it was asked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The words; none when the question holds nothing that a text could be found by.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// Whether an event has all words.
    pub fn finds(&self, event: &Event) -> bool {
        let mut missing: Vec<&Word> = self.words.iter().collect();
        event.each_text(|text| {
            each_term(text, |term| {
                missing.retain(|word| match word.whole {
                    true => term != word.text,
                    false => !term.starts_with(&word.text),
                });
            });
        });
        !self.words.is_empty() && missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        each_term(text, |term| found.push(term.to_owned()));
        found
    }

    #[test]
    fn what_analysts_look_for_is_found_whole_and_by_its_parts() {
        let text = "Blocked 203.0.113.7:443 -> edge-fw1.example.com, CVE-2026-1234 in /usr/bin/curl (user=bob@example.com)";
        let found = terms(text);
        for wanted in [
            "blocked",
            "203.0.113.7:443",
            "203.0.113.7",
            "443",
            "edge-fw1.example.com",
            "edge",
            "cve-2026-1234",
            "usr/bin/curl",
            "curl",
            "user",
            "bob@example.com",
            "bob",
        ] {
            assert!(found.iter().any(|term| term == wanted), "{wanted} is missing in {found:?}");
        }
        assert_eq!(terms("  -- %"), Vec::<String>::new());
        assert!(terms("2001:db8::1").contains(&"2001:db8::1".to_owned()));
        assert!(terms(r"C:\Windows\System32\cmd.exe").contains(&"cmd.exe".to_owned()));
    }

    #[test]
    fn quotes_ask_for_whole_words() {
        let word = |text: &str, whole| Word { text: text.into(), whole };
        let parsed = Search::parse("Port \"10.0.0.1\" scan, /etc/");
        assert_eq!(
            parsed.words(),
            [word("port", false), word("10.0.0.1", true), word("scan", false), word("etc", false)]
        );
        assert_eq!(Search::parse("\"open").words(), [word("open", false)], "a quote that isn't closed");
        assert!(Search::parse("% -").words().is_empty());
    }

    #[test]
    fn a_term_of_ones_own_is_nobody_elses() {
        for value in ["fw", "edge-fw1.example.com:443", "bob@example.com", r"CORP\bob", "日本語"] {
            assert!(is_own_term("host", value), "{value}");
        }
        for (value, other) in [("a b", "a=b"), ("a=b", "a b"), ("(x)", "[x]")] {
            assert_eq!(field_term("host", value), field_term("host", other));
            assert!(!is_own_term("host", value), "{value}");
        }
        // However long the last character is that doesn't fit: what is cut is nobody's own, and nothing is cut like it.
        for tail in ["x", "é", "語", "🦀"] {
            for n in 100..140 {
                let value = format!("{}{tail}", "x".repeat(n));
                let term = field_term("host", &value);
                let longer = field_term("host", &format!("{value}{tail}"));
                assert!(
                    !is_own_term("host", &value) || (term != longer && term.ends_with(&value)),
                    "{n} {tail}"
                );
            }
        }
    }

    #[test]
    fn terms_are_bounded_in_bytes() {
        for term in terms(&"é".repeat(500)) {
            assert!(term.len() <= MAX_TERM_BYTES);
        }
    }
}
