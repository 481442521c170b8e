//! One page of a list, with links to its neighbours.

use crate::error::ApiError;
use crate::extract::ListRequest;
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
    let number = page.request.number;
    let address = |number| format!("{}{}", asked.address, asked.query.with_page(number));
    Ok(Links {
        count: page.count.number(),
        count_is_minimum: matches!(page.count, Count::AtLeast(_)),
        next: page.more.then(|| address(number.saturating_add(1))),
        previous: (number > 1).then(|| address(number - 1)),
    })
}

impl<T> PageView<T> {
    pub(crate) fn new<R>(
        page: Page<R>,
        asked: &ListRequest,
        view: impl FnMut(R) -> T,
    ) -> Result<Self, ApiError> {
        let Links { count, count_is_minimum, next, previous } = links(&page, asked)?;
        let results = page.rows.into_iter().map(view).collect();
        Ok(Self { count, count_is_minimum, next, previous, results })
    }
}
