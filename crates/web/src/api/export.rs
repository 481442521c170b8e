//! Lists written to their end, piece by piece as the client takes them: nothing is held but the piece.

use crate::auth::guard::Caller;
use crate::auth::standing::Standing;
use crate::error::{ApiError, choose_from};
use crate::params::EXPORT_FORMAT;
use crate::places::{self, Place};
use crate::query::Query;
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use std::future::Future;
use std::time::Duration;
use watchpost_model::{Action, Invalid, Timestamp};
use watchpost_store::{StoreError, faults};

/// How often a piece of an export is asked for while too much else is being looked up.
const TRIES: usize = 6;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    Csv,
    Ndjson,
}

impl ExportFormat {
    /// How a query wants it.
    pub(crate) fn read(query: &Query, wrong: &mut Invalid) -> Self {
        match query.get(EXPORT_FORMAT.name) {
            None | Some("ndjson") => Self::Ndjson,
            Some("csv") => Self::Csv,
            Some(other) => {
                wrong.add(EXPORT_FORMAT.name, choose_from(other, EXPORT_FORMAT.choices));
                Self::Ndjson
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn write<T: Exported>(self, row: &T, text: &mut String) {
        match self {
            Self::Ndjson => {
                text.push_str(&serde_json::to_string(row).expect("texts and numbers can be written as JSON"));
                text.push('\n');
            }
            Self::Csv => {
                row.csv(text);
                text.push_str("\r\n");
            }
        }
    }
}

/// A row of an export.
pub(crate) trait Exported: Serialize + Send + 'static {
    /// The names of the columns.
    const CSV_HEAD: &'static str;

    /// Writes the row's fields, with commas between them.
    fn csv(&self, text: &mut String);
}

/// A field of CSV. What a spreadsheet would take for a formula is made a text by the apostrophe before it.
pub(crate) fn csv_field(field: &str, text: &mut String) {
    text.push('"');
    if field.trim_start().starts_with(['=', '+', '-', '@']) || field.starts_with(['\t', '\r', '\n']) {
        text.push('\'');
    }
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

/// Who may have an export written, and the room it takes until it ends or its client goes away.
pub(crate) struct Permit {
    state: AppState,
    standing: Standing,
    _place: Place,
}

impl Permit {
    pub(crate) async fn of(state: &AppState, caller: &Caller, needs: Action) -> Result<Self, ApiError> {
        let standing = Standing::of(caller, needs)?;
        let place = places::for_export(state, caller).await?;
        Ok(Self { state: state.clone(), standing, _place: place })
    }
}

/// Why an export breaks off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// Its reader may not go on.
    #[error("{0}")]
    Lost(String),
    /// Whether its reader still may can't be found out.
    #[error("rights can't be looked up: {0:?}")]
    Unsure(ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer that an export is: a file named after what is in it and the day. `next` gives the rows behind a place,
/// and the place behind those; none at the end. Before each piece it is looked whether its reader still may.
pub(crate) fn answer<T, P, F>(
    what: &'static str,
    format: ExportFormat,
    at: Timestamp,
    permit: Permit,
    first: P,
    next: impl Fn(P) -> F + Send + Sync + 'static,
) -> Response
where
    T: Exported,
    P: Clone + Send + Sync + 'static,
    F: Future<Output = Result<(Vec<T>, Option<P>), StoreError>> + Send + 'static,
{
    let day: String = at.to_string().chars().take("2026-11-20".len()).collect();
    let name = format!("attachment; filename=\"watchpost-{what}-{day}.{}\"", format.name());
    let headers =
        [(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    let head = match format {
        ExportFormat::Csv => format!("{}\r\n", T::CSV_HEAD),
        ExportFormat::Ndjson => String::new(),
    };
    let pieces = stream::unfold(Some((first, head, next, permit, 0)), move |before| async move {
        let (place, mut text, next, permit, pieces) = before?;
        let piece = async {
            while faults::held("export", pieces) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut tries = 0;
            loop {
                match permit.standing.lost(&permit.state).await {
                    Ok(None) => {}
                    Ok(Some(why)) => return Err(Broken::Lost(why)),
                    Err(error) => return Err(Broken::Unsure(error)),
                }
                match next(place.clone()).await {
                    // Searches come before it. Its client has waited for longer than that.
                    Err(StoreError::Crowded | StoreError::TooLong) if tries < TRIES => tries += 1,
                    found => return Ok(found?),
                }
            }
        };
        match piece.await {
            Ok((rows, behind)) => {
                rows.iter().for_each(|row| format.write(row, &mut text));
                let rest = behind.map(|place| (place, String::new(), next, permit, pieces + 1));
                Some((Ok(Bytes::from(text)), rest))
            }
            // The connection breaks off: what is there so far must not look complete.
            Err(error) => {
                tracing::warn!(what, %error, "an export was broken off");
                Some((Err(error), None))
            }
        }
    });
    (headers, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_csv_is_a_formula_or_ends_its_row() {
        let written = |field: &str| {
            let mut text = String::new();
            csv_field(field, &mut text);
            text
        };
        assert_eq!(written("plain, \"said\"\r\nx"), "\"plain, \"\"said\"\"\r\nx\"");
        for formula in ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\rx"] {
            assert_eq!(written(formula), format!("\"'{formula}\""));
        }
        assert_eq!(written(""), "\"\"");
    }
}
