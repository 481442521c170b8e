//! The audit log: who did what, narrowed as the API narrows it, handed out, and proven.

use super::{paged, ways};
use crate::api::audit::{exported, proof};
use crate::auth::proof::Fresh;
use crate::auth::session::Session;
use crate::console::guard::Administrator;
use crate::console::page::render;
use crate::console::problem::PageError;
use crate::console::refused::{FormFields, Refused};
use crate::extract::ListRequest;
use crate::places;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use std::collections::BTreeMap;
use watchpost_model::{AlertId, UserId};
use watchpost_store::AuditRow;

/// Where the page is.
const HERE: &str = "/admin/audit";
const FILTER: &FormFields = &[
    ("actor", "Who"),
    ("actor_id", "Who, by id"),
    ("action", "What"),
    ("object", "To what"),
    ("address", "From"),
    ("since", "Since"),
    ("until", "Before"),
];
/// What is often looked for.
const ACTIONS: [&str; 11] = [
    "login",
    "login.failed",
    "logout",
    "session.",
    "refused",
    "user.",
    "factor.",
    "key.",
    "alert.",
    "view.",
    "audit.",
];

/// A row as templates see it.
pub(super) fn row_view(row: AuditRow) -> Value {
    context! {
        id => row.id,
        at => row.at.to_string(),
        actor => row.actor,
        actor_id => row.actor_id,
        address => row.address,
        action => row.action,
        href => page_of(&row.object),
        object => row.object,
        detail => row.detail,
    }
}

/// The page of the thing that a row is about, if it has one.
fn page_of(object: &str) -> Option<String> {
    match object.split_once(':')? {
        ("user", id) => id.parse::<UserId>().ok().map(|id| format!("/admin/users/{id}")),
        ("alert", id) => id.parse::<AlertId>().ok().map(|id| format!("/alerts/{id}")),
        _ => None,
    }
}

async fn page(
    state: &AppState,
    session: &Session,
    asked: ListRequest,
    proven: Option<Result<Value, Refused>>,
) -> Result<Response, PageError> {
    let asked = paged(asked);
    let found = match asked.query.audit() {
        Ok((filter, request)) => {
            let _place = places::for_search(state, &session.caller).await?;
            let found = state.db.heavy().audit_log(&filter, request).await?;
            state.refusals.note_reading(&session.caller, "list");
            Ok(found)
        }
        Err(error) => Err(Refused::filter(error, FILTER, &asked)?),
    };
    let (mut status, mut refused, links, rows) = match found {
        Ok(page) => (StatusCode::OK, None, Some(ways(&page, &asked, HERE)?), page.rows),
        Err(refused) => (refused.status, Some(refused), None, Vec::new()),
    };
    let proven = match proven {
        Some(Err(not_now)) => {
            (status, refused) = (not_now.status, Some(not_now));
            None
        }
        Some(Ok(proven)) => Some(proven),
        None => None,
    };
    let narrowed = asked.query.keep(|name, _| name != "page_size");
    let file = |format: &str| format!("{HERE}/export{}", narrowed.with("format", format).text());
    let given = |name: &'static str| (name, asked.query.get(name).unwrap_or_default().to_owned());
    let given: BTreeMap<_, _> = FILTER.iter().map(|(name, _)| given(name)).collect();
    let page = context! {
        title => "Audit log",
        refused => refused.as_ref().map(Refused::view),
        links, proven, given,
        narrowed => !narrowed.text().is_empty(),
        csv => file("csv"),
        ndjson => file("ndjson"),
        verify => format!("{HERE}/verify{}", narrowed.text()),
        actions => ACTIONS.to_vec(),
        rows => rows.into_iter().map(row_view).collect::<Vec<_>>(),
    };
    let page = render(status, "audit.html", Some(session), page);
    Ok(match &refused {
        Some(by) => by.on(page),
        None => page,
    })
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, PageError> {
    page(&state, &session, asked, None).await
}

/// The page, with whether the newest rows are what was written.
pub(crate) async fn verify(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let proven = match proof(&state, &session.caller).await {
        Ok(proof) => Ok(context! {
            intact => proof.intact,
            first => proof.first,
            last => proof.last,
            rows => (proof.last - proof.first + 1).max(0),
            complete => proof.complete,
            broken_at => proof.broken_at,
            why => proof.why,
        }),
        Err(error) => Err(Refused::filter(error, FILTER, &asked)?),
    };
    page(&state, &session, asked, Some(proven)).await
}

pub(crate) async fn export(
    Fresh(Administrator(session)): Fresh<Administrator>,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    asked: ListRequest,
) -> Result<Response, PageError> {
    Ok(exported(state, &session.caller, query, &asked).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lead_to_what_they_are_about() {
        assert_eq!(page_of("user:7").as_deref(), Some("/admin/users/7"));
        assert_eq!(page_of("alert:12").as_deref(), Some("/alerts/12"));
        for other in ["audit", "key:3", "user:", "user:x", "alert:../admin", "name:jane"] {
            assert_eq!(page_of(other), None, "{other}");
        }
    }
}
