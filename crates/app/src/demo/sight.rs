//! What a sensor sees, and the event it hands in about it.

use serde_json::{Map, Value};
use watchpost_model::text::Given;
use watchpost_model::{DetailsDraft, EventDraft, Severity, Timestamp};
use watchpost_pipeline::Detected;

/// Something seen, before it is an event.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) by: String,
    pub(super) what: String,
    pub(super) severity: Severity,
    pub(super) text: String,
    pub(super) host: Option<String>,
    pub(super) user: Option<String>,
    pub(super) src: Option<String>,
    pub(super) dst: Option<String>,
    /// What else there is to say, as the event's attributes.
    pub(super) facts: Map<String, Value>,
}

impl Sight {
    pub(super) fn new(by: &str, what: &str, severity: Severity) -> Self {
        Self {
            by: by.to_owned(),
            what: what.to_owned(),
            severity,
            text: String::new(),
            host: None,
            user: None,
            src: None,
            dst: None,
            facts: Map::new(),
        }
    }

    /// Adds a fact: a number where it is one.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let value = value.parse::<i64>().map_or_else(|_| Value::from(value), Value::from);
        self.facts.insert(name.to_owned(), value);
    }

    /// The event, which happened then by the sensor's clock.
    pub(super) fn event(&self, occurred_at: Timestamp) -> Detected {
        fn text(text: &str) -> Given<'_> {
            Given::Text(text.into())
        }
        let maybe = |field: &Option<String>| match field {
            Some(text) => Given::Text(text.clone().into()),
            None => Given::Missing,
        };
        let attributes = Value::Object(self.facts.clone()).to_string();
        let draft = EventDraft {
            source_name: text(&self.by),
            event_type: text(&self.what),
            severity: text(self.severity.as_str()),
            description: text(&self.text),
            details: DetailsDraft {
                occurred_at: Given::Text(occurred_at.to_string().into()),
                host: maybe(&self.host),
                user: maybe(&self.user),
                src_ip: maybe(&self.src),
                dst_ip: maybe(&self.dst),
                attributes: Given::Object(attributes.into()),
            },
        };
        Detected::check(&draft).expect("what the demo tells is well-formed: each kind is tried in tests")
    }
}

/// Puts values into a text, each where its name stands in braces.
pub(super) fn filled(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        filled.push_str(before);
        filled.push_str(&value(name).unwrap_or_default());
        rest = after;
    }
    filled.push_str(rest);
    filled
}
