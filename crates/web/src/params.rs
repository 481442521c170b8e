//! The query parameters that lists take: what is read and what is documented come from this table.

/// One parameter that a list takes.
#[derive(Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The values it may have; empty means any text.
    pub(crate) choices: &'static [&'static str],
}

use crate::body::VERDICTS;
pub(crate) use crate::body::{ROLES, SESSION_KINDS};

pub(crate) const SEVERITIES: &[&str] = &["LOW", "MEDIUM", "HIGH", "CRITICAL"];
pub(crate) const STATUSES: &[&str] = &["OPEN", "ACKNOWLEDGED", "RESOLVED"];
pub(crate) const ORDERS: &[&str] =
    &["created_at", "-created_at", "severity", "-severity", "status", "-status"];

pub(crate) const fn any(name: &'static str, about: &'static str) -> Param {
    Param { name, about, choices: &[] }
}

pub(crate) const PAGE: Param =
    any("page", "Which page, from 1. `next` and `previous` lead to any page faster.");
pub(crate) const CURSOR: Param =
    any("cursor", "A place in the list, from `next` or `previous` of another page.");
pub(crate) const PAGE_SIZE: Param = any("page_size", "Rows on a page: 10 unless told, at most 100.");
pub(crate) const FORMAT: Param =
    Param { name: "format", about: "Only `json`; clients may name it.", choices: &["json"] };
pub(crate) const SEVERITY: Param = Param {
    name: "severity",
    about: "Only this severity, or these, separated by commas.",
    choices: SEVERITIES,
};
pub(crate) const EVENT_SEVERITY: Param = Param {
    name: "event__severity",
    about: "Only alerts whose event had this severity, or these.",
    choices: SEVERITIES,
};
pub(crate) const STATUS: Param =
    Param { name: "status", about: "Only this status, or these, separated by commas.", choices: STATUSES };
pub(crate) const ASSIGNEE: Param =
    any("assignee", "Only this user's, by name; `me` for one's own, `none` for nobody's.");
pub(crate) const TAG: Param = any("tag", "Only those with this tag; give it again for all of several.");
pub(crate) const VERDICT: Param = Param {
    name: "verdict",
    about: "Only those that turned out to be this, or one of these, separated by commas.",
    choices: VERDICTS,
};
pub(crate) const SNOOZED: Param = Param {
    name: "snoozed",
    about: "Only those that are put off now, or only those that aren't.",
    choices: &["true", "false"],
};
pub(crate) const ORDERING: Param =
    Param { name: "ordering", about: "What to sort by; `-` for largest or newest first.", choices: ORDERS };
pub(crate) const TYPE: Param =
    any("event_type", "Only this type of event, in any letter case; give it again for several.");
pub(crate) const SOURCE: Param =
    any("source_name", "Only events from this source, in any letter case; give it again for several.");
pub(crate) const HOST: Param = any("host", "Only events on this machine; give it again for several.");
pub(crate) const USER: Param = any("user", "Only events about this account; give it again for several.");
pub(crate) const SRC_IP: Param =
    any("src_ip", "Only events that came from this address; give it again for several.");
pub(crate) const DST_IP: Param =
    any("dst_ip", "Only events aimed at this address; give it again for several.");
pub(crate) const NOT_SEVERITY: Param = Param {
    name: "not_severity",
    about: "Not this severity, nor these, separated by commas.",
    choices: SEVERITIES,
};
pub(crate) const NOT_TYPE: Param =
    any("not_event_type", "No events of this type, in any letter case; give it again for several.");
pub(crate) const NOT_SOURCE: Param =
    any("not_source_name", "No events from this source, in any letter case; give it again for several.");
pub(crate) const NOT_HOST: Param =
    any("not_host", "No events on this machine; those that name none stay. Give it again for several.");
pub(crate) const NOT_USER: Param = any("not_user", "No events about this account, as before.");
pub(crate) const NOT_SRC_IP: Param = any("not_src_ip", "No events that came from this address, as before.");
pub(crate) const NOT_DST_IP: Param = any("not_dst_ip", "No events aimed at this address, as before.");
pub(crate) const ID: Param = any("id", "Only these, by their numbers, separated by commas.");
pub(crate) const SINCE: Param = any(
    "since",
    "Not before this time: RFC 3339, a date, or counted from now, such as `-24h` (s, m, h, d, w).",
);
pub(crate) const UNTIL: Param = any("until", "Before this time, written like `since`.");
pub(crate) const SEARCH: Param = any(
    "search",
    "Only events with all these words in their source, type, description, details or attributes. A word is also found \
     by how it begins; in double quotes only whole. Addresses, host names, paths, hashes and CVE ids are words.",
);

pub(crate) const TOPICS: Param = Param {
    name: "topics",
    about: "What to tell of, separated by commas: `alerts,counts` unless told. Events take the role Responder or Admin.",
    choices: &["alerts", "events", "counts"],
};
pub(crate) const LAST_EVENT_ID: Param = any(
    "last_event_id",
    "The id of the message to go on behind, for clients that can't send the header `Last-Event-ID`.",
);

/// What the stream takes.
pub(crate) const STREAM: &[Param] = &both::<17>(&ABOUT, &[TOPICS, SEARCH, LAST_EVENT_ID]);

/// What lists without filters take.
pub(crate) const PAGES: &[Param] = &[PAGE, PAGE_SIZE, FORMAT];

/// Which part of a list is shown, and how: nothing about what is in it.
pub(crate) const PLACES: &[Param] = &[PAGE, PAGE_SIZE, CURSOR, FORMAT];

const ROLE: Param = Param { name: "role", about: "Only those with this role.", choices: ROLES };
const IS_ACTIVE: Param = Param {
    name: "is_active",
    about: "Only those who may log in, or only those who may not.",
    choices: &["true", "false"],
};
const NAMED: Param = any("search", "Only those with this in their name or address, in any letter case.");

/// What the list of users takes.
pub(crate) const USERS: &[Param] = &[NAMED, ROLE, IS_ACTIVE, PAGE, PAGE_SIZE, FORMAT];

const WHOSE: Param = any("user", "Only this user's, by name.");
const KIND: Param = Param {
    name: "kind",
    about: "Only those in browsers, or only those of programs.",
    choices: SESSION_KINDS,
};

/// What the list of everybody's sessions takes.
pub(crate) const SESSIONS: &[Param] = &[WHOSE, KIND, PAGE, PAGE_SIZE, FORMAT];

const ACTOR: Param = any("actor", "Only what was done by this one; give it again for several.");
const ACTOR_ID: Param = any(
    "actor_id",
    "The same by what doesn't change, such as `user:7` or `key:3`; give it again for several.",
);
const ACTION: Param = any(
    "action",
    "Only this, such as `login.failed`, or what begins with it when it ends with a dot, such as `user.`; give it again \
     for several.",
);
const OBJECT: Param =
    any("object", "Only what was done to this, such as `user:7`; give it again for several.");
const ADDRESS: Param = any("address", "Only what came from this address; give it again for several.");

/// What the audit log takes.
pub(crate) const AUDIT: &[Param] =
    &[ACTOR, ACTOR_ID, ACTION, OBJECT, ADDRESS, SINCE, UNTIL, PAGE, PAGE_SIZE, FORMAT];

pub(crate) const EXPORT_FORMAT: Param =
    Param { name: "format", about: "How it is written: `ndjson` unless told.", choices: &["ndjson", "csv"] };

/// What an export of the audit log takes.
pub(crate) const AUDIT_EXPORT: &[Param] =
    &[ACTOR, ACTOR_ID, ACTION, OBJECT, ADDRESS, SINCE, UNTIL, EXPORT_FORMAT];

/// Two lists of parameters as one.
const fn both<const N: usize>(one: &[Param], other: &[Param]) -> [Param; N] {
    let (mut all, mut n) = ([one[0]; N], 0);
    while n < N {
        all[n] = if n < one.len() { one[n] } else { other[n - one.len()] };
        n += 1;
    }
    all
}

/// What events are about, and what not.
const ABOUT: [Param; 14] = [
    SEVERITY,
    TYPE,
    SOURCE,
    HOST,
    USER,
    SRC_IP,
    DST_IP,
    NOT_SEVERITY,
    NOT_TYPE,
    NOT_SOURCE,
    NOT_HOST,
    NOT_USER,
    NOT_SRC_IP,
    NOT_DST_IP,
];
const WHICH: [Param; 4] = [ID, SINCE, UNTIL, SEARCH];
/// What narrows events down, whatever is made of them.
pub(crate) const EVENT_FILTERS: &[Param] = &both::<18>(&ABOUT, &WHICH);
/// What lists of events take.
pub(crate) const EVENTS: &[Param] = &both::<22>(EVENT_FILTERS, PLACES);
/// What an export of events takes.
pub(crate) const EVENT_EXPORT: &[Param] = &both::<19>(EVENT_FILTERS, &[EXPORT_FORMAT]);
pub(crate) const STEP: Param = Param {
    name: "interval",
    about: "How long each bucket is; chosen by the time asked for when left out.",
    choices: &["1m", "5m", "10m", "30m", "1h", "3h", "6h", "12h", "1d", "7d"],
};
/// What a histogram of events takes.
pub(crate) const EVENT_HISTOGRAM: &[Param] = &both::<19>(EVENT_FILTERS, &[STEP]);

pub(crate) const GROUP_ORDERING: Param = Param {
    name: "ordering",
    about: "What to sort by, the most of it first; `-last_seen` unless told.",
    choices: &["-last_seen", "-severity", "-count"],
};
const LAST_SEEN_SINCE: Param =
    any("since", "Only groups with an alert raised since, written like times everywhere.");

/// What groups of alerts take.
pub(crate) const GROUPS: &[Param] =
    &[STATUS, SEVERITY, SOURCE, TYPE, LAST_SEEN_SINCE, GROUP_ORDERING, PAGE, PAGE_SIZE, FORMAT];

const OF_ALERTS: [Param; 7] = [EVENT_SEVERITY, STATUS, ASSIGNEE, TAG, VERDICT, SNOOZED, ORDERING];
/// What lists of alerts take.
pub(crate) const ALERTS: &[Param] = &both::<29>(&both::<25>(EVENT_FILTERS, &OF_ALERTS), PLACES);
