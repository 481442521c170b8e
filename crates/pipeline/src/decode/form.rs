//! HTML forms.

use super::{Fields, Undecodable};
use std::borrow::Cow;
use watchpost_model::text::Given;

pub(super) fn decode(body: &[u8]) -> Result<Fields<'_>, Undecodable> {
    let mut fields = Fields::default();
    for (name, value) in form_urlencoded::parse(body) {
        // The parser puts U+FFFD where bytes aren't UTF-8; guessing what was meant would store something else.
        if broken(&name) || broken(&value) {
            return Err(Undecodable::Malformed("the form isn't UTF-8".into()));
        }
        fields.add(name, Given::Text(value)).map_err(Undecodable::Malformed)?;
    }
    Ok(fields)
}

#[allow(clippy::ptr_arg, reason = "borrowed means that nothing was replaced")]
fn broken(text: &Cow<'_, str>) -> bool {
    matches!(text, Cow::Owned(text) if text.contains('\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_percent_decoded() {
        let fields = decode(b"source_name=fw+1&description=50%25").expect("a form");
        assert_eq!(fields.get("source_name"), Given::Text("fw 1".into()));
        assert_eq!(fields.get("description"), Given::Text("50%".into()));
        assert_eq!(fields.get("severity"), Given::Missing);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused() {
        assert!(decode(b"description=%ff").is_err());
    }
}
