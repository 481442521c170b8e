//! Filters as people see them: chips for what is asked for, and a form for what else could be.

use super::HERE;
use crate::console::refused::FormFields;
use crate::query::Query;
use minijinja::{Value, context};
use watchpost_model::triage::Verdict;
use watchpost_model::{Severity, Status};

const ORDERS: [(&str, &str); 6] = [
    ("-created_at", "Newest first"),
    ("created_at", "Oldest first"),
    ("-severity", "Worst first"),
    ("severity", "Least bad first"),
    ("status", "Open first"),
    ("-status", "Resolved first"),
];
const SIZES: [&str; 4] = ["10", "25", "50", "100"];
/// The fields of the form of filters that can be wrong, and how they are called there.
pub(super) const FIELDS: &FormFields = &[
    ("severity", "Severity"),
    ("status", "Status"),
    ("source_name", "Source"),
    ("event_type", "Type"),
    ("host", "Host"),
    ("user", "User"),
    ("src_ip", "From"),
    ("dst_ip", "To"),
    ("assignee", "Assigned to"),
    ("tag", "Tag"),
    ("since", "Since"),
    ("until", "Before"),
    ("ordering", "Sort"),
    ("page_size", "Rows"),
];
/// What a chip says before its value.
const NAMES: [(&str, &str); 21] = [
    ("status", "Status"),
    ("severity", "Severity"),
    ("event__severity", "Event's severity"),
    ("source_name", "Source"),
    ("event_type", "Type"),
    ("host", "Host"),
    ("user", "User"),
    ("src_ip", "From"),
    ("dst_ip", "To"),
    ("not_severity", "Not"),
    ("not_source_name", "Not source"),
    ("not_event_type", "Not type"),
    ("not_host", "Not host"),
    ("not_user", "Not user"),
    ("not_src_ip", "Not from"),
    ("not_dst_ip", "Not to"),
    ("assignee", "Assigned to"),
    ("tag", "Tag"),
    ("verdict", "Verdict"),
    ("since", "Since"),
    ("until", "Before"),
];

/// A value in words.
fn says(name: &str, value: &str) -> String {
    let title = |part: &str| match name {
        "status" => Status::parse(part).map(Status::title),
        "severity" | "event__severity" | "not_severity" => Severity::parse(part).map(Severity::title),
        "verdict" => Verdict::parse(part).map(Verdict::title),
        "assignee" if part.eq_ignore_ascii_case("none") => Some("nobody"),
        _ => None,
    };
    match name {
        "status" | "severity" | "event__severity" | "not_severity" | "verdict" | "assignee" => {
            let parts = value.split(',').map(|part| title(part).unwrap_or(part));
            parts.collect::<Vec<_>>().join(" or ")
        }
        _ => value.to_owned(),
    }
}

/// What the list of alerts is narrowed to, each with the address of the list without it.
pub(super) fn chips(query: &Query, fold: bool) -> Vec<Value> {
    let to = |rest: Query| format!("{HERE}{}", if fold { rest.with("fold", "group") } else { rest }.text());
    chips_of(query, to)
}

/// What a list is narrowed to, each with where the list without it is.
pub(crate) fn chips_of(query: &Query, to: impl Fn(Query) -> String) -> Vec<Value> {
    let chip = |(name, value): (&str, &str)| {
        let label = match (name, value) {
            ("ordering" | "page_size" | "format", _) => return None,
            ("snoozed", "true") => "Put off".to_owned(),
            ("snoozed", _) => "Not put off".to_owned(),
            ("search", value) => format!("\u{201c}{value}\u{201d}"),
            ("id", value) => format!("Number {value}"),
            (name, value) => {
                let known = NAMES.iter().find(|(known, _)| *known == name);
                format!("{}: {}", known.map_or(name, |(_, says)| says), says(name, value))
            }
        };
        let rest = query.keep(|given, other| (given, other) != (name, value));
        Some(context! { says => label, without => to(rest), out => name.starts_with("not_") })
    };
    query.given().filter_map(chip).collect()
}

/// What a choice offers. Anything else that is chosen, such as several or a typing mistake, stays as it is.
fn options<'a>(all: impl Iterator<Item = (&'a str, &'a str)>, chosen: &'a str) -> Vec<Value> {
    let all: Vec<(&str, &str)> = all.collect();
    let known = chosen.is_empty() || all.iter().any(|(value, _)| value.eq_ignore_ascii_case(chosen));
    let other = (!known).then_some((chosen, chosen));
    let option =
        |(value, says): (&str, &str)| context! { value, says, chosen => value.eq_ignore_ascii_case(chosen) };
    other.into_iter().chain(all).map(option).collect()
}

/// What the form of filters offers, and what of it is chosen. What it has no field for is kept.
pub(super) fn form(query: &Query) -> Value {
    let given = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let fields = ["source_name", "event_type", "host", "user", "src_ip", "dst_ip", "assignee", "tag"];
    let texts = ["since", "until", "search"];
    let offered = |name: &str| {
        fields.contains(&name)
            || texts.contains(&name)
            || matches!(name, "severity" | "status" | "ordering" | "page_size")
    };
    let text = |name: &&str| {
        let known = NAMES.iter().find(|(known, _)| known == name);
        context! { name => *name, says => known.map_or(*name, |(_, says)| says), value => given(name) }
    };
    let kept = query.given().filter(|(name, _)| !offered(name) && *name != "format");
    let severity = given("severity");
    let status = given("status");
    context! {
        search => given("search"),
        since => given("since"),
        until => given("until"),
        fields => fields.iter().map(text).collect::<Vec<_>>(),
        severities => options(Severity::ALL.iter().rev().map(|s| (s.as_str(), s.title())), &severity),
        statuses => options(Status::ALL.iter().map(|s| (s.as_str(), s.title())), &status),
        orders => options(ORDERS.into_iter(), &given("ordering")),
        sizes => options(SIZES.iter().map(|size| (*size, *size)), &given("page_size")),
        kept => kept.map(|(name, value)| context! { name, value }).collect::<Vec<_>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_can_be_taken_away_alone() {
        let text =
            "status=OPEN,ACKNOWLEDGED&source_name=a%26b&source_name=c&search=x%20y&snoozed=false&page=4";
        let query = Query::parse(text).expect("few parameters");
        let chips = serde_json::to_value(chips(&query, false)).expect("plain values");
        let says: Vec<&str> =
            chips.as_array().into_iter().flatten().filter_map(|chip| chip["says"].as_str()).collect();
        let quoted = "\u{201c}x y\u{201d}";
        assert_eq!(says, ["Status: Open or Acknowledged", "Source: a&b", "Source: c", quoted, "Not put off"]);
        assert_eq!(
            chips[1]["without"],
            "/alerts?status=OPEN,ACKNOWLEDGED&source_name=c&search=x%20y&snoozed=false"
        );
    }
}
