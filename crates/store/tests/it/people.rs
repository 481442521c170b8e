//! Users, keys, tokens and sessions.

use crate::{Place, at, by, on_both_engines};
use watchpost_model::page::PageRequest;
use watchpost_model::{Role, User, UserId};
use watchpost_store::{Db, RefreshGrant, Rotation, SessionRecord, StoreError, UserChange};

on_both_engines!(
    names_are_unique_in_any_letter_case,
    an_admin_is_always_left,
    a_new_password_ends_tokens_and_sessions,
    a_refresh_token_is_swapped_once,
    keys_are_found_by_hash_and_revoked,
    sessions_end_when_idle_and_when_old,
);

async fn user(db: &Db, name: &str, role: Role) -> User {
    db.create_user(name, "", role, "hash".into(), &by("test", 0)).await.unwrap()
}

fn role(role: Role) -> UserChange {
    UserChange { role: Some(role), ..UserChange::default() }
}

async fn names_are_unique_in_any_letter_case(db: Db, _: Place) {
    let jane = user(&db, "Jane", Role::Analyst).await;
    let moves = db.access_changes().await.unwrap();
    let taken = db.create_user("JANE", "", Role::Admin, "h".into(), &by("test", 1)).await;
    assert!(matches!(taken, Err(StoreError::Taken(name)) if name == "users_username_key"));
    assert_eq!(db.access_changes().await.unwrap(), moves, "what was refused changed nothing");
    let page = db.audit_log(PageRequest::default()).await.unwrap();
    assert_eq!(page.rows.len(), 1, "and left no row in the audit log");
    assert_eq!(
        (page.rows[0].action.as_str(), page.rows[0].object.as_str()),
        ("user.create", format!("user:{}", jane.id).as_str())
    );
    let found = db.credentials_by_name("jAnE").await.unwrap().unwrap();
    assert_eq!(found.user, jane);
    let joe = user(&db, "joe", Role::Analyst).await;
    let renamed = UserChange { username: Some("jane".into()), ..UserChange::default() };
    assert!(matches!(db.update_user(joe.id, renamed, None, &by("test", 2)).await, Err(StoreError::Taken(_))));
    let stale = db.update_user(joe.id, role(Role::Responder), Some(9), &by("test", 2)).await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    assert_ne!(db.access_changes().await.unwrap(), moves);
}

async fn an_admin_is_always_left(db: Db, _: Place) {
    let (one, two) = (user(&db, "one", Role::Admin).await, user(&db, "two", Role::Admin).await);
    for round in 0..10 {
        let demote = |id: UserId| {
            let db = db.clone();
            tokio::spawn(async move { db.update_user(id, role(Role::Analyst), None, &by("test", 1)).await })
        };
        let (a, b) = (demote(one.id), demote(two.id));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert!(a.is_ok() != b.is_ok(), "round {round}: exactly one of two demotions at once: {a:?} {b:?}");
        assert!(matches!(a.and(b), Err(StoreError::LastAdmin)), "round {round}");
        for id in [one.id, two.id] {
            db.update_user(id, role(Role::Admin), None, &by("test", 2)).await.unwrap();
        }
    }
    db.update_user(two.id, role(Role::Analyst), None, &by("test", 3)).await.unwrap();
    let off = UserChange { active: Some(false), ..UserChange::default() };
    assert!(matches!(db.update_user(one.id, off, None, &by("test", 4)).await, Err(StoreError::LastAdmin)));
}

fn grant(jti: &str, user: UserId) -> RefreshGrant {
    RefreshGrant { jti_hash: jti.into(), family: "family".into(), user, expires_at: at(1_000) }
}

fn session(user: UserId) -> SessionRecord {
    SessionRecord { user, token_epoch: 1, created_at: at(0), last_seen_at: at(0), expires_at: at(1_000) }
}

async fn a_new_password_ends_tokens_and_sessions(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    db.grant_refresh(&grant("a", jane.id)).await.unwrap();
    db.open_session("s", &session(jane.id)).await.unwrap();
    let before = db.credentials(jane.id).await.unwrap().unwrap().token_epoch;
    db.update_user(jane.id, role(Role::Responder), None, &by("test", 1)).await.unwrap();
    assert!(db.session("s", at(1), at(-1)).await.unwrap().is_some(), "another role ends nothing");
    let password = UserChange { password_hash: Some("new".into()), ..UserChange::default() };
    db.update_user(jane.id, password, None, &by("test", 2)).await.unwrap();
    assert_eq!(db.credentials(jane.id).await.unwrap().unwrap().token_epoch, before + 1);
    assert_eq!(db.session("s", at(3), at(-1)).await.unwrap(), None);
    assert_eq!(db.refresh_family("a", at(3)).await.unwrap(), None);
}

async fn a_refresh_token_is_swapped_once(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    db.grant_refresh(&grant("first", jane.id)).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            db.rotate_refresh("first", &format!("next{n}"), jane.id, at(1_000), at(1)).await.unwrap()
        }));
    }
    let mut rotated = 0;
    for task in tasks {
        rotated += usize::from(task.await.unwrap() == Rotation::Rotated);
    }
    assert_eq!(rotated, 1);
    for n in 0..20 {
        assert_eq!(
            db.refresh_family(&format!("next{n}"), at(2)).await.unwrap(),
            None,
            "a second use ends the family"
        );
    }
    db.grant_refresh(&grant("old", jane.id)).await.unwrap();
    let late = db.rotate_refresh("old", "newer", jane.id, at(3_000), at(1_001)).await.unwrap();
    assert_ne!(late, Rotation::Rotated, "it had expired");
    assert_eq!(db.rotate_refresh("none", "x", jane.id, at(1_000), at(1)).await.unwrap(), Rotation::Unknown);
    db.grant_refresh(&grant("gone", jane.id)).await.unwrap();
    db.forget_expired(at(1_000)).await.unwrap();
    assert!(!db.end_refresh_family("gone").await.unwrap(), "what expired is forgotten");
}

async fn keys_are_found_by_hash_and_revoked(db: Db, _: Place) {
    let key = db.create_key("fw", "wp_abc", "hash", Some(at(100)), &by("test", 0)).await.unwrap();
    assert_eq!(db.key_by_hash("hash").await.unwrap().unwrap().key, key);
    assert!(key.works_at(at(99)) && !key.works_at(at(100)));
    let taken = db.create_key("fw", "wp_abc", "hash", None, &by("test", 1)).await;
    assert!(matches!(taken, Err(StoreError::Taken(_))));
    db.note_key_use(&[(key.id, at(50))]).await.unwrap();
    let revoked = db.revoke_key(key.id, &by("test", 60)).await.unwrap();
    assert_eq!((revoked.revoked_at, revoked.last_used_at), (Some(at(60)), Some(at(50))));
    assert!(!revoked.works_at(at(61)));
    assert_eq!(
        db.revoke_key(key.id, &by("test", 70)).await.unwrap().revoked_at,
        Some(at(60)),
        "once is enough"
    );
    assert_eq!(db.keys(PageRequest::default()).await.unwrap().rows, [revoked]);
}

async fn sessions_end_when_idle_and_when_old(db: Db, _: Place) {
    let id = UserId::new(1);
    db.open_session("s", &session(id)).await.unwrap();
    assert_eq!(db.session("s", at(10), at(-1)).await.unwrap(), Some(session(id)));
    assert_eq!(db.session("s", at(10), at(5)).await.unwrap(), None, "idle for too long");
    db.note_session_use("s", at(9)).await.unwrap();
    assert!(db.session("s", at(10), at(5)).await.unwrap().is_some());
    assert_eq!(db.session("s", at(1_000), at(5)).await.unwrap(), None, "too old");
    db.end_session("s").await.unwrap();
    assert_eq!(db.session("s", at(10), at(-1)).await.unwrap(), None);
}
