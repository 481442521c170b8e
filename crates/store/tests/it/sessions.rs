//! Log-ins that go on, attempts to log in, and the second factor.

use crate::people::{role, user};
use crate::{Place, at, by, on_both_engines};
use watchpost_model::page::PageRequest;
use watchpost_model::{Role, Timestamp, UserId};
use watchpost_store::{
    AuditFilter, Db, FactorShown, NewFactor, NewPassword, Patience, Rotation, Session, SessionFilter,
    SessionKind, StoreError, UserChange,
};

on_both_engines!(
    a_new_password_ends_sessions,
    a_secret_is_swapped_once_and_a_copy_ends_the_session,
    sessions_end_when_idle_when_old_and_when_told,
    sessions_of_everybody_are_those_that_open_something,
    attempts_wait_longer_and_longer,
    attempts_at_once_are_counted_one_by_one,
    places_of_log_ins_are_known,
    a_code_and_a_recovery_code_work_once,
);

fn session(id: &str, user: UserId) -> Session {
    Session {
        id: id.into(),
        kind: SessionKind::Tokens,
        user,
        token_epoch: 1,
        created_at: at(0),
        last_seen_at: at(0),
        expires_at: at(1_000),
        address: "192.0.2.7".into(),
        agent: "test".into(),
        second_factor: FactorShown::None,
        proved_at: Some(at(0)),
    }
}

async fn open(db: &Db, id: &str, user: UserId) {
    db.open_session(&session(id, user), &format!("secret of {id}"), &by("jane", 0), "password")
        .await
        .unwrap();
}

async fn actions(db: &Db) -> Vec<String> {
    let page = db.audit_log(&AuditFilter::default(), PageRequest::default()).await.unwrap();
    page.rows.into_iter().map(|row| row.action).collect()
}

async fn a_new_password_ends_sessions(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    open(&db, "s", jane.id).await;
    let before = db.credentials(jane.id).await.unwrap().unwrap().token_epoch;
    db.update_user(jane.id, role(Role::Responder), None, &by("test", 1)).await.unwrap();
    assert!(db.session("s", at(1)).await.unwrap().is_some(), "another role ends nothing");
    let new = NewPassword { hash: "new".into(), until: None };
    let password = UserChange { password: Some(new), ..UserChange::default() };
    db.update_user(jane.id, password, None, &by("test", 2)).await.unwrap();
    assert_eq!(db.credentials(jane.id).await.unwrap().unwrap().token_epoch, before + 1);
    assert_eq!(db.session("s", at(3)).await.unwrap(), None);
}

async fn a_secret_is_swapped_once_and_a_copy_ends_the_session(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    open(&db, "s", jane.id).await;
    let mut tasks = Vec::new();
    for n in 0..20 {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            db.rotate("s", "secret of s", &format!("next{n}"), at(2_000), &by("jane", 1)).await.unwrap()
        }));
    }
    let mut rotated = 0;
    for task in tasks {
        rotated += usize::from(task.await.unwrap() == Rotation::Rotated);
    }
    assert_eq!(rotated, 1);
    assert_eq!(db.session("s", at(2)).await.unwrap(), None, "a second use ends the session");
    assert_eq!(actions(&db).await.iter().filter(|action| *action == "session.reuse").count(), 1);
    assert_eq!(
        db.rotate("s", "next", "x", at(2_000), &by("jane", 3)).await.unwrap(),
        Rotation::Unknown,
        "there is none any more"
    );
    open(&db, "t", jane.id).await;
    assert!(db.is_next("t", "secret of t", at(1)).await.unwrap());
    assert_eq!(
        db.rotate("t", "secret of t", "u", at(3_000), &by("jane", 1)).await.unwrap(),
        Rotation::Rotated
    );
    assert_eq!(db.session("t", at(2_999)).await.unwrap().unwrap().expires_at, at(3_000));
    assert!(
        !db.is_next("t", "secret of t", at(2)).await.unwrap() && db.is_next("t", "u", at(2)).await.unwrap()
    );
    let late = db.rotate("t", "u", "v", at(9_000), &by("jane", 3_000)).await.unwrap();
    assert_eq!(late, Rotation::Unknown, "it had expired");
}

async fn sessions_end_when_idle_when_old_and_when_told(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    open(&db, "s", jane.id).await;
    let found = |now, idle_since| {
        let db = db.clone();
        async move { db.session_by_secret("secret of s", now, idle_since).await.unwrap() }
    };
    assert_eq!(found(at(10), at(-1)).await, Some(session("s", jane.id)));
    assert_eq!(found(at(10), at(5)).await, None, "idle for too long");
    db.note_session_use("s", at(9)).await.unwrap();
    assert!(found(at(10), at(5)).await.is_some());
    assert_eq!(found(at(1_000), at(5)).await, None, "too old");
    for id in ["t", "u", "v"] {
        open(&db, id, jane.id).await;
    }
    let ids = |sessions: Vec<Session>| sessions.into_iter().map(|session| session.id).collect::<Vec<_>>();
    assert_eq!(ids(db.sessions_of(jane.id, at(1)).await.unwrap()), ["s", "t", "u", "v"]);
    let moves = db.access_changes().await.unwrap();
    let ended = session("t", jane.id);
    db.end_session(&ended, &by("jane", 2), "session.end", "").await.unwrap();
    assert_ne!(db.access_changes().await.unwrap(), moves, "other nodes hear of it");
    let again = db.end_session(&ended, &by("jane", 2), "session.end", "").await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    db.end_sessions_of(jane.id, Some("u"), &by("jane", 3)).await.unwrap();
    assert_eq!(ids(db.sessions_of(jane.id, at(4)).await.unwrap()), ["u"]);
    db.end_sessions_of(jane.id, None, &by("jane", 5)).await.unwrap();
    assert_eq!(db.sessions_of(jane.id, at(6)).await.unwrap(), []);
    open(&db, "w", jane.id).await;
    db.forget_expired(at(1_000)).await.unwrap();
    assert_eq!(db.session("w", at(1)).await.unwrap(), None, "what expired is forgotten");
}

async fn sessions_of_everybody_are_those_that_open_something(db: Db, _: Place) {
    let (jane, rob) = (user(&db, "jane", Role::Analyst).await, user(&db, "rob", Role::Admin).await);
    let off = user(&db, "off", Role::Analyst).await;
    for (id, whose) in [("s", jane.id), ("t", rob.id), ("u", jane.id), ("off", off.id)] {
        open(&db, id, whose).await;
    }
    for (id, seen) in [("left", 0), ("console", 7)] {
        let session = Session { kind: SessionKind::Console, ..session(id, rob.id) };
        db.open_session(&session, id, &by("rob", 0), "password").await.unwrap();
        db.note_session_use(id, at(seen)).await.unwrap();
    }
    let stale = Session { token_epoch: 0, ..session("stale", jane.id) };
    db.open_session(&stale, "stale", &by("jane", 0), "password").await.unwrap();
    db.note_session_use("t", at(9)).await.unwrap();
    let inactive = UserChange { active: Some(false), ..UserChange::default() };
    db.update_user(off.id, inactive, None, &by("rob", 1)).await.unwrap();
    let list = async |filter: SessionFilter, page: PageRequest| {
        let page = db.sessions(filter, at(10), at(5), page).await.unwrap();
        let shown = |(session, name): (Session, String)| format!("{name} {}", session.id);
        (page.rows.into_iter().map(shown).collect::<Vec<_>>(), page.count.number(), page.more)
    };
    let all = SessionFilter::default();
    let everybody = ["rob t", "rob console", "jane s", "jane u"].map(str::to_owned);
    assert_eq!(list(all, PageRequest::default()).await, (everybody.to_vec(), 4, false));
    assert_eq!(list(all, PageRequest::numbered(2, 3)).await, (everybody[3..].to_vec(), 4, false));
    let of_rob = SessionFilter { user: Some(rob.id), ..all };
    assert_eq!(list(of_rob, PageRequest::numbered(1, 1)).await, (everybody[..1].to_vec(), 2, true));
    let in_browsers = SessionFilter { kind: Some(SessionKind::Console), ..all };
    assert_eq!(list(in_browsers, PageRequest::default()).await.0, everybody[1..2]);
    let none = db.sessions(all, at(1_000), at(5), PageRequest::default()).await.unwrap();
    assert_eq!(none.rows.len(), 0, "they have expired");
}

fn subject(name: &str, free: i64) -> (String, Patience) {
    (name.to_owned(), Patience { free, longest: 10 })
}

async fn attempts_wait_longer_and_longer(db: Db, _: Place) {
    let one = [subject("a", 2)];
    let attempt = async |subjects: &[(String, Patience)], seconds| {
        db.attempt(subjects, at(seconds)).await.unwrap().map(|until| until.micros() - at(0).micros())
    };
    let second = 1_000_000;
    assert_eq!(attempt(&one, 0).await, None);
    assert_eq!(attempt(&one, 0).await, None);
    assert_eq!(attempt(&one, 0).await, None, "the third is let in and makes the next wait");
    assert_eq!(attempt(&one, 0).await, Some(second));
    assert_eq!(attempt(&one, 1).await, None);
    assert_eq!(attempt(&one, 2).await, Some(3 * second), "twice as long");
    for seconds in [3, 7, 15] {
        assert_eq!(attempt(&one, seconds).await, None, "after {seconds} s");
    }
    assert_eq!(attempt(&one, 16).await, Some(25 * second), "but not longer than the longest");
    let both = [subject("b", 2), subject("a", 2)];
    assert_eq!(attempt(&both, 16).await, Some(25 * second), "the longest wait counts");
    for _ in 0..3 {
        assert_eq!(attempt(&[subject("b", 2)], 16).await, None, "what was held up wasn't counted");
    }
    let jane = user(&db, "jane", Role::Analyst).await;
    db.forgive(&["a".into()], jane.id, "net", at(17)).await.unwrap();
    assert_eq!(attempt(&one, 17).await, None, "whoever gets in is forgiven");
    for _ in 0..2 {
        attempt(&one, 17).await;
    }
    assert!(attempt(&one, 17).await.is_some());
    assert_eq!(attempt(&one, 17 + 3_700).await, None, "an hour later all is forgotten");
    assert_eq!(attempt(&one, 17 + 3_700).await, None);
}

async fn attempts_at_once_are_counted_one_by_one(db: Db, _: Place) {
    for earlier in [3, 2, 1] {
        let free = db.attempt(&[subject("b", 3)], at(earlier)).await.unwrap();
        assert_eq!(free, None, "clocks of nodes differ: a free attempt makes nobody wait");
    }
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.attempt(&[subject("a", 3)], at(0)).await.unwrap() })
        })
        .collect();
    let mut through = 0;
    for task in tasks {
        through += usize::from(task.await.unwrap().is_none());
    }
    assert_eq!(through, 4, "three free ones and the one that makes the next wait");
}

async fn places_of_log_ins_are_known(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    let day = |days: i64| -> Timestamp { at(days * 86_400) };
    assert!(!db.knows_network(jane.id, "10.0.0.0/24", day(0)).await.unwrap());
    db.forgive(&[], jane.id, "10.0.0.0/24", day(0)).await.unwrap();
    assert!(db.knows_network(jane.id, "10.0.0.0/24", day(59)).await.unwrap());
    assert!(!db.knows_network(jane.id, "10.0.1.0/24", day(1)).await.unwrap());
    assert!(!db.knows_network(UserId::new(jane.id.get() + 1), "10.0.0.0/24", day(1)).await.unwrap());
    assert!(!db.knows_network(jane.id, "10.0.0.0/24", day(61)).await.unwrap(), "not for ever");
}

async fn a_code_and_a_recovery_code_work_once(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Analyst).await;
    let factor = async || db.credentials(jane.id).await.unwrap().unwrap().factor;
    let codes: Vec<String> = ["x", "y", "z"].map(Into::into).into();
    let new = |version, token_epoch| NewFactor {
        sealed: "sealed",
        step: 7,
        recovery: &codes,
        version,
        token_epoch,
        session: None,
    };
    for (what, new) in [("a change of the user", new(2, 1)), ("a change of the password", new(1, 2))] {
        let other = db.begin_factor(jane.id, new, &by("jane", 1)).await;
        assert!(matches!(other, Err(StoreError::Conflict)), "its secret was made before {what}");
    }
    db.begin_factor(jane.id, new(1, 1), &by("jane", 1)).await.unwrap();
    assert_eq!(factor().await.secret.as_deref(), Some("sealed"));
    let second = db.begin_factor(jane.id, new(2, 1), &by("jane", 1)).await;
    assert!(matches!(second, Err(StoreError::Conflict)), "there is one already");
    assert!(!db.use_factor_step(jane.id, 7).await.unwrap(), "the code that began it is used up");
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (db, id) = (db.clone(), jane.id);
            tokio::spawn(async move { db.use_factor_step(id, 8).await.unwrap() })
        })
        .collect();
    let mut taken = 0;
    for task in tasks {
        taken += usize::from(task.await.unwrap());
    }
    assert_eq!(taken, 1, "of many at once one is taken");
    assert!(!db.use_factor_step(jane.id, 6).await.unwrap(), "an older one isn't");
    let mut used = 0;
    for _ in 0..3 {
        let known = factor().await.recovery;
        used += usize::from(db.use_recovery_code(jane.id, &known, "y", &by("jane", 2)).await.unwrap());
    }
    assert_eq!((used, factor().await.recovery), (1, vec!["x".to_owned(), "z".into()]));
    assert!(!db.use_recovery_code(jane.id, &codes, "x", &by("jane", 2)).await.unwrap(), "known from before");
    db.replace_recovery_codes(jane.id, &["n".into()], &by("jane", 3)).await.unwrap();
    assert_eq!(factor().await.recovery, ["n"]);
    db.end_factor(jane.id, None, &by("jane", 4)).await.unwrap();
    assert_eq!((factor().await.secret, factor().await.recovery.len()), (None, 0));
    let none = db.replace_recovery_codes(jane.id, &["n".into()], &by("jane", 5)).await;
    assert!(matches!(none, Err(StoreError::Conflict)));
    assert_eq!(actions(&db).await[..4], ["factor.end", "factor.codes", "factor.recovery", "factor.begin"]);
}
