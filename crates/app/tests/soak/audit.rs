//! The chain of the audit log, with every bit of a thousand rows changed, and computed anew by whoever holds the database.

use crate::server::{Engine, Server};
use watchpost_model::{Actor, Timestamp};
use watchpost_store::{AuditEntry, AuditProof, Db, Location, PostgresOptions, seal_audit_log_with, testing};
use watchpost_web::audit_keys;

fn at(n: i64) -> Timestamp {
    Timestamp::from_micros(1_795_000_000_000_000 + n)
}

/// A database with so many rows in its audit log.
async fn filled(location: &Location, rows: i64) -> Db {
    let db = Db::open(location).await.unwrap();
    db.migrate(at(0)).await.unwrap();
    // Rows name the newest seal of this database, and not of the one before.
    db.audit_key().await.unwrap();
    for n in 0..rows {
        let entry = AuditEntry::local(at(n), Actor::CommandLine);
        db.note(&entry, "test.row", format!("thing:{n}"), format!("number {n}")).await.unwrap();
    }
    db
}

/// Flips one bit in each column of each of a thousand rows, and looks whether the chain says where.
async fn flip(location: &Location) {
    const ROWS: i64 = 1_000;
    let db = filled(location, ROWS).await;
    let broken = async || match db.prove_audit(|_, _| {}).await.unwrap() {
        AuditProof::Broken(row, _) | AuditProof::Unvouched(row, _) => Some(row),
        AuditProof::Intact(_) => None,
    };
    assert_eq!(broken().await, None);
    let mut found = 0;
    for row in 1..=ROWS {
        for column in ["at", "actor", "address", "action", "object", "detail", "hash", "actor_id", "seal"] {
            let (spoil, mend) = match column {
                "at" => ("at = at + 1".to_owned(), "at = at - 1".to_owned()),
                column => (format!("{column} = '!' || {column}"), format!("{column} = substr({column}, 2)")),
            };
            testing::run(&db, &format!("UPDATE audit_log SET {spoil} WHERE id = {row}")).await.unwrap();
            assert_eq!(broken().await, Some(row), "{column} of row {row}");
            testing::run(&db, &format!("UPDATE audit_log SET {mend} WHERE id = {row}")).await.unwrap();
            found += 1;
        }
    }
    assert_eq!(broken().await, None);
    println!("{found} changes, all found where they were");
    db.seal_audit_log(&mut None, at(ROWS)).await.unwrap();
    assert_eq!(broken().await, None);
    // The same, with the whole chain behind it computed anew: it hashes well, and nothing vouches for it.
    let mut found = 0;
    for row in (1..=ROWS).step_by(100) {
        for column in ["at", "actor", "address", "action", "object", "detail", "actor_id"] {
            let (spoil, mend) = match column {
                "at" => ("at = at + 1".to_owned(), "at = at - 1".to_owned()),
                column => (format!("{column} = '!' || {column}"), format!("{column} = substr({column}, 2)")),
            };
            testing::run(&db, &format!("UPDATE audit_log SET {spoil} WHERE id = {row}")).await.unwrap();
            testing::compute_audit_chain_anew(&db).await.unwrap();
            match db.prove_audit(|_, _| {}).await.unwrap() {
                AuditProof::Unvouched(named, _) => assert_eq!(named, row, "{column} of row {row}"),
                other => panic!("{column} of row {row}: {other:?}"),
            }
            testing::run(&db, &format!("UPDATE audit_log SET {mend} WHERE id = {row}")).await.unwrap();
            testing::compute_audit_chain_anew(&db).await.unwrap();
            found += 1;
        }
    }
    assert_eq!(broken().await, None);
    println!("{found} changes with the chain computed anew, all found where they were");
    db.close().await;
}

#[test]
fn every_change_of_a_thousand_rows_is_found() {
    seal_audit_log_with(audit_keys("a secret of this test, which has 32 characters", None));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    runtime.block_on(flip(&Location::Sqlite(folder.path().join("watchpost.db"))));
    let server = Server::start(Engine::Postgres);
    server.kill();
    server
        .database()
        .run("DELETE FROM audit_log; DELETE FROM audit_seals; UPDATE audit_head SET first_id = 1, last_id = 0, hash = ''");
    let options = PostgresOptions { url: server.database().url(), authority: None, connections: 4 };
    runtime.block_on(flip(&Location::Postgres(options)));
}
