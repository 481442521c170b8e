//! JSON objects, read in one pass. Values that no field takes are skipped without being built.

use super::{ATTRIBUTES, Fields, Undecodable};
use serde::Deserializer as _;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use watchpost_model::text::Given;

pub(super) fn decode(body: &[u8]) -> Result<Fields<'_>, Undecodable> {
    let malformed = |error: serde_json::Error| Undecodable::Malformed(format!("JSON parse error - {error}"));
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let other = match first {
        Some(b'{') => {
            let mut reader = serde_json::Deserializer::from_slice(body);
            let fields = reader.deserialize_map(FieldsVisitor).map_err(malformed)?;
            reader.end().map_err(malformed)?;
            return Ok(fields);
        }
        Some(b'[') => "list",
        Some(b'"') => "str",
        Some(b't' | b'f') => "bool",
        Some(b'n') => "null",
        _ => "number",
    };
    // Only well-formed JSON is called by its kind.
    serde_json::from_slice::<IgnoredAny>(body).map_err(malformed)?;
    Err(Undecodable::NotAnObject(other))
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Name(name)) = map.next_key()? {
            let given = match &*name == ATTRIBUTES {
                true => object(map.next_value()?),
                false => map.next_value::<Value<'_>>()?.0,
            };
            fields.add(name, given).map_err(de::Error::custom)?;
        }
        Ok(fields)
    }
}

/// What was given where an object belongs, left as it was written: whoever wants it checks it.
fn object(raw: &RawValue) -> Given<'_> {
    match raw.get() {
        "null" => Given::Null,
        text if text.starts_with('{') => Given::Object(text.into()),
        _ => Given::Other,
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for Name<'de> {
    fn deserialize<D: de::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        match reader.deserialize_str(ValueVisitor { inside: false })? {
            Given::Text(name) => Ok(Self(name)),
            _ => Err(de::Error::custom("a name is expected")),
        }
    }
}

struct Value<'a>(Given<'a>);

impl<'de> de::Deserialize<'de> for Value<'de> {
    fn deserialize<D: de::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ValueVisitor { inside: false }).map(Self)
    }
}

/// A value in a list. Lists in lists are passed over without going in: they may be as deep as they like.
struct Item<'a>(Given<'a>);

impl<'de> de::Deserialize<'de> for Item<'de> {
    fn deserialize<D: de::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ValueVisitor { inside: true }).map(Self)
    }
}

/// Texts in a list that a field takes; a longer one is none that anybody wants.
const MAX_TEXTS: usize = 10_000;

struct ValueVisitor {
    /// Whether this is in a list.
    inside: bool,
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Given<'de>, E> {
        Ok(Given::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Given<'de>, E> {
        Ok(Given::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Given<'de>, A::Error> {
        if self.inside {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Given::Other);
        }
        let mut texts = Some(Vec::new());
        while let Some(Item(given)) = seq.next_element()? {
            texts = match (texts, given) {
                (Some(mut texts), Given::Text(text)) if texts.len() < MAX_TEXTS => {
                    texts.push(text);
                    Some(texts)
                }
                _ => None,
            };
        }
        Ok(texts.map_or(Given::Other, Given::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_told_apart() {
        let fields =
            decode(br#"{"a":"x","b":null,"c":7,"d":[1,{"e":2}],"f":true,"g":"\u00e9"}"#).expect("JSON");
        assert_eq!(fields.get("a"), Given::Text("x".into()));
        assert_eq!(fields.get("b"), Given::Null);
        assert_eq!(fields.get("c"), Given::Text("7".into()));
        assert_eq!(fields.get("d"), Given::Other);
        assert_eq!(fields.get("f"), Given::Flag(true));
        assert_eq!(fields.get("g"), Given::Text("é".into()));
        assert_eq!(fields.get("e"), Given::Missing, "only the top level has fields");
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for broken in [
            &b"{"[..],
            b"",
            b"{} {}",
            b"{\"a\":1e999}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\xff\"}",
            b"nul",
            b"{'a':1}",
        ] {
            assert!(matches!(decode(broken), Err(Undecodable::Malformed(_))), "{broken:?}");
        }
        assert_eq!(decode(b" [1]"), Err(Undecodable::NotAnObject("list")));
        assert_eq!(decode(b"\"x\""), Err(Undecodable::NotAnObject("str")));
        let deep = [b"{\"a\":".as_slice(), &[b'['; 100_000]].concat();
        assert!(matches!(decode(&deep), Err(Undecodable::Malformed(_))), "nesting is bounded");
        let wide = format!("{{{}\"z\":1}}", "\"a\":1,".repeat(super::super::MAX_FIELDS));
        assert!(matches!(decode(wide.as_bytes()), Err(Undecodable::Malformed(_))), "fields are bounded");
    }
}
