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

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(Some),
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
    /// What happens to a row whose key is there already; empty means that the batch fails.
    pub(crate) on_conflict: &'static str,
}

/// One value of a row to insert, borrowed from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Text(&'a str),
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

/// Rows to insert, wherever their values are kept: nothing is copied before the engine does it.
pub(crate) trait Rows: Send + Sync {
    fn len(&self) -> usize;
    fn cell(&self, row: usize, column: usize) -> Cell<'_>;
}

/// Rows that are kept as rows of values.
impl<const N: usize> Rows for Vec<[Value; N]> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        match &self[row][column] {
            Value::Null => Cell::Null,
            Value::Int(n) => Cell::Int(*n),
            Value::Text(text) => Cell::Text(text),
        }
    }
}

/// Many rows for one table.
pub(crate) struct Bulk {
    pub(crate) into: Target,
    pub(crate) rows: Box<dyn Rows>,
}

/// Where rows go.
pub(crate) enum Target {
    Table(&'static Table),
    /// A part of the search index, by its name.
    Index(String),
}

impl std::fmt::Debug for Bulk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match &self.into {
            Target::Table(table) => table.name,
            Target::Index(name) => name,
        };
        write!(f, "{} rows for {name}", self.rows.len())
    }
}

#[derive(Debug)]
pub(crate) enum Write {
    Statement(Statement),
    Bulk(Bulk),
}

impl Write {
    /// What tests call the point behind it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Statement(_) => "statement",
            Self::Bulk(Bulk { into: Target::Table(table), .. }) => table.name,
            Self::Bulk(Bulk { into: Target::Index(_), .. }) => "index",
        }
    }
}

/// Writes that belong together: all of them happen, or none.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
    /// The rows of the audit log among them, for the server's own log.
    pub(crate) audited: Vec<crate::audit::AuditLine>,
}

impl Batch {
    /// Nothing to write yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows for a table; none is as good as nothing.
    pub(crate) fn bulk(&mut self, table: &'static Table, rows: impl Rows + 'static) {
        self.insert(Target::Table(table), rows);
    }

    pub(crate) fn insert(&mut self, into: Target, rows: impl Rows + 'static) {
        if rows.len() > 0 {
            self.writes.push(Write::Bulk(Bulk { into, rows: Box::new(rows) }));
        }
    }

    /// Adds a statement that may touch any number of rows.
    pub(crate) fn any(&mut self, sql: &'static str, params: Vec<Value>) {
        self.writes.push(Write::Statement(Statement { sql, params, expect: Expect::Any }));
    }

    /// Adds a statement that has to touch exactly one row.
    pub(crate) fn one(&mut self, sql: &'static str, params: Vec<Value>) {
        self.writes.push(Write::Statement(Statement { sql, params, expect: Expect::One }));
    }

    /// Where tests may end the process while a batch of events is written; nothing for other batches.
    pub(crate) fn point(&self, name: &str) {
        let events = |write: &Write| write.name() == "events";
        if cfg!(feature = "faults") && self.writes.iter().any(events) {
            crate::faults::point(name);
        }
    }

    /// Whether it waits until there is room when the disk is full: what comes in by itself, and what can be done later.
    pub(crate) fn can_wait_for_room(&self) -> bool {
        self.writes.iter().any(|write| match write {
            Write::Statement(statement) => statement.sql.starts_with("UPDATE job_alerts"),
            Write::Bulk(_) => matches!(write.name(), "events" | "index" | "job_alerts"),
        })
    }

    /// Whether nothing in it has to be looked at before the commit.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.writes.iter().all(|write| match write {
            Write::Statement(statement) => statement.expect == Expect::Any,
            Write::Bulk(_) => true,
        })
    }
}
