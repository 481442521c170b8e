//! What things are in Watchpost.
//!
//! No IO, no async, no clock, no SQL and no HTTP: the types here can be built in a test without
//! anything running, and a value that exists has been checked. Every limit is a named constant
//! with its reason beside it.

pub mod access;
pub mod alert;
pub mod attributes;
pub mod details;
pub mod event;
pub mod filter;
pub mod id;
pub mod invalid;
pub mod key;
mod name;
pub mod net;
pub mod page;
pub mod password;
pub mod terms;
pub mod text;
pub mod time;
pub mod triage;
pub mod user;
pub mod view;

pub use access::{Action, Actor, Rank, Role};
pub use alert::{Alert, Status};
pub use attributes::Attributes;
pub use details::{Details, DetailsDraft};
pub use event::{Event, EventDraft, NewEvent, Severity};
pub use id::{AlertId, EventId, KeyId, UserId, ViewId};
pub use invalid::Invalid;
pub use time::Timestamp;
pub use user::User;
