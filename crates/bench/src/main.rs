//! The side-by-side benchmark: Watchpost next to what the same machine can do at most, measured in one run.

mod baseline;
mod bulk;
mod http;
mod limits;
mod load;
mod log_ins;
mod overload;
mod reading;
mod report;
mod sample;
mod server;
mod single;
mod talk;

use anyhow::{Result, bail};
use report::{Bulk, Reading, Report};
use server::{Running, Target};
use std::path::PathBuf;
use std::time::Instant;

/// The same as the server's: the limit is to differ by what it doesn't do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
cargo xtask bench [-- OPTIONS]

  --seconds N        how long each measurement of single events takes (default 5)
  --connections A,B  connections of the single-event measurements (default 1,16,64,256)
  --rounds N         how often writing is measured; the median counts (default 3)
  --events N         events in one bulk request (default 400000)
  --sizes A,B        numbers of stored events that reading is measured at (default 10000,1000000)
  --full             reading at 10 million events, too
  --only PART        single, bulk, overload or reading; or log-ins, which compares the time of attempts with names that
                     exist and that don't
  --engine NAME      reading on SQLite or PostgreSQL only
  --json FILE        where the figures are written as JSON (default target/bench.json)
  --help             this text

Measures on SQLite and on PostgreSQL, each next to its limit in the same run: single-event POSTs next to the same HTTP
stack that checks the token, parses the event and answers without storing anything; bulk requests next to bare prepared
inserts and bare COPY of the same rows with the same indexes and durability; a flood of clients next to a few; lists, searches and dashboards next to
themselves at the smallest size. The ratios are what counts: absolute figures depend on the machine, which the load
generator shares. Prints Markdown.";

struct Options {
    seconds: u64,
    connections: Vec<usize>,
    rounds: usize,
    events: u64,
    sizes: Vec<u64>,
    only: Option<String>,
    engine: Option<String>,
    json: PathBuf,
}

fn options() -> Result<Option<Options>> {
    let mut options = Options {
        seconds: 5,
        connections: vec![1, 16, 64, 256],
        rounds: 3,
        events: 400_000,
        sizes: vec![10_000, 1_000_000],
        only: None,
        engine: None,
        json: "target/bench.json".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => options.seconds = value()?.parse::<u64>()?.max(1),
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--events" => options.events = value()?.parse::<u64>()?.max(1),
            "--connections" => {
                options.connections = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--sizes" => options.sizes = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--full" => options.sizes.push(10_000_000),
            "--only" => options.only = Some(value()?),
            "--engine" => options.engine = Some(value()?),
            "--json" => options.json = value()?.into(),
            "--help" | "-h" => return Ok(None),
            other => bail!("there is no option {other}; --help lists them"),
        }
    }
    if let Some(only) = &options.only
        && !["single", "bulk", "overload", "reading", "log-ins"].contains(&only.as_str())
    {
        bail!("--only takes single, bulk, overload, reading or log-ins, not {only}");
    }
    options.sizes.sort_unstable();
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

async fn measure(options: &Options) -> Result<()> {
    if options.only.as_deref() == Some("log-ins") {
        return log_ins::compare().await;
    }
    let wanted = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let mut report = Report::default();
    if wanted("single") {
        report.single = single::measure(&options.connections, options.rounds, options.seconds).await?;
    }
    if wanted("bulk") {
        report.bulk = measure_bulk(options).await?;
    }
    if wanted("overload") {
        report.overload = overload::measure(options.seconds).await?;
    }
    if wanted("reading") {
        for target in [Target::Sqlite, Target::Postgres] {
            if options.engine.as_deref().is_none_or(|engine| engine.eq_ignore_ascii_case(target.name())) {
                measure_reading(target, options, &mut report).await?;
            }
        }
    }
    talk::progress("");
    println!("{}", report.markdown());
    write_json(options, &report)?;
    eprintln!("the figures are in {}, too", options.json.display());
    let refused: u64 = report.single.iter().map(|row| row.refused).sum();
    if refused > 0 {
        bail!("{refused} requests were refused: the figures count for nothing");
    }
    Ok(())
}

fn write_json(options: &Options, report: &Report) -> Result<()> {
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(&options.json, serde_json::to_string_pretty(report)?)?)
}

/// One bulk request an engine and round, in turn with its limit.
async fn measure_bulk(options: &Options) -> Result<Vec<Bulk>> {
    let count = options.events;
    let lines = bulk::body(0, count);
    let mut all = Vec::new();
    for target in [Target::Sqlite, Target::Postgres] {
        let (mut own, mut limits, mut memory) = (Vec::new(), Vec::new(), 0);
        for round in 1..=options.rounds {
            talk::progress(&format!("bulk on {}, round {round} of {}", target.name(), options.rounds));
            limits.push(match target {
                Target::Postgres => limits::postgres(count).await?,
                _ => limits::sqlite(count).await?,
            });
            let server = Running::start(target).await?;
            own.push(bulk::send(&server, &lines, count).await?);
            memory = memory.max(server.memory_kib());
        }
        let (per_second, limit) = (report::median(&mut own), report::median(&mut limits));
        all.push(Bulk { target: target.name(), events: count, per_second, limit, memory_mib: memory / 1024 });
    }
    Ok(all)
}

/// Lists and dashboards as a database grows, and how fast a server starts on it.
async fn measure_reading(target: Target, options: &Options, report: &mut Report) -> Result<()> {
    let mut server = Running::start(target).await?;
    let mut stored = 0;
    for &size in &options.sizes {
        reading::grow(&mut server, stored, size).await?;
        stored = size;
        let times = reading::measure(&mut server, size).await?;
        let memory_mib = server.memory_kib() / 1024;
        let started = Instant::now();
        server = server.restart().await?;
        let start_ms = started.elapsed().as_secs_f64() * 1000.0;
        let idle_mib = server.memory_kib() / 1024;
        report.reading.push(Reading {
            target: target.name(),
            events: size,
            times,
            memory_mib,
            start_ms,
            idle_mib,
        });
        // What takes long is kept as it comes.
        write_json(options, report)?;
    }
    Ok(())
}
