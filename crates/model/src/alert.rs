//! Alerts: what a person has to look at.

use crate::triage::{Assignee, Verdict};
use crate::{AlertId, Event, Severity, Timestamp};
use std::fmt;

/// The rule of alerts that people raise.
pub const RAISED_BY_HAND: &str = "manual";

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
    /// Who first acknowledged it, as they were called then.
    pub acknowledged_by: Option<String>,
    /// When it was first resolved.
    pub resolved_at: Option<Timestamp>,
    /// Who first resolved it.
    pub resolved_by: Option<String>,
    /// What it turned out to be.
    pub verdict: Option<Verdict>,
    /// Whose it is.
    pub assignee: Option<Assignee>,
    /// Until when it was put off; it comes back by itself.
    pub snoozed_until: Option<Timestamp>,
    /// In the order of the alphabet, each once.
    pub tags: Vec<String>,
    /// What somebody called it.
    pub title: Option<String>,
    /// Counts its changes, so that two people who change it at once notice.
    pub version: i64,
}

impl Alert {
    /// What it is called: by somebody, or by what was seen and where.
    pub fn shown_title(&self) -> String {
        let by_itself = || format!("{} at {}", self.event.event_type, self.event.source_name);
        self.title.clone().unwrap_or_else(by_itself)
    }
}

/// One entry of an alert's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The alert's version after it; 1 where it was raised.
    pub version: i64,
    /// When.
    pub at: Timestamp,
    /// By whom, as they were called then.
    pub actor: String,
    /// What was done: `raised`, `status`, `assign`, `snooze`, `tags`, `title`, `severity`, `note` or `undo`.
    pub action: String,
    /// What it was before; nothing where the alert was raised.
    pub from: Option<String>,
    /// What it was after.
    pub to: String,
    /// What it turned out to be, where somebody said so.
    pub verdict: Option<Verdict>,
    /// Why, or the text of a note.
    pub why: String,
    /// Whether it was undone since: no figure counts it, nor the undo.
    pub undone: bool,
}
