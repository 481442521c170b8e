//! The parameters of lists for Admins: users, sessions, the audit log.

use super::Query;
use crate::api::export::ExportFormat;
use crate::error::{ApiError, choose_from};
use crate::params::{AUDIT, AUDIT_EXPORT, ROLES, SESSION_KINDS, SESSIONS, USERS};
use crate::state::AppState;
use watchpost_model::page::PageRequest;
use watchpost_model::text::Given;
use watchpost_model::{Invalid, Role};
use watchpost_pipeline::now;
use watchpost_store::{AuditFilter, SessionFilter, SessionKind, UserFilter};

impl Query {
    /// The list of users.
    pub(crate) fn users(&self) -> Result<(UserFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(USERS, &mut wrong);
        let role = self.get("role").map(|role| Role::parse(role).ok_or_else(|| choose_from(role, ROLES)));
        let active = match self.get("is_active") {
            None => None,
            Some(given) => wrong.take("is_active", Given::Text(given.into()).flag()).flatten(),
        };
        let filter = UserFilter {
            search: self.texts("search", &mut wrong).pop(),
            role: role.and_then(|role| wrong.take("role", role)),
            active,
        };
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    /// The list of everybody's sessions.
    pub(crate) async fn sessions(&self, state: &AppState) -> Result<(SessionFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(SESSIONS, &mut wrong);
        let kind = self
            .get("kind")
            .map(|kind| SessionKind::parse(kind).ok_or_else(|| choose_from(kind, SESSION_KINDS)));
        let kind = kind.and_then(|kind| wrong.take("kind", kind));
        let mut user = None;
        if let Some(name) = self.texts("user", &mut wrong).pop() {
            user = state.db.credentials_by_name(&name).await?.map(|known| known.user.id);
            if user.is_none() {
                wrong.add("user", "There is no such user.");
            }
        }
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((SessionFilter { user, kind }, page?))
    }

    fn audit_filter(&self, wrong: &mut Invalid) -> AuditFilter {
        AuditFilter {
            actors: self.texts("actor", wrong),
            actor_ids: self.texts("actor_id", wrong),
            actions: self.texts("action", wrong),
            objects: self.texts("object", wrong),
            addresses: self.texts("address", wrong),
            span: self.span(now(), wrong),
        }
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> Result<(AuditFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(AUDIT, &mut wrong);
        let filter = self.audit_filter(&mut wrong);
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    /// An export of the audit log.
    pub(crate) fn audit_export(&self) -> Result<(AuditFilter, ExportFormat), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(AUDIT_EXPORT, &mut wrong);
        let filter = self.audit_filter(&mut wrong);
        let format = ExportFormat::read(self, &mut wrong);
        wrong.into_result()?;
        Ok((filter, format))
    }
}
