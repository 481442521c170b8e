//! Where the two engines differ, in one place.

use super::statement::Target;
use std::borrow::Cow;
use watchpost_model::terms::{INSIDE_TERMS, Word};

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

    /// How many batches of events may be on their way to the disk at once.
    ///
    /// SQLite has one writer: a second batch is only made while the first is written. PostgreSQL writes side by
    /// side; with more than two the batches only get smaller, and each costs it the same work.
    pub const fn batches_in_flight(self) -> usize {
        match self {
            Self::Sqlite => 2,
            Self::Postgres => 2,
        }
    }

    /// Texts in one shard of the search index. What the beginning of a common word costs grows with it, and what a
    /// rare word costs with the number of shards: a question each, which costs more where it goes to a server.
    pub(crate) const fn shard_texts(self) -> i64 {
        match self {
            Self::Sqlite => 100_000,
            Self::Postgres => 250_000,
        }
    }

    /// How many events have to wait before another batch is begun beside one that is under way: on SQLite a batch
    /// that leaves early would only be smaller.
    pub const fn worth_another_batch(self) -> usize {
        match self {
            Self::Sqlite => 2_048,
            Self::Postgres => 16,
        }
    }

    /// Text without letter case. ASCII only on both: what names of hosts and event types are made of.
    pub(crate) fn folded(self, expression: &str) -> String {
        match self {
            Self::Sqlite => format!("lower({expression})"),
            Self::Postgres => format!("lower({expression} COLLATE \"C\")"),
        }
    }

    /// Text that is compared byte by byte, whatever the database sorts by.
    pub(crate) fn by_bytes(self, column: &str) -> String {
        match self {
            Self::Sqlite => column.to_owned(),
            Self::Postgres => format!("{column} COLLATE \"C\""),
        }
    }

    /// The statement that inserts rows in bulk: one row a call on SQLite, arrays on PostgreSQL.
    pub(crate) fn bulk_insert(self, into: &Target) -> Cow<'static, str> {
        let table = match into {
            Target::Table(table) => table,
            Target::Index(name) => return self.index_insert(name).into(),
        };
        let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
        let (names, then) = (names.join(", "), table.on_conflict);
        let values = match self {
            Self::Sqlite => {
                let values: Vec<_> = (1..=table.columns.len()).map(|n| format!("?{n}")).collect();
                format!("VALUES ({})", values.join(", "))
            }
            Self::Postgres => {
                let kinds = table.columns.iter().map(|(_, text)| if *text { "text" } else { "bigint" });
                let arrays: Vec<_> = kinds.zip(1..).map(|(kind, n)| format!("?{n}::{kind}[]")).collect();
                format!("SELECT * FROM UNNEST({})", arrays.join(", "))
            }
        };
        format!("INSERT INTO {} ({names}) {values} {then}", table.name).into()
    }

    /// Whether a column of a bulk insert holds text.
    pub(crate) fn columns(into: &Target) -> &'static [(&'static str, bool)] {
        match into {
            Target::Table(table) => table.columns,
            Target::Index(_) => &[("id", false), ("terms", true)],
        }
    }

    /// The statement that adds texts, cut into terms, to a part of the search index.
    fn index_insert(self, name: &str) -> String {
        match self {
            Self::Sqlite => format!("INSERT INTO {name} (rowid, terms) VALUES (?1, ?2)"),
            Self::Postgres => format!(
                "INSERT INTO {name} (id, terms) SELECT d.id, array_to_tsvector(string_to_array(d.terms, ' ')) FROM UNNEST(?1::bigint[], ?2::text[]) AS d(id, terms) ON CONFLICT DO NOTHING"
            ),
        }
    }

    /// The statements that make a part of the search index.
    pub(crate) fn index_table(self, name: &str) -> String {
        match self {
            // Terms come cut and in small letters, so blanks alone separate them. Where in a text a term stands
            // isn't kept, nor is the text.
            Self::Sqlite => format!(
                "CREATE VIRTUAL TABLE IF NOT EXISTS {name} USING fts5 (terms, content='', detail=none, columnsize=0, tokenize=\"ascii tokenchars '{INSIDE_TERMS}'\");"
            ),
            Self::Postgres => format!(
                "CREATE TABLE IF NOT EXISTS {name} (id BIGINT PRIMARY KEY, terms TSVECTOR NOT NULL);
                 CREATE INDEX IF NOT EXISTS {name}_terms ON {name} USING GIN (terms) WITH (fastupdate = off);"
            ),
        }
    }

    /// The condition that a text in a part of the search index (`s`) has all these terms: parameter `n`.
    pub(crate) fn index_matches(self, name: &str, n: usize) -> String {
        match self {
            Self::Sqlite => format!("{name} MATCH ?{n}"),
            Self::Postgres => format!("s.terms @@ CAST(CAST(?{n} AS TEXT) AS TSQUERY)"),
        }
    }

    /// A join whose outer table is visited first, in the order of the list. SQLite takes it that way from `CROSS`.
    pub(crate) fn outer_first(self, join: &str) -> String {
        match self {
            Self::Sqlite => join.replace("JOIN", "CROSS JOIN").replace("LEFT CROSS JOIN", "LEFT JOIN"),
            Self::Postgres => join.to_owned(),
        }
    }

    /// The id of a text in a part of the search index.
    pub(crate) const fn index_id(self) -> &'static str {
        match self {
            Self::Sqlite => "s.rowid",
            Self::Postgres => "s.id",
        }
    }

    /// A question to the search index: each of the groups has to be met by one of its words, and none of the other words
    /// may be there.
    pub(crate) fn index_question(self, groups: &[Vec<Word>], without: &[Word]) -> String {
        let word = |word: &Word| match (self, word.whole) {
            (Self::Sqlite, true) => format!("\"{}\"", word.text.replace('"', "\"\"")),
            (Self::Sqlite, false) => format!("\"{}\" *", word.text.replace('"', "\"\"")),
            (Self::Postgres, whole) => {
                let quoted = word.text.replace('\\', "\\\\").replace('\'', "''");
                format!("'{quoted}'{}", if whole { "" } else { ":*" })
            }
        };
        let (and, or, not) = match self {
            Self::Sqlite => (" AND ", " OR ", " NOT "),
            Self::Postgres => (" & ", " | ", " & !"),
        };
        let group = |words: &[Word]| {
            let words: Vec<_> = words.iter().map(word).collect();
            format!("({})", words.join(or))
        };
        let question = groups.iter().map(|words| group(words)).collect::<Vec<_>>().join(and);
        match without {
            [] => question,
            words => format!("({question}){not}{}", group(words)),
        }
    }

    /// Fills the tokens of a migration text with this engine's types.
    pub(crate) fn migration(self, text: &str) -> String {
        let tokens: [(&str, &str); 8] = match self {
            Self::Sqlite => [
                ("{id}", "INTEGER PRIMARY KEY"),
                ("{auto_id}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
                ("{int}", "INTEGER"),
                ("{small}", "INTEGER"),
                ("{strict}", "STRICT"),
                ("{by_key}", "STRICT, WITHOUT ROWID"),
                ("{counting}", "STRICT, WITHOUT ROWID"),
                ("{feed_key}", "seq INTEGER PRIMARY KEY AUTOINCREMENT,"),
            ],
            Self::Postgres => [
                ("{id}", "BIGINT PRIMARY KEY"),
                ("{auto_id}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
                ("{int}", "BIGINT"),
                ("{small}", "SMALLINT"),
                ("{strict}", ""),
                ("{by_key}", ""),
                // Room on each page, so that a count that grows stays where it is.
                ("{counting}", "WITH (fillfactor = 50)"),
                (
                    "{feed_key}",
                    "xact BIGINT NOT NULL DEFAULT (CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)),
                     seq BIGINT GENERATED ALWAYS AS IDENTITY,
                     PRIMARY KEY (xact, seq),",
                ),
            ],
        };
        // SQLite gets it as a function of each connection.
        let sha256_hex = match self {
            Self::Sqlite => "",
            Self::Postgres => {
                "CREATE FUNCTION sha256_hex(said TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$ SELECT encode(sha256(convert_to(said, 'UTF8')), 'hex') $$;"
            }
        };
        let (lineage, feed_origin) = match self {
            Self::Sqlite => (crate::lineage::TABLE, ""),
            Self::Postgres => ("", crate::feed_origin::TABLE),
        };
        let late = match self {
            Self::Sqlite => crate::late::TABLE,
            Self::Postgres => "",
        };
        let mut text = text
            .replace("{search}", &crate::index::migration(self))
            .replace("{lineage}", lineage)
            .replace("{feed_origin}", feed_origin)
            .replace("{writers}", &crate::migrations::writers::migration(self))
            .replace("{late}", late)
            .replace("{sha256_hex}", sha256_hex);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_renumbered_outside_quotes_only() {
        assert_eq!(numbered_for_postgres("SELECT '?1', ?1, ?12"), "SELECT '?1', $1, $12");
    }
}
