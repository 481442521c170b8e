//! Lists that the search index finds: shard after shard, newest first, until the page is full.

use crate::clauses::{Clauses, Start};
use crate::db::{Engine, Row};
use crate::index::{Kind, Shard, severity_term};
use crate::{Db, StoreError};
use watchpost_model::Severity;
use watchpost_model::filter::About;
use watchpost_model::page::{Count, MAX_FOUND_COUNTED};
use watchpost_model::terms::{Word, field_term};

/// A question to the index and what its answers are looked at for.
pub(crate) struct Indexed {
    pub(crate) kind: Kind,
    pub(crate) columns: String,
    /// What is joined to a text of the index, whose id is `{}`.
    pub(crate) from: String,
    pub(crate) question: String,
    /// What else has to hold.
    pub(crate) clauses: Clauses,
    /// What the list is sorted by before the id: each rank in the order of the list, with its condition.
    pub(crate) ranks: Vec<(i64, Option<String>)>,
    /// The smallest id that can be among the answers, and the first that can't be any more.
    pub(crate) since: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) descending: bool,
}

/// The question that finds what a filter asks for; nothing when no text can be the answer.
pub(crate) fn question(engine: Engine, about: &About, severities: &[Severity]) -> Option<String> {
    let whole = |text: String| Word { text, whole: true };
    let mut groups: Vec<Vec<Word>> = Vec::new();
    for (field, values) in &about.fields {
        groups.push(values.iter().map(|value| whole(field_term(field.name(), value))).collect());
    }
    if let Some(search) = &about.search {
        if search.words().is_empty() {
            return None;
        }
        groups.extend(search.words().iter().map(|word| vec![word.clone()]));
    }
    if !severities.is_empty() {
        groups.push(severities.iter().map(|severity| whole(severity_term(*severity))).collect());
    }
    Some(engine.index_question(&groups))
}

/// One shard and one rank: rows in the order of their ids.
struct Step<'a> {
    shard: &'a Shard,
    rank: i64,
    condition: Option<&'a str>,
    /// Ids of the shard end before this.
    end: Option<i64>,
}

impl Indexed {
    fn steps<'a>(&'a self, shards: &'a [Shard], backwards: bool) -> Vec<Step<'a>> {
        let mut of_shards: Vec<(&Shard, Option<i64>)> = Vec::new();
        for (n, shard) in shards.iter().enumerate() {
            let end = shards.get(n + 1).map(|next| next.from_id);
            let too_new = self.until.is_some_and(|until| shard.from_id >= until);
            let too_old = matches!((self.since, end), (Some(since), Some(end)) if end <= since);
            if !too_new && !too_old {
                of_shards.push((shard, end));
            }
        }
        if self.descending != backwards {
            of_shards.reverse();
        }
        let mut ranks: Vec<_> = self.ranks.iter().collect();
        if backwards {
            ranks.reverse();
        }
        let steps = ranks.into_iter().flat_map(|(rank, condition)| {
            of_shards.iter().map(move |(shard, end)| Step {
                shard,
                rank: *rank,
                condition: condition.as_deref(),
                end: *end,
            })
        });
        steps.collect()
    }

    /// ` FROM … WHERE …` of one step, without order.
    fn sources(&self, step: &Step<'_>, cursor: Option<(i64, bool)>) -> (String, Clauses) {
        let engine = self.clauses.engine;
        let (name, id) = (self.kind.table(step.shard.number), engine.index_id());
        let mut clauses = self.clauses.clone();
        let n = clauses.param(self.question.as_str());
        clauses.push(engine.index_matches(&format!("s.{name}"), n));
        if let Some(condition) = step.condition {
            clauses.push(condition.to_owned());
        }
        if let Some((after, larger)) = cursor {
            clauses.with(&format!("{id} {} {{}}", if larger { ">" } else { "<" }), after);
        }
        if let Some(since) = self.since {
            clauses.with(&format!("{id} >= {{}}"), since);
        }
        if let Some(until) = self.until {
            clauses.with(&format!("{id} < {{}}"), until);
        }
        (format!("{name} s {}", engine.outer_first(&self.from.replace("{}", id))), clauses)
    }
}

impl Db {
    /// Rows of an indexed list.
    pub(crate) async fn indexed_rows(&self, list: &Indexed, start: Start) -> Result<Vec<Row>, StoreError> {
        let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
        let shards = self.shards(list.kind).await?;
        let newest_first = list.descending != backwards;
        let mut begun = start.cursor.is_none();
        let (mut rows, mut skip): (Vec<Row>, i64) = (Vec::new(), start.skip);
        for step in list.steps(&shards, backwards) {
            let mut place = None;
            if let Some(cursor) = start.cursor {
                if step.rank == cursor.rank {
                    begun = true;
                    let passed = match newest_first {
                        true => step.shard.from_id >= cursor.id,
                        false => step.end.is_some_and(|end| end <= cursor.id),
                    };
                    if passed {
                        continue;
                    }
                    place = Some((cursor.id, !newest_first));
                } else if !begun {
                    continue;
                }
            }
            let (from, mut clauses) = list.sources(&step, place);
            if skip > 0 {
                let passed = self.count_up_to(&from, &clauses, skip).await?;
                if passed < skip {
                    skip -= passed;
                    continue;
                }
            }
            let (matching, id) = (clauses.sql(), self.engine().index_id());
            let direction = if newest_first { "DESC" } else { "ASC" };
            let (limit, offset) = (clauses.param(start.rows - rows.len() as i64), clauses.param(skip));
            let columns = &list.columns;
            let sql = format!(
                "SELECT {columns} FROM {from}{matching} ORDER BY {id} {direction} LIMIT ?{limit} OFFSET ?{offset}"
            );
            skip = 0;
            rows.extend(self.read(sql, clauses.params).await?);
            if rows.len() as i64 >= start.rows {
                break;
            }
        }
        Ok(rows)
    }

    /// How many rows an indexed list has, counted no further than is bearable.
    pub(crate) async fn indexed_count(&self, list: &Indexed) -> Result<Count, StoreError> {
        let shards = self.shards(list.kind).await?;
        let mut left = MAX_FOUND_COUNTED + 1;
        for step in list.steps(&shards, false) {
            let (from, clauses) = list.sources(&step, None);
            left -= self.count_up_to(&from, &clauses, left).await?;
            if left <= 0 {
                return Ok(Count::AtLeast(MAX_FOUND_COUNTED));
            }
        }
        Ok(Count::Exact(MAX_FOUND_COUNTED + 1 - left))
    }
}
