//! Whether a database file and the log beside it belong together: looked at before anything is written.
//!
//! A log that stayed behind when the file was replaced would be played into the file and spoil it. What the file says by
//! itself is read past SQLite, which sees both as one.

use super::sqlite_log::Marks;
use crate::{StoreError, faults};
use rusqlite::{Connection, ErrorCode};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The header of a log without a transaction.
const EMPTY_LOG_BYTES: u64 = 32;
/// How often is looked again while a running server moves on between two looks.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// The beginning of a database file, as SQLite documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Whether it is written through a log. What `VACUUM INTO` makes isn't.
    logged: bool,
    /// Grows with every change of the tables.
    tables: u32,
    marks: Marks,
}

impl Header {
    /// The header of a file; nothing when the file is empty.
    fn read(mut file: &File) -> std::io::Result<Option<Self>> {
        let mut bytes = [0_u8; 100];
        file.seek(SeekFrom::Start(0))?;
        match file.read_exact(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        // SQLite reads both as signed.
        let marks = Marks { seal: i64::from(word(60) as i32), origin: i64::from(word(68) as i32) };
        Ok(Some(Self { logged: bytes[18] == 2 && bytes[19] == 2, tables: word(40), marks }))
    }
}

/// The name of a file that SQLite keeps beside another.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn strangers(database: &Path) -> StoreError {
    let log = beside(database, "-wal");
    StoreError::Unfit(format!(
        "{} and {} don't belong together: the log is of another database, or of another time than the file, as when a backup is restored \
         and the old log stays beside it. Nothing was changed. To start with what is in the database file alone, such as a restored \
         backup, move the log away (and {} with it)",
        database.display(),
        log.display(),
        beside(database, "-shm").display(),
    ))
}

/// A database file whose log has to be looked at. It stays open as long as the database: closing it would take the locks
/// from under SQLite.
pub(super) struct Alone {
    database: PathBuf,
    file: File,
}

impl Alone {
    /// Before a database is opened: what there is to look at, which is nothing where no log lies beside it.
    pub(super) fn open(database: &Path) -> Result<Option<Self>, StoreError> {
        let log = std::fs::metadata(beside(database, "-wal")).map_or(0, |found| found.len());
        if log <= EMPTY_LOG_BYTES || faults::mutant("log_unchecked") {
            return Ok(None);
        }
        // SQLite would throw away the log of a file that isn't there.
        if !database.exists() {
            return Err(strangers(database));
        }
        let file = File::open(database).map_err(|error| unreadable(database, &error))?;
        Ok(Some(Self { database: database.to_owned(), file }))
    }

    /// Checks that the log belongs to the file. `seen` has been opened and nothing else was done with it.
    pub(super) fn check(&self, seen: &Connection) -> Result<(), StoreError> {
        let strangers = || strangers(&self.database);
        for _ in 0..TRIES {
            let alone = self.header()?.filter(|alone| alone.logged).ok_or_else(strangers)?;
            let (tables, marks) = through_log(seen).map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => strangers(),
                _ => error.into(),
            })?;
            // A server may have copied its log and begun a new one in between.
            if self.header()? == Some(alone) {
                let fits = marks.go_with(alone.marks) && alone.tables <= tables;
                return if fits { Ok(()) } else { Err(strangers()) };
            }
            std::thread::sleep(PAUSE);
        }
        Err(StoreError::Unavailable("the database changes too fast to be looked at".into()))
    }

    fn header(&self) -> Result<Option<Header>, StoreError> {
        Header::read(&self.file).map_err(|error| unreadable(&self.database, &error))
    }
}

fn unreadable(database: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("can't read {}: {error}", database.display()))
}

/// What a database says when it is seen through its log.
fn through_log(seen: &Connection) -> rusqlite::Result<(u32, Marks)> {
    let reading = seen.unchecked_transaction()?;
    let tables: i64 = reading.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    Ok((tables as u32, Marks::read(&reading)?))
}
