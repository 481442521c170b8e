//! Queries as they stand in addresses: for links from one list to another, and for lists that are kept under a name.

use super::{Query, left_out};
use crate::error::ApiError;
use crate::params::*;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use watchpost_model::filter::{AlertFilter, AlertOrder, Field};
use watchpost_model::page::Cursor;
use watchpost_model::triage::Verdict;
use watchpost_model::{Severity, Status};

/// Everything but what may stand in a query as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b',');

/// Parameters as they stand in an address.
fn encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, ESCAPED));
        text.push('=');
        text.extend(utf8_percent_encode(value, ESCAPED));
    }
    text
}

/// Those of all choices that were asked for, separated by commas.
fn listed<T: PartialEq + ToString>(all: &[T], asked: &[T]) -> String {
    let chosen: Vec<String> = all.iter().filter(|one| asked.contains(one)).map(T::to_string).collect();
    chosen.join(",")
}

impl Query {
    /// The query with another page, for links; page 1 needs no number. A link with a place in the list keeps the
    /// number only where there was one.
    pub(crate) fn with_page(&self, page: u32, cursor: Option<Cursor>) -> String {
        let kept = self.pairs.iter().filter(|(name, _)| name != "page" && name != "cursor");
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let (number, place) = (page.to_string(), cursor.map(|cursor| cursor.to_string()));
        let numbered = page > 1 && (!self.has("cursor") || self.has("page"));
        let page = numbered.then_some(("page", number.as_str()));
        let place = place.as_deref().map(|place| ("cursor", place));
        let text = encoded(kept.chain(place).chain(page));
        if text.is_empty() { text } else { format!("?{text}") }
    }

    /// The parameters that narrow the list, in the order they were given; each with its value.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.trim()));
        pairs.filter(|(name, value)| !value.is_empty() && !matches!(*name, "page" | "cursor"))
    }

    /// The query without those parameters that something doesn't want, from the first page on.
    pub(crate) fn keep(&self, wanted: impl Fn(&str, &str) -> bool) -> Self {
        let kept = self.given().filter(|(name, value)| wanted(name, value));
        Self { pairs: kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// The query with another value for a parameter, from the first page on.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut query = self.keep(|given, _| given != name);
        query.pairs.push((name.to_owned(), value.to_owned()));
        query
    }

    /// The query without a parameter, on the same page.
    pub(crate) fn but(mut self, name: &str) -> Self {
        self.pairs.retain(|(given, _)| given != name);
        self
    }

    /// The query with one more parameter, on the same page.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As it stands in an address, with the question mark; empty when nothing is asked for.
    pub(crate) fn text(&self) -> String {
        self.with_page(1, None)
    }

    /// Whether pages are called by their numbers: unless somebody came by a place alone.
    pub(crate) fn is_numbered(&self) -> bool {
        !self.has("cursor") || self.has("page")
    }

    /// The list of alerts that a text asks for, whichever page of it.
    pub(crate) fn list_of_alerts(text: &str) -> Result<(Self, AlertFilter), ApiError> {
        let mut query = Self::parse(text.trim_start_matches('?'))?;
        query.pairs.retain(|(name, _)| !PLACES.iter().any(|param| param.name == name));
        let (filter, _) = query.alerts()?;
        Ok((query, filter))
    }

    /// The list that this filter was read from, written one way, to be kept. Times stay as they were given: what is
    /// counted from now is counted anew each time.
    pub(crate) fn kept(&self, filter: &AlertFilter) -> String {
        let severities = |asked: &[Severity]| listed(&Severity::ALL, asked);
        let mut pairs: Vec<(&str, String)> = vec![
            (STATUS.name, listed(&Status::ALL, &filter.statuses)),
            (SEVERITY.name, severities(&filter.severities)),
            (EVENT_SEVERITY.name, severities(&filter.event_severities)),
        ];
        for field in Field::ALL {
            pairs.extend(filter.about.values(field).iter().map(|value| (field.name(), value.clone())));
        }
        for (field, values) in &filter.about.without {
            pairs.extend(values.iter().map(|value| (left_out(*field), value.clone())));
        }
        pairs.extend(filter.triage.tags.iter().map(|tag| (TAG.name, tag.clone())));
        pairs.push((VERDICT.name, listed(&Verdict::ALL, &filter.triage.verdicts)));
        for name in [ASSIGNEE.name, SNOOZED.name, SINCE.name, UNTIL.name, SEARCH.name] {
            pairs.push((name, self.get(name).unwrap_or_default().to_owned()));
        }
        let ids: Vec<String> = filter.ids.iter().map(ToString::to_string).collect();
        pairs.push((ID.name, ids.join(",")));
        let order = match filter.order {
            AlertOrder::CreatedAt => "created_at",
            AlertOrder::Severity => "severity",
            AlertOrder::Status => "status",
        };
        let order = format!("{}{order}", if filter.descending { "-" } else { "" });
        pairs.push((ORDERING.name, if order == "-created_at" { String::new() } else { order }));
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        encoded(given.map(|(name, value)| (*name, value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).expect("few parameters")
    }

    #[test]
    fn links_keep_the_filters() {
        let q = query("search=a%20b%26c&page=3&severity=HIGH,LOW");
        assert_eq!(q.with_page(4, None), "?search=a%20b%26c&severity=HIGH,LOW&page=4");
        assert_eq!(q.with_page(1, None), "?search=a%20b%26c&severity=HIGH,LOW");
        assert_eq!(query("").with_page(1, None), "");
        let place = Some(Cursor { backwards: false, rank: 0, time: 0, id: 7 });
        assert_eq!(q.with_page(4, place), "?search=a%20b%26c&severity=HIGH,LOW&cursor=a0-0-7&page=4");
        assert_eq!(query("cursor=a0-0-9&severity=LOW").with_page(2, place), "?severity=LOW&cursor=a0-0-7");
    }

    #[test]
    fn what_is_kept_is_the_same_list_written_one_way() {
        let kept = |text: &str| {
            let (query, filter) = Query::list_of_alerts(text).expect("fine");
            query.kept(&filter)
        };
        for (given, wanted) in [
            ("", ""),
            ("?page=9&page_size=1&format=json&cursor=nonsense&ordering=-created_at&search=", ""),
            ("severity=critical,HIGH,high&status=open", "status=OPEN&severity=HIGH,CRITICAL"),
            ("search=%C3%A9t%C3%A9+%22x%22&since=-24h", "since=-24h&search=%C3%A9t%C3%A9%20%22x%22"),
            ("status=OPEN&status=resolved", "status=RESOLVED"),
            ("tag=VPN&tag=a:b&verdict=false-positive", "tag=vpn&tag=a%3Ab&verdict=FALSE_POSITIVE"),
            (
                "source_name=b&source_name= a &event_type=x%26y",
                "source_name=b&source_name=a&event_type=x%26y",
            ),
            ("ordering=Severity&id=7,%203", "id=7,3&ordering=severity"),
        ] {
            assert_eq!(kept(given), wanted, "{given}");
            assert_eq!(kept(wanted), wanted, "kept again it stays");
        }
        assert_eq!(kept("not_severity=LOW"), "severity=MEDIUM,HIGH,CRITICAL", "what is left of them");
        // Whatever narrows or sorts the list is kept.
        let elsewhere =
            |param: &&Param| PLACES.iter().chain([&NOT_SEVERITY]).all(|other| other.name != param.name);
        for param in ALERTS.iter().filter(elsewhere) {
            let value = match param.name {
                "id" => "7",
                "since" | "until" => "2026-11-20",
                _ => param.choices.first().unwrap_or(&"x"),
            };
            assert_eq!(kept(&format!("{}={value}", param.name)), format!("{}={value}", param.name));
        }
    }
}
