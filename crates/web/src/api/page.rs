//! One page of a list, with links to its neighbours.

use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::query::Query;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::page::{Count, Page};

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct PageView<T> {
    /// How many rows the whole list has.
    count: i64,
    /// Whether counting stopped there: there are at least so many.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    count_is_minimum: bool,
    /// Whether events that came in just now may be missing: under load, search follows behind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    search_is_behind: bool,
    /// Whether looking for rows stopped before the page was full, because so much is left out: `next` goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    page_is_partial: bool,
    /// The address of the next page.
    next: Option<String>,
    /// The address of the page before.
    previous: Option<String>,
    /// The rows.
    results: Vec<T>,
}

/// The parts of a page, for envelopes of other shapes.
pub(crate) struct Links {
    pub(crate) count: i64,
    pub(crate) count_is_minimum: bool,
    pub(crate) next: Option<String>,
    pub(crate) previous: Option<String>,
}

/// Links to the neighbours of a page; an error when the page doesn't exist.
pub(crate) fn links<T>(page: &Page<T>, asked: &ListRequest) -> Result<Links, ApiError> {
    if !page.exists() {
        return Err(ApiError::NoSuchPage);
    }
    let (next, previous) = neighbours(page, &asked.query);
    let address = |query: String| format!("{}{query}", asked.address);
    Ok(Links {
        count: page.count.number(),
        count_is_minimum: matches!(page.count, Count::AtLeast(_)),
        next: next.map(address),
        previous: previous.map(address),
    })
}

/// The queries that lead to the page behind and to the one before.
pub(crate) fn neighbours<T>(page: &Page<T>, query: &Query) -> (Option<String>, Option<String>) {
    let number = page.request.number;
    let next = page.more.then(|| query.with_page(number.saturating_add(1), page.next));
    let previous = match query.is_numbered() {
        true if number <= 1 => None,
        // The first page needs no place: it begins where the list does.
        true if number == 2 => Some(query.with_page(1, None)),
        true => Some(query.with_page(number - 1, page.previous)),
        false => page.previous.map(|place| query.with_page(1, Some(place))),
    };
    (next, previous)
}

impl<T> PageView<T> {
    pub(crate) fn new<R>(
        page: Page<R>,
        asked: &ListRequest,
        view: impl FnMut(R) -> T,
    ) -> Result<Self, ApiError> {
        let Links { count, count_is_minimum, next, previous } = links(&page, asked)?;
        let (search_is_behind, page_is_partial) = (false, page.partial);
        let results = page.rows.into_iter().map(view).collect();
        Ok(Self { count, count_is_minimum, search_is_behind, page_is_partial, next, previous, results })
    }

    /// Says whether everything that is stored could be found.
    pub(crate) fn searched(self, complete: bool) -> Self {
        Self { search_is_behind: !complete, ..self }
    }
}
