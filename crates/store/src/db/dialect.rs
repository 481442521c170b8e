//! Where the two engines differ, in one place.

use super::statement::Table;

/// Which engine keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Built in, one file.
    Sqlite,
    /// A server of its own.
    Postgres,
}

impl Engine {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// How long a block of event ids may be used, in seconds.
    ///
    /// Ids lead with the time their block was taken at. On SQLite one process writes, so ids are in order
    /// whatever their block's age; PostgreSQL may have many writers, whose events should sort by time.
    pub const fn max_block_age_seconds(self) -> i64 {
        match self {
            Self::Sqlite => 60,
            Self::Postgres => 2,
        }
    }

    /// Text without letter case. ASCII only on both: what names of hosts and event types are made of.
    pub(crate) fn folded(self, expression: &str) -> String {
        match self {
            Self::Sqlite => format!("lower({expression})"),
            Self::Postgres => format!("lower({expression} COLLATE \"C\")"),
        }
    }

    /// Whether a text contains the pattern in parameter `n`, whatever the letter case.
    pub(crate) fn contains(self, expression: &str, n: usize) -> String {
        match self {
            Self::Sqlite => format!("{expression} LIKE ?{n} ESCAPE '\\'"),
            Self::Postgres => format!("{expression} ILIKE ?{n} ESCAPE '\\'"),
        }
    }

    /// The statement that inserts rows in bulk: one row a call on SQLite, arrays on PostgreSQL.
    pub(crate) fn bulk_insert(self, table: &Table) -> String {
        let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        match self {
            Self::Sqlite => {
                let values: Vec<_> = (1..=table.columns.len()).map(|n| format!("?{n}")).collect();
                format!("INSERT INTO {} ({names}) VALUES ({})", table.name, values.join(", "))
            }
            Self::Postgres => {
                let arrays: Vec<_> = table
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(i, (_, text))| format!("?{}::{}[]", i + 1, if *text { "text" } else { "bigint" }))
                    .collect();
                format!("INSERT INTO {} ({names}) SELECT * FROM UNNEST({})", table.name, arrays.join(", "))
            }
        }
    }

    /// Fills the tokens of a migration text with this engine's types.
    pub(crate) fn migration(self, text: &str) -> String {
        let tokens: [(&str, &str); 6] = match self {
            Self::Sqlite => [
                ("{id}", "INTEGER PRIMARY KEY"),
                ("{auto_id}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
                ("{int}", "INTEGER"),
                ("{small}", "INTEGER"),
                ("{strict}", "STRICT"),
                ("{by_key}", "STRICT, WITHOUT ROWID"),
            ],
            Self::Postgres => [
                ("{id}", "BIGINT PRIMARY KEY"),
                ("{auto_id}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
                ("{int}", "BIGINT"),
                ("{small}", "SMALLINT"),
                ("{strict}", ""),
                ("{by_key}", ""),
            ],
        };
        let mut text = text.to_owned();
        for (token, value) in tokens {
            text = text.replace(token, value);
        }
        for column in ["event_type", "source_name"] {
            text = text.replace(&format!("{{folded:{column}}}"), &self.folded(column));
        }
        let partitioned = match self {
            Self::Sqlite => "STRICT",
            Self::Postgres => "PARTITION BY RANGE (id)",
        };
        text.replace("{by_time}", partitioned)
    }
}

/// Rewrites `?1` to `$1`, the parameters of PostgreSQL, and leaves quoted text alone.
pub(crate) fn numbered_for_postgres(sql: &str) -> String {
    let mut quoted = false;
    sql.chars()
        .map(|c| match c {
            '\'' => {
                quoted = !quoted;
                c
            }
            '?' if !quoted => '$',
            c => c,
        })
        .collect()
}

/// A text that LIKE looks for literally, anywhere.
pub(crate) fn contains_pattern(needle: &str) -> String {
    let mut pattern = String::with_capacity(needle.len() + 2);
    pattern.push('%');
    for c in needle.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_renumbered_outside_quotes_only() {
        assert_eq!(numbered_for_postgres("SELECT '?1', ?1, ?12"), "SELECT '?1', $1, $12");
    }

    #[test]
    fn wildcards_in_a_needle_are_literal() {
        assert_eq!(contains_pattern(r"50%_\"), r"%50\%\_\\%");
    }
}
