//! What a list may be narrowed to. A filter that exists is one that the store can answer.

use crate::alert::HistoryEntry;
use crate::terms::Search;
use crate::triage::Verdict;
use crate::{Alert, AlertId, Event, EventId, Severity, Status, Timestamp, UserId};
use std::collections::BTreeMap;

/// The longest text to look for: longer than any name that could match.
pub const MAX_NEEDLE_CHARS: usize = 255;
/// Values that one filter may list.
pub const MAX_VALUES: usize = 20;

/// A field of an event that lists are narrowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Who saw it.
    Source,
    /// What kind of thing was seen.
    Type,
    /// The machine it happened on.
    Host,
    /// The account it is about.
    User,
    /// Where it came from.
    SrcIp,
    /// What it was aimed at.
    DstIp,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Source, Self::Type, Self::Host, Self::User, Self::SrcIp, Self::DstIp];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source_name",
            Self::Type => "event_type",
            Self::Host => "host",
            Self::User => "user",
            Self::SrcIp => "src_ip",
            Self::DstIp => "dst_ip",
        }
    }

    /// What an event says in it.
    pub fn of(self, event: &Event) -> Option<&str> {
        let details = &event.details;
        match self {
            Self::Source => Some(&event.source_name),
            Self::Type => Some(&event.event_type),
            Self::Host => details.host.as_deref(),
            Self::User => details.user.as_deref(),
            Self::SrcIp => details.src_ip.as_deref(),
            Self::DstIp => details.dst_ip.as_deref(),
        }
    }
}

/// From when until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether it is all of time.
    pub fn is_unbounded(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }
}

/// What an event has to be about, for lists of events and of alerts alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Only events with one of these values in the field, in any letter case.
    pub fields: BTreeMap<Field, Vec<String>>,
    /// No events with one of these values in the field, in any letter case; those that say nothing in it stay.
    pub without: BTreeMap<Field, Vec<String>>,
    /// Only events with these words in their source, type, description, details or attributes.
    pub search: Option<Search>,
    /// Only events taken in (alerts raised) at this time.
    pub span: Span,
}

impl About {
    /// The values asked for in a field; none means any.
    pub fn values(&self, field: Field) -> &[String] {
        self.fields.get(&field).map_or(&[], Vec::as_slice)
    }

    /// Whether an event is one of them, whenever it was taken in: what a list finds by its indexes.
    pub fn fits(&self, event: &Event) -> bool {
        let says = |(field, values): (&Field, &Vec<String>)| {
            let found = field.of(event);
            values.iter().any(|value| found.is_some_and(|found| value.eq_ignore_ascii_case(found)))
        };
        self.fields.iter().all(says)
            && !self.without.iter().any(says)
            && self.search.as_ref().is_none_or(|search| search.finds(event))
    }
}

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

/// Whose alerts are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This user's.
    User(UserId),
    /// Nobody's.
    Nobody,
}

/// What people made of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triage {
    /// Only those that belong to them.
    pub whose: Option<Whose>,
    /// Only those with all of these tags.
    pub tags: Vec<String>,
    /// Only those that turned out to be one of these; empty means any.
    pub verdicts: Vec<Verdict>,
    /// Only those that are put off at this time, or only those that aren't.
    pub snoozed: Option<(bool, Timestamp)>,
}

/// Which alerts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertFilter {
    /// Only these alerts; empty means any.
    pub ids: Vec<AlertId>,
    /// Only these severities; empty means any.
    pub severities: Vec<Severity>,
    /// Only alerts whose event had one of these severities; empty means any.
    pub event_severities: Vec<Severity>,
    /// Only these statuses; empty means any.
    pub statuses: Vec<Status>,
    /// What their events are about.
    pub about: About,
    /// What people made of them.
    pub triage: Triage,
    /// What they are sorted by.
    pub order: AlertOrder,
    /// Largest (or newest) first.
    pub descending: bool,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            severities: Vec::new(),
            event_severities: Vec::new(),
            statuses: Vec::new(),
            about: About::default(),
            triage: Triage::default(),
            order: AlertOrder::CreatedAt,
            descending: true,
        }
    }
}

impl AlertFilter {
    /// Whether the list is found by the search index: what alerts say beside their source and type is only there.
    pub fn is_indexed(&self) -> bool {
        let details = [Field::Host, Field::User, Field::SrcIp, Field::DstIp];
        self.about.search.is_some() || details.iter().any(|field| !self.about.values(*field).is_empty())
    }

    /// Whether finding its alerts takes reading far more than there are: in the search index, or past those that are
    /// left out.
    pub fn is_search(&self) -> bool {
        self.is_indexed() || !self.about.without.is_empty()
    }
}

/// Which events are wanted. They are always listed newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only these events; empty means any.
    pub ids: Vec<EventId>,
    /// Only these severities; empty means any.
    pub severities: Vec<Severity>,
    /// What they are about.
    pub about: About,
}

impl EventFilter {
    /// Whether the list is found by the search index: nothing else knows what events are about.
    pub fn is_indexed(&self) -> bool {
        self.about.search.is_some() || (self.ids.is_empty() && !self.about.fields.is_empty())
    }

    /// Whether finding its events takes reading far more than there are: in the search index, or past those that are
    /// left out.
    pub fn is_search(&self) -> bool {
        self.is_indexed() || !self.about.without.is_empty()
    }
}

/// What somebody who watches wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Only these severities: of alerts as they are now, of events as they were sent; empty means any.
    pub severities: Vec<Severity>,
    /// What it is about, whenever it was.
    pub about: About,
}

impl Watch {
    /// Whether anything is left out.
    pub fn is_narrowed(&self) -> bool {
        let About { fields, without, search, .. } = &self.about;
        !self.severities.is_empty() || !fields.is_empty() || !without.is_empty() || search.is_some()
    }

    fn is_bad_enough(&self, severity: Severity) -> bool {
        self.severities.is_empty() || self.severities.contains(&severity)
    }

    /// Whether an event is wanted.
    pub fn wants_event(&self, event: &Event) -> bool {
        self.is_bad_enough(event.severity) && self.about.fits(event)
    }

    /// Whether an alert is wanted.
    pub fn wants_alert(&self, alert: &Alert) -> bool {
        self.is_bad_enough(alert.severity) && self.about.fits(&alert.event)
    }

    /// Whether a change of an alert is wanted: also one that made an alert less than what is wanted, or whoever shows
    /// it would never hear of that.
    pub fn wants_change(&self, alert: &Alert, change: &HistoryEntry) -> bool {
        let was = match change.action.as_str() {
            "severity" => change
                .from
                .as_deref()
                .and_then(Severity::parse)
                .is_some_and(|severity| self.is_bad_enough(severity)),
            // It may have been anything before.
            "undo" => true,
            _ => false,
        };
        (was || self.is_bad_enough(alert.severity)) && self.about.fits(&alert.event)
    }
}
