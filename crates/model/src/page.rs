//! Pages of a list.

use std::fmt;
use std::str::FromStr;

/// Rows on a page when the caller doesn't say.
pub const DEFAULT_PAGE_SIZE: u32 = 10;
/// Rows on the largest page: what one answer may cost.
pub const MAX_PAGE_SIZE: u32 = 100;
/// Counts that no counter keeps are exact up to here and said to be "at least" beyond: counting costs time, and
/// must not cost more of it when there is more to count.
pub const MAX_COUNTED: i64 = 10_000;
/// The same for what the search index finds, where counting a row means looking at it.
pub const MAX_FOUND_COUNTED: i64 = 1_000;

/// A place in a list: next to a row, named by what the list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The rows before the row are wanted, rather than those behind it.
    pub backwards: bool,
    /// The first thing the list is sorted by; 0 when there is none before the time.
    pub rank: i64,
    /// The row's time in microseconds; 0 when its id says it.
    pub time: i64,
    /// The row's id.
    pub id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.backwards { 'b' } else { 'a' };
        write!(f, "{direction}{:x}-{:x}-{:x}", self.rank, self.time, self.id)
    }
}

/// The text isn't a cursor that a list gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (backwards, rest) = match text.split_at_checked(1) {
            Some(("a", rest)) => (false, rest),
            Some(("b", rest)) => (true, rest),
            _ => return Err(NotACursor),
        };
        let mut numbers = rest.split('-').map(|part| match part.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => i64::from_str_radix(part, 16).map_err(|_| NotACursor),
            false => Err(NotACursor),
        });
        let mut next = || numbers.next().unwrap_or(Err(NotACursor));
        let (rank, time, id) = (next()?, next()?, next()?);
        match numbers.next() {
            None => Ok(Self { backwards, rank, time, id }),
            Some(_) => Err(NotACursor),
        }
    }
}

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// From 1.
    pub number: u32,
    /// Rows on a page, 1 to [`MAX_PAGE_SIZE`].
    pub size: u32,
    /// Where it begins; the number is then only what it is called.
    pub cursor: Option<Cursor>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::numbered(1, DEFAULT_PAGE_SIZE)
    }
}

impl PageRequest {
    /// A page by its number.
    pub const fn numbered(number: u32, size: u32) -> Self {
        Self { number, size, cursor: None }
    }

    /// How many rows come before this page, going by its number.
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
    /// Whether looking for rows stopped before the page was full: what follows is behind `next`.
    pub partial: bool,
    /// What was asked for.
    pub request: PageRequest,
    /// Where the next page begins, in lists that have such places.
    pub next: Option<Cursor>,
    /// Where the page before ends.
    pub previous: Option<Cursor>,
}

impl<T> Page<T> {
    /// Whether the page exists: the first one always does, a later one when it has rows. A place in a list always
    /// exists, whatever became of the rows around it.
    pub fn exists(&self) -> bool {
        self.request.number == 1 || self.request.cursor.is_some() || !self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        for cursor in [
            Cursor { backwards: false, rank: 0, time: 0, id: 42 },
            Cursor { backwards: true, rank: 4, time: 1_795_000_000_000_001, id: i64::MAX },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in
            ["", "a", "a1-2", "a1-2-3-4", "c1-2-3", "a-1-2-3", "a1-2-", "a1-2-8000000000000000", "é1-2-3"]
        {
            assert_eq!(wrong.parse::<Cursor>(), Err(NotACursor), "{wrong}");
        }
    }
}
