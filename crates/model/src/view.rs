//! Views: lists of alerts that people keep under a name, for themselves or for all.

use crate::access::allows;
use crate::text::{self, Given};
use crate::{Action, Rank, Timestamp, UserId, ViewId};

/// The longest name: as much as fits beside a list.
pub const MAX_VIEW_NAME_CHARS: usize = 60;
/// The longest query: what every browser and proxy takes in an address.
pub const MAX_VIEW_QUERY_CHARS: usize = 2_000;
/// Views of one user: more than that nobody finds anything in.
pub const MAX_VIEWS: i64 = 100;

/// A list of alerts under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub id: ViewId,
    /// Whose it is.
    pub owner: UserId,
    /// As they are called.
    pub owner_name: String,
    /// What it is called; once in any letter case among those of its owner.
    pub name: String,
    /// The query of the list's address.
    pub query: String,
    /// Whether everybody sees it.
    pub shared: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

impl View {
    /// Whether a user sees it.
    pub fn is_seen_by(&self, user: UserId) -> bool {
        self.shared || self.owner == user
    }

    /// Whether somebody who sees it may change it and delete it.
    pub fn is_kept_by(&self, user: UserId, rank: Rank) -> bool {
        self.owner == user || (self.shared && allows(rank, Action::Administer))
    }
}

/// A view to be made, or how one is to be from now on, every field checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDraft {
    /// What it is called.
    pub name: String,
    /// The query of the list's address.
    pub query: String,
    /// Whether everybody sees it.
    pub shared: bool,
}

/// Checks a name: a line without anything that can't be seen.
pub fn check_view_name(given: &Given<'_>) -> Result<String, String> {
    let name = text::line(given.required()?, MAX_VIEW_NAME_CHARS)?;
    match name.chars().any(char::is_control) {
        true => Err("Control characters are not allowed.".into()),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn a_name_is_a_line_that_can_be_seen() {
        let check = |text: &str| check_view_name(&Given::Text(text.to_owned().into()));
        assert_eq!(check("  Größe & <b> "), Ok("Größe & <b>".into()));
        assert_eq!(check(&"é".repeat(60)).map(|name| name.len()), Ok(120));
        for wrong in ["", " \n ", "a\nb", "a\0b", "a\u{1b}[2Jb", "a\u{85}b", &"é".repeat(61)] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn admins_keep_what_is_shared_and_nobody_what_is_not() {
        let (owner, other) = (UserId::new(1), UserId::new(2));
        let view = |shared| View {
            id: ViewId::new(1),
            owner,
            owner_name: "jane".into(),
            name: "x".into(),
            query: String::new(),
            shared,
            created_at: Timestamp::from_micros(0),
            version: 1,
        };
        for role in Role::ALL {
            let rank = Rank::User(role);
            assert!(view(false).is_kept_by(owner, rank) && view(true).is_kept_by(owner, rank));
            assert!(!view(false).is_kept_by(other, rank) && !view(false).is_seen_by(other));
            assert_eq!(view(true).is_kept_by(other, rank), role == Role::Admin);
            assert!(view(true).is_seen_by(other));
        }
    }
}
