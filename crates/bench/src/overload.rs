//! Far more clients than can be served at once, in a cage of little memory: what is accepted must not suffer.

use crate::load::Load;
use crate::report::Overload;
use crate::server::{Running, Target};
use crate::talk;
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// What the server may take there.
const CAGE_BYTES: usize = 256 << 20;
/// Clients that keep it just busy, and a flood of them: each sends its next event when the last was answered.
const BUSY: usize = 64;
const FLOOD: usize = 1_000;

/// A group of processes with a limit to their memory; none where it can't be made.
struct Cage(PathBuf);

impl Cage {
    fn around(process: u32) -> Option<Self> {
        for (root, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let path = PathBuf::from(root).join(format!("watchpost-bench-{process}"));
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            let cage = Self(path);
            let limited = std::fs::write(cage.0.join(limit), CAGE_BYTES.to_string());
            if limited.and_then(|()| std::fs::write(cage.0.join("cgroup.procs"), process.to_string())).is_ok()
            {
                return Some(cage);
            }
        }
        None
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}

pub(crate) async fn measure(seconds: u64) -> Result<Vec<Overload>> {
    let mut all = Vec::new();
    for target in [Target::Sqlite, Target::Postgres] {
        let server = Running::start(target).await?;
        let cage = Cage::around(server.process());
        let mut figures = Vec::new();
        for connections in [BUSY, FLOOD] {
            talk::progress(&format!("overload of {}, {connections} clients", target.name()));
            let load = Load {
                address: server.address,
                token: server.token.clone(),
                connections,
                warm_up: Duration::from_secs(1),
                duration: Duration::from_secs(seconds),
            };
            figures.push(load.run().await?);
        }
        let memory_mib = server.memory_kib() / 1024;
        drop(server);
        let (peak, flood) = (&figures[0], &figures[1]);
        all.push(Overload {
            target: target.name(),
            caged: cage.is_some(),
            peak: peak.per_second,
            accepted: flood.per_second,
            p99_ms: flood.p99_ms,
            max_ms: flood.max_ms,
            refused: flood.refused,
            memory_mib,
        });
    }
    Ok(all)
}
