//! Those who log in, with the keys of the sensors, and what they do with alerts as the store takes it.

use super::cast::{PASSWORD, Who, key_of, keys};
use super::habits::Done;
use super::stories::Does;
use crate::Outcome;
use crate::exit::AppError;
use watchpost_model::event::Origin;
use watchpost_model::key::NewKey;
use watchpost_model::page::{MAX_PAGE_SIZE, PageRequest};
use watchpost_model::triage::{Action, Assignee};
use watchpost_model::{Actor, AlertId, KeyId, Status, Timestamp, User};
use watchpost_store::{AuditEntry, Db, Deed};
use watchpost_web::{generate_key, hash_password};

/// How long before the week Watchpost was set up, in seconds.
const SET_UP_BEFORE: i64 = 23 * 86_400;

/// People and keys, as the database knows them.
pub(super) struct Team {
    people: Vec<User>,
    keys: Vec<KeyId>,
}

async fn make(db: &Db, who: Who, by: AuditEntry) -> Outcome<User> {
    let hash = tokio::task::spawn_blocking(|| hash_password(PASSWORD)).await.map_err(AppError::failed)?;
    Ok(db.create_user(who.name(), &who.email(), who.role(), hash, &by).await?)
}

impl Team {
    /// Makes everybody who was there when the week began, and the keys.
    pub(super) async fn make(db: &Db, week: Timestamp) -> Outcome<Self> {
        let set_up = week.plus_seconds(-SET_UP_BEFORE);
        let mut team = Self { people: Vec::new(), keys: Vec::new() };
        for (who, later) in Who::ALL.into_iter().filter(|who| *who != Who::LAST).zip(0..) {
            let at = set_up.plus_seconds(later * 1_640);
            let by = match team.people.is_empty() {
                true => AuditEntry::local(at, Actor::Watchpost),
                false => team.by(Who::Admin, at),
            };
            team.people.push(make(db, who, by).await?);
        }
        for (given, later) in keys().zip(4..) {
            let new = NewKey::check(&given).expect("the keys of the demo are well-formed");
            let (_, prefix, hash) = generate_key();
            let by = team.by(Who::Admin, set_up.plus_seconds(later * 1_640));
            team.keys.push(db.create_key(new, &prefix, &hash, &by).await?.id);
        }
        Ok(team)
    }

    /// The keys of a demo that was made before.
    pub(super) async fn known(db: &Db) -> Outcome<Self> {
        let keys = db.keys(PageRequest::numbered(1, MAX_PAGE_SIZE)).await?.rows;
        Ok(Self { people: Vec::new(), keys: keys.into_iter().map(|key| key.id).collect() })
    }

    /// Makes the last one, with whom the week is whole.
    pub(super) async fn complete(&self, db: &Db, at: Timestamp) -> Outcome<()> {
        let used: Vec<_> = self.keys.iter().map(|key| (*key, at)).collect();
        db.note_key_use(&used).await?;
        make(db, Who::LAST, self.by(Who::Admin, at)).await.map(drop)
    }

    /// With which key a source hands in its events.
    pub(super) fn origin(&self, source: &str) -> Option<Origin> {
        self.keys.get(key_of(source)).copied().map(Origin::Key)
    }

    fn person(&self, who: Who) -> &User {
        &self.people[who as usize]
    }

    /// Somebody at some time, from where they sit.
    fn by(&self, who: Who, at: Timestamp) -> AuditEntry {
        let User { id, username, .. } = self.person(who);
        let actor = Actor::User { id: *id, name: username.clone() };
        AuditEntry { at, actor, address: Some(who.address()) }
    }

    fn assignee(&self, who: Who) -> Option<Assignee> {
        let User { id, username, .. } = self.person(who);
        Some(Assignee { id: *id, name: username.clone() })
    }

    /// What somebody did with an alert, as the store takes it.
    pub(super) fn deed(&self, alert: AlertId, (at, who, does): Done) -> Deed {
        let (action, why) = match does {
            Does::Acknowledges => (Action::Acknowledge, ""),
            Does::Takes => (Action::Assign(self.assignee(who)), ""),
            Does::Gives(to) => (Action::Assign(self.assignee(to)), ""),
            Does::Tags(tags) => {
                let add = tags.split_whitespace().map(str::to_owned).collect();
                (Action::Tag { add, remove: Vec::new() }, "")
            }
            Does::Notes(text) => (Action::Note, text),
            Does::Calls(title) => (Action::Title(Some(title.to_owned())), ""),
            Does::Rates(severity, why) => (Action::Rate(severity), why),
            Does::Resolves(verdict, why) => (Action::Move(Status::Resolved, Some(verdict)), why),
            Does::Reopens(why) => (Action::Reopen, why),
            Does::Snoozes(hours, why) => (Action::Snooze(Some(at.plus_seconds(hours * 3_600))), why),
        };
        Deed { alert, action, why: why.to_owned(), by: self.by(who, at) }
    }
}
