//! The time that a list is narrowed to.

use super::{HERE, at};
use crate::query::Query;
use minijinja::{Value, context};
use watchpost_model::Timestamp;

/// The stretches of time to choose from.
const PRESETS: [(&str, &str); 5] =
    [("-15m", "15 minutes"), ("-1h", "Hour"), ("-24h", "Day"), ("-7d", "Week"), ("-30d", "Month")];
/// No chart shows less, in seconds.
pub(super) const SHORTEST: i64 = 15 * 60;

fn timeless(list: &Query) -> Query {
    list.keep(|name, _| !matches!(name, "since" | "until"))
}

/// The same list in another time.
fn since(list: &Query, since: &str) -> String {
    at(&timeless(list).and("since", since))
}

/// The stretches to choose from, and which is chosen.
pub(super) fn presets(list: &Query) -> Vec<Value> {
    let given = (list.get("since"), list.get("until"));
    let preset = |(value, says): (&str, &str)| {
        context! { says, href => since(list, value), chosen => given == (Some(value), None) }
    };
    let all = context! { says => "All", href => at(&timeless(list)), chosen => given == (None, None) };
    PRESETS.into_iter().map(preset).chain([all]).collect()
}

/// Longer times than the list's own, for when nothing fits.
pub(super) fn wider(list: &Query, now: Timestamp) -> Vec<Value> {
    let back = |text: &str| Timestamp::parse_relative(text, now).unwrap_or(now);
    let (Some(since_text), until) = (list.get("since"), list.get("until")) else {
        return if list.has("until") { vec![anytime(list)] } else { Vec::new() };
    };
    let own = if until.is_some() { now } else { back(since_text) };
    let longer = PRESETS.into_iter().filter(|(value, _)| back(value) < own);
    let step = |(value, says): (&str, &str)| {
        let says = format!("the last {}", says.to_lowercase());
        context! { says, href => since(list, value) }
    };
    longer.rev().take(2).collect::<Vec<_>>().into_iter().rev().map(step).chain([anytime(list)]).collect()
}

fn anytime(list: &Query) -> Value {
    context! { says => "any time", href => at(&timeless(list)) }
}

/// Where a picked time leads: the same list with the two times put in.
pub(super) fn pick(list: &Query) -> String {
    // What somebody looks for may read like the places where times are put in.
    let rest = timeless(list).text().replace("SINCE", "%53INCE").replace("UNTIL", "%55NTIL");
    let mark = if rest.is_empty() { "?" } else { "&" };
    format!("{HERE}{rest}{mark}since=SINCE&until=UNTIL")
}

/// What tells of events that come in to the list.
pub(super) fn stream(list: &Query) -> String {
    let watched = timeless(list).keep(|name, _| name != "id");
    format!("/stream{}", watched.with("topics", "events").text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Query {
        Query::parse(text).expect("few parameters")
    }

    #[test]
    fn a_picked_time_takes_the_place_of_the_lists_own() {
        let picked = pick(&list("since=-1h&host=a&until=-5m"));
        assert_eq!(picked, "/events?host=a&since=SINCE&until=UNTIL");
        assert_eq!(pick(&list("")), "/events?since=SINCE&until=UNTIL");
        let hostile = pick(&list("search=SINCE%20UNTIL"));
        assert_eq!(hostile.matches("SINCE").count(), 1, "{hostile}");
        assert_eq!(hostile.matches("UNTIL").count(), 1, "{hostile}");
        assert_eq!(list(hostile.split_once('?').expect("a query").1).get("search"), Some("SINCE UNTIL"));
    }

    #[test]
    fn what_is_wider_is_longer() {
        let now = Timestamp::from_micros(1_795_000_000_000_000);
        let says = |text: &str| -> Vec<String> {
            let all = serde_json::to_value(wider(&list(text), now)).expect("plain values");
            let each = |one: &serde_json::Value| one["says"].as_str().map(str::to_owned);
            all.as_array().into_iter().flatten().filter_map(each).collect()
        };
        assert_eq!(says("since=-1h&host=x"), ["the last week", "the last month", "any time"]);
        assert_eq!(says("since=-7d"), ["the last month", "any time"]);
        assert_eq!(says("since=2020-01-01"), ["any time"]);
        assert_eq!(says("host=x"), [""; 0]);
        assert_eq!(says("until=2020-01-01"), ["any time"]);
    }
}
