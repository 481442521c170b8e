//! Disks that fail: errors put into the server's calls to the system while it runs.

use crate::server::Server;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `strace`, attached to a server.
pub(crate) struct Injected {
    strace: Child,
}

impl Injected {
    /// Has calls fail: `inject` is what strace takes, as in `fdatasync:error=EIO:when=3`; on this file alone.
    pub(crate) fn into(server: &Server, inject: &[&str], file: Option<&Path>) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "signal=none"]);
        let calls: Vec<_> = inject.iter().map(|inject| inject.split(':').next().unwrap()).collect();
        command.args(["-e", &format!("trace={}", calls.join(","))]);
        for inject in inject {
            command.args(["-e", &format!("inject={inject}")]);
        }
        if let Some(file) = file {
            command.arg("-P").arg(file);
        }
        command.args(["-p", &server.process().to_string()]).stderr(Stdio::piped());
        let mut strace = command.spawn().expect("strace is needed for this test: run `cargo xtask test`");
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "strace can't watch the server");
        }
        // What it says later must not fill the pipe.
        std::thread::spawn(move || said.lines().for_each(drop));
        Self { strace }
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        Command::new("kill").arg("-INT").arg(self.strace.id().to_string()).status().ok();
        self.strace.wait().ok();
    }
}
