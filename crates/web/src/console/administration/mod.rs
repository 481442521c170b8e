//! What Admins manage, each part on a page of its own: users, sensor keys, sessions, the audit log, settings.

pub(super) mod audit;
pub(super) mod keys;
pub(super) mod sessions;
pub(super) mod settings;
pub(super) mod user;
pub(super) mod users;

use crate::api::page::{links, neighbours};
use crate::console::problem::PageError;
use crate::extract::ListRequest;
use minijinja::{Value, context};
use watchpost_model::Role;
use watchpost_model::page::Page;

/// Rows of a table unless told: what fits on a screen or two.
const ROWS: &str = "25";

/// The request, with so many rows as a page shows.
fn paged(asked: ListRequest) -> ListRequest {
    let ListRequest { query, address } = asked;
    let query = if query.has("page_size") { query } else { query.and("page_size", ROWS) };
    ListRequest { query, address }
}

/// How many rows a table has, and the ways to its other pages.
fn ways<T>(page: &Page<T>, asked: &ListRequest, here: &str) -> Result<Value, PageError> {
    let totals = links(page, asked)?;
    let (next, previous) = neighbours(page, &asked.query);
    let to = |query: String| format!("{here}{query}");
    Ok(context! {
        count => totals.count,
        count_is_minimum => totals.count_is_minimum,
        number => page.request.number,
        next => next.map(to),
        previous => previous.map(to),
    })
}

/// All roles to choose from.
fn roles(chosen: Role) -> Vec<Value> {
    let one =
        |role: Role| context! { value => role.as_str(), says => role.title(), chosen => role == chosen };
    Role::ALL.map(one).to_vec()
}
