//! Lists that leave something out which no index knows. They are walked along in windows: so many rows are looked at
//! for a page and no more, however few of them stay. A page that isn't full by then says where to go on.

use crate::clauses::Clauses;
use crate::db::Row;
use crate::{Db, StoreError};

/// Rows that are looked at for one page: a few hundredths of a second, wherever they are.
pub(crate) const LOOKED_AT: i64 = 10_000;
/// Rows in the first window for each row that is wanted; each further window has four times as many.
pub(crate) const FIRST_WINDOW: i64 = 4;

/// Rows in the order of their ids, of which some stay.
pub(crate) struct Walk {
    /// What is walked along, and the conditions that an index knows.
    pub(crate) along: (String, Clauses),
    /// The column of the ids.
    pub(crate) id: &'static str,
    pub(crate) columns: String,
    /// The rows that stay, and all conditions.
    pub(crate) rows: (String, Clauses),
    pub(crate) descending: bool,
}

/// Rows that were found, in the order of the walk.
pub(crate) struct Walked {
    pub(crate) rows: Vec<Row>,
    /// The id up to which it was looked; nothing when there are enough rows, or no more of them.
    pub(crate) stopped: Option<i64>,
}

impl Walk {
    /// Adds which ids are looked at: those behind one, up to another.
    fn between(&self, clauses: &mut Clauses, behind: Option<i64>, up_to: Option<i64>) {
        if let Some(behind) = behind {
            clauses.behind_id(self.id, behind, self.descending);
        }
        match up_to {
            Some(up_to) if self.descending => clauses.at_least(self.id, up_to),
            Some(up_to) => clauses.below(self.id, up_to.saturating_add(1)),
            None => {}
        }
    }

    const fn direction(&self) -> &'static str {
        if self.descending { "DESC" } else { "ASC" }
    }
}

impl Db {
    /// How many of so many rows there are behind a place, and the last of them.
    async fn window(
        &self,
        walk: &Walk,
        behind: Option<i64>,
        size: i64,
    ) -> Result<(i64, Option<i64>), StoreError> {
        let (from, mut clauses) = walk.along.clone();
        walk.between(&mut clauses, behind, None);
        let (matching, size, id, direction) = (clauses.sql(), clauses.param(size), walk.id, walk.direction());
        let last = if walk.descending { "MIN" } else { "MAX" };
        let sql = format!(
            "SELECT COUNT(*), {last}(w.id) FROM (SELECT {id} AS id FROM {from}{matching} ORDER BY {id} {direction} LIMIT ?{size}) w"
        );
        let row = self.read_one(sql, clauses.params).await?.ok_or(StoreError::NotFound)?;
        Ok((row.int(0)?, row.opt_int(1)?))
    }

    /// The next rows that stay, until there are enough or so many were looked at, which it counts down.
    pub(crate) async fn walk(
        &self,
        walk: &Walk,
        mut behind: Option<i64>,
        wanted: i64,
        looks: &mut i64,
    ) -> Result<Walked, StoreError> {
        let (mut rows, mut size): (Vec<Row>, i64) = (Vec::new(), wanted.saturating_mul(FIRST_WINDOW));
        loop {
            // One at least: whoever asks again and again gets to the end.
            let window = size.min(*looks).max(1);
            let (seen, last) = self.window(walk, behind, window).await?;
            let whole = seen < window;
            *looks -= seen;
            let (from, mut clauses) = walk.rows.clone();
            walk.between(&mut clauses, behind, last);
            let missing = wanted - rows.len() as i64;
            let (matching, limit) = (clauses.sql(), clauses.param(missing));
            let (columns, id, direction) = (&walk.columns, walk.id, walk.direction());
            let sql =
                format!("SELECT {columns} FROM {from}{matching} ORDER BY {id} {direction} LIMIT ?{limit}");
            if seen > 0 {
                rows.extend(self.read(sql, clauses.params).await?);
            }
            if rows.len() as i64 >= wanted || whole {
                return Ok(Walked { rows, stopped: None });
            }
            if *looks <= 0 {
                return Ok(Walked { rows, stopped: last });
            }
            (behind, size) = (last, size.saturating_mul(4));
        }
    }

    /// How many rows stay, up to a bound, of so many that are looked at; and whether those were all.
    pub(crate) async fn walk_count(
        &self,
        walk: &Walk,
        bound: i64,
        looks: &mut i64,
    ) -> Result<(i64, bool), StoreError> {
        let window = (*looks).max(1);
        let (seen, last) = self.window(walk, None, window).await?;
        *looks -= seen;
        if seen == 0 {
            return Ok((0, true));
        }
        let (from, mut clauses) = walk.rows.clone();
        walk.between(&mut clauses, None, last);
        let stay = self.count_up_to(&from, &clauses, bound).await?;
        Ok((stay, seen < window && stay < bound))
    }
}
