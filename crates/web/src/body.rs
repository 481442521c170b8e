//! The fields that bodies take, for the documentation. Reading them is up to their handlers.

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Holds {
    Text,
    /// A text that isn't shown while it is typed.
    Secret,
    Number,
    Flag,
    /// A JSON object.
    Object,
    /// A list of texts.
    Texts,
    /// One of these, in any letter case.
    OneOf(&'static [&'static str]),
}

/// One field of a body.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) holds: Holds,
    pub(crate) required: bool,
    pub(crate) example: &'static str,
}

impl Field {
    pub(crate) const fn required(
        name: &'static str,
        holds: Holds,
        about: &'static str,
        example: &'static str,
    ) -> Self {
        Self { name, about, holds, required: true, example }
    }

    pub(crate) const fn optional(
        name: &'static str,
        holds: Holds,
        about: &'static str,
        example: &'static str,
    ) -> Self {
        Self { name, about, holds, required: false, example }
    }
}

pub(crate) const SEVERITIES: &[&str] = &["LOW", "MEDIUM", "HIGH", "CRITICAL"];
pub(crate) const STATUSES: &[&str] = &["OPEN", "ACKNOWLEDGED", "RESOLVED"];
pub(crate) const VERDICTS: &[&str] = &["TRUE_POSITIVE", "BENIGN", "FALSE_POSITIVE", "DUPLICATE", "EXPECTED"];
pub(crate) const SESSION_KINDS: &[&str] = &["console", "tokens"];
pub(crate) const ROLES: &[&str] = &["ADMIN", "RESPONDER", "ANALYST"];
pub(crate) const THEMES: &[&str] = &["system", "light", "dark"];
pub(crate) const TIME_ZONES: &[&str] = &["browser", "UTC"];
