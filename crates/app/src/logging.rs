//! The log goes to stderr: for people at a terminal, one JSON object a line otherwise.
//!
//! Lines are handed to a thread that writes them, so that a slow terminal or pipe never holds up a request. When
//! it falls too far behind, lines are dropped and counted, and the count is said.

use crate::config::LogFormat;
use crate::printer::is_obeyed;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Writer, debug_fn};
use tracing_subscriber::fmt::{FormatFields, MakeWriter, SubscriberBuilder};
use watchpost_pipeline::now;

/// Lines that may wait to be written: a few seconds' worth of a very busy server.
const WAITING_LINES: usize = 16_384;

/// Characters of one text in a line. The longest reasons of ours are shorter; what senders and clients make up can be
/// as long as a body may be.
const MAX_TEXT_CHARS: usize = 1_000;
/// What stands for the rest.
const CUT: char = '…';

/// Writes what still waits when it is dropped.
pub(crate) struct Guard {
    lines: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // An empty line is the end: the subscriber keeps a sender of its own for as long as the process lives.
        if let Some(lines) = self.lines.take() {
            lines.send(Vec::new()).ok();
        }
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

/// Starts logging.
pub(crate) fn start(filter: &str, format: LogFormat) -> Guard {
    let (lines, waiting) = sync_channel(WAITING_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let count = dropped.clone();
    let human = match format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let colour = human && stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let write = move || write_lines(&waiting, &count, human, || stderr().lock());
    let writer = std::thread::Builder::new().name("log".into()).spawn(write).ok();
    let lender = Lender { lines: lines.clone(), dropped, json: !human };
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lender);
    // A second call, as in tests within one process, keeps the first log.
    let _ = match human {
        true => people(builder, colour).try_init(),
        false => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        tracing::error!(place, reason, "something that can't happen did");
    }));
    Guard { lines: Some(lines), writer }
}

/// Lines as people read them.
fn people<F>(
    builder: SubscriberBuilder<DefaultFields, Format, F, Lender>,
    colour: bool,
) -> SubscriberBuilder<impl for<'a> FormatFields<'a> + 'static, Format, F, Lender> {
    builder.with_target(false).with_ansi(colour).fmt_fields(debug_fn(write_field).delimited(" "))
}

/// Writes lines until an empty one comes, and says how many were dropped on the way.
fn write_lines<W: Write>(waiting: &Receiver<Vec<u8>>, dropped: &AtomicU64, human: bool, out: impl Fn() -> W) {
    while let Ok(line) = waiting.recv() {
        let mut out = out();
        out.write_all(&line).ok();
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let (said, at) = ("log lines were dropped", now());
            match human {
                true => writeln!(out, "{at}  WARN {said} count={lost}"),
                false => writeln!(
                    out,
                    r#"{{"timestamp":"{at}","level":"WARN","message":"{said}","count":{lost}}}"#
                ),
            }
            .ok();
        }
        if line.is_empty() {
            return;
        }
    }
}

struct Lender {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    json: bool,
}

/// A line of JSON without what a terminal would obey (JSON itself only escapes the controls of ASCII), and without the
/// rest of texts that are too long.
fn harmless_json(line: Vec<u8>) -> Vec<u8> {
    if line.len() <= MAX_TEXT_CHARS && line.iter().all(|byte| *byte < 0x7f) {
        return line;
    }
    let mut text = String::with_capacity(line.len().min(4 * MAX_TEXT_CHARS) + 16);
    // How much of a text was read, while in one, and what is left of a sign that was begun with `\`.
    let (mut inside, mut escaped): (Option<usize>, usize) = (None, 0);
    let line = String::from_utf8_lossy(&line);
    let mut signs = line.chars().peekable();
    while let Some(c) = signs.next() {
        match (inside, escaped) {
            (Some(read), 0) if c == '"' => {
                if read > MAX_TEXT_CHARS {
                    text.push(CUT);
                }
                inside = None;
            }
            (None, _) => inside = (c == '"').then_some(0),
            (Some(read), 0) => {
                inside = Some(read + 1);
                if c == '\\' {
                    escaped = if signs.peek() == Some(&'u') { 5 } else { 1 };
                }
            }
            (Some(_), left) => escaped = left - 1,
        }
        if inside.is_some_and(|read| read > MAX_TEXT_CHARS) {
            continue;
        }
        match is_obeyed(c) && c != '\n' {
            // None of them is beyond what four digits hold.
            true => write!(text, "\\u{:04x}", u32::from(c)).expect("a string takes all"),
            false => text.push(c),
        }
    }
    text.into_bytes()
}

/// Writes what was logged so that it can neither end its line nor command the terminal. The library's own formatter
/// lets ends of line through, and in colour whole commands.
struct Harmless<'a, 'b> {
    writer: &'a mut Writer<'b>,
    /// Characters that still fit.
    left: usize,
}

impl fmt::Write for Harmless<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
            self.left = left;
            match (left, is_obeyed(c)) {
                (0, _) => self.writer.write_char(CUT)?,
                (_, true) => write!(self.writer, "{}", c.escape_default())?,
                (_, false) => self.writer.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A field of a line for people.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match (field.name(), writer.has_ansi_escapes()) {
        ("message", _) => {}
        (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
        (name, false) => write!(writer, "{name}=")?,
    }
    write!(Harmless { writer, left: MAX_TEXT_CHARS + 1 }, "{value:?}")
}

/// One line in the making.
struct Line<'a> {
    text: Vec<u8>,
    lender: &'a Lender,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.text);
        let line = if self.lender.json { harmless_json(line) } else { line };
        if !line.is_empty() && self.lender.lines.try_send(line).is_err() {
            self.lender.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for Lender {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { text: Vec::with_capacity(256), lender: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(human: bool, colour: bool, log: impl FnOnce()) -> String {
        let (lines, waiting) = sync_channel(8);
        let lender = Lender { lines, dropped: Arc::default(), json: !human };
        let builder = tracing_subscriber::fmt().with_writer(lender);
        match human {
            true => tracing::subscriber::with_default(people(builder, colour).finish(), log),
            false => tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), log),
        }
        waiting.try_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn what_was_dropped_is_said_in_the_format_of_the_log() {
        for human in [true, false] {
            let (lines, waiting) = sync_channel(1);
            let dropped = Arc::new(AtomicU64::new(0));
            let lender = Lender { lines: lines.clone(), dropped: dropped.clone(), json: !human };
            for _ in 0..3 {
                lender.make_writer().write_all(b"full\n").unwrap();
            }
            drop((lender, lines));
            let mut out = tempfile::tempfile().unwrap();
            write_lines(&waiting, &dropped, human, || out.try_clone().unwrap());
            std::io::Seek::rewind(&mut out).unwrap();
            let text = std::io::read_to_string(out).unwrap();
            let said: Vec<_> = text.lines().collect();
            assert_eq!((said.len(), said[0]), (2, "full"), "{text}");
            match human {
                true => assert!(said[1].ends_with("WARN log lines were dropped count=2"), "{text}"),
                false => {
                    let line: serde_json::Value = serde_json::from_str(said[1]).unwrap();
                    assert!(
                        line["count"] == 2 && line["timestamp"].as_str().unwrap().ends_with('Z'),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_long_text_makes_no_long_line() {
        for long in
            ["x".repeat(900_000), "\\".repeat(900_000), "\u{1}é".repeat(400_000), "a\"b".repeat(300_000)]
        {
            for (human, colour) in [(true, true), (true, false), (false, false)] {
                let text = logged(human, colour, || {
                    let span = tracing::info_span!("request", path = %long).entered();
                    tracing::warn!(user = long, shown = ?long, short = "as it is", "failed: {long}");
                    drop(span);
                });
                assert!(text.len() < 30_000 && text.matches('\n').count() == 1, "{} bytes", text.len());
                assert!(text.contains(CUT) && text.contains("as it is"), "{text}");
                if !human {
                    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let user = line["user"].as_str().unwrap().trim_end_matches(CUT);
                    assert!(long.starts_with(user) && user.chars().count() == MAX_TEXT_CHARS, "{user}");
                }
            }
        }
        let just = "y".repeat(MAX_TEXT_CHARS);
        assert!(logged(false, false, || tracing::info!(user = just, "x")).contains(&format!("\"{just}\"")));
    }

    #[test]
    fn what_a_stranger_sends_stays_in_its_line() {
        let hostile = "x\r\n2026-01-01T00:00:00Z  INFO all is well\x1b[2K\x07\u{9b}1A\u{202e}\u{2028}end";
        for (human, colour) in [(true, true), (true, false), (false, false)] {
            let text = logged(human, colour, || {
                let span = tracing::info_span!("request", path = %hostile).entered();
                tracing::info!(shown = %hostile, debugged = ?hostile, text = hostile, "{hostile}");
                drop(span);
            });
            assert_eq!(text.matches('\n').count(), 1, "one event is one line: {text:?}");
            assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
            assert!(!text.contains("\x1b[2K") && !text.contains('\x07'), "{text:?}");
            assert!(!text.contains(['\u{9b}', '\u{202e}', '\u{2028}']), "{text:?}");
            if !human {
                let line: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(line["text"], hostile, "as JSON it is what it was");
            }
            assert!(text.contains("all is well") && text.contains("end"), "nothing is lost: {text:?}");
        }
    }
}
