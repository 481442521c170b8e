//! What a stream says, as `text/event-stream` and for whoever reads lines of JSON.

use crate::api::Case;
use crate::api::alerts::{AlertView, ChangeView};
use crate::api::events::EventView;
use crate::api::stats::by_status_and_severity;
use crate::stream::position::Position;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use utoipa::ToSchema;
use watchpost_model::{Alert, AlertId};
use watchpost_pipeline::News;
use watchpost_store::AlertCounts;

/// Ids in one message of counts; whoever needs more loads the list anew.
const MAX_IDS: usize = 100;

/// A change of an alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedView {
    /// The alert as it is now.
    alert: AlertView,
    /// What was done.
    change: ChangeView,
}

/// How many alerts there are, and how many were raised and changed since the last of these messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct CountsView {
    /// How many there are now, by status and severity, whatever the stream is narrowed to.
    alerts: BTreeMap<&'static str, BTreeMap<&'static str, i64>>,
    /// How many were raised, of those that the stream is narrowed to.
    raised: usize,
    /// Which were changed, of those that the stream is narrowed to: each once, at most 100.
    changed: Vec<i64>,
    /// Whether there were more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    changed_is_cut: bool,
}

/// Why a reader has to load everything anew.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResetView {
    /// `unreadable` when the id is none that a stream gave out, `forgotten` when what came behind it isn't kept any more.
    reason: Reset,
}

/// See [`ResetView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reset {
    Unreadable,
    Forgotten,
}

/// What was raised and changed since it was last said.
#[derive(Default)]
pub(crate) struct Tally {
    raised: usize,
    changed: Vec<i64>,
    is_cut: bool,
}

impl Tally {
    pub(crate) fn raise(&mut self, count: usize) {
        self.raised += count;
    }

    pub(crate) fn change(&mut self, alert: AlertId) {
        if self.changed.contains(&alert.get()) {
            return;
        }
        match self.changed.len() < MAX_IDS {
            true => self.changed.push(alert.get()),
            false => self.is_cut = true,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.raise(other.raised);
        other.changed.into_iter().for_each(|alert| self.change(AlertId::new(alert)));
        self.is_cut |= other.is_cut;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.raised == 0 && self.changed.is_empty()
    }

    pub(crate) fn view(self, counts: &AlertCounts) -> CountsView {
        CountsView {
            alerts: by_status_and_severity(counts),
            raised: self.raised,
            changed: self.changed,
            changed_is_cut: self.is_cut,
        }
    }
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("texts and numbers can be written as JSON")
}

/// What a message is called that tells of one thing.
pub(crate) fn name(news: &News<'_>) -> &'static str {
    match news {
        News::Raised(_) => "alert",
        News::Stored(_) => "event",
        News::Changed(..) => "change",
    }
}

/// What it says.
pub(crate) fn data(news: &News<'_>) -> String {
    let alert = |alert: &Alert| AlertView::new(alert.clone(), Case::Capitals);
    match news {
        News::Raised(raised) => json(&alert(raised)),
        News::Stored(event) => json(&EventView::new((*event).clone(), Case::Capitals)),
        News::Changed(changed, change) => {
            json(&ChangedView { alert: alert(changed), change: ChangeView::new((*change).clone()) })
        }
    }
}

/// One thing that happened as a line of JSON that says what it is: `{"alert":…}`, `{"event":…}`, or `{"change":…}` with
/// the alert in it.
pub fn line(news: &News<'_>) -> String {
    format!("{{\"{}\":{}}}", name(news), data(news))
}

/// Adds a message.
pub(crate) fn say(text: &mut String, name: &str, id: Position, data: &str) {
    debug_assert!(!data.contains(['\n', '\r']), "JSON is written on one line");
    write!(text, "event: {name}\nid: {id}\ndata: {data}\n\n")
        .expect("a text takes all that is written to it");
}

/// How a stream begins: how long to wait before coming back, and where it begins, for whoever is cut before anything
/// happened.
pub(crate) fn beginning(retry: Duration, id: Position) -> String {
    format!("retry: {}\nid: {id}\n\n", retry.as_millis())
}

/// What keeps a connection open and tells nothing but how far the reader is.
pub(crate) fn still_here(id: Position) -> String {
    format!(": nothing new\nid: {id}\n\n")
}

pub(crate) fn reset(id: Position, reason: Reset) -> String {
    let mut text = String::new();
    say(&mut text, "reset", id, &json(&ResetView { reason }));
    text
}

pub(crate) fn counts(id: Position, tally: Tally, counts: &AlertCounts) -> String {
    let mut text = String::new();
    say(&mut text, "counts", id, &json(&tally.view(counts)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_names_each_alert_once_and_no_more_than_fit() {
        let mut tally = Tally::default();
        assert!(tally.is_empty());
        for n in [1, 2, 1, 2, 3] {
            tally.change(AlertId::new(n));
        }
        let mut more = Tally::default();
        more.raise(5);
        (3..=102).for_each(|n| more.change(AlertId::new(n)));
        tally.add(more);
        let view = tally.view(&AlertCounts::default());
        assert_eq!((view.raised, view.changed.len(), view.changed_is_cut), (5, 100, true));
        assert_eq!(view.changed[..4], [1, 2, 3, 4]);
    }
}
