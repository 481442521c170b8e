//! Security events: what a sensor saw. An event never changes once it is stored.

use crate::text::{self, Given};
use crate::{Details, DetailsDraft, EventId, Invalid, KeyId, Timestamp, UserId, invalid};
use std::fmt;

/// The longest name of a source or a type. The longest host name is 253 characters.
pub const MAX_NAME_CHARS: usize = 255;

/// The longest description. A syslog line over TCP is 8 KiB at most, a Windows event 32 KiB.
pub const MAX_DESCRIPTION_CHARS: usize = 65_536;

/// How bad it is, from least to worst. The numbers are how it is stored and sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// Worth keeping.
    Low = 1,
    /// Worth a look some time.
    Medium = 2,
    /// Raises an alert.
    High = 3,
    /// Raises an alert; drop everything.
    Critical = 4,
}

impl Severity {
    /// From least to worst.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name in capitals, as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }

    /// The name in title case, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        }
    }

    /// The number it is stored as.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The severity stored as this number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.code() == code)
    }

    /// Reads a name in any letter case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An event as somebody sent it, nothing checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventDraft<'a> {
    /// Who saw it.
    pub source_name: Given<'a>,
    /// What kind of thing was seen.
    pub event_type: Given<'a>,
    /// How bad the sender says it is.
    pub severity: Given<'a>,
    /// What was seen, in words.
    pub description: Given<'a>,
    /// What else is said about it.
    pub details: DetailsDraft<'a>,
}

/// An event that passed every check and has no id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    source_name: String,
    event_type: String,
    severity: Severity,
    description: String,
    details: Details,
}

impl NewEvent {
    /// Checks a draft; on failure every wrong field is named.
    pub fn check(draft: &EventDraft<'_>) -> Result<Self, Invalid> {
        let mut wrong = Invalid::new();
        let name = |given: &Given<'_>| given.required().and_then(|t| text::line(t, MAX_NAME_CHARS));
        let source_name = wrong.take("source_name", name(&draft.source_name));
        let event_type = wrong.take("event_type", name(&draft.event_type));
        let severity = wrong.take("severity", check_severity(&draft.severity));
        let description = wrong.take(
            "description",
            draft.description.required().and_then(|t| text::body(t, MAX_DESCRIPTION_CHARS)),
        );
        let details = Details::check(&draft.details, &mut wrong);
        match (source_name, event_type, severity, description, details) {
            (Some(source_name), Some(event_type), Some(severity), Some(description), Some(details)) => {
                Ok(Self { source_name, event_type, severity, description, details })
            }
            _ => Err(wrong),
        }
    }

    /// Who saw it.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// What kind of thing was seen.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// How bad the sender says it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What was seen, in words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What else is said about it.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Roughly what it holds in memory, for queues that are bounded in bytes.
    pub fn weight(&self) -> usize {
        let texts = self.source_name.len() + self.event_type.len() + self.description.len();
        size_of::<Self>() + texts + self.details.weight()
    }

    /// The stored event this becomes.
    pub fn stored(self, id: EventId, created_at: Timestamp, origin: Origin) -> Event {
        let Self { source_name, event_type, severity, description, details } = self;
        Event { id, created_at, source_name, event_type, severity, description, details, origin }
    }
}

fn check_severity(given: &Given<'_>) -> Result<Severity, String> {
    let text = given.required()?;
    if text.trim().is_empty() {
        return Err(invalid::not_a_choice(text));
    }
    Severity::parse(text).ok_or_else(|| invalid::not_a_choice(text))
}

/// Which credential an event came in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A person's token or session.
    User(UserId),
    /// A sensor's key.
    Key(KeyId),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Key(id) => write!(f, "key:{id}"),
        }
    }
}

impl Origin {
    /// The user, when it was one.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(id) => Some(id),
            Self::Key(_) => None,
        }
    }

    /// The sensor key, when it was one.
    pub fn key(self) -> Option<KeyId> {
        match self {
            Self::User(_) => None,
            Self::Key(id) => Some(id),
        }
    }
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When Watchpost took it in.
    pub created_at: Timestamp,
    /// Who saw it.
    pub source_name: String,
    /// What kind of thing was seen.
    pub event_type: String,
    /// How bad the sender says it is.
    pub severity: Severity,
    /// What was seen, in words.
    pub description: String,
    /// What else is said about it.
    pub details: Details,
    /// Which credential it came in with.
    pub origin: Origin,
}

impl Event {
    /// Roughly what it holds in memory.
    pub fn weight(&self) -> usize {
        let texts = self.source_name.len() + self.event_type.len() + self.description.len();
        size_of::<Self>() + texts + self.details.weight()
    }

    /// Every text that it is found by.
    pub fn each_text(&self, mut see: impl FnMut(&str)) {
        for text in [&self.source_name, &self.event_type, &self.description] {
            see(text);
        }
        let details = &self.details;
        for text in [&details.host, &details.user, &details.src_ip, &details.dst_ip].into_iter().flatten() {
            see(text);
        }
        if let Some(attributes) = &details.attributes {
            attributes.each_value(see);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Given<'_> {
        Given::Text(text.into())
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let draft = EventDraft {
            source_name: Given::Missing,
            event_type: Given::Null,
            severity: text("NOPE"),
            description: text("  "),
            details: DetailsDraft::default(),
        };
        let wrong = NewEvent::check(&draft).expect_err("nothing in it is right");
        let fields: Vec<_> = wrong.fields().iter().map(|(n, m)| (n.as_str(), m[0].as_str())).collect();
        assert_eq!(
            fields,
            [
                ("description", "This field may not be blank."),
                ("event_type", "This field may not be null."),
                ("severity", "\"NOPE\" is not a valid choice."),
                ("source_name", "This field is required."),
            ]
        );
    }

    #[test]
    fn severity_is_read_in_any_letter_case() {
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.title()), Some(severity));
            assert_eq!(Severity::parse(&severity.as_str().to_lowercase()), Some(severity));
            assert_eq!(Severity::from_code(severity.code()), Some(severity));
        }
        assert_eq!(Severity::parse("URGENT"), None);
    }
}
