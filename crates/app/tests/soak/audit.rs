//! The chain of the audit log, with every bit of a thousand rows changed.

use crate::server::{Engine, Server};
use watchpost_model::{Actor, Timestamp};
use watchpost_store::{AuditEntry, AuditProof, Db, Location, PostgresOptions, testing};

/// A database with so many rows in its audit log.
async fn filled(location: &Location, rows: i64) -> Db {
    let db = Db::open(location).await.unwrap();
    let at = |n: i64| Timestamp::from_micros(1_795_000_000_000_000 + n);
    db.migrate(at(0)).await.unwrap();
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
        AuditProof::Broken(row, _) => Some(row),
        AuditProof::Intact(_) => None,
    };
    assert_eq!(broken().await, None);
    let mut found = 0;
    for row in 1..=ROWS {
        for column in ["at", "actor", "address", "action", "object", "detail", "hash"] {
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
    db.close().await;
}

#[test]
fn every_change_of_a_thousand_rows_is_found() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    runtime.block_on(flip(&Location::Sqlite(folder.path().join("watchpost.db"))));
    let server = Server::start(Engine::Postgres);
    server.kill();
    server
        .database()
        .run("DELETE FROM audit_log; UPDATE audit_head SET first_id = 1, last_id = 0, hash = ''");
    let options = PostgresOptions { url: server.database().url(), authority: None, connections: 4 };
    runtime.block_on(flip(&Location::Postgres(options)));
}
