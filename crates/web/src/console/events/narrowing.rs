//! The ways from a list of events to a narrower one: to what has a value, or to what hasn't.

use super::at;
use crate::api::explore::{FacetsView, ValueView};
use crate::console::event_facts::title;
use crate::query::{Query, left_out};
use minijinja::{Value, context};
use watchpost_model::Severity;
use watchpost_model::filter::{Field, MAX_NEEDLE_CHARS};

const SEVERITY: &str = "severity";
const NOT_SEVERITY: &str = "not_severity";

/// The list with only what has a value in a field.
pub(super) fn only(list: &Query, field: Field, value: &str) -> String {
    let (name, not) = (field.name(), left_out(field));
    let rest =
        list.keep(|given, other| given != name && !(given == not && other.eq_ignore_ascii_case(value)));
    at(&rest.and(name, value))
}

/// The list without what has a value in a field.
pub(super) fn but(list: &Query, field: Field, value: &str) -> String {
    let (name, not) = (field.name(), left_out(field));
    let other_than =
        |given: &str, other: &str| !((given == name || given == not) && other.eq_ignore_ascii_case(value));
    at(&list.keep(other_than).and(not, value))
}

/// The list with only what has these words, too.
pub(super) fn with_words(list: &Query, value: &str) -> String {
    let quoted: String = value.chars().filter(|c| *c != '"' && *c != '\0').collect();
    let before = list.get("search").unwrap_or_default();
    let both = format!("{before} \"{quoted}\"");
    let search = if both.chars().count() <= MAX_NEEDLE_CHARS { both } else { format!("\"{quoted}\"") };
    at(&list.with("search", search.trim().chars().take(MAX_NEEDLE_CHARS).collect::<String>().as_str()))
}

/// The list with only one severity.
pub(super) fn only_severity(list: &Query, severity: Severity) -> String {
    at(&list.keep(|name, _| name != NOT_SEVERITY).with(SEVERITY, severity.as_str()))
}

/// The list without a severity; none when nothing would be left.
pub(super) fn but_severity(list: &Query, severity: Severity) -> Option<String> {
    let named = |name: &str| -> Vec<Severity> {
        list.get(name).unwrap_or_default().split(',').filter_map(Severity::parse).collect()
    };
    let (asked, mut out) = (named(SEVERITY), named(NOT_SEVERITY));
    out.push(severity);
    let left = |one: &&Severity| (asked.is_empty() || asked.contains(one)) && !out.contains(one);
    Severity::ALL.iter().find(left)?;
    let mut names: Vec<&str> =
        Severity::ALL.iter().filter(|one| out.contains(one)).map(|one| one.as_str()).collect();
    names.dedup();
    Some(at(&list.with(NOT_SEVERITY, &names.join(","))))
}

/// What a form of the search keeps of the list.
pub(super) fn kept(list: &Query) -> Vec<Value> {
    let given = list.given().filter(|(name, _)| !matches!(*name, "search" | "since" | "until"));
    given.map(|(name, value)| context! { name, value }).collect()
}

/// What the events of a list say most, with the ways to narrower lists.
pub(super) fn facets(said: &FacetsView, list: &Query) -> Vec<Value> {
    let mut facets = Vec::new();
    if let Some(severities) = said.facets.get(SEVERITY) {
        let value = |one: &ValueView, severity: Severity| {
            context! {
                value => severity.title(),
                class => severity.title().to_ascii_lowercase(),
                count => one.count,
                only => only_severity(list, severity),
                but => but_severity(list, severity),
            }
        };
        let mut values: Vec<(Severity, Value)> = Vec::new();
        for one in &severities.values {
            values.extend(Severity::parse(&one.value).map(|severity| (severity, value(one, severity))));
        }
        values.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        facets.push((SEVERITY, "Severity", severities.exact, values.into_iter().map(|(_, v)| v).collect()));
    }
    for field in Field::ALL {
        let Some(found) = said.facets.get(field.name()) else { continue };
        let value = |one: &ValueView| {
            context! {
                value => one.value.as_str(),
                class => "",
                count => one.count,
                only => only(list, field, &one.value),
                but => but(list, field, &one.value),
            }
        };
        let values: Vec<Value> = found.values.iter().map(value).collect();
        facets.push((field.name(), title(field), found.exact, values));
    }
    let shown = facets.into_iter().filter(|(.., values)| !values.is_empty());
    shown.map(|(name, says, exact, values)| context! { name, says, exact, values }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Query {
        Query::parse(text).expect("few parameters")
    }

    #[test]
    fn narrowing_says_each_thing_once() {
        let from = list("host=a&not_host=B&search=x&cursor=a0-0-1&page=3");
        assert_eq!(only(&from, Field::Host, "b"), "/events?search=x&host=b");
        assert_eq!(but(&from, Field::Host, "A"), "/events?not_host=B&search=x&not_host=A");
        assert_eq!(but(&from, Field::Host, "b"), "/events?host=a&search=x&not_host=b");
        assert_eq!(only(&list(""), Field::SrcIp, "a&b=c"), "/events?src_ip=a%26b%3Dc");
        assert_eq!(with_words(&from, "y \"z\""), "/events?host=a&not_host=B&search=x%20%22y%20z%22");
        let long = with_words(&from, &"ü".repeat(300));
        assert_eq!(
            list(long.split_once('?').expect("a query").1).get("search").map(|s| s.chars().count()),
            Some(255)
        );
    }

    #[test]
    fn severities_are_left_out_together_until_one_is_left() {
        let two = but_severity(&list("not_severity=LOW"), Severity::High);
        assert_eq!(two.as_deref(), Some("/events?not_severity=LOW,HIGH"));
        assert_eq!(but_severity(&list("severity=LOW"), Severity::Low), None);
        assert_eq!(but_severity(&list("not_severity=LOW,MEDIUM,HIGH"), Severity::Critical), None);
        assert_eq!(only_severity(&list("not_severity=LOW"), Severity::Low), "/events?severity=LOW");
    }
}
