//! The figures of a run, as JSON and as Markdown.

use crate::reading::Times;
use serde::Serialize;
use std::fmt::Write;

/// Everything that was measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) single: Vec<Single>,
    pub(crate) bulk: Vec<Bulk>,
    pub(crate) overload: Vec<Overload>,
    pub(crate) reading: Vec<Reading>,
}

/// A flood of clients.
#[derive(Serialize)]
pub(crate) struct Overload {
    pub(crate) target: &'static str,
    /// Whether its memory was limited to 256 MiB.
    pub(crate) caged: bool,
    /// Accepted a second from as many clients as keep it busy.
    pub(crate) peak: f64,
    /// Accepted a second in the flood.
    pub(crate) accepted: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) refused: u64,
    pub(crate) memory_mib: u64,
}

/// Single events with so many connections.
#[derive(Serialize)]
pub(crate) struct Single {
    pub(crate) connections: usize,
    pub(crate) target: &'static str,
    pub(crate) per_second: f64,
    /// Of the same stack without storing.
    pub(crate) ratio: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) refused: u64,
    pub(crate) memory_mib: u64,
}

/// Many events in one request.
#[derive(Serialize)]
pub(crate) struct Bulk {
    pub(crate) target: &'static str,
    pub(crate) events: u64,
    pub(crate) per_second: f64,
    /// Bare inserts, or COPY, of the same rows.
    pub(crate) limit: f64,
    pub(crate) memory_mib: u64,
}

/// Reading at a number of stored events.
#[derive(Serialize)]
pub(crate) struct Reading {
    pub(crate) target: &'static str,
    pub(crate) events: u64,
    pub(crate) times: Vec<Times>,
    pub(crate) memory_mib: u64,
    /// Until a server on this database was ready.
    pub(crate) start_ms: f64,
    pub(crate) idle_mib: u64,
}

/// The figure in the middle.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Report {
    /// Tables for people.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a text can't fail.
        self.write(&mut text).ok();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        if !self.single.is_empty() {
            writeln!(
                text,
                "| connections | target | requests/s | of the limit | p50 ms | p99 ms | max ms | refused | memory MiB |"
            )?;
            writeln!(text, "|---|---|---|---|---|---|---|---|---|")?;
        }
        for row in &self.single {
            let Single {
                connections,
                target,
                per_second,
                ratio,
                p50_ms,
                p99_ms,
                max_ms,
                refused,
                memory_mib,
            } = row;
            writeln!(
                text,
                "| {connections} | {target} | {per_second:.0} | {ratio:.2} | {p50_ms:.2} | {p99_ms:.2} | {max_ms:.2} | {refused} | {memory_mib} |"
            )?;
        }
        if !self.bulk.is_empty() {
            writeln!(text, "\n| bulk | events/s | bare inserts or COPY/s | of the limit | memory MiB |")?;
            writeln!(text, "|---|---|---|---|---|")?;
        }
        for Bulk { target, per_second, limit, memory_mib, .. } in &self.bulk {
            writeln!(
                text,
                "| {target} | {per_second:.0} | {limit:.0} | {:.2} | {memory_mib} |",
                per_second / limit
            )?;
        }
        if !self.overload.is_empty() {
            writeln!(
                text,
                "\n| 1,000 clients at once | accepted/s | of the peak | p99 ms | max ms | refused | memory MiB | cage of 256 MiB |"
            )?;
            writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        }
        for Overload { target, caged, peak, accepted, p99_ms, max_ms, refused, memory_mib } in &self.overload
        {
            let caged = if *caged { "yes" } else { "could not be made" };
            writeln!(
                text,
                "| {target} | {accepted:.0} | {:.2} | {p99_ms:.1} | {max_ms:.1} | {refused} | {memory_mib} | {caged} |",
                accepted / peak
            )?;
        }
        for target in ["SQLite", "PostgreSQL"] {
            let sizes: Vec<&Reading> =
                self.reading.iter().filter(|reading| reading.target == target).collect();
            if let Some(smallest) = sizes.first() {
                write_reading(text, target, smallest, &sizes)?;
            }
        }
        Ok(())
    }
}

fn write_reading(
    text: &mut String,
    target: &str,
    smallest: &Reading,
    sizes: &[&Reading],
) -> std::fmt::Result {
    write!(text, "\n| {target}: p50 / p99 / max ms |")?;
    for size in sizes {
        write!(text, " {} events |", size.events)?;
    }
    writeln!(text, " p99, largest to smallest |")?;
    writeln!(text, "|---|{}", "---|".repeat(sizes.len() + 1))?;
    for (n, first) in smallest.times.iter().enumerate() {
        write!(text, "| {} |", first.name)?;
        for size in sizes {
            let Times { p50_ms, p99_ms, max_ms, .. } = &size.times[n];
            write!(text, " {p50_ms:.2} / {p99_ms:.2} / {max_ms:.2} |")?;
        }
        let last = sizes.last().map_or(first, |size| &size.times[n]);
        writeln!(text, " {:.2} |", last.p99_ms / first.p99_ms)?;
    }
    write!(text, "| memory MiB, loaded / started anew |")?;
    for size in sizes {
        write!(text, " {} / {} |", size.memory_mib, size.idle_mib)?;
    }
    write!(text, " |\n| ready after ms |")?;
    for size in sizes {
        write!(text, " {:.0} |", size.start_ms)?;
    }
    writeln!(text, " |")
}
