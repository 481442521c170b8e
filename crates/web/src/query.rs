//! Query parameters: each list says which it takes, and the documentation says it from the same table.

use crate::error::{ApiError, choose_from};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use watchpost_model::filter::{AlertFilter, AlertOrder, EventFilter, MAX_NEEDLE_CHARS};
use watchpost_model::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, PageRequest};
use watchpost_model::{Invalid, Severity, Status};

/// Parameters in one request; a list takes ten or so.
const MAX_PARAMS: usize = 100;

/// One parameter that a list takes.
#[derive(Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The values it may have; empty means any text.
    pub(crate) choices: &'static [&'static str],
}

const SEVERITIES: &[&str] = &["LOW", "MEDIUM", "HIGH", "CRITICAL"];
const STATUSES: &[&str] = &["OPEN", "ACKNOWLEDGED", "RESOLVED"];
const ORDERS: &[&str] = &["created_at", "-created_at", "severity", "-severity", "status", "-status"];

const fn any(name: &'static str, about: &'static str) -> Param {
    Param { name, about, choices: &[] }
}

const PAGE: Param = any("page", "Which page, from 1.");
const PAGE_SIZE: Param = any("page_size", "Rows on a page: 10 unless told, at most 100.");
const FORMAT: Param =
    Param { name: "format", about: "Only `json`; clients may name it.", choices: &["json"] };
const SEVERITY: Param = Param {
    name: "severity",
    about: "Only this severity, or these, separated by commas.",
    choices: SEVERITIES,
};
const EVENT_SEVERITY: Param = Param {
    name: "event__severity",
    about: "Only alerts whose event had this severity, or these.",
    choices: SEVERITIES,
};
const STATUS: Param =
    Param { name: "status", about: "Only this status, or these, separated by commas.", choices: STATUSES };
const ORDERING: Param =
    Param { name: "ordering", about: "What to sort by; `-` for largest or newest first.", choices: ORDERS };
const TYPE: Param = any("event_type", "Only this type of event, in any letter case.");
const SOURCE: Param = any("source_name", "Only events from this source, in any letter case.");
const SEARCH: Param = any("search", "Only events with this text in their description, source or type.");

/// What lists without filters take.
pub(crate) const PAGES: &[Param] = &[PAGE, PAGE_SIZE, FORMAT];

/// What lists of events take.
pub(crate) const EVENTS: &[Param] = &[SEVERITY, TYPE, SOURCE, SEARCH, PAGE, PAGE_SIZE, FORMAT];

/// What lists of alerts take.
pub(crate) const ALERTS: &[Param] =
    &[SEVERITY, EVENT_SEVERITY, STATUS, TYPE, SOURCE, SEARCH, ORDERING, PAGE, PAGE_SIZE, FORMAT];

/// The parameters of a request, decoded.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// Everything but what may stand in a query as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b',');

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes())
            .take(MAX_PARAMS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > MAX_PARAMS {
            return Err(ApiError::Malformed(format!("More than {MAX_PARAMS} query parameters.")));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter; one that is empty counts as not given, as HTML forms send it. Of several the last.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().rev().find(|(given, _)| given == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    fn name_unknown(&self, known: &[Param], wrong: &mut Invalid) {
        for (name, _) in &self.pairs {
            if !known.iter().any(|param| param.name == name) {
                let names: Vec<_> = known.iter().map(|param| param.name).collect();
                let shown: String = name.chars().take(80).collect();
                wrong.add(&shown, format!("Unknown parameter. Known are: {}.", names.join(", ")));
            }
        }
    }

    /// The query with another page, for links; page 1 needs no number.
    pub(crate) fn with_page(&self, page: u32) -> String {
        let mut text = String::new();
        let kept = self.pairs.iter().filter(|(name, _)| name != "page");
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let number = page.to_string();
        let page = (page > 1).then_some(("page", number.as_str()));
        for (name, value) in kept.chain(page) {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.extend(utf8_percent_encode(name, ESCAPED));
            text.push('=');
            text.extend(utf8_percent_encode(value, ESCAPED));
        }
        text
    }

    fn choices<T>(&self, param: &Param, read: fn(&str) -> Option<T>, wrong: &mut Invalid) -> Vec<T> {
        let Some(given) = self.get(param.name) else { return Vec::new() };
        let mut chosen = Vec::new();
        for one in given.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match read(one) {
                Some(value) => chosen.push(value),
                None => wrong.add(param.name, choose_from(one, param.choices)),
            }
        }
        chosen
    }

    fn text(&self, name: &str, wrong: &mut Invalid) -> Option<String> {
        let given = self.get(name)?;
        if given.contains('\0') || given.chars().count() > MAX_NEEDLE_CHARS {
            wrong.add(
                name,
                format!("A text of at most {MAX_NEEDLE_CHARS} characters without NUL is expected."),
            );
            return None;
        }
        Some(given.to_owned())
    }

    fn page(&self, wrong: &mut Invalid) -> Result<PageRequest, ApiError> {
        if let Some(format) = self.get("format")
            && !format.eq_ignore_ascii_case("json")
        {
            wrong.add("format", choose_from(format, FORMAT.choices));
        }
        let size = match self.get("page_size").map(str::parse::<u32>) {
            None => DEFAULT_PAGE_SIZE,
            Some(Ok(size)) if size > 0 => size.min(MAX_PAGE_SIZE),
            Some(_) => {
                wrong.add("page_size", format!("A whole number from 1 to {MAX_PAGE_SIZE} is expected."));
                DEFAULT_PAGE_SIZE
            }
        };
        let number = match self.get("page").map(str::parse::<u32>) {
            None => 1,
            Some(Ok(number)) if number > 0 => number,
            Some(_) => return Err(ApiError::NoSuchPage),
        };
        Ok(PageRequest { number, size })
    }

    /// A list without filters.
    pub(crate) fn plain(&self) -> Result<PageRequest, ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(PAGES, &mut wrong);
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        page
    }

    /// A list of events.
    pub(crate) fn events(&self) -> Result<(EventFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(EVENTS, &mut wrong);
        let filter = EventFilter {
            severities: self.choices(&SEVERITY, Severity::parse, &mut wrong),
            event_type: self.text("event_type", &mut wrong),
            source_name: self.text("source_name", &mut wrong),
            search: self.text("search", &mut wrong),
        };
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    /// A list of alerts.
    pub(crate) fn alerts(&self) -> Result<(AlertFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(ALERTS, &mut wrong);
        let (order, descending) = self.order(&ORDERING, &mut wrong);
        let filter = AlertFilter {
            severities: self.choices(&SEVERITY, Severity::parse, &mut wrong),
            event_severities: self.choices(&EVENT_SEVERITY, Severity::parse, &mut wrong),
            statuses: self.choices(&STATUS, Status::parse, &mut wrong),
            event_type: self.text("event_type", &mut wrong),
            source_name: self.text("source_name", &mut wrong),
            search: self.text("search", &mut wrong),
            order,
            descending,
        };
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    fn order(&self, param: &Param, wrong: &mut Invalid) -> (AlertOrder, bool) {
        let Some(given) = self.get(param.name) else { return (AlertOrder::CreatedAt, true) };
        let descending = given.starts_with('-');
        let order = match given.trim_start_matches('-').to_ascii_lowercase().as_str() {
            "created_at" => AlertOrder::CreatedAt,
            "severity" => AlertOrder::Severity,
            "status" => AlertOrder::Status,
            _ => {
                wrong.add(param.name, choose_from(given, param.choices));
                AlertOrder::CreatedAt
            }
        };
        (order, descending)
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
        assert_eq!(q.with_page(4), "?search=a%20b%26c&severity=HIGH,LOW&page=4");
        assert_eq!(q.with_page(1), "?search=a%20b%26c&severity=HIGH,LOW");
        assert_eq!(query("").with_page(1), "");
    }

    #[test]
    fn every_wrong_parameter_is_named_at_once() {
        let Err(ApiError::Invalid(wrong)) =
            query("severity=nope&status=closed&ordering=age&colour=red&page_size=0").alerts()
        else {
            panic!("everything in it is wrong")
        };
        let names: Vec<_> = wrong.fields().keys().map(String::as_str).collect();
        assert_eq!(names, ["colour", "ordering", "page_size", "severity", "status"]);
        assert!(wrong.fields()["severity"][0].contains("LOW, MEDIUM, HIGH, CRITICAL"));
    }

    #[test]
    fn filters_are_read_in_any_letter_case_and_empty_ones_are_none() {
        let (filter, page) =
            query("severity=high&status=Open&event_type=&page_size=500").alerts().expect("fine");
        assert_eq!(filter.severities, [Severity::High]);
        assert_eq!(filter.statuses, [Status::Open]);
        assert_eq!(filter.event_type, None);
        assert_eq!(page, PageRequest { number: 1, size: 100 });
    }

    #[test]
    fn what_is_no_page_number_is_no_page() {
        for page in ["0", "-1", "x", "99999999999"] {
            assert!(matches!(query(&format!("page={page}")).alerts(), Err(ApiError::NoSuchPage)), "{page}");
        }
    }
}
