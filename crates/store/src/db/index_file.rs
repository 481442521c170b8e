//! The file beside a SQLite database that holds its search index. Everything in it can be made again from the
//! database, so it is synced less strictly, and made anew when it doesn't fit.

use super::binding::Alone;
use super::dialect::Engine;
use super::sqlite::{Unset, configure};
use crate::index::TABLES;
use crate::{StoreError, faults};
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::path::{Path, PathBuf};

/// Grows when the index is built differently: an older one is made anew.
const SHAPE: i64 = 1;
/// What the index says of itself: its shape, and the run of the server that it was last written in (`lineage.rs`).
const ORIGIN: &str = "CREATE TABLE search_origin (shape INTEGER NOT NULL, token TEXT NOT NULL) STRICT";
/// Written at checkpoints only: after a power failure the index goes less far, and goes on from there.
const SYNCHRONOUS: &str = "1";

/// The index of a database.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut name = database.file_stem().unwrap_or_default().to_owned();
    name.push("-search.db");
    database.with_file_name(name)
}

/// Opens the index, or begins a new one. What the index is has been looked at before anything of it is used.
pub(super) fn open(path: &Path, database: &Connection) -> Result<(Connection, Option<Alone>), StoreError> {
    match try_open(path).and_then(|(index, alone)| Ok(fits(&index, database)?.then_some((index, alone)))) {
        Ok(Some(opened)) => return Ok(opened),
        Ok(None) => tracing::info!(path = %path.display(), "the search index is made anew"),
        // Only what is spoilt is thrown away, not what another process holds for a moment.
        Err(Unfit::Sqlite(error)) if !is_spoilt(&error) => return Err(unavailable(path, error)),
        Err(Unfit::Sqlite(error)) => {
            tracing::warn!(%error, path = %path.display(), "the search index can't be used and is made anew");
        }
        Err(Unfit::Refused(pragma)) => {
            tracing::warn!(pragma, path = %path.display(), "the search index can't be used and is made anew");
        }
        Err(Unfit::Log(StoreError::Unfit(_))) => {
            tracing::warn!(path = %path.display(), "the search index has the log of another one and is made anew");
        }
        Err(Unfit::Log(error)) => return Err(error),
    }
    for ending in ["", "-wal", "-shm"] {
        match std::fs::remove_file(super::binding::beside(path, ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Unavailable(format!("can't remove {}: {error}", path.display())));
            }
            _ => {}
        }
    }
    try_open(path).map_err(|error| match error {
        Unfit::Sqlite(error) => unavailable(path, error),
        Unfit::Refused(pragma) => {
            StoreError::Unfit(format!("SQLite did not take {pragma} for {}", path.display()))
        }
        Unfit::Log(error) => error,
    })
}

/// Why an index isn't used as it is.
enum Unfit {
    Sqlite(rusqlite::Error),
    Refused(&'static str),
    /// The log beside it, which is of another index or can't be looked at.
    Log(StoreError),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Unset> for Unfit {
    fn from(unset: Unset) -> Self {
        match unset {
            Unset::Sqlite(error) => Self::Sqlite(error),
            Unset::Refused(pragma, ..) => Self::Refused(pragma),
        }
    }
}

fn is_spoilt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

fn unavailable(path: &Path, error: rusqlite::Error) -> StoreError {
    match StoreError::from(error) {
        full @ StoreError::DiskFull(_) => full,
        error => StoreError::Unavailable(format!("can't open {}: {error}", path.display())),
    }
}

fn try_open(path: &Path) -> Result<(Connection, Option<Alone>), Unfit> {
    let alone = Alone::open(path).map_err(Unfit::Log)?;
    let index = Connection::open(path)?;
    if let Some(alone) = &alone {
        alone.check(&index).map_err(Unfit::Log)?;
    }
    configure(&index, SYNCHRONOUS)?;
    if !has(&index, "search_origin")? {
        // One of before there was this table says its shape elsewhere.
        let old: i64 = index.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let shape = if has(&index, "search_progress")? { old } else { SHAPE };
        let tables = Engine::Sqlite.migration(TABLES);
        index.execute_batch(&format!(
            "BEGIN IMMEDIATE; {tables} {ORIGIN}; INSERT INTO search_origin (shape, token) VALUES ({shape}, ''); COMMIT"
        ))?;
    }
    Ok((index, alone))
}

fn has(file: &Connection, table: &str) -> rusqlite::Result<bool> {
    file.query_row("SELECT COUNT(*) FROM sqlite_schema WHERE name = ?1", [table], |row| {
        Ok(row.get::<_, i64>(0)? > 0)
    })
}

/// Whether the index is one of this database: not of another shape, nor of another database, nor ahead of one that was
/// replaced by an older state of itself.
fn fits(index: &Connection, database: &Connection) -> Result<bool, Unfit> {
    let (shape, token): (i64, String) =
        index
            .query_row("SELECT shape, token FROM search_origin", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if shape != SHAPE {
        return Ok(false);
    }
    if !token.is_empty() && !faults::mutant("index_unbound") {
        let known = has(database, "lineage")?
            && database
                .query_row("SELECT 1 FROM lineage WHERE token = ?1", [&token], |_| Ok(()))
                .optional()?
                .is_some();
        if !known {
            return Ok(false);
        }
    }
    for (kind, table) in [(1, "events"), (2, "alerts")] {
        if kind == 2 && faults::mutant("index_unbound") {
            continue;
        }
        let mark = "SELECT COALESCE(MAX(up_to), 0) FROM search_progress WHERE kind = ?1";
        let mark: i64 = index.query_row(mark, [kind], |row| row.get(0))?;
        if mark == 0 {
            continue;
        }
        let found = format!("SELECT 1 FROM {table} WHERE id = ?1");
        if !has(database, table)? || database.query_row(&found, [mark], |_| Ok(())).optional()?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
