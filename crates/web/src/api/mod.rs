//! The API's own tongue: one file per resource, each with its routes, its bodies and its answers.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod events;
pub(crate) mod explore;
pub(crate) mod export;
pub(crate) mod groups;
pub(crate) mod handover;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod nodes;
pub(crate) mod page;
pub(crate) mod preferences;
pub(crate) mod raise;
pub(crate) mod running;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod triage;
pub(crate) mod users;
pub(crate) mod views;

/// The letter case in which severities and statuses are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// `CRITICAL`
    Capitals,
    /// `Critical`
    Title,
}

impl Case {
    pub(crate) fn severity(self, severity: watchpost_model::Severity) -> &'static str {
        match self {
            Self::Capitals => severity.as_str(),
            Self::Title => severity.title(),
        }
    }

    pub(crate) fn status(self, status: watchpost_model::Status) -> &'static str {
        match self {
            Self::Capitals => status.as_str(),
            Self::Title => status.title(),
        }
    }
}
