//! What can go wrong when something is to be remembered, sorted by what the caller has to do.

use std::fmt;
use thiserror::Error;
use watchpost_model::triage::NotNow;

/// Of whose things there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The caller's own.
    Own,
    /// All together.
    Everybodys,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "one's own",
            Self::Everybodys => "all users",
        })
    }
}

/// A failed read or write.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The database can't be reached or has no room; nothing was written. Worth trying again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The disk has no room; nothing was written. Worth trying again when there is some. With what the engine said where
    /// that leaves a doubt.
    #[error("the disk is full{}{_0}", if _0.is_empty() { "" } else { ": " })]
    DiskFull(String),
    /// The connection was lost around COMMIT: the write may or may not have happened.
    #[error("the outcome of a write is unknown: {0}")]
    OutcomeUnknown(String),
    /// A row wasn't as the write expected it; nothing was written.
    #[error("the row changed in the meantime")]
    Conflict,
    /// The row to change doesn't exist.
    #[error("there is no such row")]
    NotFound,
    /// A value that has to be unique is taken; names the constraint.
    #[error("a value that has to be unique is taken: {0}")]
    Taken(String),
    /// The last active Admin can't go.
    #[error("the last active Admin can't be removed")]
    LastAdmin,
    /// A read took too long and was ended. Asked for less, or later, it may not.
    #[error("the read took too long and was ended")]
    TooLong,
    /// Too many reads that take long wait for their turn.
    #[error("too many reads that take long wait for their turn")]
    Crowded,
    /// So many of the kind are under way that another has to wait; nothing was written.
    #[error("too many of {0} are under way")]
    TooMany(Whose),
    /// As the alert stands, this can't be done with it.
    #[error("{0}")]
    NotNow(NotNow),
    /// This node is older than the schema needs of those who write; nothing was written. Others go on.
    #[error("this node is older than the schema of the database needs: upgrade it")]
    Outdated,
    /// The database was written by a newer Watchpost.
    #[error("the database is at step {found}, this Watchpost knows steps up to {known}")]
    Newer {
        /// The newest step in the database.
        found: i64,
        /// The newest step this binary knows.
        known: i64,
    },
    /// The database breaks a promise: a setting that risks acknowledged events, an altered migration.
    #[error("{0}")]
    Unfit(String),
    /// The disk failed under a write: going on could lose what was acknowledged.
    #[error("the disk failed: {0}")]
    DiskFailed(String),
    /// A mistake in Watchpost or a damaged database.
    #[error("the database refused a statement: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::DiskFull(_)
                | Self::OutcomeUnknown(_)
                | Self::Outdated
                | Self::TooLong
                | Self::Crowded
        )
    }
}
