//! Users and keys.

use crate::{Place, at, by, on_both_engines};
use watchpost_model::key::{GivenKey, NewKey};
use watchpost_model::page::PageRequest;
use watchpost_model::text::Given;
use watchpost_model::{Role, User, UserId};
use watchpost_store::{AuditFilter, Db, NewAccount, NewPassword, StoreError, UserChange, UserFilter};

on_both_engines!(
    names_are_unique_in_any_letter_case,
    an_admin_is_always_left,
    a_name_that_was_given_up_stays_its_user_s,
    a_name_is_not_taken_over_while_it_is_given_up,
    who_signed_up_is_known,
    keys_are_found_by_hash_and_revoked,
    users_are_found_by_a_part_of_their_name,
);

pub(crate) async fn user(db: &Db, name: &str, role: Role) -> User {
    db.create_user(name, "", role, "hash".into(), &by("test", 0)).await.unwrap()
}

pub(crate) fn role(role: Role) -> UserChange {
    UserChange { role: Some(role), ..UserChange::default() }
}

async fn names_are_unique_in_any_letter_case(db: Db, _: Place) {
    let jane = user(&db, "Jane", Role::Analyst).await;
    let moves = db.access_changes().await.unwrap();
    let taken = db.create_user("JANE", "", Role::Admin, "h".into(), &by("test", 1)).await;
    assert!(matches!(taken, Err(StoreError::Taken(name)) if name == "users_username_key"));
    assert_eq!(db.access_changes().await.unwrap(), moves, "what was refused changed nothing");
    let page = db.audit_log(&AuditFilter::default(), PageRequest::default()).await.unwrap();
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

fn called(name: &str) -> UserChange {
    UserChange { username: Some(name.into()), ..UserChange::default() }
}

async fn a_name_that_was_given_up_stays_its_user_s(db: Db, _: Place) {
    let (jane, joe) = (user(&db, "jane", Role::Analyst).await, user(&db, "joe", Role::Analyst).await);
    db.update_user(jane.id, called("jill"), None, &by("test", 1)).await.unwrap();
    let taken = "user_names_name_key";
    let made = db.create_user("Jane", "", Role::Analyst, "h".into(), &by("test", 2)).await;
    assert!(matches!(&made, Err(StoreError::Taken(what)) if what == taken), "{made:?}");
    let renamed = db.update_user(joe.id, called("JANE"), None, &by("test", 2)).await;
    assert!(matches!(&renamed, Err(StoreError::Taken(what)) if what == taken), "{renamed:?}");
    assert_eq!(db.credentials(joe.id).await.unwrap().unwrap().user, joe, "nothing of it was done");
    // Their own earlier name is theirs to take back, in any letter case.
    db.update_user(jane.id, called("Jane"), None, &by("test", 3)).await.unwrap();
    db.update_user(jane.id, called("jAne"), None, &by("test", 4)).await.unwrap();
    let again = db.create_user("jill", "", Role::Analyst, "h".into(), &by("test", 5)).await;
    assert!(matches!(&again, Err(StoreError::Taken(what)) if what == taken), "{again:?}");
    // A deactivated user keeps the name.
    let off = UserChange { active: Some(false), ..UserChange::default() };
    db.update_user(joe.id, off, None, &by("test", 6)).await.unwrap();
    assert!(db.create_user("joe", "", Role::Analyst, "h".into(), &by("test", 7)).await.is_err());
}

async fn a_name_is_not_taken_over_while_it_is_given_up(db: Db, _: Place) {
    for round in 0..20 {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        let jane = user(&db, &old, Role::Analyst).await;
        let (renaming, making) = (db.clone(), db.clone());
        let taker = old.clone();
        let renamed =
            tokio::spawn(
                async move { renaming.update_user(jane.id, called(&new), None, &by("test", 1)).await },
            );
        let made = tokio::spawn(async move {
            making.create_user(&taker, "", Role::Analyst, "h".into(), &by("test", 1)).await
        });
        renamed.await.unwrap().unwrap();
        assert!(made.await.unwrap().is_err(), "round {round}");
        assert!(db.credentials_by_name(&old).await.unwrap().is_none(), "round {round}");
    }
}

async fn who_signed_up_is_known(db: Db, _: Place) {
    let password = NewPassword { hash: "h".into(), until: None };
    let role = Role::Analyst;
    let new = NewAccount { username: "sue", email: "", role, password, external_id: None, signed_up: true };
    let sue = db.create_account(new, &by("test", 1)).await.unwrap();
    assert!(sue.signed_up && db.credentials(sue.id).await.unwrap().unwrap().user == sue);
    let row = db.audit_log(&AuditFilter::default(), PageRequest::default()).await.unwrap().rows.remove(0);
    assert_eq!(row.detail, "sue as ANALYST, by sign-up");
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

fn limited_key() -> NewKey {
    let text = |text: &'static str| Given::Text(text.into());
    NewKey::check(&GivenKey {
        name: text("fw"),
        expires_in_days: text("1"),
        source_name: text("gate"),
        max_severity: text("HIGH"),
        networks: text("10.0.0.0/8, 2001:db8::1"),
        rate: text("20/m"),
    })
    .unwrap()
}

async fn keys_are_found_by_hash_and_revoked(db: Db, _: Place) {
    let key = db.create_key(limited_key(), "wp_abc", "hash", &by("test", 0)).await.unwrap();
    assert_eq!(db.key_by_hash("hash").await.unwrap().unwrap().key, key);
    assert!(key.works_at(at(86_399)) && !key.works_at(at(86_400)));
    assert!(db.has_keys(at(86_399)).await.unwrap() && !db.has_keys(at(86_400)).await.unwrap());
    let taken = db.create_key(limited_key(), "wp_abc", "hash", &by("test", 1)).await;
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
    assert!(!db.has_keys(at(61)).await.unwrap());
}

async fn users_are_found_by_a_part_of_their_name(db: Db, _: Place) {
    for (name, email, role) in [
        ("Jane", "jane@soc.example", Role::Admin),
        ("joe_b", "", Role::Analyst),
        ("joe-b", "Lab@SOC.example", Role::Analyst),
        ("ÄRGER", "100%@x.example", Role::Responder),
    ] {
        db.create_user(name, email, role, "hash".into(), &by("test", 0)).await.unwrap();
    }
    let off = UserChange { active: Some(false), ..UserChange::default() };
    db.update_user(UserId::new(2), off, None, &by("test", 1)).await.unwrap();
    let names = async |filter: UserFilter| {
        let page = db.users(&filter, PageRequest::default()).await.unwrap();
        assert_eq!(page.count.number(), page.rows.len() as i64);
        page.rows.into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    let search = |part: &str| UserFilter { search: Some(part.to_owned()), ..UserFilter::default() };
    for (part, wanted) in [
        ("jA", &["Jane"][..]),
        ("e_b", &["joe_b"]),
        ("soc.EXAMPLE", &["Jane", "joe-b"]),
        ("ärg", &["ÄRGER"]),
        ("0%", &["ÄRGER"]),
        ("%", &["ÄRGER"]),
        ("!", &[]),
        ("'; --", &[]),
    ] {
        assert_eq!(names(search(part)).await, wanted, "{part}");
    }
    let analysts = UserFilter { role: Some(Role::Analyst), ..UserFilter::default() };
    assert_eq!(names(analysts.clone()).await, ["joe_b", "joe-b"]);
    assert_eq!(names(UserFilter { active: Some(true), ..analysts.clone() }).await, ["joe-b"]);
    assert_eq!(names(UserFilter { active: Some(false), ..search("joe") }).await, ["joe_b"]);
}
