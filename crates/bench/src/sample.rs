//! The events that are measured with: a few sources and types, every twentieth CRITICAL, texts that differ.

use watchpost_model::event::Origin;
use watchpost_model::text::Given;
use watchpost_model::{DetailsDraft, Event, EventDraft, EventId, NewEvent, Severity, Timestamp, UserId};

/// Of so many events one is CRITICAL and raises an alert; most of what sensors send isn't.
pub(crate) const ALERT_EVERY: u64 = 20;
const SOURCES: u64 = 40;
const TYPES: [&str; 8] =
    ["intrusion", "login_failed", "malware", "port_scan", "policy", "dns_query", "file_change", "motion"];

fn severity(n: u64) -> Severity {
    match n % ALERT_EVERY {
        0 => Severity::Critical,
        k if k % 3 == 0 => Severity::Medium,
        _ => Severity::Low,
    }
}

fn texts(n: u64) -> (String, &'static str, String, String) {
    let (a, b) = (n.wrapping_mul(2_654_435_761) >> 7, n.wrapping_mul(40_503) >> 3);
    let address = format!("203.0.{}.{}", a % 256, b % 256);
    let words = ["Port scan against", "Failed login from", "Connection blocked to", "Lookup of"];
    let description =
        format!("{} host-{:05} by {address} on port {}", words[(a % 4) as usize], b % 5_000, a % 65_536);
    (format!("edge-firewall-{}", n % SOURCES), TYPES[(a % 8) as usize], description, address)
}

/// The event with a number as one line of JSON.
pub(crate) fn line(n: u64) -> String {
    let (source, kind, description, address) = texts(n);
    let severity = severity(n);
    format!(
        "{{\"source_name\":\"{source}\",\"event_type\":\"{kind}\",\"severity\":\"{severity}\",\"description\":\"{description}\",\"src_ip\":\"{address}\"}}\n"
    )
}

/// The same event as it is stored.
pub(crate) fn stored(n: u64, id: i64, at: Timestamp) -> Event {
    let (source, kind, description, address) = texts(n);
    let draft = EventDraft {
        source_name: Given::Text(source.into()),
        event_type: Given::Text(kind.into()),
        severity: Given::Text(severity(n).as_str().into()),
        description: Given::Text(description.into()),
        details: DetailsDraft { src_ip: Given::Text(address.into()), ..DetailsDraft::default() },
    };
    let checked = NewEvent::check(&draft).expect("samples are right");
    checked.stored(EventId::new(id), at, Origin::User(UserId::new(1)))
}
