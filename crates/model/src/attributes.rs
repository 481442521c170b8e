//! What an event carries beside its named fields: one JSON object of bounded size and depth.

use crate::text::Given;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// The largest object, written without blanks. Twice the longest usual log record.
pub const MAX_ATTRIBUTES_BYTES: usize = 16 << 10;
/// How deep objects and lists may lie in each other; the object itself is the first.
pub const MAX_ATTRIBUTES_DEPTH: usize = 8;
/// Values in all.
pub const MAX_ATTRIBUTES_VALUES: usize = 1_000;

/// A JSON object that was checked, as text without blanks. Numbers and the order of names are kept as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes(String);

impl Attributes {
    /// Checks what was given; an empty object is as good as none.
    pub fn check(given: &Given<'_>) -> Result<Option<Self>, String> {
        let text = match given {
            Given::Missing | Given::Null => return Ok(None),
            Given::Object(text) | Given::Text(text) => text.trim(),
            Given::Flag(_) | Given::List(_) | Given::Other => return Err(NOT_AN_OBJECT.into()),
        };
        if text.is_empty() || text == "{}" {
            return Ok(None);
        }
        if !text.starts_with('{') {
            return Err(NOT_AN_OBJECT.into());
        }
        let left = Cell::new(MAX_ATTRIBUTES_VALUES);
        let mut reader = serde_json::Deserializer::from_str(text);
        let checked = Checked { depth: 0, left: &left }.deserialize(&mut reader).and_then(|()| reader.end());
        checked.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                let message = error.to_string();
                message.split(" at line ").next().unwrap_or_default().to_owned()
            }
            _ => NOT_AN_OBJECT.to_owned(),
        })?;
        let compact = without_blanks(text);
        if compact.len() > MAX_ATTRIBUTES_BYTES {
            return Err(format!("Ensure this object has no more than {MAX_ATTRIBUTES_BYTES} bytes."));
        }
        Ok((compact != "{}").then_some(Self(compact)))
    }

    /// Wraps a text that was checked before it was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The object as JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Every text and number in it, however deep.
    pub fn each_value(&self, mut see: impl FnMut(&str)) {
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&self.0) {
            visit(&value, &mut see);
        }
    }
}

const NOT_AN_OBJECT: &str = "A JSON object is expected.";

fn visit(value: &serde_json::Value, see: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => see(text),
        serde_json::Value::Number(number) => see(&number.to_string()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| visit(value, see)),
        serde_json::Value::Object(values) => values.values().for_each(|value| visit(value, see)),
        serde_json::Value::Null | serde_json::Value::Bool(_) => {}
    }
}

/// Drops the blanks between the parts of a JSON text that is well-formed.
fn without_blanks(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        if inside {
            inside = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        inside = *c == '"';
        !c.is_ascii_whitespace()
    };
    text.chars().filter(keep).collect()
}

/// Reads a value for its limits alone.
#[derive(Clone, Copy)]
struct Checked<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl Checked<'_> {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_ATTRIBUTES_DEPTH {
            return Err(E::custom(format!("Ensure values lie no more than {MAX_ATTRIBUTES_DEPTH} deep.")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn text<E: de::Error>(text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(E::custom("Null characters are not allowed."));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => {
                return Err(de::Error::custom(format!(
                    "Ensure this object has no more than {MAX_ATTRIBUTES_VALUES} values."
                )));
            }
        }
        reader.deserialize_any(self)
    }
}

/// A name in an object.
struct Name;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
                Checked::text(text)
            }
        }
        reader.deserialize_str(Text).map(|()| Self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        Self::text(text)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while values.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while values.next_key::<Name>()?.is_some() {
            values.next_value_seed(inside)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Option<Attributes>, String> {
        Attributes::check(&Given::Object(text.into()))
    }

    #[test]
    fn an_object_is_kept_as_given_without_blanks() {
        let kept =
            check(r#" { "b" : [1, 2.50, 1e2],  "a" : "x \" y " } "#).expect("an object").expect("some");
        assert_eq!(kept.as_json(), r#"{"b":[1,2.50,1e2],"a":"x \" y "}"#);
        assert_eq!(check("{ }"), Ok(None));
        let mut seen = Vec::new();
        kept.each_value(|value| seen.push(value.to_owned()));
        assert_eq!(seen, ["x \" y ", "1", "2.5", "100.0"]);
    }

    #[test]
    fn depth_size_and_number_of_values_are_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(check(&nested(MAX_ATTRIBUTES_DEPTH)).is_ok());
        assert!(check(&nested(MAX_ATTRIBUTES_DEPTH + 1)).unwrap_err().contains("deep"));
        assert!(check(&nested(100_000)).is_err(), "nor does the stack overflow");
        let wide = |values: usize| format!("{{\"a\":[{}]}}", vec!["1"; values - 2].join(","));
        assert!(check(&wide(MAX_ATTRIBUTES_VALUES)).is_ok());
        assert!(check(&wide(MAX_ATTRIBUTES_VALUES + 1)).unwrap_err().contains("values"));
        let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(check(&long(MAX_ATTRIBUTES_BYTES)).is_ok());
        assert!(check(&long(MAX_ATTRIBUTES_BYTES + 1)).unwrap_err().contains("bytes"));
    }

    #[test]
    fn what_is_no_object_or_holds_nul_is_refused() {
        for wrong in ["[]", "1", "\"x\"", "{", "{\"a\":1e999}", r#"{"a":"\ud800"}"#] {
            assert_eq!(check(wrong), Err(NOT_AN_OBJECT.into()), "{wrong}");
        }
        for nul in [r#"{"a":"\u0000"}"#, r#"{"\u0000":1}"#] {
            assert!(check(nul).unwrap_err().contains("Null"), "{nul}");
        }
    }
}
