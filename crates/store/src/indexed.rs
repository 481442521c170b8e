//! Lists that the search index finds: shard after shard, newest first, until the page is full.

use crate::clauses::{Clauses, Start};
use crate::db::{Engine, Row};
use crate::event_list::Found;
use crate::index::{Kind, Shard, severity_term};
use crate::walk::Walk;
use crate::{Db, StoreError};
use watchpost_model::Severity;
use watchpost_model::filter::About;
use watchpost_model::page::{Count, Cursor, MAX_FOUND_COUNTED};
use watchpost_model::terms::{Word, field_term, is_own_term};

/// A question to the index and what its answers are looked at for.
pub(crate) struct Indexed {
    pub(crate) kind: Kind,
    pub(crate) columns: String,
    /// What is joined to a text of the index, whose id is `{}`.
    pub(crate) from: String,
    pub(crate) question: String,
    /// What else has to hold.
    pub(crate) clauses: Clauses,
    /// Whether something is left out that the index may not know: then so many texts are looked at and no more.
    pub(crate) walked: bool,
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
    Some(engine.index_question(&groups, &left_out(about)))
}

/// Terms that texts must not have. Where different values may have the same term, the values decide.
fn left_out(about: &About) -> Vec<Word> {
    let mut words = Vec::new();
    for (field, values) in &about.without {
        let own = values.iter().filter(|value| is_own_term(field.name(), value));
        words.extend(own.map(|value| Word { text: field_term(field.name(), value), whole: true }));
    }
    words
}

/// One shard and one rank: rows in the order of their ids.
struct Step<'a> {
    shard: &'a Shard,
    rank: i64,
    condition: Option<&'a str>,
    /// The row that the list goes on behind.
    behind: Option<i64>,
}

impl Indexed {
    /// Where rows are, from a place in the list on.
    fn steps<'a>(&'a self, shards: &'a [Shard], from: Option<Cursor>) -> Vec<Step<'a>> {
        let backwards = from.is_some_and(|cursor| cursor.backwards);
        let newest_first = self.descending != backwards;
        let mut of_shards: Vec<(&Shard, Option<i64>)> = Vec::new();
        for (n, shard) in shards.iter().enumerate() {
            let end = shards.get(n + 1).map(|next| next.from_id);
            let too_new = self.until.is_some_and(|until| shard.from_id >= until);
            let too_old = matches!((self.since, end), (Some(since), Some(end)) if end <= since);
            if !too_new && !too_old {
                of_shards.push((shard, end));
            }
        }
        if newest_first {
            of_shards.reverse();
        }
        let mut ranks: Vec<_> = self.ranks.iter().collect();
        if backwards {
            ranks.reverse();
        }
        let mut steps = Vec::new();
        let mut begun = from.is_none();
        for (rank, condition) in ranks {
            let here = from.filter(|cursor| cursor.rank == *rank);
            begun |= here.is_some();
            for (shard, end) in &of_shards {
                let passed = here.is_some_and(|cursor| match newest_first {
                    true => shard.from_id >= cursor.id,
                    false => end.is_some_and(|end| end <= cursor.id),
                });
                if begun && !passed {
                    let behind = here.map(|cursor| cursor.id);
                    steps.push(Step { shard, rank: *rank, condition: condition.as_deref(), behind });
                }
            }
        }
        steps
    }

    /// The texts of one step, without order: where they are, with conditions added.
    fn texts(&self, step: &Step<'_>, clauses: &mut Clauses) -> String {
        let engine = clauses.engine;
        let (name, id) = (self.kind.table(step.shard.number), engine.index_id());
        let n = clauses.param(self.question.as_str());
        clauses.push(engine.index_matches(&format!("s.{name}"), n));
        if let Some(since) = self.since {
            clauses.at_least(id, since);
        }
        if let Some(until) = self.until {
            clauses.below(id, until);
        }
        format!("{name} s")
    }

    /// The rows of one step: ` FROM … WHERE …`, without order.
    fn rows(&self, step: &Step<'_>) -> (String, Clauses) {
        let engine = self.clauses.engine;
        let mut clauses = self.clauses.clone();
        let texts = self.texts(step, &mut clauses);
        if let Some(condition) = step.condition {
            clauses.push(condition.to_owned());
        }
        (format!("{texts} {}", engine.outer_first(&self.from.replace("{}", engine.index_id()))), clauses)
    }

    fn walk(&self, step: &Step<'_>, descending: bool) -> Walk {
        let mut along = Clauses::new(self.clauses.engine);
        let texts = self.texts(step, &mut along);
        let (id, columns) = (self.clauses.engine.index_id(), self.columns.clone());
        Walk { along: (texts, along), id, columns, rows: self.rows(step), descending }
    }
}

impl Db {
    /// Rows of an indexed list.
    pub(crate) async fn indexed_rows(
        &self,
        list: &Indexed,
        start: Start,
        looked_at: i64,
    ) -> Result<Found, StoreError> {
        if list.walked {
            return self.walked_texts(list, start, looked_at).await;
        }
        let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
        let newest_first = list.descending != backwards;
        let direction = if newest_first { "DESC" } else { "ASC" };
        let (columns, id) = (&list.columns, self.engine().index_id());
        let (mut rows, mut skip): (Vec<Row>, i64) = (Vec::new(), start.skip);
        for step in list.steps(&self.shards(list.kind).await?, start.cursor) {
            let (from, mut clauses) = list.rows(&step);
            if let Some(behind) = step.behind {
                clauses.behind_id(id, behind, newest_first);
            }
            if skip > 0 {
                let passed = self.count_up_to(&from, &clauses, skip).await?;
                if passed < skip {
                    skip -= passed;
                    continue;
                }
            }
            let matching = clauses.sql();
            let (limit, offset) = (clauses.param(start.rows - rows.len() as i64), clauses.param(skip));
            let sql = format!(
                "SELECT {columns} FROM {from}{matching} ORDER BY {id} {direction} LIMIT ?{limit} OFFSET ?{offset}"
            );
            skip = 0;
            rows.extend(self.read(sql, clauses.params).await?);
            if rows.len() as i64 >= start.rows {
                break;
            }
        }
        Ok(Found::complete(rows))
    }

    async fn walked_texts(&self, list: &Indexed, start: Start, looked_at: i64) -> Result<Found, StoreError> {
        let backwards = start.cursor.is_some_and(|cursor| cursor.backwards);
        let (wanted, mut looks) = (start.rows + start.skip, looked_at);
        let (mut rows, mut stopped): (Vec<Row>, _) = (Vec::new(), None);
        for step in list.steps(&self.shards(list.kind).await?, start.cursor) {
            let walk = list.walk(&step, list.descending != backwards);
            let missing = wanted - rows.len() as i64;
            let walked = self.walk(&walk, step.behind, missing, &mut looks).await?;
            rows.extend(walked.rows);
            stopped = walked.stopped.map(|id| Cursor { backwards, rank: step.rank, time: 0, id });
            if rows.len() as i64 >= wanted || stopped.is_some() {
                break;
            }
        }
        let rows = rows.split_off(rows.len().min(start.skip as usize));
        Ok(Found { rows, stopped })
    }

    /// How many rows an indexed list has, counted no further than is bearable.
    pub(crate) async fn indexed_count(&self, list: &Indexed, looked_at: i64) -> Result<Count, StoreError> {
        let shards = self.shards(list.kind).await?;
        let (mut left, mut looks) = (MAX_FOUND_COUNTED + 1, looked_at);
        for step in list.steps(&shards, None) {
            let mut whole = true;
            if list.walked {
                let walk = list.walk(&step, list.descending);
                let (n, all) = self.walk_count(&walk, left, &mut looks).await?;
                (left, whole) = (left - n, all);
            } else {
                let (from, clauses) = list.rows(&step);
                left -= self.count_up_to(&from, &clauses, left).await?;
            }
            if left <= 0 {
                return Ok(Count::AtLeast(MAX_FOUND_COUNTED));
            }
            if !whole {
                return Ok(Count::AtLeast(MAX_FOUND_COUNTED + 1 - left));
            }
        }
        Ok(Count::Exact(MAX_FOUND_COUNTED + 1 - left))
    }
}
