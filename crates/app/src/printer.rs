//! The only door to stdout and stderr: stdout is data, stderr is talk.

use crate::exit::AppError;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};

/// How a part of a line looks in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Faint,
    Doubtful,
    Bad,
    Worst,
}

impl Look {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "2",
            Self::Doubtful => "33",
            Self::Bad => "31",
            Self::Worst => "1;31",
        }
    }
}

/// Prints. A reader that went away (`| head`) is no failure.
#[derive(Clone)]
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

    /// A line of data in parts with blanks between them, in colour or not; false when nobody reads any more. What a part
    /// holds ends no line.
    pub(crate) fn line(&self, parts: &[(Look, String)], colour: bool) -> bool {
        let shown = parts.iter().map(|(look, text)| match (colour, look.code()) {
            (true, code) if !code.is_empty() => format!("\x1b[{code}m{}\x1b[0m", on_one_line(text)),
            _ => on_one_line(text),
        });
        writeln!(stdout().lock(), "{}", shown.collect::<Vec<_>>().join(" ")).is_ok()
    }

    /// A line of JSON, which says the same however it is escaped; false when nobody reads any more.
    pub(crate) fn json(&self, line: &str) -> bool {
        let mut escaped = String::with_capacity(line.len());
        for c in line.chars() {
            match is_obeyed(c) {
                true => escaped.extend(format!("\\u{:04x}", u32::from(c)).chars()),
                false => escaped.push(c),
            }
        }
        writeln!(stdout().lock(), "{escaped}").is_ok()
    }

    /// Whether data is shown in colour unless somebody says otherwise.
    pub(crate) fn colours_data(&self) -> bool {
        stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
    }

    /// Resolves when nobody reads the data any more, as far as that shows before more is written.
    pub(crate) async fn data_is_unread(&self) {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;
            use tokio::net::unix::pipe::Sender;
            let pipe = stdout().as_fd().try_clone_to_owned().and_then(|data| {
                // It stays as it is: only whether its other end is there is looked at.
                Sender::from_file_unchecked(data.into())
            });
            if let Ok(pipe) = pipe
                && pipe.ready(tokio::io::Interest::ERROR).await.is_ok()
            {
                return;
            }
        }
        std::future::pending().await
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

/// The same for text that must not begin another line.
fn on_one_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
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
