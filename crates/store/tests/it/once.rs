//! Keys under which bodies came in.

use crate::{Place, at, event, on_both_engines};
use std::sync::Arc;
use watchpost_model::{AlertId, EventId, Severity};
use watchpost_store::{Db, Ingest, Names, NewAlert, Piece, StoreError, ingest};

on_both_engines!(a_piece_is_stored_with_its_events_or_not_at_all);

fn piece(number: i64, first_event: i64, seconds: i64) -> Piece {
    Piece {
        scope: "scope".into(),
        number,
        body_hash: format!("hash {number}"),
        last: number == 1,
        first_event: EventId::new(first_event),
        events: 2,
        at: at(seconds),
    }
}

async fn put(db: &Db, piece: Piece) -> Result<(), StoreError> {
    let first = piece.first_event.get();
    let events = vec![
        event(first, Severity::High, "fw", "scan", "x"),
        event(first + 1, Severity::Low, "fw", "scan", "y"),
    ];
    let alerts = vec![NewAlert { id: AlertId::new(first), event: EventId::new(first), rule: "r".into() }];
    let content = Ingest { events: Arc::new(events), alerts, pieces: vec![piece], late: false };
    db.write(Arc::new(ingest(db.engine(), content, &mut Names::default(), 0))).await
}

async fn a_piece_is_stored_with_its_events_or_not_at_all(db: Db, _: Place) {
    put(&db, piece(0, 1, 0)).await.unwrap();
    put(&db, piece(1, 3, 100)).await.unwrap();
    assert_eq!(db.piece("scope", 0).await.unwrap(), Some(piece(0, 1, 0)));
    assert_eq!(db.piece("scope", 2).await.unwrap(), None);
    assert_eq!(db.piece("other", 0).await.unwrap(), None);
    let raised = db.alerts_of_piece(&piece(1, 3, 100)).await.unwrap();
    assert_eq!(raised, [(EventId::new(3), AlertId::new(3))]);
    let again = put(&db, piece(1, 7, 100)).await;
    assert!(matches!(&again, Err(StoreError::Taken(what)) if what.starts_with("idempotency")), "{again:?}");
    assert_eq!(db.event(EventId::new(7)).await.unwrap(), None, "nor is what came with it");
    assert!(!db.forget_pieces(at(50)).await.unwrap());
    assert_eq!(db.piece("scope", 0).await.unwrap(), None, "old ones are forgotten");
    assert!(db.piece("scope", 1).await.unwrap().is_some());
}
