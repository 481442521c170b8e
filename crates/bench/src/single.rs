//! Single events, each a request of its own, next to the same stack without storing.

use crate::load::{Figures, Load};
use crate::report::Single;
use crate::server::{Running, Target};
use crate::talk;
use anyhow::Result;
use std::time::Duration;

/// One line of the table.
struct Row {
    connections: usize,
    target: Target,
    figures: Vec<Figures>,
    memory_kib: u64,
}

impl Row {
    /// The round in the middle, by requests a second.
    fn median(&self) -> &Figures {
        let mut sorted: Vec<&Figures> = self.figures.iter().collect();
        sorted.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        sorted[sorted.len() / 2]
    }
}

pub(crate) async fn measure(connections: &[usize], rounds: usize, seconds: u64) -> Result<Vec<Single>> {
    let mut running = Vec::new();
    for target in Target::ALL {
        talk::progress(&format!("starting: {}", target.name()));
        running.push(Running::start(target).await?);
    }
    let mut rows: Vec<Row> = Vec::new();
    for &connections in connections {
        for server in &running {
            rows.push(Row { connections, target: server.target, figures: Vec::new(), memory_kib: 0 });
        }
    }
    let (total, mut done) = (rows.len() * rounds, 0);
    // Round by round rather than target by target: when the machine's speed drifts, it drifts for all of them.
    for _ in 0..rounds {
        for row in &mut rows {
            done += 1;
            talk::progress(&format!(
                "[{done}/{total}] {} with {} connections",
                row.target.name(),
                row.connections
            ));
            let Some(server) = running.iter().find(|server| server.target == row.target) else { continue };
            let load = Load {
                address: server.address,
                token: server.token.clone(),
                connections: row.connections,
                warm_up: Duration::from_millis(500),
                duration: Duration::from_secs(seconds),
            };
            row.figures.push(load.run().await?);
            row.memory_kib = row.memory_kib.max(server.memory_kib());
            // What was stored is made searchable afterwards: that must not slow down whoever is measured next.
            server.settle().await?;
        }
    }
    let line = |row: &Row| {
        let limit =
            rows.iter().find(|other| other.connections == row.connections && other.target == Target::Nothing);
        let figures = row.median();
        Single {
            connections: row.connections,
            target: row.target.name(),
            per_second: figures.per_second,
            ratio: limit.map_or(0.0, |limit| figures.per_second / limit.median().per_second),
            p50_ms: figures.p50_ms,
            p99_ms: figures.p99_ms,
            max_ms: figures.max_ms,
            refused: row.figures.iter().map(|figures| figures.refused).sum(),
            memory_mib: row.memory_kib / 1024,
        }
    };
    Ok(rows.iter().map(line).collect())
}
