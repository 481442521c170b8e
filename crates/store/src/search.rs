//! Turns a filter into SQL. The only place where text of a statement is put together at run time, and it is put
//! together from constants: what callers give travels in parameters.

use crate::db::dialect::contains_pattern;
use crate::db::{Engine, Value};
use watchpost_model::filter::{AlertFilter, AlertOrder, EventFilter};

/// The columns of an alert with its event, in the order they are read in.
pub(crate) const ALERT_COLUMNS: &str = "a.id, a.status, a.severity, a.rule, a.created_at, a.updated_at, a.version, e.id, e.created_at, e.source_name, e.event_type, e.severity, e.description, e.user_id, e.key_id";

const EVENT_COLUMNS: &str =
    "e.id, e.created_at, e.source_name, e.event_type, e.severity, e.description, e.user_id, e.key_id";

struct Conditions {
    engine: Engine,
    clauses: Vec<String>,
    params: Vec<Value>,
}

impl Conditions {
    fn new(engine: Engine) -> Self {
        Self { engine, clauses: Vec::new(), params: Vec::new() }
    }

    fn param(&mut self, value: impl Into<Value>) -> usize {
        self.params.push(value.into());
        self.params.len()
    }

    fn one_of(&mut self, column: &str, codes: impl Iterator<Item = i64>) {
        let places: Vec<_> = codes.map(|code| format!("?{}", self.param(code))).collect();
        match places.as_slice() {
            [] => {}
            [only] => self.clauses.push(format!("{column} = {only}")),
            several => self.clauses.push(format!("{column} IN ({})", several.join(", "))),
        }
    }

    fn same_text(&mut self, column: &str, wanted: Option<&str>) {
        if let Some(wanted) = wanted {
            let n = self.param(wanted.to_ascii_lowercase());
            self.clauses.push(format!("{} = ?{n}", self.engine.folded(column)));
        }
    }

    fn contains(&mut self, columns: &[&str], needle: Option<&str>) {
        if let Some(needle) = needle {
            let n = self.param(contains_pattern(needle));
            let any: Vec<_> = columns.iter().map(|column| self.engine.contains(column, n)).collect();
            self.clauses.push(format!("({})", any.join(" OR ")));
        }
    }

    fn sql(&self) -> String {
        match self.clauses.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.clauses.join(" AND ")),
        }
    }
}

/// The list, the bounded count and the parameters both share. The list takes limit and offset as two more
/// parameters, the count its bound as one more.
pub(crate) fn event_list_sql(engine: Engine, filter: &EventFilter) -> (String, String, Vec<Value>) {
    let mut conditions = Conditions::new(engine);
    conditions.one_of("e.severity", filter.severities.iter().map(|s| s.code()));
    conditions.same_text("e.event_type", filter.event_type.as_deref());
    conditions.same_text("e.source_name", filter.source_name.as_deref());
    conditions.contains(&["e.description", "e.source_name", "e.event_type"], filter.search.as_deref());
    let (matching, next) = (conditions.sql(), conditions.params.len() + 1);
    let list = format!(
        "SELECT {EVENT_COLUMNS} FROM events e{matching} ORDER BY e.id DESC LIMIT ?{next} OFFSET ?{}",
        next + 1
    );
    let count = format!("SELECT COUNT(*) FROM (SELECT 1 FROM events e{matching} LIMIT ?{next}) counted");
    (list, count, conditions.params)
}

/// As [`event_list_sql`], for alerts.
pub(crate) fn alert_list_sql(engine: Engine, filter: &AlertFilter) -> (String, String, Vec<Value>) {
    let mut conditions = Conditions::new(engine);
    conditions.one_of("a.status", filter.statuses.iter().map(|s| s.code()));
    conditions.one_of("a.severity", filter.severities.iter().map(|s| s.code()));
    // An alert has the severity of its event.
    conditions.one_of("a.severity", filter.event_severities.iter().map(|s| s.code()));
    conditions.same_text("a.event_type", filter.event_type.as_deref());
    conditions.same_text("a.source_name", filter.source_name.as_deref());
    conditions.contains(&["e.description", "a.source_name", "a.event_type"], filter.search.as_deref());
    let (matching, next) = (conditions.sql(), conditions.params.len() + 1);
    // The event is needed to choose the rows only when its description is searched; otherwise the page is
    // chosen from the index first and only its rows look up their events.
    let chosen = match filter.search {
        Some(_) => "alerts a JOIN events e ON e.id = a.event_id",
        None => "alerts a",
    };
    let direction = if filter.descending { "DESC" } else { "ASC" };
    let order = match filter.order {
        AlertOrder::CreatedAt => format!("a.created_at {direction}, a.id {direction}"),
        AlertOrder::Severity => format!("a.severity {direction}, a.created_at {direction}, a.id {direction}"),
        AlertOrder::Status => format!("a.status {direction}, a.created_at {direction}, a.id {direction}"),
    };
    let list = format!(
        "SELECT {ALERT_COLUMNS} FROM (SELECT a.* FROM {chosen}{matching} ORDER BY {order} LIMIT ?{next} OFFSET ?{}) a JOIN events e ON e.id = a.event_id ORDER BY {order}",
        next + 1
    );
    let count = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {chosen}{matching} LIMIT ?{next}) counted");
    (list, count, conditions.params)
}
