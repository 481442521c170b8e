//! Bars over time, drawn here so that they are there before any script runs.

use minijinja::{Value, context};
use watchpost_model::{Severity, Timestamp};

/// What a bar is wide and a chart high, in units of the drawing.
const BAR: usize = 10;
const HEIGHT: i64 = 1_000;
/// How what is of no known severity is told apart.
const UNKNOWN: &str = "accent";
/// Times written below.
const TICKS: usize = 5;

/// A stretch of time, with what there was of each severity from least to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) counts: [i64; 4],
    /// Of a severity that isn't known.
    pub(crate) others: i64,
}

impl Bar {
    fn total(&self) -> i64 {
        self.counts.iter().sum::<i64>() + self.others
    }

    fn title(&self, what: &str) -> String {
        let parts = Severity::ALL.iter().zip(self.counts).rev().filter(|(_, n)| *n > 0);
        let mut parts: Vec<String> = parts.map(|(severity, n)| format!("{n} {}", severity.title())).collect();
        parts.extend((self.others > 0).then(|| format!("{} of any severity", self.others)));
        let from = moment(&self.since.to_string());
        match parts.is_empty() {
            true => format!("{from}: no {what}"),
            false => format!("{from}: {}", parts.join(", ")),
        }
    }
}

/// Where a picked time leads: the address with the two times put in.
pub(crate) struct Pick<'a> {
    /// With `SINCE` and `UNTIL` in their places.
    pub(crate) address: &'a str,
}

impl Pick<'_> {
    fn to(&self, since: Timestamp, until: Timestamp) -> String {
        self.address.replace("SINCE", &since.to_string()).replace("UNTIL", &until.to_string())
    }
}

fn class(severity: Severity) -> String {
    severity.title().to_ascii_lowercase()
}

/// A time as axes name it: to the minute.
pub(crate) fn moment(time: &str) -> String {
    time.get(..16).unwrap_or(time).replacen('T', " ", 1)
}

/// Bars stacked by severity, the worst at the bottom: what matters is read off the line it stands on.
pub(crate) fn stacked(what: &str, bars: &[Bar], pick: &Pick<'_>) -> Value {
    let most = bars.iter().map(Bar::total).max().unwrap_or_default();
    let drawn: Vec<Value> = bars.iter().enumerate().map(|(n, bar)| draw(n, bar, most, what, pick)).collect();
    let total = |severity: usize| bars.iter().map(|bar| bar.counts[severity]).sum::<i64>();
    let others = bars.iter().map(|bar| bar.others).sum::<i64>();
    let known = (0..Severity::ALL.len()).rev().filter(|n| others == 0 || total(*n) > 0).map(|n| {
        let severity = Severity::ALL[n];
        context! { class => class(severity), says => severity.title(), count => total(n) }
    });
    let unknown =
        (others > 0).then(|| context! { class => UNKNOWN, says => "Any severity", count => others });
    let legend = known.chain(unknown);
    let ends = bars.first().zip(bars.last());
    let worst = (0..4).rev().map(|n| format!("{} {}", total(n), Severity::ALL[n].title()));
    let worst = worst.chain((others > 0).then(|| format!("{others} of any severity")));
    let summary = match ends {
        Some((first, last)) => format!(
            "{} from {} to {}: {}. At most {most} at once.",
            what,
            moment(&first.since.to_string()),
            moment(&last.until.to_string()),
            worst.collect::<Vec<_>>().join(", ")
        ),
        None => format!("No {what}."),
    };
    context! {
        bars => drawn,
        width => bars.len().max(1) * BAR,
        height => HEIGHT,
        most,
        summary,
        ticks => ticks(bars),
        legend => legend.collect::<Vec<_>>(),
        pick => pick.address,
    }
}

fn draw(n: usize, bar: &Bar, most: i64, what: &str, pick: &Pick<'_>) -> Value {
    let mut top = HEIGHT;
    let known = Severity::ALL.iter().zip(bar.counts).rev().map(|(severity, count)| (class(*severity), count));
    let parts = known.chain([(UNKNOWN.to_owned(), bar.others)]).filter(|(_, count)| *count > 0);
    let parts: Vec<Value> = parts
        .map(|(class, count)| {
            // What is there is seen, however little it is.
            let height = (count * HEIGHT / most.max(1)).max(HEIGHT / 100).min(top);
            top -= height;
            context! { class, y => top, height }
        })
        .collect();
    context! {
        x => n * BAR,
        parts,
        title => bar.title(what),
        href => pick.to(bar.since, bar.until),
        since => bar.since.to_string(),
        until => bar.until.to_string(),
    }
}

fn ticks(bars: &[Bar]) -> Vec<String> {
    let Some(last) = bars.last() else { return Vec::new() };
    let step = bars.len().div_ceil(TICKS - 1).max(1);
    let mut ticks: Vec<String> = bars.iter().step_by(step).map(|bar| bar.since.to_string()).collect();
    ticks.push(last.until.to_string());
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(hour: i64, counts: [i64; 4]) -> Bar {
        let since = Timestamp::from_micros(0).plus_seconds(hour * 3_600);
        Bar { since, until: since.plus_seconds(3_600), counts, others: 0 }
    }

    #[test]
    fn what_is_of_no_known_severity_is_drawn_as_such() {
        let bars = [Bar { others: 7, ..bar(0, [0; 4]) }, bar(1, [0; 4])];
        let chart =
            serde_json::to_value(stacked("events", &bars, &Pick { address: "/" })).expect("plain values");
        assert_eq!(chart["legend"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            (&chart["legend"][0]["class"], &chart["legend"][0]["count"]),
            (&"accent".into(), &7.into())
        );
        assert_eq!(chart["bars"][0]["parts"][0]["height"], 1_000);
        assert_eq!(chart["bars"][0]["title"], "1970-01-01 00:00: 7 of any severity");
    }

    #[test]
    fn the_highest_bar_reaches_the_top_and_what_is_little_is_seen() {
        let bars = [bar(0, [0; 4]), bar(1, [999_999, 0, 0, 1]), bar(2, [5, 0, 0, 0])];
        let pick = Pick { address: "/events?since=SINCE&until=UNTIL" };
        let chart = serde_json::to_value(stacked("events", &bars, &pick)).expect("plain values");
        let drawn = &chart["bars"];
        assert_eq!(drawn[0]["parts"].as_array().map(Vec::len), Some(0));
        assert_eq!(
            (&drawn[1]["parts"][0]["class"], &drawn[1]["parts"][0]["y"]),
            (&"critical".into(), &990.into())
        );
        assert_eq!((&drawn[1]["parts"][1]["class"], &drawn[1]["parts"][1]["y"]), (&"low".into(), &0.into()));
        assert_eq!(drawn[2]["parts"][0]["height"], 10);
        assert_eq!(drawn[2]["title"], "1970-01-01 02:00: 5 Low");
        assert_eq!(
            drawn[2]["href"],
            "/events?since=1970-01-01T02:00:00.000000Z&until=1970-01-01T03:00:00.000000Z"
        );
        assert!(chart["summary"].as_str().is_some_and(|text| text.contains("1 Critical, 0 High")));
        assert_eq!(chart["ticks"].as_array().map(Vec::len), Some(4));
    }

    #[test]
    fn nothing_makes_an_empty_chart() {
        let chart =
            serde_json::to_value(stacked("events", &[], &Pick { address: "/" })).expect("plain values");
        assert_eq!((&chart["summary"], &chart["width"]), (&"No events.".into(), &10.into()));
    }
}
