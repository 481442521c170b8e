//! What is said goes to stderr; stdout belongs to the commands that are run.

use std::io::{Write, stderr};

/// Says a line.
pub(crate) fn say(line: &str) {
    writeln!(stderr().lock(), "{line}").ok();
}
