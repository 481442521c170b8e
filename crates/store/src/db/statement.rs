//! Writes and rows as data.

use crate::StoreError;

/// One value of a row or a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    fn wrong(&self, column: usize, wanted: &str) -> StoreError {
        let found = match self.0.get(column) {
            None => "nothing",
            Some(Value::Null) => "null",
            Some(Value::Int(_)) => "a number",
            Some(Value::Text(_)) => "a text",
        };
        StoreError::Internal(format!("column {column} holds {found}, {wanted} was expected"))
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self.0.get(column) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(self.wrong(column, "a number")),
        }
    }

    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.int(column).map(Some),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(value.clone()),
            _ => Err(self.wrong(column, "a text")),
        }
    }

    /// A number that stands for one of a closed set.
    pub(crate) fn code<T>(&self, column: usize, read: fn(i64) -> Option<T>) -> Result<T, StoreError> {
        read(self.int(column)?).ok_or_else(|| self.wrong(column, "a known code"))
    }
}

/// How many rows a statement has to touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Any number, none included.
    Any,
    /// Exactly one; otherwise the whole batch is undone and reported as a conflict.
    One,
}

/// One statement of a batch, its parameters as `?1`, `?2`, …
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) params: Vec<Value>,
    pub(crate) expect: Expect,
}

/// A table that many rows are inserted into at once.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Name and whether it holds text (otherwise whole numbers).
    pub(crate) columns: &'static [(&'static str, bool)],
}

/// All values of one column of the rows to insert.
#[derive(Debug)]
pub(crate) enum Column {
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Text(Vec<String>),
}

impl Column {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::OptInt(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }
}

/// Many rows for one table, by column.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) table: &'static Table,
    pub(crate) columns: Vec<Column>,
}

impl Bulk {
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }
}

#[derive(Debug)]
pub(crate) enum Write {
    Statement(Statement),
    Bulk(Bulk),
}

/// Writes that belong together: all of them happen, or none.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// Nothing to write yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bulk(&mut self, table: &'static Table, columns: Vec<Column>) {
        debug_assert_eq!(table.columns.len(), columns.len(), "{}", table.name);
        debug_assert!(columns.iter().all(|c| c.len() == columns[0].len()), "{}", table.name);
        self.writes.push(Write::Bulk(Bulk { table, columns }));
    }

    /// Adds a statement that may touch any number of rows.
    pub(crate) fn any(&mut self, sql: &'static str, params: Vec<Value>) {
        self.writes.push(Write::Statement(Statement { sql, params, expect: Expect::Any }));
    }

    /// Adds a statement that has to touch exactly one row.
    pub(crate) fn one(&mut self, sql: &'static str, params: Vec<Value>) {
        self.writes.push(Write::Statement(Statement { sql, params, expect: Expect::One }));
    }
}
