//! The load generator: so many connections, each sending its next request when the last was answered.

use crate::http::Connection;
use crate::sample::ALERT_EVERY;
use anyhow::Result;
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Answers that weren't 201.
    pub(crate) refused: u64,
}

struct Tally {
    micros: Histogram<u64>,
    refused: u64,
}

impl Load {
    pub(crate) async fn run(&self) -> Result<Figures> {
        let requests: [Vec<u8>; 2] = ["LOW", "CRITICAL"].map(|severity| self.request(severity));
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.duration;
        let mut tasks = Vec::new();
        for first in 0..self.connections {
            let (address, requests) = (self.address, requests.clone());
            tasks.push(tokio::spawn(send(address, requests, first, begin, end)));
        }
        let mut all = Tally { micros: histogram()?, refused: 0 };
        for task in tasks {
            let one = task.await??;
            all.micros.add(one.micros)?;
            all.refused += one.refused;
        }
        let ms = |micros: u64| micros as f64 / 1000.0;
        Ok(Figures {
            per_second: all.micros.len() as f64 / self.duration.as_secs_f64(),
            p50_ms: ms(all.micros.value_at_quantile(0.5)),
            p99_ms: ms(all.micros.value_at_quantile(0.99)),
            max_ms: ms(all.micros.max()),
            refused: all.refused,
        })
    }

    fn request(&self, severity: &str) -> Vec<u8> {
        let body = format!(
            r#"{{"source_name":"edge-firewall-1","event_type":"intrusion","severity":"{severity}","description":"Port scan from 203.0.113.7 against 40 ports of 198.51.100.0/24"}}"#
        );
        format!(
            "POST /api/v1/events/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .into_bytes()
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

async fn send(
    address: SocketAddr,
    requests: [Vec<u8>; 2],
    first: usize,
    begin: Instant,
    end: Instant,
) -> Result<Tally> {
    let mut connection = Connection::open(address).await?;
    let mut tally = Tally { micros: histogram()?, refused: 0 };
    for n in first.. {
        let started = Instant::now();
        if started >= end {
            break;
        }
        let status = connection.send(&requests[usize::from((n as u64).is_multiple_of(ALERT_EVERY))]).await?;
        if started < begin {
            continue;
        }
        if status == 201 {
            tally.micros.record(started.elapsed().as_micros().max(1) as u64)?;
        } else {
            tally.refused += 1;
        }
    }
    Ok(tally)
}
