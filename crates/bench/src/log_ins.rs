//! Whether the time of an attempt to log in says if there is such a user: attempts with names that exist, that don't
//! and that are deactivated, in turn, each with a name and from an address of its own.

use crate::http::Connection;
use crate::server::{Running, Target};
use crate::talk;
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;
use tokio::net::TcpSocket;

/// Attempts of each kind.
const EACH: u32 = 700;
/// Of one median to another.
const LARGEST_GAP: f64 = 0.05;
/// So likely that chance alone makes kinds differ as they did; less means that they differ.
const LEAST_P: f64 = 0.01;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exists,
    Missing,
    Deactivated,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Exists, Self::Missing, Self::Deactivated];

    const fn name(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Missing => "missing",
            Self::Deactivated => "deactivated",
        }
    }

    fn user(self, n: u32) -> String {
        format!("{}-{n:04}", self.name())
    }
}

fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let who = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{who}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn make_users(server: &Running) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    for kind in [Kind::Exists, Kind::Deactivated] {
        for n in 0..EACH {
            if n % 100 == 0 {
                talk::progress(&format!("{n} of {EACH} users ({})", kind.name()));
            }
            let (name, password) = (kind.user(n), crate::server::PASSWORD);
            let body = format!(
                r#"{{"username":"{name}","password":"{password}","role":"ANALYST","must_change_password":false}}"#
            );
            let status = connection.send(&request("POST", "/api/v1/users", &server.token, &body)).await?;
            if status != 201 {
                bail!("a user could not be made: {status}");
            }
        }
    }
    let mut page = 1;
    loop {
        let path = format!("/api/v1/users?page_size=100&page={page}");
        let users: serde_json::Value = serde_json::from_str(&connection.get(&path, &server.token).await?)?;
        for user in users["results"].as_array().context("a list of users")? {
            let name = user["username"].as_str().unwrap_or_default();
            if name.starts_with(Kind::Deactivated.name()) {
                let path = format!("/api/v1/users/{}", user["id"]);
                let status = connection.send(&request("DELETE", &path, &server.token, "")).await?;
                if status != 204 {
                    bail!("a user could not be deactivated: {status}");
                }
            }
        }
        if users["next"].is_null() {
            return Ok(());
        }
        page += 1;
    }
}

/// How long one attempt takes, in microseconds.
async fn attempt(server: &Running, kind: Kind, n: u32) -> Result<f64> {
    let socket = TcpSocket::new_v4()?;
    let [_, _, high, low] = (n + 1).to_be_bytes();
    let place = Ipv4Addr::new(127, 1 + kind as u8, high, low);
    socket.bind(SocketAddr::from((place, 0)))?;
    let mut connection = Connection::over(socket.connect(server.address).await?)?;
    let body = format!(r#"{{"username":"{}","password":"not the password"}}"#, kind.user(n));
    let request = request("POST", "/api/v1/auth/login", "", &body);
    let started = Instant::now();
    let status = connection.send(&request).await?;
    let took = started.elapsed().as_secs_f64() * 1e6;
    if status != 401 {
        bail!("an attempt was answered with {status}");
    }
    Ok(took)
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How likely chance makes two samples differ as they do (Mann-Whitney, two-sided, by the normal distribution).
fn p_value(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|t| (*t, true)).chain(b.iter().map(|t| (*t, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let ranks: f64 =
        all.iter().enumerate().filter(|(_, (_, first))| *first).map(|(n, _)| n as f64 + 1.0).sum();
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    // The tail of the normal distribution (Abramowitz and Stegun 26.2.17).
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (2.0 * density * poly).min(1.0)
}

/// One series; the table, and whether nothing can be told from it.
async fn series() -> Result<(String, bool)> {
    let server = Running::start(Target::Sqlite).await?;
    make_users(&server).await?;
    let mut times: [Vec<f64>; 3] = Default::default();
    for n in 0..EACH {
        if n % 100 == 0 {
            talk::progress(&format!("{} of {} attempts", n * 3, EACH * 3));
        }
        for turn in 0..3 {
            // Another order each time: what came before is no reason.
            let kind = Kind::ALL[(turn + n as usize) % 3];
            times[kind as usize].push(attempt(&server, kind, n).await?);
        }
    }
    talk::progress("");
    let mut table =
        "| name | attempts | median ms | gap to the first | p |\n|---|---|---|---|---|\n".to_owned();
    let mut alike = true;
    for kind in Kind::ALL {
        let (own, first) = (&times[kind as usize], &times[0]);
        let gap = (median(own) / median(first) - 1.0).abs();
        let p = if kind == Kind::Exists { 1.0 } else { p_value(own, first) };
        alike &= gap < LARGEST_GAP && p > LEAST_P;
        let (name, count) = (kind.name(), own.len());
        table.push_str(&format!("| {name} | {count} | {:.2} | {gap:.3} | {p:.3} |\n", median(own) / 1000.0));
    }
    Ok((table, alike))
}

/// Fails when time tells names apart, twice.
pub(crate) async fn compare() -> Result<()> {
    for last in [false, true] {
        let (table, alike) = series().await?;
        println!("{table}");
        if alike {
            return Ok(());
        }
        if last {
            bail!("the time of an attempt says whether there is such a user");
        }
        eprintln!("they differ; once more, in case the machine was busy");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_differ_are_told_apart_and_others_are_not() {
        let a: Vec<f64> = (0..500).map(|n| f64::from(n * 7 % 500)).collect();
        let b: Vec<f64> = (0..500).map(|n| f64::from(n * 11 % 500) + 0.5).collect();
        assert!(p_value(&a, &b) > 0.5, "{}", p_value(&a, &b));
        let slower: Vec<f64> = b.iter().map(|time| time + 60.0).collect();
        assert!(p_value(&a, &slower) < 0.001, "{}", p_value(&a, &slower));
    }
}
