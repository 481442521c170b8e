//! The audit log: what stands in it can't be changed without it showing.

use crate::{Place, at, by, on_both_engines};
use std::sync::Arc;
use watchpost_model::page::PageRequest;
use watchpost_model::{Actor, filter::Span};
use watchpost_store::{AuditEntry, AuditFilter, AuditProof, Db, testing};

on_both_engines!(
    a_chain_of_writers_at_once_is_intact,
    whatever_is_done_to_it_shows,
    the_newest_rows_are_proven_alone,
    rows_of_different_content_never_hash_alike,
    rows_are_found_by_what_they_say,
);

async fn write(db: &Db, rows: i64) {
    for n in 0..rows {
        db.note(&by("jane", n), "test", format!("thing:{n}"), "größer | 5:a\n'").await.unwrap();
    }
}

async fn proof(db: &Db) -> AuditProof {
    db.prove_audit(|_, _| {}).await.unwrap()
}

async fn broken_at(db: &Db) -> Option<i64> {
    match proof(db).await {
        AuditProof::Intact(_) => None,
        AuditProof::Broken(row, _) | AuditProof::Unvouched(row, _) => Some(row),
    }
}

async fn a_chain_of_writers_at_once_is_intact(db: Db, place: Place) {
    assert!(matches!(proof(&db).await, AuditProof::Intact(head) if (head.first_id, head.last_id) == (1, 0)));
    let other = place.open().await;
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let db = Arc::new(if n % 2 == 0 { db.clone() } else { other.clone() });
            tokio::spawn(async move { db.note(&by("jane", n), "test", "x", n.to_string()).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut told = Vec::new();
    let proof = db.prove_audit(|done, of| told.push((done, of))).await.unwrap();
    let head = db.audit_head().await.unwrap();
    assert_eq!((head.first_id, head.last_id, told), (1, 40, vec![(40, 40)]));
    assert_eq!(db.audit_hash(40).await.unwrap().as_deref(), Some(head.hash.as_str()));
    assert_eq!(proof, AuditProof::Intact(head));
    other.close().await;
}

async fn the_newest_rows_are_proven_alone(db: Db, _: Place) {
    let newest = async |rows| {
        let (proof, from) = db.prove_newest_audit(rows).await.unwrap();
        (if let AuditProof::Broken(row, _) = proof { Some(row) } else { None }, from)
    };
    assert_eq!(newest(3).await, (None, 1), "nothing is intact");
    write(&db, 6).await;
    assert_eq!([newest(3).await, newest(6).await, newest(100).await], [(None, 4), (None, 1), (None, 1)]);
    let spoilt = "UPDATE audit_log SET actor = 'joe' WHERE id = 2";
    testing::run(&db, spoilt).await.unwrap();
    assert_eq!([newest(4).await, newest(5).await], [(None, 3), (Some(2), 2)]);
    testing::run(&db, "UPDATE audit_log SET hash = 'x' WHERE id = 3").await.unwrap();
    assert_eq!(newest(3).await, (Some(4), 4), "the row before them is another");
    testing::run(&db, "DELETE FROM audit_log WHERE id = 3").await.unwrap();
    assert_eq!(newest(3).await, (Some(3), 4));
    let stray = "INSERT INTO audit_log (id, at, actor, address, action, object, detail, hash) VALUES (9, 1, '', '', '', '', '', 'x')";
    testing::run(&db, stray).await.unwrap();
    assert_eq!(newest(1).await, (Some(7), 6));
}

async fn whatever_is_done_to_it_shows(db: Db, _: Place) {
    write(&db, 6).await;
    assert_eq!(broken_at(&db).await, None);
    for (spoil, mend, wanted) in [
        (
            "UPDATE audit_log SET actor = 'joe' WHERE id = 3",
            "UPDATE audit_log SET actor = 'jane' WHERE id = 3",
            3,
        ),
        ("UPDATE audit_log SET at = at + 1 WHERE id = 1", "UPDATE audit_log SET at = at - 1 WHERE id = 1", 1),
        ("UPDATE audit_log SET id = 60 WHERE id = 6", "UPDATE audit_log SET id = 6 WHERE id = 60", 7),
        ("UPDATE audit_log SET id = 70 WHERE id = 2", "UPDATE audit_log SET id = 2 WHERE id = 70", 7),
        (
            "INSERT INTO audit_log (id, at, actor, address, action, object, detail, hash) VALUES (7, 1, '', '', '', '', '', 'x')",
            "DELETE FROM audit_log WHERE id = 7",
            7,
        ),
        (
            "INSERT INTO audit_log (id, at, actor, address, action, object, detail, hash) VALUES (0, 1, '', '', '', '', '', 'x')",
            "DELETE FROM audit_log WHERE id = 0",
            7,
        ),
        (
            "UPDATE audit_head SET last_id = 5, hash = (SELECT hash FROM audit_log WHERE id = 5)",
            "UPDATE audit_head SET last_id = 6, hash = (SELECT hash FROM audit_log WHERE id = 6)",
            6,
        ),
    ] {
        testing::run(&db, spoil).await.unwrap();
        assert_eq!(broken_at(&db).await, Some(wanted), "{spoil}");
        testing::run(&db, mend).await.unwrap();
        assert_eq!(broken_at(&db).await, None, "{mend}");
    }
    testing::run(&db, "DELETE FROM audit_log WHERE id = 4").await.unwrap();
    assert_eq!(broken_at(&db).await, Some(4), "one is gone");
    testing::run(&db, "DELETE FROM audit_log WHERE id > 4").await.unwrap();
    assert_eq!(broken_at(&db).await, Some(4), "all behind it, too");
}

async fn rows_of_different_content_never_hash_alike(db: Db, _: Place) {
    db.note(&by("jane", 0), "a", "b", "c").await.unwrap();
    // What stands in one column moves to the next: texts put together look the same.
    testing::run(&db, "UPDATE audit_log SET object = '', detail = 'bc' WHERE id = 1").await.unwrap();
    assert_eq!(broken_at(&db).await, Some(1));
    testing::run(&db, "UPDATE audit_log SET object = 'b|1:c', detail = '' WHERE id = 1").await.unwrap();
    assert_eq!(broken_at(&db).await, Some(1));
}

async fn rows_are_found_by_what_they_say(db: Db, _: Place) {
    for (n, action) in ["login", "login.failed", "user.create", "user.update"].into_iter().enumerate() {
        let n = n as i64;
        let address = Some(format!("192.0.2.{n}").parse().unwrap());
        let entry = AuditEntry { at: at(n), actor: by("jane", 0).actor, address };
        db.note(&entry, action, format!("user:{n}"), "").await.unwrap();
    }
    db.note(&AuditEntry::local(at(9), Actor::CommandLine), "export", "audit", "").await.unwrap();
    let ids = async |filter: AuditFilter| {
        let page = db.audit_log(&filter, PageRequest::default()).await.unwrap();
        let ids: Vec<i64> = page.rows.iter().map(|row| row.id).collect();
        let mut all = db.audit_after(&filter, 0).await.unwrap();
        all.reverse();
        assert_eq!(all, page.rows, "read at once or by page");
        ids
    };
    let some = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let all = AuditFilter::default;
    assert_eq!(ids(all()).await, [5, 4, 3, 2, 1]);
    assert_eq!(ids(AuditFilter { actions: some(&["login"]), ..all() }).await, [1]);
    assert_eq!(ids(AuditFilter { actions: some(&["user.", "export"]), ..all() }).await, [5, 4, 3]);
    assert_eq!(ids(AuditFilter { objects: some(&["user:1", "user:3"]), ..all() }).await, [4, 2]);
    assert_eq!(ids(AuditFilter { addresses: some(&["192.0.2.2"]), ..all() }).await, [3]);
    let actor = AuditEntry::local(at(0), Actor::CommandLine).actor.to_string();
    assert_eq!(ids(AuditFilter { actors: vec![actor], ..all() }).await, [5]);
    let span = Span { since: Some(at(1)), until: Some(at(3)) };
    assert_eq!(ids(AuditFilter { span, ..all() }).await, [3, 2]);
}
