//! Who is asking: passwords, tokens, keys, sessions and the guards of routes.

pub(crate) mod accounts;
pub(crate) mod guard;
pub(crate) mod login;
pub(crate) mod passwords;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod token;

pub use passwords::hash_password;
pub use secret::{generate_key, generate_password, random_text as random_secret};
