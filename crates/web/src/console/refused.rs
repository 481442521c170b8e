//! What came of a form that was refused: its page shows it again with what was filled in, what is wrong beside each
//! field, and the first of them in focus.

use crate::console::guard::filled;
use crate::console::problem::PageError;
use crate::error::ApiError;
use crate::extract::ListRequest;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::{Value, context};
use std::collections::BTreeMap;
use watchpost_model::Invalid;
use watchpost_pipeline::decode::Fields;

/// The fields of a form: how each is called in the form, and for people. In the order they stand there.
pub(crate) type FormFields = [(&'static str, &'static str)];

/// What is typed once more: nothing of it goes back to the browser.
const SECRET: [&str; 4] = ["password", "current_password", "new_password", "otp"];

/// See the module.
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    form: &'static str,
    fields: &'static FormFields,
    wrong: Invalid,
    problem: String,
    kept: BTreeMap<&'static str, String>,
    /// When to try again, for programs.
    wait: Option<HeaderValue>,
}

impl Refused {
    /// What is wrong with a form, unless it is nothing that its page could say.
    pub(crate) fn new(
        error: ApiError,
        form: &'static str,
        fields: &'static FormFields,
        given: &Fields<'_>,
    ) -> Result<Self, PageError> {
        Self::keeping(error, form, fields, |name| filled(given, name))
    }

    /// The same for what narrows a list, which stands in the address.
    pub(crate) fn filter(
        error: ApiError,
        fields: &'static FormFields,
        asked: &ListRequest,
    ) -> Result<Self, PageError> {
        Self::keeping(error, "filter", fields, |name| asked.query.get(name).unwrap_or_default().to_owned())
    }

    fn keeping(
        error: ApiError,
        form: &'static str,
        fields: &'static FormFields,
        given: impl Fn(&str) -> String,
    ) -> Result<Self, PageError> {
        let status = error.status();
        let (wrong, problem) = match &error {
            ApiError::Invalid(wrong) => (wrong.clone(), String::new()),
            ApiError::Conflict("last_admin", problem) => {
                (Invalid::new(), format!("{problem} Make somebody else an Admin first."))
            }
            ApiError::Conflict(..)
            | ApiError::NotAllowed(_)
            | ApiError::Unavailable(..)
            | ApiError::OutcomeUnknown => (Invalid::new(), error.detail()),
            ApiError::Throttled(_) => {
                (Invalid::new(), "Too many attempts. Wait a moment and try again.".to_owned())
            }
            _ => return Err(error.into()),
        };
        let kept = fields.iter().filter(|(name, _)| !SECRET.contains(name));
        let kept = kept.map(|(name, _)| (*name, given(name))).collect();
        let wait = error.into_response().headers_mut().remove(header::RETRY_AFTER);
        Ok(Self { status, form, fields, wrong, problem, kept, wait })
    }

    /// As templates see it.
    pub(crate) fn view(&self) -> Value {
        let said = |name: &str| self.wrong.fields().get(name).map(|all| all.join(" "));
        let label =
            |name: &str| self.fields.iter().find(|(field, _)| *field == name).map(|(_, label)| *label);
        let shown = self.fields.iter().filter_map(|(name, label)| Some((*name, *label, said(name)?)));
        let first = shown.clone().next().map(|(name, ..)| name);
        let beside: BTreeMap<&str, String> = shown.clone().map(|(name, _, text)| (name, text)).collect();
        let mut all: Vec<Value> =
            shown.map(|(field, says, text)| context! { field, says, text, here => true }).collect();
        let elsewhere = self.wrong.fields().keys().filter(|name| label(name).is_none());
        all.extend(
            elsewhere.map(|name| context! { field => name, says => name, text => said(name), here => false }),
        );
        context! {
            form => self.form,
            problem => self.problem.as_str(),
            kept => self.kept.clone(),
            wrong => beside,
            first, all,
        }
    }

    /// The page that says it.
    pub(crate) fn on(&self, mut page: Response) -> Response {
        if let Some(wait) = &self.wait {
            page.headers_mut().insert(header::RETRY_AFTER, wait.clone());
        }
        page
    }
}
