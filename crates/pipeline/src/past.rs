//! Events from before now, such as a demonstration's week: stored under the ids and times they would have come in with.

use crate::commit::MAX_BATCH_EVENTS;
use crate::intake::{Detected, Receipt};
use crate::numbering::numbered;
use std::sync::Arc;
use watchpost_model::event::Origin;
use watchpost_model::id::{event_id_floor, event_id_second};
use watchpost_model::{EventId, Timestamp};
use watchpost_store::{Db, IdKind, Ingest, Names, StoreError, ingest};

/// Nobody writes beside the past, so it has one lane of the counts.
const LANE: i64 = 0;

/// An event that came in at some time.
#[derive(Clone, Debug)]
pub struct PastEvent {
    /// When.
    pub at: Timestamp,
    /// The event, and what was found in it.
    pub detected: Detected,
    /// With which credential.
    pub origin: Origin,
}

/// Stores the past, from some time on. Whoever does is alone with the database.
pub struct Past {
    db: Db,
    names: Names,
}

impl Past {
    /// Begins to store what came in since a time.
    pub async fn since(db: &Db, since: Timestamp) -> Result<Self, StoreError> {
        db.prepare_partitions(since).await?;
        Ok(Self { db: db.clone(), names: Names::load(db).await? })
    }

    /// Stores events, which are in the order of their times, in transactions of the size that all events are stored
    /// in. Ids lead with those times, but never go back behind what was stored before.
    pub async fn store(&mut self, mut events: Vec<PastEvent>) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::with_capacity(events.len());
        while !events.is_empty() {
            let later = events.split_off(events.len().min(MAX_BATCH_EVENTS));
            self.batch(events, &mut receipts).await?;
            events = later;
        }
        Ok(receipts)
    }

    async fn batch(&mut self, own: Vec<PastEvent>, receipts: &mut Vec<Receipt>) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (own.first(), own.last()) else { return Ok(()) };
        let (floor, count) = (event_id_floor(first.at).get(), own.len() as i64);
        // From the first second to the last, and room for all of them in that.
        let span = event_id_floor(last.at).get() - floor + count;
        let raised: usize = own.iter().map(|one| one.detected.findings.len()).sum();
        let mut next = self.db.take_ids(IdKind::Events, span.max(count), first.at).await?.start;
        let mut next_alert = match raised {
            0 => 0,
            raised => self.db.take_ids(IdKind::Alerts, raised as i64, first.at).await?.start,
        };
        let (mut events, mut alerts) = (Vec::with_capacity(own.len()), Vec::with_capacity(raised));
        for PastEvent { at, detected, origin } in own {
            let id = EventId::new(next.max(event_id_floor(at).get()));
            next = id.get() + 1;
            let at = at.at_least_second_of(event_id_second(id));
            let (event, raised) = numbered(detected, id, at, origin, || {
                next_alert += 1;
                next_alert - 1
            });
            let of_event = raised.iter().map(|alert| alert.id).collect();
            receipts.push(Receipt { event: id, created_at: at, alerts: of_event });
            events.push(event);
            alerts.extend(raised);
        }
        let stored = Ingest { events: Arc::new(events), alerts, pieces: Vec::new(), late: false };
        let batch = ingest(self.db.engine(), stored, &mut self.names, LANE);
        self.db.write(Arc::new(batch)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use watchpost_model::filter::AlertFilter;
    use watchpost_model::page::PageRequest;
    use watchpost_model::text::Given;
    use watchpost_model::{DetailsDraft, EventDraft, UserId};
    use watchpost_store::Location;

    fn event(at: Timestamp, severity: &'static str) -> PastEvent {
        let text = |text: &'static str| Given::Text(text.into());
        let draft = EventDraft {
            source_name: text("fw"),
            event_type: text("scan"),
            severity: text(severity),
            description: text("x"),
            details: DetailsDraft::default(),
        };
        let detected = Detected::check(&draft).expect("a complete event");
        PastEvent { at, detected, origin: Origin::User(UserId::new(1)) }
    }

    #[tokio::test]
    async fn ids_lead_with_the_times_and_alerts_have_no_gaps() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = Location::Sqlite(folder.path().join("x.db"));
        let db = Db::open(&location).await.expect("a database");
        db.migrate(now()).await.expect("tables");
        let start = now().plus_seconds(-86_400);
        let at = |n: usize| start.plus_seconds(n as i64 / 3);
        let severities = ["LOW", "HIGH", "CRITICAL", "MEDIUM"];
        let events: Vec<_> = (0..9_000).map(|n| event(at(n), severities[n % 4])).collect();
        let mut past = Past::since(&db, start).await.expect("a beginning");
        let receipts = past.store(events).await.expect("all of it is stored");
        assert_eq!(receipts.len(), 9_000);
        for (n, receipt) in receipts.iter().enumerate() {
            let second = event_id_second(receipt.event);
            assert_eq!((second.seconds(), receipt.created_at), (at(n).seconds(), at(n)));
            assert!(n == 0 || receipts[n - 1].event < receipt.event);
        }
        let raised: Vec<i64> = receipts.iter().flat_map(|r| &r.alerts).map(|alert| alert.get()).collect();
        assert_eq!(raised, (1..=4_500).collect::<Vec<_>>());
        let page = db.alerts(&AlertFilter::default(), PageRequest::numbered(1, 1)).await.expect("a page");
        let counted = (db.event_count(&[]).await.expect("a count"), page.count.number());
        assert_eq!(counted, (9_000, 4_500));
        // What is earlier than what is there comes behind it.
        let late = past.store(vec![event(start, "HIGH")]).await.expect("it is stored");
        assert!(late[0].event > receipts[8_999].event && late[0].created_at > at(8_990));
        // And the present goes on behind the past.
        let next = db.take_ids(IdKind::Events, 1, now()).await.expect("an id").start;
        assert!(event_id_second(EventId::new(next)).seconds() - now().seconds() <= 0);
        db.close().await;
    }
}
