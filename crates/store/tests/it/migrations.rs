//! Bringing a database up to date.

use crate::{Place, at, on_both_engines};
use watchpost_store::{Db, LATEST, StoreError};

on_both_engines!(twice_changes_nothing, several_nodes_at_once, altered_and_newer_databases_are_refused);

async fn twice_changes_nothing(db: Db, _: Place) {
    assert!(db.pending_migrations().await.unwrap().is_empty());
    assert!(db.migrate(at(1)).await.unwrap().is_empty());
    assert_eq!(db.health().await.unwrap().step, LATEST);
}

async fn several_nodes_at_once(_: Db, place: Place) {
    // A fresh database beside the migrated one.
    let fresh = if place.name.is_empty() { Place::sqlite() } else { Place::postgres() };
    let (one, two) = (fresh.open().await, fresh.open().await);
    let (a, b) = tokio::join!(one.migrate(at(0)), two.migrate(at(0)));
    a.unwrap();
    b.unwrap();
    assert!(one.pending_migrations().await.unwrap().is_empty());
    one.close().await;
    two.close().await;
    if !fresh.name.is_empty() {
        crate::administer(&format!("DROP DATABASE {} WITH (FORCE)", fresh.name));
    }
}

async fn altered_and_newer_databases_are_refused(db: Db, _: Place) {
    let script = async |sql: &str| watchpost_store::testing::run(&db, sql).await;
    script("UPDATE schema_migrations SET hash = 'other'").await.unwrap();
    assert!(matches!(db.pending_migrations().await, Err(StoreError::Unfit(_))));
    script("INSERT INTO schema_migrations (version, name, hash, applied_at) VALUES (999, 'later', 'x', 0)")
        .await
        .unwrap();
    let refused = db.migrate(at(1)).await;
    assert!(matches!(refused, Err(StoreError::Newer { found: 999, known: LATEST })), "{refused:?}");
}
