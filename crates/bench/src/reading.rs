//! Lists, searches and dashboards, on databases of growing size.

use crate::http::Connection;
use crate::server::Running;
use crate::{bulk, talk};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Requests of each kind.
const REQUESTS: usize = 1000;
/// A question that takes long is asked fewer times.
const ASKING: Duration = Duration::from_secs(20);
/// Events that are loaded with one request.
const LOAD_AT_ONCE: u64 = 250_000;

/// What is asked: its name and the path. `{deep}` is a page in the middle of the list.
const QUESTIONS: [(&str, &str); 14] = [
    ("alerts, newest", "/api/v1/alerts?page_size=25"),
    ("alerts, open and critical", "/api/v1/alerts?status=OPEN&severity=CRITICAL&page_size=25"),
    (
        "alerts, three filters",
        "/api/v1/alerts?status=OPEN,ACKNOWLEDGED&source_name=edge-firewall-0&severity=HIGH,CRITICAL",
    ),
    ("alerts, none match", "/api/v1/alerts?status=RESOLVED&event_type=intrusion"),
    ("alerts, page in the middle", "/api/v1/alerts?page={deep}"),
    ("events, newest", "/api/v1/events?page_size=25"),
    ("events, two severities", "/api/v1/events?severity=MEDIUM,CRITICAL&page_size=25"),
    ("events, source and time", "/api/v1/events?source_name=edge-firewall-7&since=-30d"),
    ("events, page in the middle", "/api/v1/events?page={deep_events}"),
    ("search, common word", "/api/v1/events?search=%22port%22"),
    ("search, by its beginning", "/api/v1/events?search=host-01"),
    ("search, rare word", "/api/v1/events?search=203.0.17.4"),
    ("search alerts, two words", "/api/v1/alerts?search=failed+host-00042"),
    ("dashboard", "/api/v1/stats/overview?since=-7d"),
];

/// How long something took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) name: String,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Stores events until there are so many, and waits until they can be found.
pub(crate) async fn grow(server: &mut Running, from: u64, to: u64) -> Result<()> {
    let mut stored = from;
    while stored < to {
        server.log_in().await?;
        let count = LOAD_AT_ONCE.min(to - stored);
        bulk::send(server, &bulk::body(stored, count), count).await?;
        stored += count;
        talk::progress(&format!("{}: {stored} of {to} events", server.target.name()));
    }
    let mut connection = Connection::open(server.address).await?;
    loop {
        let metrics = connection.get("/metrics", &server.token).await?;
        let indexed = metrics.lines().find_map(|line| line.strip_prefix("watchpost_search_indexed_total "));
        let indexed: f64 = indexed.context("no count of what was indexed")?.trim().parse()?;
        // Counted since the server was started, which it was at the last size.
        let wanted = to - from + (to - from) / crate::sample::ALERT_EVERY;
        talk::progress(&format!("{}: {indexed} of {wanted} made searchable", server.target.name()));
        if indexed as u64 >= wanted {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn times(name: &str, micros: &Histogram<u64>) -> Times {
    let ms = |micros: u64| micros as f64 / 1000.0;
    Times {
        name: name.to_owned(),
        p50_ms: ms(micros.value_at_quantile(0.5)),
        p99_ms: ms(micros.value_at_quantile(0.99)),
        max_ms: ms(micros.max()),
    }
}

/// Asks every question on one connection, and follows `next` through a list.
pub(crate) async fn measure(server: &mut Running, events: u64) -> Result<Vec<Times>> {
    // Loading may take longer than a token is good for.
    server.log_in().await?;
    let mut connection = Connection::open(server.address).await?;
    let mut all = Vec::new();
    for (name, path) in QUESTIONS {
        talk::progress(&format!("{}, {events} events: {name}", server.target.name()));
        let alerts = events / crate::sample::ALERT_EVERY;
        let path = path.replace("{deep}", &(alerts / 20).max(1).to_string());
        let path = path.replace("{deep_events}", &(events / 20).max(1).to_string());
        let mut micros = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        connection.get(&path, &server.token).await?;
        let asking = Instant::now();
        for _ in 0..REQUESTS {
            let started = Instant::now();
            connection.get(&path, &server.token).await?;
            micros.record(started.elapsed().as_micros() as u64)?;
            if asking.elapsed() > ASKING {
                break;
            }
        }
        all.push(times(name, &micros));
    }
    let mut micros = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let mut path = "/api/v1/alerts?status=OPEN".to_owned();
    for _ in 0..REQUESTS {
        let started = Instant::now();
        let page = connection.get(&path, &server.token).await?;
        micros.record(started.elapsed().as_micros() as u64)?;
        let page: serde_json::Value = serde_json::from_str(&page)?;
        match page["next"].as_str().and_then(|next| next.split_once("/api/")) {
            Some((_, next)) => path = format!("/api/{next}"),
            None => path = "/api/v1/alerts?status=OPEN".into(),
        }
    }
    all.push(times("alerts, page after page", &micros));
    Ok(all)
}
