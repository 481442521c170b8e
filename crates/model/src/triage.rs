//! What people do with an alert between OPEN and RESOLVED. Pure: what an action makes of an alert is known without
//! anything running, and the store only writes it down.

use crate::text::{self, Given};
use crate::{Alert, Severity, Status, Timestamp, UserId};
use std::fmt;

/// The longest title.
pub const MAX_TITLE_CHARS: usize = 200;
/// The longest note or reason.
pub const MAX_NOTE_CHARS: usize = 10_000;
/// The longest tag; as long as a host name's label may be.
pub const MAX_TAG_CHARS: usize = 63;
/// Tags of one alert: more than that is a text.
pub const MAX_TAGS: usize = 20;
/// Nobody remembers why something was put off for longer.
pub const MAX_SNOOZE_SECONDS: i64 = 90 * 86_400;

/// What an alert turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// An attack, or a harm.
    TruePositive = 1,
    /// What was seen happened, and does no harm.
    Benign = 2,
    /// What was seen didn't happen.
    FalsePositive = 3,
    /// Another alert is about the same.
    Duplicate = 4,
    /// Somebody did it on purpose, and may.
    Expected = 5,
}

impl Verdict {
    /// All of them, the worst first.
    pub const ALL: [Self; 5] =
        [Self::TruePositive, Self::Benign, Self::FalsePositive, Self::Duplicate, Self::Expected];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TruePositive => "TRUE_POSITIVE",
            Self::Benign => "BENIGN",
            Self::FalsePositive => "FALSE_POSITIVE",
            Self::Duplicate => "DUPLICATE",
            Self::Expected => "EXPECTED",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::TruePositive => "True positive",
            Self::Benign => "Benign",
            Self::FalsePositive => "False positive",
            Self::Duplicate => "Duplicate",
            Self::Expected => "Expected",
        }
    }

    /// The number it is stored as.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The verdict stored as this number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.code() == code)
    }

    /// Reads a name in any letter case, with `_`, `-` or a blank between words.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().replace(['-', ' '], "_");
        Self::ALL.into_iter().find(|verdict| verdict.as_str().eq_ignore_ascii_case(&text))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose an alert is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignee {
    /// The user.
    pub id: UserId,
    /// As they are called.
    pub name: String,
}

/// What somebody does with an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Moves it. Any status may follow any other.
    Move(Status, Option<Verdict>),
    /// Takes it on; one that is resolved has to be opened again first.
    Acknowledge,
    /// Gives it back; likewise.
    Unacknowledge,
    /// Opens it again.
    Reopen,
    /// Gives it to somebody, or to nobody.
    Assign(Option<Assignee>),
    /// Puts it off until then, or takes it back.
    Snooze(Option<Timestamp>),
    /// Adds and takes away tags.
    Tag {
        /// To add.
        add: Vec<String>,
        /// To take away.
        remove: Vec<String>,
    },
    /// Says how bad it is, whatever its event said.
    Rate(Severity),
    /// Calls it something, or what it is called by itself.
    Title(Option<String>),
    /// Says something about it.
    Note,
    /// Makes it what it was: takes back what was done with many at once.
    Restore(Box<Stand>),
}

/// How an alert stands, as far as people decide it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Where.
    pub status: Status,
    /// How bad it is.
    pub severity: Severity,
    /// What it turned out to be.
    pub verdict: Option<Verdict>,
    /// Whose it is.
    pub assignee: Option<Assignee>,
    /// Until when it is put off.
    pub snoozed_until: Option<Timestamp>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is called.
    pub title: Option<String>,
    /// When it was first acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// By which user, as they were called then.
    pub acknowledged_by: Option<String>,
    /// When it was first resolved.
    pub resolved_at: Option<Timestamp>,
    /// By which user, as they were called then.
    pub resolved_by: Option<String>,
}

impl Stand {
    /// How an alert stands.
    pub fn of(alert: &Alert) -> Self {
        Self {
            status: alert.status,
            severity: alert.severity,
            verdict: alert.verdict,
            assignee: alert.assignee.clone(),
            snoozed_until: alert.snoozed_until,
            tags: alert.tags.clone(),
            title: alert.title.clone(),
            acknowledged_at: alert.acknowledged_at,
            acknowledged_by: alert.acknowledged_by.clone(),
            resolved_at: alert.resolved_at,
            resolved_by: alert.resolved_by.clone(),
        }
    }

    /// The alert as it stood; what users don't decide is as it is now.
    fn again(self, alert: &Alert) -> Alert {
        Alert {
            status: self.status,
            severity: self.severity,
            verdict: self.verdict,
            assignee: self.assignee,
            snoozed_until: self.snoozed_until,
            tags: self.tags,
            title: self.title,
            acknowledged_at: self.acknowledged_at,
            acknowledged_by: self.acknowledged_by,
            resolved_at: self.resolved_at,
            resolved_by: self.resolved_by,
            ..alert.clone()
        }
    }
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The alert after it.
    pub alert: Alert,
    /// What was done, for the history.
    pub action: &'static str,
    /// What it was before, in words; empty for nothing.
    pub from: String,
    /// What it is now.
    pub to: String,
}

/// Why an action can't be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// It is resolved.
    Resolved,
    /// It would have too many tags.
    TooManyTags,
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved => f.write_str("The alert is resolved; reopen it first."),
            Self::TooManyTags => write!(f, "An alert has at most {MAX_TAGS} tags."),
        }
    }
}

impl Action {
    /// What it makes of an alert, done by somebody at some time. The same alert when there is nothing to do.
    pub fn apply(&self, alert: &Alert, by: &str, now: Timestamp) -> Result<Step, NotNow> {
        let step = match self {
            Self::Move(to, verdict) => moved(alert, *to, *verdict, by, now),
            Self::Acknowledge | Self::Unacknowledge if alert.status == Status::Resolved => {
                return Err(NotNow::Resolved);
            }
            Self::Acknowledge => moved(alert, Status::Acknowledged, None, by, now),
            Self::Unacknowledge => moved(alert, Status::Open, None, by, now),
            // One that somebody is on is open already.
            Self::Reopen if alert.status == Status::Acknowledged => moved(alert, alert.status, None, by, now),
            Self::Reopen => moved(alert, Status::Open, None, by, now),
            Self::Assign(to) => {
                let (from, to_name) = (name(alert.assignee.as_ref()), name(to.as_ref()));
                let alert = Alert { assignee: to.clone(), ..alert.clone() };
                Step { action: "assign", from, to: to_name, alert }
            }
            Self::Snooze(until) => {
                let said =
                    |until: Option<Timestamp>| until.map_or_else(String::new, |until| until.to_string());
                let (from, to) = (said(alert.snoozed_until), said(*until));
                Step { action: "snooze", from, to, alert: Alert { snoozed_until: *until, ..alert.clone() } }
            }
            Self::Tag { add, remove } => tagged(alert, add, remove)?,
            Self::Rate(severity) => {
                let (from, to) = (alert.severity.to_string(), severity.to_string());
                Step { action: "severity", from, to, alert: Alert { severity: *severity, ..alert.clone() } }
            }
            Self::Title(title) => {
                let said = |title: &Option<String>| title.clone().unwrap_or_default();
                let (from, to) = (said(&alert.title), said(title));
                Step { action: "title", from, to, alert: Alert { title: title.clone(), ..alert.clone() } }
            }
            Self::Restore(stand) => {
                let (from, to) = (alert.status.to_string(), stand.status.to_string());
                Step { action: "undo", from, to, alert: Stand::clone(stand).again(alert) }
            }
            Self::Note => {
                Step { action: "note", from: String::new(), to: String::new(), alert: alert.clone() }
            }
        };
        // A note changes nothing that could be compared, and neither does taking one back.
        let changes = step.alert != *alert || matches!(self, Self::Note | Self::Restore(_));
        let (updated_at, version) = match changes {
            true => (now, alert.version + 1),
            false => (alert.updated_at, alert.version),
        };
        Ok(Step { alert: Alert { updated_at, version, ..step.alert }, ..step })
    }
}

/// What somebody is called; nothing for nobody.
fn name(assignee: Option<&Assignee>) -> String {
    assignee.map_or_else(String::new, |assignee| assignee.name.clone())
}

fn moved(alert: &Alert, to: Status, verdict: Option<Verdict>, by: &str, now: Timestamp) -> Step {
    let mut after = alert.clone();
    after.status = to;
    match to {
        Status::Open => after.verdict = None,
        Status::Acknowledged => {
            after.verdict = None;
            after.acknowledged_at.get_or_insert(now);
            after.acknowledged_by.get_or_insert_with(|| by.to_owned());
        }
        Status::Resolved => {
            after.verdict = verdict.or(alert.verdict);
            after.snoozed_until = None;
            after.resolved_at.get_or_insert(now);
            after.resolved_by.get_or_insert_with(|| by.to_owned());
        }
    }
    Step { from: alert.status.to_string(), to: to.to_string(), alert: after, action: "status" }
}

fn tagged(alert: &Alert, add: &[String], remove: &[String]) -> Result<Step, NotNow> {
    let mut tags: Vec<String> =
        alert.tags.iter().chain(add).filter(|tag| !remove.contains(tag)).cloned().collect();
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        return Err(NotNow::TooManyTags);
    }
    let (from, to) = (alert.tags.join(" "), tags.join(" "));
    Ok(Step { alert: Alert { tags, ..alert.clone() }, action: "tags", from, to })
}

/// A tag: small letters, digits and `- _ . : /`, so that it can stand in an address and a list.
pub fn check_tag(text: &str) -> Result<String, String> {
    let tag = text.trim().to_lowercase();
    let known = |c: char| c.is_alphanumeric() || "-_.:/".contains(c);
    match tag.is_empty() || tag.chars().count() > MAX_TAG_CHARS || !tag.chars().all(known) {
        true => Err(format!("A tag has 1 to {MAX_TAG_CHARS} letters, digits and - _ . : / without blanks.")),
        false => Ok(tag),
    }
}

/// Tags: a list, or a text in which commas or blanks separate them.
pub fn check_tags(given: &Given<'_>) -> Result<Vec<String>, String> {
    match given {
        Given::Missing | Given::Null => Ok(Vec::new()),
        Given::List(tags) => tags.iter().map(|tag| check_tag(tag)).collect(),
        given => {
            let parts = given.required()?.split([',', ' ', '\n', '\t', '\r']);
            parts.filter(|tag| !tag.is_empty()).map(check_tag).collect()
        }
    }
}

/// A note, or why something was done.
pub fn check_note(given: &Given<'_>) -> Result<String, String> {
    match given {
        Given::Missing | Given::Null => Ok(String::new()),
        given => {
            let text = given.required()?.trim();
            match text.is_empty() {
                true => Ok(String::new()),
                false => text::body(text, MAX_NOTE_CHARS),
            }
        }
    }
}

/// A title; nothing when it was left empty.
pub fn check_title(given: &Given<'_>) -> Result<Option<String>, String> {
    match given {
        Given::Missing | Given::Null => Ok(None),
        given => match given.required()?.trim() {
            "" => Ok(None),
            text => text::line(text, MAX_TITLE_CHARS).map(Some),
        },
    }
}
