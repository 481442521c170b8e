//! What is said while it takes its time.

use std::io::{IsTerminal, Write};

/// Says how far it is: over the last line on a terminal, on a line of its own elsewhere.
pub(crate) fn progress(text: &str) {
    let mut out = std::io::stderr().lock();
    let written = match out.is_terminal() {
        true => write!(out, "\r\x1b[K{text}"),
        false => writeln!(out, "{text}"),
    };
    // Nobody to tell is no reason to stop.
    written.and_then(|()| out.flush()).ok();
}
