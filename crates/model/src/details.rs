//! What an event may say beside its description, in fields of their own that can be filtered by.

use crate::text::{self, Given};
use crate::{Attributes, Invalid, Timestamp};
use std::net::IpAddr;

/// The longest name of a host or a user: a host name has 253 characters at most.
pub const MAX_PARTY_CHARS: usize = 255;

/// The optional fields of an event as somebody sent them, nothing checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetailsDraft<'a> {
    /// When it happened.
    pub occurred_at: Given<'a>,
    /// The machine it happened on.
    pub host: Given<'a>,
    /// The account it is about.
    pub user: Given<'a>,
    /// Where it came from.
    pub src_ip: Given<'a>,
    /// What it was aimed at.
    pub dst_ip: Given<'a>,
    /// Anything else.
    pub attributes: Given<'a>,
}

/// The optional fields of an event, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// When it happened by the sender's clock; Watchpost's own is `created_at`.
    pub occurred_at: Option<Timestamp>,
    /// The machine it happened on.
    pub host: Option<String>,
    /// The account it is about.
    pub user: Option<String>,
    /// Where it came from, in the usual way of writing an address.
    pub src_ip: Option<String>,
    /// What it was aimed at, in the usual way of writing an address.
    pub dst_ip: Option<String>,
    /// Anything else.
    pub attributes: Option<Attributes>,
}

/// A field that was left out, or is `null` or blank, holds nothing: senders fill templates.
fn optional<T>(
    given: &Given<'_>,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match given {
        Given::Missing | Given::Null => Ok(None),
        Given::Text(text) if text.trim().is_empty() => Ok(None),
        given => given.required().and_then(check).map(Some),
    }
}

fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parsed: Result<IpAddr, _> = text.parse();
    parsed.map(|address| address.to_string()).map_err(|_| "Enter a valid IPv4 or IPv6 address.".into())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| {
        "A time such as 2026-11-20T22:05:45Z (RFC 3339, between the years 1970 and 2200) is expected.".into()
    })
}

impl Details {
    /// Checks a draft and notes every wrong field.
    pub fn check(draft: &DetailsDraft<'_>, wrong: &mut Invalid) -> Option<Self> {
        let line = |text: &str| text::line(text, MAX_PARTY_CHARS);
        let occurred_at = wrong.take("occurred_at", optional(&draft.occurred_at, moment));
        let host = wrong.take("host", optional(&draft.host, line));
        let user = wrong.take("user", optional(&draft.user, line));
        let src_ip = wrong.take("src_ip", optional(&draft.src_ip, address));
        let dst_ip = wrong.take("dst_ip", optional(&draft.dst_ip, address));
        let attributes = wrong.take("attributes", Attributes::check(&draft.attributes));
        Some(Self {
            occurred_at: occurred_at?,
            host: host?,
            user: user?,
            src_ip: src_ip?,
            dst_ip: dst_ip?,
            attributes: attributes?,
        })
    }

    /// Roughly what it holds in memory beyond its own size.
    pub(crate) fn weight(&self) -> usize {
        let texts = [&self.host, &self.user, &self.src_ip, &self.dst_ip];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        texts + self.attributes.as_ref().map_or(0, |attributes| attributes.as_json().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_detail_is_named_and_empty_ones_are_none() {
        let text = |text: &'static str| Given::Text(text.into());
        let draft = DetailsDraft {
            occurred_at: text("yesterday"),
            host: text(" "),
            user: Given::Null,
            src_ip: text("203.0.113.300"),
            dst_ip: text("2001:DB8:0::1"),
            attributes: text("x"),
        };
        let mut wrong = Invalid::new();
        assert_eq!(Details::check(&draft, &mut wrong), None);
        let fields: Vec<_> = wrong.fields().keys().map(String::as_str).collect();
        assert_eq!(fields, ["attributes", "occurred_at", "src_ip"]);
        let right = DetailsDraft { dst_ip: text("2001:DB8:0::1"), ..DetailsDraft::default() };
        let details = Details::check(&right, &mut Invalid::new()).expect("an address");
        assert_eq!(details.dst_ip.as_deref(), Some("2001:db8::1"), "one way of writing it");
    }
}
