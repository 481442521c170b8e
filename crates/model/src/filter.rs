//! What a list may be narrowed to. A filter that exists is one that the store can answer.

use crate::{Severity, Status};

/// The longest text to look for: longer than any name that could match.
pub const MAX_NEEDLE_CHARS: usize = 255;

/// What a list of alerts is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertOrder {
    /// When they were raised.
    #[default]
    CreatedAt,
    /// How bad they are.
    Severity,
    /// Where they stand.
    Status,
}

/// Which alerts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertFilter {
    /// Only these severities; empty means any.
    pub severities: Vec<Severity>,
    /// Only alerts whose event had one of these severities; empty means any.
    pub event_severities: Vec<Severity>,
    /// Only these statuses; empty means any.
    pub statuses: Vec<Status>,
    /// Only events of this type, in any letter case.
    pub event_type: Option<String>,
    /// Only events from this source, in any letter case.
    pub source_name: Option<String>,
    /// Only events with this text in their source, type or description, in any letter case.
    pub search: Option<String>,
    /// What they are sorted by.
    pub order: AlertOrder,
    /// Largest (or newest) first.
    pub descending: bool,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self {
            severities: Vec::new(),
            event_severities: Vec::new(),
            statuses: Vec::new(),
            event_type: None,
            source_name: None,
            search: None,
            order: AlertOrder::CreatedAt,
            descending: true,
        }
    }
}

/// Which events are wanted. They are always listed newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only these severities; empty means any.
    pub severities: Vec<Severity>,
    /// Only this type, in any letter case.
    pub event_type: Option<String>,
    /// Only from this source, in any letter case.
    pub source_name: Option<String>,
    /// Only with this text in their source, type or description, in any letter case.
    pub search: Option<String>,
}
