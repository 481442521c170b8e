//! What an account, or anybody at the door, can make the server do: work, memory and log lines stay in proportion to
//! what was asked, and nobody else waits for it.

mod bodies;
mod exports;
mod jobs;
mod searches;

use crate::server::{Engine, Server};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A place in the server where whatever comes by waits, as long as this says so.
struct Hold {
    file: PathBuf,
    _folder: TempDir,
}

impl Hold {
    /// A server that can be held at a place, after each has passed it so often.
    fn server(engine: Engine, place: &str, times: usize) -> (Server, Self) {
        Self::with(engine, place, times, &[])
    }

    fn with(engine: Engine, place: &str, times: usize, settings: &[(&str, &str)]) -> (Server, Self) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("hold");
        let held = format!("{place}:{times}:{}", file.display());
        (
            Server::with(engine, &[settings, &[("FAULT_HOLD", held.as_str())]].concat()),
            Self { file, _folder: folder },
        )
    }

    fn begin(&self) {
        std::fs::write(&self.file, "").unwrap();
    }

    fn end(&self) {
        std::fs::remove_file(&self.file).unwrap();
    }
}

/// The time that the process has spent computing.
fn computed(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process())).unwrap();
    // Behind the name, which may hold anything: user and system time are the 12th and 13th, in hundredths.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
