//! What looks at a whole SQLite database: a backup, and `doctor`. On connections of its own, which may take as long as they
//! need, with a snapshot only as long as one table takes: a log that can't be copied grows.

use super::sqlite::{BUSY_TIMEOUT, add_functions};
use crate::StoreError;
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;

/// Findings that are worth telling: the first says enough.
const MOST_FINDINGS: usize = 20;

/// How far an index goes: up to which id, and how many texts that is.
const INDEXED: &str = "SELECT (SELECT COALESCE(MAX(up_to), 0) FROM search.search_progress WHERE kind = ?1), (SELECT COALESCE(SUM(texts), 0) FROM search.search_shards WHERE kind = ?1)";

/// Events that came behind others of a wrong clock and aren't indexed yet: see `late.rs`.
const LATE: &str = "SELECT COALESCE(SUM(MAX(0, MIN(last_id, ?1) - first_id + 1)), 0) FROM search_late WHERE number > COALESCE((SELECT up_to FROM search.search_progress WHERE kind = 3), 0)";

/// Copies a database as it is at one moment into a file of its own; its size in bytes.
pub(super) fn back_up(database: &Path, copy: &Path) -> Result<u64, StoreError> {
    let failed = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", copy.display()));
    // SQLite takes an empty file as a place for it: this way nobody else can read it from the beginning.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(copy).map_err(failed)?;
    let source = Connection::open(database)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    source.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    source.close().map_err(|(_, error)| error)?;
    // A copy that can't be read is none.
    let made = Connection::open(copy)?;
    let said: String = made.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    made.close().map_err(|(_, error)| error)?;
    if said != "ok" {
        return Err(StoreError::Unfit(format!("{} is damaged: {said}", copy.display())));
    }
    let file = File::options().write(true).open(copy).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(file.metadata().map_err(failed)?.len())
}

/// Looks at every page and row of a database and of its index; what is wrong.
pub(super) fn examine(
    database: &Path,
    index: &Path,
    mut told: impl FnMut(String),
) -> Result<Vec<String>, StoreError> {
    let opened = Connection::open(database)?;
    opened.busy_timeout(BUSY_TIMEOUT)?;
    add_functions(&opened)?;
    opened.execute("ATTACH DATABASE ?1 AS search", [index.to_string_lossy()])?;
    opened.pragma_update(None, "query_only", "1")?;
    let mut findings = Vec::new();
    for (schema, file) in [("main", database), ("search", index)] {
        let tables = tables(&opened, schema)?;
        for (n, table) in tables.iter().enumerate() {
            told(format!("{}: {table} ({} of {})", file.display(), n + 1, tables.len()));
            for said in integrity(&opened, schema, table)? {
                findings.push(format!("{}: {table}: {said}", file.display()));
            }
            if findings.len() >= MOST_FINDINGS {
                return Ok(findings);
            }
        }
    }
    told("the search index against the rows".to_owned());
    let has_late = tables(&opened, "main")?.iter().any(|table| table == "search_late");
    for (kind, table) in [(1, "events"), (2, "alerts")] {
        let (mark, texts): (i64, i64) =
            opened.query_row(INDEXED, [kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
        // Late ones that the index has yet to come to don't count, nor do those beyond the mark.
        let late = if table == "events" && has_late { LATE } else { "SELECT 0" };
        let rows = format!("SELECT (SELECT COUNT(*) FROM {table} WHERE id <= ?1) - ({late})");
        let rows: i64 = opened.query_row(&rows, [mark], |row| row.get(0))?;
        if rows != texts {
            findings.push(format!("{}: {texts} texts are indexed of {rows} {table}", index.display()));
        }
    }
    Ok(findings)
}

fn tables(opened: &Connection, schema: &str) -> rusqlite::Result<Vec<String>> {
    let sql = format!("SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' ORDER BY rowid");
    opened.prepare(&sql)?.query_map([], |row| row.get(0))?.collect()
}

fn integrity(opened: &Connection, schema: &str, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = format!("PRAGMA {schema}.integrity_check(\"{}\")", table.replace('"', "\"\""));
    let said: Result<Vec<String>, rusqlite::Error> = match opened.prepare(&sql) {
        Ok(mut prepared) => prepared.query_map([], |row| row.get(0)).and_then(Iterator::collect),
        Err(error) => Err(error),
    };
    match said {
        Ok(said) => Ok(said.into_iter().filter(|said| said != "ok").collect()),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            Ok(vec![error.to_string()])
        }
        Err(error) => Err(error),
    }
}
