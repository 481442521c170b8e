//! Pages of a list.

/// Rows on a page when the caller doesn't say.
pub const DEFAULT_PAGE_SIZE: u32 = 10;
/// Rows on the largest page: what one answer may cost.
pub const MAX_PAGE_SIZE: u32 = 100;
/// Counts that no counter keeps are exact up to here and said to be "at least" beyond: counting costs time.
pub const MAX_COUNTED: i64 = 100_000;

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// From 1.
    pub number: u32,
    /// Rows on a page, 1 to [`MAX_PAGE_SIZE`].
    pub size: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { number: 1, size: DEFAULT_PAGE_SIZE }
    }
}

impl PageRequest {
    /// How many rows come before this page.
    pub fn offset(self) -> i64 {
        i64::from(self.number - 1) * i64::from(self.size)
    }
}

/// How many rows a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Exactly so many.
    Exact(i64),
    /// So many and more: counting stopped.
    AtLeast(i64),
}

impl Count {
    /// The number, however it was found.
    pub fn number(self) -> i64 {
        match self {
            Self::Exact(n) | Self::AtLeast(n) => n,
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order asked for.
    pub rows: Vec<T>,
    /// How many rows the whole list has.
    pub count: Count,
    /// Whether a page follows.
    pub more: bool,
    /// What was asked for.
    pub request: PageRequest,
}

impl<T> Page<T> {
    /// Whether the page exists: the first one always does, a later one when it has rows.
    pub fn exists(&self) -> bool {
        self.request.number == 1 || !self.rows.is_empty()
    }
}
