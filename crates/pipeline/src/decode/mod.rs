//! From bytes to named fields, nothing checked yet. One file per format.

mod form;
mod json;
mod split;

pub use split::{Item, Shape, Splitter};
use std::borrow::Cow;
use watchpost_model::text::Given;
use watchpost_model::{DetailsDraft, EventDraft, Invalid};

/// A body has four fields or so; one with more than this isn't meant for us.
pub const MAX_FIELDS: usize = 1_000;

/// The one field that holds an object.
const ATTRIBUTES: &str = "attributes";

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    Json,
    /// An HTML form, `application/x-www-form-urlencoded`.
    Form,
}

/// Why a body can't be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// It isn't what its format says; with the reason.
    Malformed(String),
    /// It is well-formed, but no object; names what it is.
    NotAnObject(&'static str),
}

/// The fields of a body by name; of a name that occurs twice, the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    entries: Vec<(Cow<'a, str>, Given<'a>)>,
}

impl<'a> Fields<'a> {
    /// Reads a body.
    pub fn decode(format: Format, body: &'a [u8]) -> Result<Self, Undecodable> {
        match format {
            Format::Json => json::decode(body),
            Format::Form => form::decode(body),
        }
    }

    /// What was given for a name.
    pub fn get(&self, name: &str) -> Given<'a> {
        let found = self.entries.iter().rev().find(|(entry, _)| entry == name);
        found.map_or(Given::Missing, |(_, given)| given.clone())
    }

    /// Every text that was given under a name: a form sends one for each box that is ticked.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let given = self.entries.iter().filter(move |(given, _)| given == name);
        given.filter_map(|(_, value)| match value {
            Given::Text(text) => Some(text.as_ref()),
            _ => None,
        })
    }

    /// Whether a name occurs.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(entry, _)| entry == name)
    }

    /// The event these fields describe, under the names that any of the replaced services uses.
    pub fn event(&self) -> EventDraft<'a> {
        EventDraft {
            source_name: self.get("source_name").or(self.get("source")).or(self.get("sourceName")),
            event_type: self.get("event_type").or(self.get("eventType")),
            severity: self.get("severity"),
            description: self.get("description"),
            details: DetailsDraft {
                occurred_at: self.get("occurred_at").or(self.get("occurredAt")),
                host: self.get("host"),
                user: self.get("user"),
                src_ip: self.get("src_ip").or(self.get("srcIp")),
                dst_ip: self.get("dst_ip").or(self.get("dstIp")),
                attributes: self.get(ATTRIBUTES),
            },
        }
    }

    fn add(&mut self, name: Cow<'a, str>, given: Given<'a>) -> Result<(), String> {
        if self.entries.len() == MAX_FIELDS {
            return Err(format!("more than {MAX_FIELDS} fields"));
        }
        self.entries.push((name, given));
        Ok(())
    }
}

impl Undecodable {
    /// As messages by field, for bodies that are well-formed but no object.
    pub fn into_invalid(self) -> Result<Invalid, String> {
        match self {
            Self::Malformed(reason) => Err(reason),
            Self::NotAnObject(found) => Ok(Invalid::field(
                "non_field_errors",
                format!("Invalid data. Expected a dictionary, but got {found}."),
            )),
        }
    }
}
