//! Who may do what. The whole table is [`allows`]; nothing else decides.

use crate::{KeyId, Timestamp, UserId};
use std::fmt;

/// What a user may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads alerts, changes nothing.
    Analyst,
    /// Triages alerts and reads events.
    Responder,
    /// Everything, including users and keys.
    Admin,
}

impl Role {
    /// From least to most.
    pub const ALL: [Self; 3] = [Self::Analyst, Self::Responder, Self::Admin];

    /// The name in capitals, as the API writes it and the store keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Analyst => "ANALYST",
            Self::Responder => "RESPONDER",
            Self::Admin => "ADMIN",
        }
    }

    /// The name in title case, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Analyst => "Analyst",
            Self::Responder => "Responder",
            Self::Admin => "Admin",
        }
    }

    /// Reads a name in any letter case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a caller counts as when the table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rank {
    /// No credential.
    Anonymous,
    /// A sensor's key.
    Sensor,
    /// A user with this role.
    User(Role),
    /// A user with this role whose account was made by sign-up: it hands in no events.
    SignedUp(Role),
}

impl Rank {
    /// Every rank there is.
    pub const ALL: [Self; 7] = [
        Self::Anonymous,
        Self::Sensor,
        Self::SignedUp(Role::Analyst),
        Self::SignedUp(Role::Responder),
        Self::User(Role::Analyst),
        Self::User(Role::Responder),
        Self::User(Role::Admin),
    ];
}

/// What a route lets a caller do. Every route names exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Log in, sign up, read the documentation, ask whether the server lives.
    EnterAnonymously,
    /// Hand in events.
    IngestEvents,
    /// Hand in events on the path whose clients are people of any role.
    IngestEventsAsAnyone,
    /// List and read events.
    ReadEvents,
    /// List, filter and read alerts.
    ReadAlerts,
    /// Change an alert.
    ChangeAlerts,
    /// See and change one's own account.
    UseOwnAccount,
    /// Manage users, keys and settings; read the audit log.
    Administer,
}

/// The table of who may do what; docs/api.md shows it to people.
pub const fn allows(rank: Rank, action: Action) -> bool {
    use Role::{Admin, Analyst, Responder};
    match action {
        Action::EnterAnonymously => true,
        Action::IngestEvents => matches!(rank, Rank::Sensor | Rank::User(Admin)),
        Action::IngestEventsAsAnyone => matches!(rank, Rank::Sensor | Rank::User(_)),
        Action::ReadEvents | Action::ChangeAlerts => {
            matches!(rank, Rank::User(Responder | Admin) | Rank::SignedUp(Responder))
        }
        Action::ReadAlerts | Action::UseOwnAccount => {
            matches!(rank, Rank::User(Analyst | Responder | Admin) | Rank::SignedUp(Analyst | Responder))
        }
        Action::Administer => matches!(rank, Rank::User(Admin)),
    }
}

impl Action {
    /// Who may do it, in words for the caller who may not.
    pub const fn who(self) -> &'static str {
        match self {
            Self::EnterAnonymously => "anyone",
            Self::IngestEvents => "a sensor key or the role Admin",
            Self::IngestEventsAsAnyone => "a sensor key, or a user whose account an Admin made",
            Self::ReadEvents | Self::ChangeAlerts => "the role Responder or Admin",
            Self::ReadAlerts | Self::UseOwnAccount => "a user (Analyst, Responder or Admin)",
            Self::Administer => "the role Admin",
        }
    }
}

/// How long showing password and second factor counts for what takes a fresh proof of who is asking.
pub const PROOF_SECONDS: i64 = 10 * 60;
/// What the clocks of two nodes may differ.
const CLOCKS_DIFFER_SECONDS: i64 = 60;

/// Whether a route takes a fresh proof of who is asking ("step-up"), beside the permission: a token or a session that
/// was stolen mustn't be worth more than it is. Every route says so with its permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The permission is enough.
    Never,
    /// What is asked for decides: making an Admin takes one, and so does giving another user a password.
    AtTimes,
    /// It does.
    Always,
}

impl Proof {
    /// Which requests take a proof, in words for the documentation.
    pub const fn when(self) -> Option<&'static str> {
        match self {
            Self::Never => None,
            Self::AtTimes => Some(
                "Making a user an Admin, activating an Admin and giving another user a password take a log-in or a \
                 proof (`/api/v1/auth/step-up`) that is no older than ten minutes.",
            ),
            Self::Always => {
                Some("Takes a log-in or a proof (`/api/v1/auth/step-up`) that is no older than ten minutes.")
            }
        }
    }
}

/// Whether what somebody showed then counts as fresh now.
pub fn is_fresh(proved_at: Option<Timestamp>, now: Timestamp) -> bool {
    let age = proved_at.map(|at| now.seconds() - at.seconds());
    age.is_some_and(|age| (-CLOCKS_DIFFER_SECONDS..PROOF_SECONDS).contains(&age))
}

/// Who did something, for histories and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user.
    User {
        /// The user's id.
        id: UserId,
        /// The user's name at the time.
        name: String,
    },
    /// A sensor key.
    Key {
        /// The key's id.
        id: KeyId,
        /// The key's name at the time.
        name: String,
    },
    /// Somebody with a shell on the server.
    CommandLine,
    /// Watchpost itself.
    Watchpost,
    /// Somebody who showed no credential.
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } => f.write_str(name),
            Self::Key { name, .. } => write!(f, "key:{name}"),
            Self::CommandLine => f.write_str("command-line"),
            Self::Watchpost => f.write_str("watchpost"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_fresh_for_ten_minutes() {
        let at = |seconds: i64| Timestamp::from_micros(1_000_000 * seconds);
        assert!(is_fresh(Some(at(1_000)), at(1_000)) && is_fresh(Some(at(1_000)), at(1_599)));
        assert!(!is_fresh(Some(at(1_000)), at(1_600)) && !is_fresh(None, at(0)));
        assert!(is_fresh(Some(at(1_030)), at(1_000)), "another node's clock");
        assert!(!is_fresh(Some(at(9_000)), at(1_000)), "a clock that was set back makes no proof last");
    }

    #[test]
    fn the_table_is_the_documented_one() {
        // Anonymous, Sensor, Analyst and Responder by sign-up, Analyst, Responder, Admin
        let rows = [
            (Action::EnterAnonymously, [true, true, true, true, true, true, true]),
            (Action::IngestEvents, [false, true, false, false, false, false, true]),
            (Action::IngestEventsAsAnyone, [false, true, false, false, true, true, true]),
            (Action::ReadEvents, [false, false, false, true, false, true, true]),
            (Action::ReadAlerts, [false, false, true, true, true, true, true]),
            (Action::ChangeAlerts, [false, false, false, true, false, true, true]),
            (Action::UseOwnAccount, [false, false, true, true, true, true, true]),
            (Action::Administer, [false, false, false, false, false, false, true]),
        ];
        for (action, expected) in rows {
            assert_eq!(Rank::ALL.map(|rank| allows(rank, action)), expected, "{action:?}");
        }
    }
}
