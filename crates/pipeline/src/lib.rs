//! The data plane: how an event travels from bytes to a receipt.
//!
//! Decoding, checking and detecting happen in the submitter's own task; then the event waits in the bounded
//! [`Intake`] until the commit loop writes it, with its alerts and counts, in one transaction. The receipt comes
//! after the commit. No SQL and no HTTP here.

mod certain;
mod clock;
mod commit;
pub mod decode;
mod feed;
mod ids;
mod index;
mod intake;
mod metrics;
mod numbering;
mod past;
mod piece;
mod upkeep;

pub use clock::{
    CLOCK_DIFFERENCE_SECONDS, clock_difference, clock_is_off, follow_database_clock, now, watch_clock,
};
pub use commit::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, commit_loop};
pub use feed::{Feed, Follower, Next};
pub use index::Indexing;
pub use intake::{Detected, Intake, KeyInUse, Keyed, Limits, Queue, Receipt, Refused, intake};
pub use metrics::PipelineMetrics;
pub use past::{Past, PastEvent};
pub use piece::{Counts, Loaded, News, Piece, Topics};
pub use upkeep::{KEYS_KEPT_SECONDS, upkeep};
