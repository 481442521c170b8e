//! Alerts: what a person has to look at.

use crate::{AlertId, Event, Severity, Timestamp};
use std::fmt;

/// Where an alert stands. Any status may follow any other; the history keeps each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Nobody has looked yet.
    Open = 1,
    /// Somebody is on it.
    Acknowledged = 2,
    /// Done.
    Resolved = 3,
}

impl Status {
    /// In the order of an alert's life.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// The name in capitals, as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Resolved => "RESOLVED",
        }
    }

    /// The name in title case, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Acknowledged => "Acknowledged",
            Self::Resolved => "Resolved",
        }
    }

    /// The number it is stored as.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The status stored as this number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Reads a name in any letter case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An alert with the event that raised it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// The event that raised it.
    pub event: Event,
    /// Where it stands.
    pub status: Status,
    /// How bad it is; starts as the event's.
    pub severity: Severity,
    /// The rule that raised it.
    pub rule: String,
    /// When it was raised.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was first acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// When it was first resolved.
    pub resolved_at: Option<Timestamp>,
    /// Counts its changes, so that two people who change it at once notice.
    pub version: i64,
}

/// One entry of an alert's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// When.
    pub at: Timestamp,
    /// By whom, as they were called then.
    pub actor: String,
    /// The status before; nothing for the entry that raised the alert.
    pub from: Option<Status>,
    /// The status after.
    pub to: Status,
}
