//! The only door to stdout and stderr: stdout is data, stderr is talk.

use crate::exit::AppError;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};

/// Prints. A reader that went away (`| head`) is no failure.
pub(crate) struct Printer {
    colour: bool,
}

impl Printer {
    pub(crate) fn new() -> Self {
        Self { colour: stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A line of data.
    pub(crate) fn data(&self, line: impl Display) {
        writeln!(stdout().lock(), "{}", plain(&line.to_string())).ok();
    }

    /// A line of talk.
    pub(crate) fn say(&self, line: impl Display) {
        writeln!(stderr().lock(), "{}", plain(&line.to_string())).ok();
    }

    /// A question without an end of line.
    pub(crate) fn ask(&self, question: &str) {
        write!(stderr().lock(), "{question}").ok();
        stderr().flush().ok();
    }

    /// A warning.
    pub(crate) fn warn(&self, line: impl Display) {
        self.labelled("warning", "33", &line.to_string());
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn error(&self, error: &AppError) {
        self.labelled("error", "31", &error.message);
        if !error.hint.is_empty() {
            self.labelled("hint", "36", &error.hint);
        }
    }

    fn labelled(&self, label: &str, colour: &str, text: &str) {
        let text = plain(text);
        let line = match self.colour {
            true => format!("\x1b[1;{colour}m{label}:\x1b[0m {text}"),
            false => format!("{label}: {text}"),
        };
        writeln!(stderr().lock(), "{line}").ok();
    }
}

/// Whether a terminal acts on a character instead of showing it: controls, other ends of line, turns of direction.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text without what a terminal would obey: it may come from a sensor or a stranger.
fn plain(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => c,
        c if is_obeyed(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// Rows under headings, each column as wide as it has to be.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let line = |cells: &[String]| {
        let padded = cells.iter().enumerate().map(|(i, cell)| format!("{cell:<w$}", w = width(i)));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    std::iter::once(line(&headings)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_to_obey() {
        assert_eq!(plain("a\x1b]52;c;x\x07b\u{202e}c\r"), "a\u{fffd}]52;c;x\u{fffd}b\u{fffd}c\u{fffd}");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["1".to_owned(), "alice".to_owned()], vec!["22".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID  NAME\n1   alice\n22  b");
    }
}
