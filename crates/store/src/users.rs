//! The people who log in.

use crate::audit::AuditEntry;
use crate::clauses::Clauses;
use crate::db::{Batch, Row};
use crate::ids::IdKind;
use crate::sessions::END_SESSIONS_OF;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::page::{Page, PageRequest};
use watchpost_model::user::{Theme, TimeZone, name_key};
use watchpost_model::{Role, Timestamp, User, UserId};

macro_rules! select_users {
    ($rest:literal) => {
        concat!(
            "SELECT id, username, email, role, active, created_at, last_login_at, version, password_hash, token_epoch, password_until, factor_secret, recovery_codes, external_id, theme, time_zone, signed_up FROM users ",
            $rest
        )
    };
}

const BY_ID: &str = select_users!("WHERE id = ?1");
const BY_NAME: &str = select_users!("WHERE username_key = ?1");
const BY_EXTERNAL: &str = select_users!("WHERE external_id = ?1");
const ALL: &str = select_users!("");
const EMAIL: &str = "SELECT email FROM users WHERE username_key = ?1";
const ANY: &str = "SELECT id FROM users LIMIT 1";

const CREATE: &str = "INSERT INTO users (id, username, username_key, email, role, password_hash, active, token_epoch, created_at, updated_at, version, external_id, password_until, signed_up)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 1, ?7, ?7, 1, ?8, ?9, ?10)";

/// Gives a name to a user who is new: no other user has or had it.
const NAME: &str = "INSERT INTO user_names (name_key, user_id) VALUES (?1, ?2)";

/// Notes the name that a user has: a node that knew no such table may have made the user.
const KEEP_NAME: &str =
    "INSERT INTO user_names (name_key, user_id) VALUES (?1, ?2) ON CONFLICT (name_key) DO NOTHING";

/// Gives another name to a user: one that no other user has or had. The user's own earlier ones are free.
const RENAME: &str = "INSERT INTO user_names (name_key, user_id) VALUES (?1, ?2)
     ON CONFLICT (name_key) DO UPDATE SET user_id = excluded.user_id WHERE user_names.user_id = excluded.user_id";

/// What a name that another user had is taken by.
const NAMES: &str = "user_names_name_key";
const OWNER_OF_NAME: &str = "SELECT user_id FROM user_names WHERE name_key = ?1";

/// The last condition keeps the last active Admin: the change leaves this user one, or another is left.
const UPDATE: &str = "UPDATE users SET username = ?2,
         username_key = CASE WHEN username = ?2 THEN username_key ELSE ?3 END, email = ?4, role = ?5, active = ?6,
         password_hash = ?7, token_epoch = ?8, updated_at = ?9, password_until = ?12, version = version + 1
     WHERE id = ?1 AND version = ?10
       AND (?11 = 1 OR EXISTS (SELECT 1 FROM users o WHERE o.role = 'ADMIN' AND o.active = 1 AND o.id <> ?1))";

/// Not a change that others who change the user have to know of: the version stays.
const PREFER: &str =
    "UPDATE users SET theme = COALESCE(?2, theme), time_zone = COALESCE(?3, time_zone) WHERE id = ?1";

/// The same password, hashed otherwise.
const REHASH: &str = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";

/// Which users are wanted; what is empty wants all.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only those with this in their name or address, in any letter case.
    pub search: Option<String>,
    /// Only those with this role.
    pub role: Option<Role>,
    /// Only those who may log in, or only those who may not.
    pub active: Option<bool>,
}

/// A user with what is needed to let them in.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The hash of the password.
    pub password_hash: String,
    /// Tokens and sessions that carry another number are dead.
    pub token_epoch: i64,
    /// Until when the password lets its user choose another; nothing for a password of their own.
    pub password_until: Option<Timestamp>,
    /// The second factor.
    pub factor: Factor,
    /// Who this is for the provider of single sign-on.
    pub external_id: Option<String>,
}

/// What is kept of a second factor. Secrets are sealed before they come here.
#[derive(Clone, Debug, Default)]
pub struct Factor {
    /// The secret in use.
    pub secret: Option<String>,
    /// Hashes of recovery codes that weren't used.
    pub recovery: Vec<String>,
}

/// A new password, hashed.
#[derive(Clone)]
pub struct NewPassword {
    /// The hash.
    pub hash: String,
    /// Until when it lets its user choose another; nothing for one that the user chose.
    pub until: Option<Timestamp>,
}

/// A user to be made.
#[derive(Clone)]
pub struct NewAccount<'a> {
    /// The name to log in with.
    pub username: &'a str,
    /// An address, or empty.
    pub email: &'a str,
    /// What the user may do.
    pub role: Role,
    /// The password; an empty hash matches none.
    pub password: NewPassword,
    /// Who this is for the provider of single sign-on.
    pub external_id: Option<&'a str>,
    /// Whether the user made the account by sign-up.
    pub signed_up: bool,
}

/// What to change about a user; what is `None` stays.
#[derive(Clone, Default)]
pub struct UserChange {
    /// A new name.
    pub username: Option<String>,
    /// A new address.
    pub email: Option<String>,
    /// A new role.
    pub role: Option<Role>,
    /// Whether the user may log in.
    pub active: Option<bool>,
    /// A new password.
    pub password: Option<NewPassword>,
}

/// A pattern for texts that hold this one, in small letters.
fn anywhere(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn credentials(row: &Row) -> Result<Credentials, StoreError> {
    let recovery = row.opt_text(12)?.unwrap_or_default();
    let factor = Factor {
        secret: row.opt_text(11)?,
        recovery: recovery.split_whitespace().map(str::to_owned).collect(),
    };
    let (password_until, external_id) = (row.opt_int(10)?.map(Timestamp::from_micros), row.opt_text(13)?);
    let role = row.text(3)?;
    let role = Role::parse(&role).ok_or_else(|| StoreError::Internal(format!("unknown role {role}")))?;
    Ok(Credentials {
        user: User {
            id: UserId::new(row.int(0)?),
            username: row.text(1)?,
            email: row.text(2)?,
            role,
            active: row.int(4)? != 0,
            created_at: Timestamp::from_micros(row.int(5)?),
            last_login_at: row.opt_int(6)?.map(Timestamp::from_micros),
            version: row.int(7)?,
            second_factor: factor.secret.is_some(),
            must_change_password: password_until.is_some(),
            single_sign_on: external_id.is_some(),
            theme: row.opt_text(14)?.and_then(|name| Theme::parse(&name)).unwrap_or_default(),
            time_zone: row.opt_text(15)?.and_then(|name| TimeZone::parse(&name)).unwrap_or_default(),
            signed_up: row.opt_int(16)? == Some(1),
        },
        password_hash: row.text(8)?,
        token_epoch: row.int(9)?,
        password_until,
        factor,
        external_id,
    })
}

impl Db {
    /// A user by id, with their credentials.
    pub async fn credentials(&self, id: UserId) -> Result<Option<Credentials>, StoreError> {
        self.read_one(BY_ID, vec![id.get().into()]).await?.map(|row| credentials(&row)).transpose()
    }

    /// A user by name in any letter case, with their credentials.
    pub async fn credentials_by_name(&self, username: &str) -> Result<Option<Credentials>, StoreError> {
        let (key, before) = (name_key(username), username.to_lowercase());
        let mut row = self.read_one(BY_NAME, vec![key.as_str().into()]).await?;
        // A name that was given before names were written in one way only.
        if row.is_none() && before != key {
            row = self.read_one(BY_NAME, vec![before.into()]).await?;
        }
        row.map(|row| credentials(&row)).transpose()
    }

    /// A user by who they are for the provider of single sign-on.
    pub async fn credentials_by_external_id(&self, id: &str) -> Result<Option<Credentials>, StoreError> {
        self.read_one(BY_EXTERNAL, vec![id.into()]).await?.map(|row| credentials(&row)).transpose()
    }

    /// Whether there is any user at all.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        Ok(self.read_one(ANY, vec![]).await?.is_some())
    }

    /// The address of a user, if there is one of that name. Databases of any older Watchpost answer, too.
    pub async fn email_of(&self, username: &str) -> Result<Option<String>, StoreError> {
        let row = self.read_one(EMAIL, vec![name_key(username).into()]).await?;
        row.map(|row| row.text(0)).transpose()
    }

    /// A page of users, in the order they were made.
    pub async fn users(&self, filter: &UserFilter, request: PageRequest) -> Result<Page<User>, StoreError> {
        let mut clauses = Clauses::new(self.engine());
        if let Some(part) = &filter.search {
            let found = "(username_key LIKE {} ESCAPE '!' OR LOWER(email) LIKE {} ESCAPE '!')";
            clauses.with(found, anywhere(part));
        }
        if let Some(role) = filter.role {
            clauses.with("role = {}", role.as_str());
        }
        if let Some(active) = filter.active {
            clauses.with("active = {}", active);
        }
        let count = self.bounded_count("users", &clauses).await?;
        let matching = clauses.sql();
        let (rows, skipped) = (clauses.param(i64::from(request.size) + 1), clauses.param(request.offset()));
        let sql = format!("{ALL}{matching} ORDER BY id LIMIT ?{rows} OFFSET ?{skipped}");
        self.page_of(sql, clauses.params, count, request, |row| Ok(credentials(row)?.user)).await
    }

    /// Makes a user with a password of their own. [`StoreError::Taken`] when another user has the name or had it, in
    /// any letter case.
    pub async fn create_user(
        &self,
        username: &str,
        email: &str,
        role: Role,
        password_hash: String,
        by: &AuditEntry,
    ) -> Result<User, StoreError> {
        let password = NewPassword { hash: password_hash, until: None };
        let new = NewAccount { username, email, role, password, external_id: None, signed_up: false };
        self.create_account(new, by).await
    }

    /// As [`Db::create_user`], with all that may be so from the beginning.
    pub async fn create_account(&self, new: NewAccount<'_>, by: &AuditEntry) -> Result<User, StoreError> {
        let id = self.take_ids(IdKind::Users, 1, by.at).await?.start;
        let key = name_key(new.username);
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(
            CREATE,
            vec![
                id.into(),
                new.username.into(),
                key.as_str().into(),
                new.email.into(),
                new.role.as_str().into(),
                new.password.hash.into(),
                by.at.micros().into(),
                new.external_id.into(),
                new.password.until.map(Timestamp::micros).into(),
                new.signed_up.into(),
            ],
        );
        batch.one(NAME, vec![key.into(), id.into()]);
        let how = if new.signed_up { ", by sign-up" } else { "" };
        let said = format!("{} as {}{how}", new.username, new.role);
        batch.audit(by, "user.create", format!("user:{id}"), said);
        self.write(Arc::new(batch)).await?;
        Ok(User {
            id: UserId::new(id),
            username: new.username.to_owned(),
            email: new.email.to_owned(),
            role: new.role,
            active: true,
            created_at: by.at,
            last_login_at: None,
            version: 1,
            second_factor: false,
            must_change_password: new.password.until.is_some(),
            single_sign_on: new.external_id.is_some(),
            signed_up: new.signed_up,
            theme: Theme::default(),
            time_zone: TimeZone::default(),
        })
    }

    /// Whether another user has a name or had it.
    async fn is_taken(&self, name: &str, id: UserId) -> Result<bool, StoreError> {
        let owner = self.read_one(OWNER_OF_NAME, vec![name_key(name).into()]).await?;
        Ok(owner.map(|row| row.int(0)).transpose()?.is_some_and(|owner| owner != id.get()))
    }

    /// Changes a user. A new password or a deactivation ends every token and session.
    pub async fn update_user(
        &self,
        id: UserId,
        change: UserChange,
        version: Option<i64>,
        by: &AuditEntry,
    ) -> Result<User, StoreError> {
        let before = self.credentials(id).await?.ok_or(StoreError::NotFound)?;
        if version.is_some_and(|version| version != before.user.version) {
            return Err(StoreError::Conflict);
        }
        let after = applied(&before, change);
        let stays_admin = after.user.active && after.user.role == Role::Admin;
        let was_admin = before.user.active && before.user.role == Role::Admin;
        let batch = user_update(&before, &after, stays_admin || !was_admin, by);
        match self.write(Arc::new(batch)).await {
            Ok(()) => Ok(after.user),
            Err(StoreError::Conflict) => {
                let now = self.credentials(id).await?.ok_or(StoreError::NotFound)?;
                if now.user.version != before.user.version {
                    return Err(StoreError::Conflict);
                }
                let taken = self.is_taken(&after.user.username, id).await?;
                Err(if taken { StoreError::Taken(NAMES.into()) } else { StoreError::LastAdmin })
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps another hash of the password that a user has, in place of the one before. Nothing ends: it is the same
    /// password.
    pub async fn rehash(&self, id: UserId, before: &str, now: &str) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.any(REHASH, vec![id.get().into(), before.into(), now.into()]);
        self.write(Arc::new(batch)).await
    }

    /// Sets how pages look for a user; what is `None` stays.
    pub async fn prefer(
        &self,
        id: UserId,
        theme: Option<Theme>,
        time_zone: Option<TimeZone>,
        by: &AuditEntry,
    ) -> Result<(), StoreError> {
        let (theme, time_zone) = (theme.map(Theme::as_str), time_zone.map(TimeZone::as_str));
        let said =
            [theme.map(|theme| format!("theme {theme}")), time_zone.map(|zone| format!("times {zone}"))];
        let said: Vec<String> = said.into_iter().flatten().collect();
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(PREFER, vec![id.get().into(), theme.into(), time_zone.into()]);
        batch.audit(by, "user.prefer", format!("user:{id}"), said.join(", "));
        self.write(Arc::new(batch)).await
    }
}

fn applied(before: &Credentials, change: UserChange) -> Credentials {
    let mut after = before.clone();
    let UserChange { username, email, role, active, password } = change;
    let deactivated = before.user.active && active == Some(false);
    if password.is_some() || deactivated {
        after.token_epoch += 1;
    }
    after.user.username = username.unwrap_or(after.user.username);
    after.user.email = email.unwrap_or(after.user.email);
    after.user.role = role.unwrap_or(after.user.role);
    after.user.active = active.unwrap_or(after.user.active);
    if let Some(NewPassword { hash, until }) = password {
        (after.password_hash, after.password_until) = (hash, until);
        after.user.must_change_password = until.is_some();
    }
    after.user.version += 1;
    after
}

fn user_update(before: &Credentials, after: &Credentials, keeps_an_admin: bool, by: &AuditEntry) -> Batch {
    let (id, user) = (before.user.id.get(), &after.user);
    let mut batch = Batch::new();
    batch.access_changed();
    batch.one(
        UPDATE,
        vec![
            id.into(),
            user.username.as_str().into(),
            name_key(&user.username).into(),
            user.email.as_str().into(),
            user.role.as_str().into(),
            user.active.into(),
            after.password_hash.as_str().into(),
            after.token_epoch.into(),
            by.at.micros().into(),
            before.user.version.into(),
            keeps_an_admin.into(),
            after.password_until.map(Timestamp::micros).into(),
        ],
    );
    let (old, new) = (name_key(&before.user.username), name_key(&user.username));
    if old != new {
        batch.any(KEEP_NAME, vec![old.into(), id.into()]);
        batch.one(RENAME, vec![new.into(), id.into()]);
    }
    if after.token_epoch != before.token_epoch {
        batch.any(END_SESSIONS_OF, vec![id.into()]);
    }
    batch.audit(by, "user.update", format!("user:{id}"), differences(before, after).join(", "));
    batch
}

/// What changed, in words; never what a password is.
fn differences(before: &Credentials, after: &Credentials) -> Vec<String> {
    let (old, new) = (&before.user, &after.user);
    let mut said = Vec::new();
    let mut say = |changed: bool, text: String| {
        if changed {
            said.push(text);
        }
    };
    say(old.username != new.username, format!("name {} to {}", old.username, new.username));
    say(old.email != new.email, "address".to_owned());
    say(old.role != new.role, format!("role {} to {}", old.role, new.role));
    say(old.active && !new.active, "deactivated".to_owned());
    say(!old.active && new.active, "activated".to_owned());
    let password = if after.password_until.is_some() { "one-time password" } else { "password" };
    say(before.password_hash != after.password_hash, password.to_owned());
    said
}
