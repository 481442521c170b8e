//! The file beside a SQLite database that holds its search index. Everything in it can be made again from the
//! database, so it is synced less strictly, and made anew when it doesn't fit.

use super::dialect::Engine;
use super::sqlite::{Unset, configure};
use crate::StoreError;
use crate::index::TABLES;
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};

/// Grows when the index is built differently: an older one is made anew.
const SHAPE: i64 = 1;
/// Written at checkpoints only: after a power failure the index goes less far, and goes on from there.
const SYNCHRONOUS: &str = "1";

/// The index of a database.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut name = database.file_stem().unwrap_or_default().to_owned();
    name.push("-search.db");
    database.with_file_name(name)
}

/// Opens the index, or begins a new one.
pub(super) fn open(path: &Path, database: &Connection) -> Result<Connection, StoreError> {
    match try_open(path).and_then(|index| Ok(fits(&index, database)?.then_some(index))) {
        Ok(Some(index)) => return Ok(index),
        Ok(None) => tracing::info!(path = %path.display(), "the search index is made anew"),
        // Only what is spoilt is thrown away, not what another process holds for a moment.
        Err(Unset::Sqlite(error)) if !is_spoilt(&error) => return Err(unavailable(path, &error)),
        Err(Unset::Sqlite(error)) => {
            tracing::warn!(%error, path = %path.display(), "the search index can't be used and is made anew");
        }
        Err(Unset::Refused(pragma, ..)) => {
            tracing::warn!(pragma, path = %path.display(), "the search index can't be used and is made anew");
        }
    }
    for ending in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Unavailable(format!("can't remove {}: {error}", path.display())));
            }
            _ => {}
        }
    }
    try_open(path).map_err(|error| match error {
        Unset::Sqlite(error) => unavailable(path, &error),
        Unset::Refused(pragma, ..) => {
            StoreError::Unfit(format!("SQLite did not take {pragma} for {}", path.display()))
        }
    })
}

fn is_spoilt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

fn unavailable(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(format!("can't open {}: {error}", path.display()))
}

fn try_open(path: &Path) -> Result<Connection, Unset> {
    let index = Connection::open(path)?;
    configure(&index, SYNCHRONOUS)?;
    if shape(&index)? == 0 {
        index.execute_batch(&Engine::Sqlite.migration(TABLES))?;
        index.pragma_update(None, "user_version", SHAPE)?;
    }
    Ok(index)
}

fn shape(index: &Connection) -> rusqlite::Result<i64> {
    index.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whether the index is one of this database: not of another shape, nor of a database that has been replaced since.
fn fits(index: &Connection, database: &Connection) -> Result<bool, Unset> {
    if shape(index)? != SHAPE {
        return Ok(false);
    }
    let marks = "SELECT COALESCE(MAX(up_to), 0) FROM search_progress WHERE kind = 1";
    let mark: i64 = index.query_row(marks, [], |row| row.get(0))?;
    let known = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'events'";
    let migrated: i64 = database.query_row(known, [], |row| row.get(0))?;
    if mark == 0 || migrated == 0 {
        return Ok(mark == 0);
    }
    let found: i64 =
        database.query_row("SELECT COUNT(*) FROM events WHERE id = ?1", [mark], |row| row.get(0))?;
    Ok(found == 1)
}
