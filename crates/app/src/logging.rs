//! The log goes to stderr: for people at a terminal, one JSON object a line otherwise.
//!
//! Lines are handed to a thread that writes them, so that a slow terminal or pipe never holds up a request. When
//! it falls too far behind, lines are dropped and counted, and the count is said.

use crate::config::LogFormat;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written: a few seconds' worth of a very busy server.
const WAITING_LINES: usize = 16_384;

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
    let writer =
        std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&waiting, &count)).ok();
    let lender = Lender { lines: lines.clone(), dropped };
    let human = match format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lender);
    // A second call, as in tests within one process, keeps the first log.
    let _ = match human {
        true => builder.with_target(false).with_ansi(stderr().is_terminal()).try_init(),
        false => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        tracing::error!(place, reason, "something that can't happen did");
    }));
    Guard { lines: Some(lines), writer }
}

fn write_lines(waiting: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    while let Ok(line) = waiting.recv() {
        if line.is_empty() {
            return;
        }
        let mut out = stderr().lock();
        out.write_all(&line).ok();
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            writeln!(out, "{{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"count\":{lost}}}")
                .ok();
        }
    }
}

struct Lender {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
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
