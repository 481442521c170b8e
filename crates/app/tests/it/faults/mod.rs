//! Faults of what the server stands on: databases that fail over, connections that break, clocks that are wrong.
//!
//! Every run makes a few rounds of each. `WATCHPOST_TEST_ROUNDS` asks for more; the figures are printed. Each test is
//! shown a mistake (`faults::mutant`) or a control that it must notice.

mod clock;
mod cluster;
mod cut;
mod dump;
mod failover;
mod full;
mod inject;
mod io;
mod lock;
mod log;
mod nodes;
mod power_loss;
mod restore;

use crate::server::{PASSWORD, watchpost};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// How many rounds to make where every run makes so many.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("WATCHPOST_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// The number that follows a number, for rounds that differ and can be had again.
pub(crate) fn scatter(n: usize) -> usize {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// Starts a server that has to refuse: its exit code, nothing when it starts all the same, and what it says.
pub(crate) fn start_refused(settings: &[(&str, &str)], directory: &Path) -> (Option<i32>, String) {
    let folder = TempDir::new().unwrap();
    let mut child = watchpost(&folder)
        .current_dir(directory)
        .env("WATCHPOST_LISTEN", "127.0.0.1:0")
        .env("WATCHPOST_ADMIN_PASSWORD", PASSWORD)
        .env("WATCHPOST_DATA_DIR", folder.path())
        .envs(settings.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        said.push_str(&line.unwrap());
        said.push('\n');
        if said.contains("is ready: ") {
            child.kill().unwrap();
            child.wait().unwrap();
            return (None, said);
        }
    }
    (child.wait().unwrap().code(), said)
}
