//! What an event says, one thing a line, each with the lists that have the same or that leave it out.

use crate::auth::session::Session;
use minijinja::{Value, context};
use watchpost_model::access::allows;
use watchpost_model::event::Origin;
use watchpost_model::filter::{Field, MAX_NEEDLE_CHARS};
use watchpost_model::{Action, Attributes, Event};

/// What a field is called on pages.
pub(crate) const fn title(field: Field) -> &'static str {
    match field {
        Field::Source => "Source",
        Field::Type => "Type",
        Field::Host => "Host",
        Field::User => "User",
        Field::SrcIp => "From address",
        Field::DstIp => "To address",
    }
}

fn pair(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

/// A line: what it is called, what it says, and where the same is found.
fn fact(says: &str, value: &str, by: String, out: Option<String>, events: bool) -> Value {
    context! {
        says,
        value,
        alerts => format!("/alerts?{by}"),
        events => events.then(|| format!("/events?{by}")),
        out => out.as_ref().map(|out| format!("/alerts?status=OPEN&{out}")),
        events_out => out.filter(|_| events).map(|out| format!("/events?{out}")),
    }
}

/// Everything an event says beside its description.
pub(crate) fn facts(event: &Event, session: &Session) -> Vec<Value> {
    let events = allows(session.caller.rank, Action::ReadEvents);
    let mut facts = Vec::new();
    for field in Field::ALL {
        if let Some(value) = field.of(event) {
            let out = pair(&format!("not_{}", field.name()), value);
            facts.push(fact(title(field), value, pair(field.name(), value), Some(out), events));
        }
    }
    let lines = attributes(event);
    facts.extend(lines.iter().map(|(name, value)| fact(name, value, words(value), None, events)));
    facts
}

/// Everything that an event says in no field of its own, each with the way to it.
pub(crate) fn attributes(event: &Event) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let attributes = event.details.attributes.as_ref().map(Attributes::as_json);
    if let Some(attributes) = attributes.and_then(|text| serde_json::from_str(text).ok()) {
        flat(&attributes, String::new(), &mut lines);
    }
    lines
}

/// The list of what has a value's words in it.
fn words(value: &str) -> String {
    let quoted: String = value.chars().filter(|c| *c != '"').take(MAX_NEEDLE_CHARS - 2).collect();
    pair("search", &format!("\"{quoted}\""))
}

/// The values in a JSON object, each with the way to it.
fn flat(value: &serde_json::Value, name: String, lines: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flat(value, name, lines);
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| flat(value, format!("{name}[{n}]"), lines));
        }
        serde_json::Value::String(text) => lines.push((name, text.clone())),
        other => lines.push((name, other.to_string())),
    }
}

/// Who handed an event in.
pub(crate) fn origin(event: &Event) -> String {
    match event.origin {
        Origin::User(user) => format!("user {user}"),
        Origin::Key(key) => format!("sensor key {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_a_line_each_however_deep() {
        let value = serde_json::json!({"a": {"b": [1, {"c": "x"}]}, "d": null, "e": "\"q\" r"});
        let mut lines = Vec::new();
        flat(&value, String::new(), &mut lines);
        let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(lines, [("a.b[0]", "1"), ("a.b[1].c", "x"), ("d", "null"), ("e", "\"q\" r")]);
        assert_eq!(words("\"q\" r"), "search=%22q+r%22");
    }
}
