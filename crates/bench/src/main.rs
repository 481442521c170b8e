//! The side-by-side benchmark: Watchpost next to what the same machine can do at most, measured in one run.

mod baseline;
mod load;
mod server;

use anyhow::{Result, bail};
use load::{Figures, Load};
use server::{Running, Target};
use std::time::Duration;

const HELP: &str = "\
cargo xtask bench [-- OPTIONS]

  --seconds N        how long each measurement takes (default 5)
  --connections A,B  connections of the single-event measurements (default 1,16,64,256)
  --rounds N         how often everything is measured; the median counts (default 3)
  --help             this text

Prints a table of single-event POSTs with a JWT: on SQLite and on PostgreSQL, next to the same HTTP stack that checks
the token, parses the event and answers without storing anything. The ratio is what counts; absolute figures depend on
the machine, which the load generator shares.";

struct Options {
    seconds: u64,
    connections: Vec<usize>,
    rounds: usize,
}

fn options() -> Result<Option<Options>> {
    let mut options = Options { seconds: 5, connections: vec![1, 16, 64, 256], rounds: 3 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => options.seconds = value()?.parse::<u64>()?.max(1),
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--connections" => {
                options.connections = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--help" | "-h" => return Ok(None),
            other => bail!("there is no option {other}; --help lists them"),
        }
    }
    Ok(Some(options))
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(baseline::ARGUMENT) {
        return baseline::run();
    }
    let Some(options) = options()? else {
        println!("{HELP}");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&options))
}

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

async fn measure(options: &Options) -> Result<()> {
    let mut running = Vec::new();
    for target in Target::ALL {
        eprintln!("starting: {}", target.name());
        running.push(Running::start(target).await?);
    }
    let mut rows: Vec<Row> = Vec::new();
    for &connections in &options.connections {
        for server in &running {
            rows.push(Row { connections, target: server.target, figures: Vec::new(), memory_kib: 0 });
        }
    }
    let total = rows.len() * options.rounds;
    let mut done = 0;
    // Round by round rather than target by target: when the machine's speed drifts, it drifts for all of them.
    for _ in 0..options.rounds {
        for row in &mut rows {
            done += 1;
            eprintln!("[{done}/{total}] {} with {} connections", row.target.name(), row.connections);
            let Some(server) = running.iter().find(|server| server.target == row.target) else { continue };
            let load = Load {
                address: server.address,
                token: server.token.clone(),
                connections: row.connections,
                warm_up: Duration::from_millis(500),
                duration: Duration::from_secs(options.seconds),
            };
            row.figures.push(load.run().await?);
            row.memory_kib = row.memory_kib.max(server.memory_kib());
        }
    }
    print_table(&rows);
    let refused: u64 = rows.iter().flat_map(|row| &row.figures).map(|figures| figures.refused).sum();
    if refused > 0 {
        bail!("{refused} requests were refused: the figures count for nothing");
    }
    Ok(())
}

fn print_table(rows: &[Row]) {
    println!(
        "| connections | target | requests/s | of the limit | p50 ms | p99 ms | max ms | refused | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let limit =
            rows.iter().find(|other| other.connections == row.connections && other.target == Target::Nothing);
        let figures = row.median();
        let ratio = limit.map_or(0.0, |limit| figures.per_second / limit.median().per_second);
        let refused: u64 = row.figures.iter().map(|figures| figures.refused).sum();
        println!(
            "| {} | {} | {:.0} | {ratio:.2} | {:.2} | {:.2} | {:.2} | {refused} | {} |",
            row.connections,
            row.target.name(),
            figures.per_second,
            figures.p50_ms,
            figures.p99_ms,
            figures.max_ms,
            row.memory_kib / 1024,
        );
    }
}
