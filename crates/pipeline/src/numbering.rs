//! A batch whose events and alerts have their ids.

use crate::ids::Ids;
use crate::intake::{Detected, Keyed, Receipt, Refused, Room, Submission};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;
use watchpost_detect::Finding;
use watchpost_model::event::Origin;
use watchpost_model::{AlertId, Event, EventId, Timestamp};
use watchpost_store::{NewAlert, Piece};

/// A submission whose events have their ids.
pub(crate) struct Numbered {
    /// Where its events and alerts are in the batch.
    pub(crate) events: Range<usize>,
    pub(crate) alerts: Range<usize>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) piece: Option<Piece>,
    pub(crate) origin: Origin,
    pub(crate) reply: Option<oneshot::Sender<Result<Vec<Receipt>, Refused>>>,
    _room: Room,
}

/// Everything in one batch.
pub(crate) struct Content {
    pub(crate) events: Arc<Vec<Event>>,
    pub(crate) alerts: Vec<NewAlert>,
    pub(crate) submissions: Vec<Numbered>,
    /// Whether its ids lie behind others that were given out before.
    pub(crate) late: bool,
}

impl Content {
    /// Gives every event and alert its id, in the order they came.
    pub(crate) fn number(submissions: Vec<Submission>, ids: &mut Ids, at: Timestamp) -> Self {
        let late = ids.events.are_late();
        let (mut events, mut alerts) = (Vec::new(), Vec::new());
        let mut all = Vec::with_capacity(submissions.len());
        for Submission { events: own, origin, keyed, reply, room, .. } in submissions {
            let (first_event, first_alert) = (events.len(), alerts.len());
            let mut receipts = Vec::with_capacity(own.len());
            for detected in own {
                let id = EventId::new(ids.events.next());
                let (event, raised) = numbered(detected, id, at, origin, || ids.alerts.next());
                receipts.push(Receipt {
                    event: id,
                    created_at: at,
                    alerts: raised.iter().map(|alert| alert.id).collect(),
                });
                events.push(event);
                alerts.extend(raised);
            }
            let piece = keyed.zip(receipts.first()).map(|(keyed, first)| {
                let Keyed { scope, piece, body_hash, last } = keyed;
                let (first_event, events) = (first.event, receipts.len() as i64);
                Piece { scope, number: piece, body_hash, last, first_event, events, at }
            });
            all.push(Numbered {
                events: first_event..events.len(),
                alerts: first_alert..alerts.len(),
                receipts,
                piece,
                origin,
                reply,
                _room: room,
            });
        }
        Self { events: Arc::new(events), alerts, submissions: all, late }
    }

    /// Gives all of them other ids: nothing of them is stored under those they had.
    pub(crate) fn number_anew(&mut self, ids: &mut Ids, at: Timestamp) {
        self.late = ids.events.are_late();
        let events = Arc::make_mut(&mut self.events);
        for submission in &mut self.submissions {
            let mut alerts = self.alerts[submission.alerts.clone()].iter_mut().peekable();
            let own = events[submission.events.clone()].iter_mut();
            for (event, receipt) in own.zip(&mut submission.receipts) {
                let before = event.id;
                (event.id, event.created_at) = (EventId::new(ids.events.next()), at);
                receipt.alerts.clear();
                // Both are in the order of the events' ids.
                while let Some(alert) = alerts.next_if(|alert| alert.event == before) {
                    (alert.id, alert.event) = (AlertId::new(ids.alerts.next()), event.id);
                    receipt.alerts.push(alert.id);
                }
                (receipt.event, receipt.created_at) = (event.id, at);
            }
            if let (Some(piece), Some(first)) = (&mut submission.piece, submission.receipts.first()) {
                (piece.first_event, piece.at) = (first.event, at);
            }
        }
    }
}

/// An event under its id, and the alerts it raises.
pub(crate) fn numbered(
    detected: Detected,
    id: EventId,
    at: Timestamp,
    origin: Origin,
    mut next_alert: impl FnMut() -> i64,
) -> (Event, Vec<NewAlert>) {
    let raise = |finding: Finding| NewAlert {
        id: AlertId::new(next_alert()),
        event: id,
        rule: finding.rule.to_owned(),
    };
    let alerts = detected.findings.into_iter().map(raise).collect();
    (detected.event.stored(id, at, origin), alerts)
}
