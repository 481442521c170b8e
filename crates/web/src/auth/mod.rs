//! Who is asking: passwords, tokens, keys, sessions and the guards of routes.

pub(crate) mod account;
pub(crate) mod accounts;
pub(crate) mod audit_seals;
pub(crate) mod checkpoint;
pub(crate) mod factor;
pub(crate) mod grant;
pub(crate) mod guard;
pub(crate) mod login;
pub(crate) mod passwords;
pub(crate) mod patience;
pub(crate) mod proof;
pub(crate) mod refusals;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod shipping;
pub(crate) mod standing;
pub(crate) mod tally;
pub(crate) mod token;
mod totp;

pub use passwords::hash_password;
pub use secret::{generate_key, generate_password, random_text as random_secret};
