//! What became of the events of a body: one line for each, made while it is sent. What has to be remembered for it
//! are a few bytes for each piece of a thousand, however long the body was.

use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use std::convert::Infallible;
use std::fmt::Write;
use watchpost_model::AlertId;
use watchpost_pipeline::Receipt;

/// What became of one piece.
pub(crate) struct PieceReport {
    /// How many events it had.
    pub(crate) count: u32,
    /// Those that were refused, in order: their place in the piece and the end of their line.
    pub(crate) refused: Vec<(u32, Box<str>)>,
    /// What became of the others: they stay together.
    pub(crate) others: Result<Stored, ApiError>,
}

/// Events that were stored together: their ids follow each other.
#[derive(Default)]
pub(crate) struct Stored {
    first_event: i64,
    events: u32,
    alerts: Alerts,
}

/// The alerts that they raised.
#[derive(Default)]
enum Alerts {
    #[default]
    None,
    /// One each for the events whose bit is set; their ids follow each other.
    InARow { first: i64, raised: Vec<u64> },
    /// The alert of each event by its place.
    Each(Vec<(u32, i64)>),
}

impl Stored {
    /// From the id of the first event, how many there are, and for each alert the place of its event and its id.
    pub(crate) fn new(first_event: i64, events: usize, alerts: Vec<(u32, i64)>) -> Self {
        let in_a_row = alerts.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 + 1 == two[1].1);
        let alerts = match alerts.first() {
            None => Alerts::None,
            Some((_, first)) if in_a_row => {
                let mut raised = vec![0_u64; events.div_ceil(64)];
                for (place, _) in &alerts {
                    raised[*place as usize / 64] |= 1 << (place % 64);
                }
                Alerts::InARow { first: *first, raised }
            }
            Some(_) => Alerts::Each(alerts),
        };
        Self { first_event, events: events as u32, alerts }
    }

    pub(crate) fn from_receipts(receipts: &[Receipt]) -> Self {
        let first = receipts.first().map_or(0, |receipt| receipt.event.get());
        let alert = |(place, receipt): (usize, &Receipt)| {
            receipt.alerts.first().copied().map(AlertId::get).map(|alert| (place as u32, alert))
        };
        Self::new(first, receipts.len(), receipts.iter().enumerate().filter_map(alert).collect())
    }

    fn line(&self, place: u32, seen: &mut i64) -> String {
        let alert = match &self.alerts {
            Alerts::None => None,
            Alerts::InARow { first, raised } => {
                (raised[place as usize / 64] >> (place % 64) & 1 == 1).then(|| {
                    *seen += 1;
                    first + *seen - 1
                })
            }
            Alerts::Each(all) => all.iter().find(|(of, _)| *of == place).map(|(_, alert)| *alert),
        };
        let alert = alert.map_or("null".to_owned(), |alert| alert.to_string());
        format!("\"status\":201,\"id\":{},\"alert\":{alert}}}\n", self.first_event + i64::from(place))
    }
}

impl PieceReport {
    /// How many were stored.
    fn stored(&self) -> u64 {
        self.others.as_ref().map_or(0, |stored| u64::from(stored.events))
    }

    fn lines(&self, mut n: u64) -> String {
        let mut text = String::with_capacity(self.count as usize * 64);
        let mut refused = self.refused.iter().peekable();
        let (mut place, mut seen) = (0, 0);
        for at in 0..self.count {
            n += 1;
            // Writing to a text can't fail.
            write!(text, "{{\"n\":{n},").ok();
            if let Some((_, line)) = refused.next_if(|(of, _)| *of == at) {
                text.push_str(line);
                continue;
            }
            match &self.others {
                Ok(stored) => text.push_str(&stored.line(place, &mut seen)),
                Err(error) => text.push_str(&error.line()),
            }
            place += 1;
        }
        text
    }
}

/// What became of a whole body.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) pieces: Vec<PieceReport>,
    /// Why the rest of the body was not read.
    pub(crate) stopped: Option<ApiError>,
}

impl Report {
    /// What decides when nothing is known to be stored. That something may be comes before why the rest isn't: no other
    /// status may say that nothing was.
    fn failed(&self) -> Option<&ApiError> {
        let of_pieces = || self.pieces.iter().filter_map(|piece| piece.others.as_ref().err());
        let unknown = of_pieces().find(|error| matches!(error, ApiError::OutcomeUnknown));
        unknown.or(self.stopped.as_ref()).or_else(|| of_pieces().next())
    }

    /// The status of the answer as a whole: 201 when all were stored, 207 when some were.
    fn status(&self) -> StatusCode {
        let stored: u64 = self.pieces.iter().map(PieceReport::stored).sum();
        let all: u64 = self.pieces.iter().map(|piece| u64::from(piece.count)).sum();
        match (stored, self.failed()) {
            (_, None) if stored == all => StatusCode::CREATED,
            (0, None | Some(ApiError::NotStored)) => StatusCode::BAD_REQUEST,
            (0, Some(error)) => error.status(),
            _ => StatusCode::MULTI_STATUS,
        }
    }

    /// The answer: lines of JSON.
    pub(crate) fn into_response(mut self) -> Response {
        let status = self.status();
        let wait = match self.failed() {
            Some(ApiError::Unavailable(_, wait)) => Some(wait.as_secs().max(1)),
            _ => None,
        };
        let mut starts = Vec::with_capacity(self.pieces.len());
        let mut n = 0;
        for piece in &self.pieces {
            starts.push(n);
            n += u64::from(piece.count);
        }
        let rest = self.stopped.take().map(|error| format!("{{\"from\":{},{}", n + 1, error.line()));
        let pieces = self.pieces.into_iter().zip(starts).map(|(piece, start)| piece.lines(start));
        let lines = stream::iter(pieces.chain(rest).map(Ok::<_, Infallible>));
        let mut response = Response::new(Body::from_stream(lines));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}
