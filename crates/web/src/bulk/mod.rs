//! Many events in one body: lines, or an array. It is read, checked and stored piece by piece, while more of it
//! comes; each piece is one transaction. What is wrong about one event costs no other its place, unless the caller
//! wants all or nothing.

pub(crate) mod encoding;
pub(crate) mod key;
pub(crate) mod report;

use crate::api::events::beyond;
use crate::auth::guard::{Caller, NotDetected};
use crate::error::ApiError;
use crate::state::AppState;
use crate::stream::Reader as Sender;
use encoding::Reader;
use key::KeyedBody;
use report::{PieceReport, Report, Stored};
use std::collections::VecDeque;
use tokio::task::JoinHandle;
use watchpost_model::Action;
use watchpost_model::event::Origin;
use watchpost_pipeline::decode::{Fields, Format, Item, Shape, Splitter};
use watchpost_pipeline::{Detected, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, Receipt, Refused};

/// Events in a piece: enough that a transaction is worth it, few enough that several go into one.
const PIECE_EVENTS: usize = 1_000;
/// Bytes in a piece.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces of one body that wait for their commit while the next is read: as many as fill the batches on their way.
const PIECES_IN_FLIGHT: usize = 8;
/// After so many events that are refused the rest isn't read: it will hardly be better, and each costs an answer.
const MAX_REFUSED: usize = 10_000;

/// A body as it is taken in.
pub(crate) struct Bulk {
    state: AppState,
    caller: Caller,
    /// What the request showed, for asking again whether it is enough.
    sender: Sender,
    origin: Origin,
    keyed: Option<KeyedBody>,
    /// All or nothing: the body is one piece.
    atomic: bool,
    /// The piece that is being filled.
    good: Vec<Detected>,
    refused: Vec<(u32, Box<str>)>,
    count: u32,
    bytes: usize,
    all_refused: usize,
    /// Events that were more than the caller's key may report.
    beyond: u64,
    running: VecDeque<Running>,
    report: Report,
}

/// A piece on its way to the disk.
struct Running {
    count: u32,
    refused: Vec<(u32, Box<str>)>,
    receipts: JoinHandle<Result<Vec<Receipt>, Refused>>,
}

impl Bulk {
    pub(crate) fn new(
        state: AppState,
        caller: Caller,
        sender: Sender,
        keyed: Option<KeyedBody>,
        atomic: bool,
    ) -> Result<Self, ApiError> {
        let origin = caller.origin().ok_or(ApiError::NoCredential)?;
        Ok(Self {
            state,
            caller,
            sender,
            origin,
            keyed,
            atomic,
            good: Vec::new(),
            refused: Vec::new(),
            count: 0,
            bytes: 0,
            all_refused: 0,
            beyond: 0,
            running: VecDeque::new(),
            report: Report::default(),
        })
    }

    /// Takes in a body of which some was read already.
    pub(crate) async fn take(
        mut self,
        shape: Shape,
        begun: &[u8],
        reader: &mut Reader,
    ) -> Result<Report, ApiError> {
        let mut splitter = Splitter::new(shape, self.state.settings.max_body);
        splitter.push(begun);
        let stopped = loop {
            if let Err(stop) = self.drain(|| splitter.next_item()).await {
                break Some(stop);
            }
            match reader.next().await {
                Ok(Some(bytes)) => splitter.push(&bytes),
                Ok(None) => break self.drain(|| splitter.finish()).await.err(),
                Err(error) => break Some(Stop::Because(error)),
            }
        };
        if self.beyond > 0 {
            beyond(&self.state, &self.caller, self.beyond).await;
        }
        match stopped {
            None => self.flush(true).await?,
            Some(Stop::Refuse(error)) => return Err(error),
            Some(Stop::Because(error)) if self.atomic => return Err(error),
            Some(Stop::Because(error)) => {
                // What was read before is good, but it isn't the end of the body. Under a key the piece would not be
                // the one that comes when the whole body does.
                match self.keyed {
                    None => self.flush(false).await?,
                    Some(_) => self.give_up(),
                }
                self.report.stopped.get_or_insert(error);
            }
        }
        while !self.running.is_empty() {
            self.wait_for_one().await;
        }
        // A body that was cut off before anything of it was read is no report.
        match (self.report.pieces.is_empty(), self.report.stopped.take()) {
            (true, Some(error)) => Err(error),
            (_, stopped) => Ok(Report { stopped, ..self.report }),
        }
    }

    async fn drain(&mut self, mut next: impl FnMut() -> Option<Item>) -> Result<(), Stop> {
        while let Some(item) = next() {
            let full = self.count as usize >= PIECE_EVENTS || self.bytes >= PIECE_BYTES;
            if full && !self.atomic {
                self.flush(false).await.map_err(Stop::Refuse)?;
            }
            if let Some(error) = self.report.stopped.take() {
                return Err(Stop::Because(error));
            }
            self.add(item)?;
        }
        Ok(())
    }

    /// Adds an event to the piece.
    fn add(&mut self, item: Item) -> Result<(), Stop> {
        let place = self.count;
        let checked = match &item {
            Item::Text(text) => {
                self.bytes += text.len();
                self.note(text);
                self.check(text)
            }
            Item::TooLong => {
                self.note(b"");
                Err(ApiError::TooLarge(self.state.settings.max_body))
            }
            Item::Broken(reason) => return Err(Stop::Because(ApiError::Malformed((*reason).to_owned()))),
        };
        self.count += 1;
        match checked {
            Ok(detected) => self.good.push(detected),
            Err(error) => {
                self.refused.push((place, error.line().into()));
                self.all_refused += 1;
            }
        }
        if self.atomic && (self.count as usize > MAX_BATCH_EVENTS || self.bytes > MAX_BATCH_BYTES) {
            let limit = format!(
                "With atomic=true a body holds at most {MAX_BATCH_EVENTS} events and {MAX_BATCH_BYTES} bytes."
            );
            return Err(Stop::Refuse(ApiError::TooMany(limit)));
        }
        if self.all_refused > MAX_REFUSED {
            let reason = format!("More than {MAX_REFUSED} events were wrong; the rest was not read.");
            return Err(Stop::Because(ApiError::Malformed(reason)));
        }
        Ok(())
    }

    fn check(&mut self, text: &[u8]) -> Result<Detected, ApiError> {
        let fields = Fields::decode(Format::Json, text).map_err(|error| match error.into_invalid() {
            Ok(wrong) => ApiError::Invalid(wrong),
            Err(reason) => ApiError::Malformed(reason),
        })?;
        self.caller.detect(fields.event()).map_err(|not| {
            self.beyond += u64::from(matches!(not, NotDetected::Beyond(_)));
            not.into()
        })
    }

    fn note(&mut self, bytes: &[u8]) {
        if let Some(keyed) = &mut self.keyed {
            keyed.update(bytes);
        }
    }

    /// Leaves the piece that is being filled: the rest begins before it.
    fn give_up(&mut self) {
        (self.count, self.bytes) = (0, 0);
        self.good.clear();
        self.refused.clear();
    }

    /// Whether the sender still may: asked again for each piece, since a body may take an hour.
    async fn may_go_on(&self) -> Result<(), ApiError> {
        match self.sender.still_may(&[Action::IngestEvents], &self.state).await? {
            true => Ok(()),
            false => Err(ApiError::NotAllowed(
                "The sender may no longer ingest events; the rest was not read.".into(),
            )),
        }
    }

    /// Sends the piece on its way, unless its sender may not any more.
    async fn flush(&mut self, last: bool) -> Result<(), ApiError> {
        if let Err(error) = self.may_go_on().await {
            self.give_up();
            self.report.stopped.get_or_insert(error);
            return Ok(());
        }
        let (good, refused) = (std::mem::take(&mut self.good), std::mem::take(&mut self.refused));
        let count = std::mem::take(&mut self.count);
        self.bytes = 0;
        if self.atomic && !refused.is_empty() {
            self.report.pieces.push(PieceReport { count, refused, others: Err(ApiError::NotStored) });
            return Ok(());
        }
        if good.is_empty() {
            self.wait_for_all().await;
            self.report.pieces.push(PieceReport { count, refused, others: Ok(Stored::default()) });
            return Ok(());
        }
        let keyed = match &mut self.keyed {
            None => None,
            Some(keyed) => match keyed.next(&self.state, good.len(), last).await? {
                Err(keyed) => Some(keyed),
                Ok(before) => {
                    let first = before.first_event.get();
                    let place = |event: i64| u32::try_from(event - first).unwrap_or(u32::MAX);
                    let alerts = before.alerts.iter().map(|(event, alert)| (place(event.get()), alert.get()));
                    let stored = Stored::new(first, good.len(), alerts.collect());
                    self.wait_for_all().await;
                    self.report.pieces.push(PieceReport { count, refused, others: Ok(stored) });
                    return Ok(());
                }
            },
        };
        if self.running.len() >= PIECES_IN_FLIGHT {
            self.wait_for_one().await;
        }
        let (intake, origin) = (self.state.intake.clone(), self.origin);
        // A task of its own: it is stored although the client may go away.
        let receipts = tokio::spawn(async move { intake.submit_patiently(good, origin, keyed).await });
        self.running.push_back(Running { count, refused, receipts });
        Ok(())
    }

    async fn wait_for_all(&mut self) {
        while !self.running.is_empty() {
            self.wait_for_one().await;
        }
    }

    /// Waits for the piece that was sent first.
    async fn wait_for_one(&mut self) {
        let Some(Running { count, refused, receipts }) = self.running.pop_front() else { return };
        let others = match receipts.await {
            Ok(Ok(receipts)) => Ok(Stored::from_receipts(&receipts)),
            Ok(Err(refused)) => Err(refused.into()),
            Err(_) => Err(ApiError::OutcomeUnknown),
        };
        if let Err(error) = &others {
            let reason = match error {
                ApiError::Unavailable(detail, wait) => ApiError::Unavailable(detail, *wait),
                _ => ApiError::Unavailable(
                    "Storing failed; the rest was not read.",
                    std::time::Duration::from_secs(5),
                ),
            };
            self.report.stopped.get_or_insert(reason);
        }
        self.report.pieces.push(PieceReport { count, refused, others });
    }
}

/// Why a body isn't read any further.
enum Stop {
    /// The answer says only this.
    Refuse(ApiError),
    /// What was read before is reported.
    Because(ApiError),
}
