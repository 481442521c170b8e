//! Whether whoever began something that lasts still may: an export, a job. Asked again for each piece of it, from what
//! is remembered about accounts and sessions, so that it costs nothing to ask.

use crate::auth::factor;
use crate::auth::guard::Caller;
use crate::error::ApiError;
use crate::state::AppState;
use watchpost_model::access::allows;
use watchpost_model::{Action, Actor, UserId};
use watchpost_pipeline::now;

/// Who began something, in which session, and what they have to be allowed for it.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    user: UserId,
    name: String,
    /// Nothing for what an older Watchpost began.
    session: Option<String>,
    needs: Action,
}

impl Standing {
    /// Whoever is asking now.
    pub(crate) fn of(caller: &Caller, needs: Action) -> Result<Self, ApiError> {
        let user = caller.user()?;
        Ok(Self { user, name: caller.actor.to_string(), session: caller.session.clone(), needs })
    }

    /// A user who began something earlier, perhaps on another node.
    pub(crate) fn earlier(user: UserId, name: &str, session: Option<String>, needs: Action) -> Self {
        Self { user, name: name.to_owned(), session, needs }
    }

    /// Why they may not go on; nothing as long as they may.
    pub(crate) async fn lost(&self, state: &AppState) -> Result<Option<String>, ApiError> {
        let name = &self.name;
        let Some(account) = state.accounts.user(self.user).await? else {
            return Ok(Some(format!("{name} was deactivated")));
        };
        let caller = Caller::anonymous(crate::auth::guard::NOWHERE).as_user(&account.user);
        if !allows(caller.rank, self.needs) {
            return Ok(Some(format!("{name} may no longer {}", what(self.needs))));
        }
        let Some(id) = &self.session else { return Ok(None) };
        let session = state.accounts.session(id, now()).await?;
        let session =
            session.filter(|session| session.user == self.user && session.token_epoch == account.token_epoch);
        let Some(session) = session else {
            return Ok(Some(format!("the session of {name} that began it has ended")));
        };
        match factor::enough(state, &account.user, &session) {
            Ok(()) => Ok(None),
            Err(_) => Ok(Some(format!("{name} needs a second factor by now"))),
        }
    }
}

/// What somebody may no longer, in words.
const fn what(action: Action) -> &'static str {
    match action {
        Action::ReadEvents => "read events",
        Action::ReadAlerts => "read alerts",
        Action::ChangeAlerts => "change alerts",
        Action::Administer => "read the audit log",
        _ => "do this",
    }
}

/// Whose things something counts among: an account's or a key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    User(i64),
    Key(i64),
    /// Callers without a credential, together.
    Nobody,
}

impl Holder {
    pub(crate) fn of(caller: &Caller) -> Self {
        match &caller.actor {
            Actor::User { id, .. } => Self::User(id.get()),
            Actor::Key { id, .. } => Self::Key(id.get()),
            Actor::CommandLine | Actor::Watchpost | Actor::Anonymous => Self::Nobody,
        }
    }
}
