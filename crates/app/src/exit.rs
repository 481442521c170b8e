//! How a command can end.

use std::fmt;
use watchpost_store::StoreError;

/// What the process says to whoever started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// Done.
    Ok = 0,
    /// Something went wrong that has no number of its own.
    Failed = 1,
    /// The command line can't be understood.
    Usage = 2,
    /// A setting can't be used.
    Setting = 3,
    /// The database can't be reached.
    DatabaseUnreachable = 4,
    /// The database doesn't fit this binary: newer, altered, or with settings that break the promise.
    DatabaseUnfit = 5,
    /// The address to listen on isn't free.
    CantListen = 6,
    /// The data directory can't be used, or another server uses it.
    DataDirectory = 7,
    /// `doctor` found something, or `migrate --check` found steps to apply.
    Findings = 8,
}

/// Why a command ended badly, and what to do about it.
#[derive(Debug)]
pub(crate) struct AppError {
    pub(crate) status: ExitStatus,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl AppError {
    pub(crate) fn new(status: ExitStatus, message: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self { status, message: message.to_string(), hint: hint.into() }
    }

    /// A failure that speaks for itself.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(ExitStatus::Failed, message, "")
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        let (status, hint) = match &error {
            StoreError::Unavailable(_)
            | StoreError::OutcomeUnknown(_)
            | StoreError::TooLong
            | StoreError::Crowded => (
                ExitStatus::DatabaseUnreachable,
                "check DATABASE_URL and that the database runs; `watchpost doctor` looks closer",
            ),
            StoreError::DiskFull(_) => {
                (ExitStatus::DataDirectory, "make room on the disk of the database, and start again")
            }
            StoreError::Newer { .. } => (
                ExitStatus::DatabaseUnfit,
                "install the newer Watchpost, or restore a backup made before it ran",
            ),
            StoreError::Outdated => (ExitStatus::DatabaseUnfit, "upgrade this Watchpost; newer ones go on"),
            StoreError::Unfit(_) => (ExitStatus::DatabaseUnfit, "`watchpost doctor` looks closer"),
            StoreError::DiskFailed(_) => {
                (ExitStatus::Failed, "check the disk before starting again; what was acknowledged is on it")
            }
            StoreError::NotFound
            | StoreError::Conflict
            | StoreError::Taken(_)
            | StoreError::LastAdmin
            | StoreError::NotNow(_)
            | StoreError::TooMany(_)
            | StoreError::Internal(_) => (ExitStatus::Failed, ""),
        };
        Self::new(status, error, hint)
    }
}
