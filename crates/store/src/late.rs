//! Events of SQLite whose ids lie behind others that were stored before them, because a clock was ahead then. The search
//! index there goes by a mark that has passed their ids, so each transaction leaves a row that says which ids it brought.
//!
//! On PostgreSQL every transaction leaves such a row: see `index.rs`.

use crate::db::{Batch, Row};
use crate::index::{Kind, PROGRESS, ROUND_TEXTS, Round, SET_PROGRESS};
use crate::{Db, StoreError};
use std::collections::HashSet;
use std::sync::Arc;
use watchpost_model::{Event, EventId};

/// The table, on SQLite alone.
pub(crate) const TABLE: &str = "CREATE TABLE search_late (number INTEGER PRIMARY KEY AUTOINCREMENT, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL) STRICT;";

const LEAVE: &str = "INSERT INTO search_late (first_id, last_id) VALUES (?1, ?2)";
const WAITING: &str =
    "SELECT number, first_id, last_id FROM search_late WHERE number > ?1 ORDER BY number LIMIT ?2";
const NEWEST: &str = "SELECT MAX(number) FROM search_late";
const FORGET: &str = "DELETE FROM search_late WHERE number <= ?1";

/// How far the index is with these rows is written beside the marks, as if it were a third kind.
const LATE: i64 = 3;
/// Rows that one round takes.
const ROUND_RANGES: i64 = 256;
/// Rows that stay when they are done with: after a power failure the index may be behind, and needs them again.
const KEPT: i64 = 100_000;

/// Leaves the range of ids that a transaction brings. They are consecutive.
pub(crate) fn expect(batch: &mut Batch, first: EventId, last: EventId) {
    batch.any(LEAVE, vec![first.get().into(), last.get().into()]);
}

struct Late {
    number: i64,
    first: i64,
    last: i64,
}

impl Db {
    async fn progress(&self, kind: i64) -> Result<Option<i64>, StoreError> {
        self.read_one(PROGRESS, vec![kind.into()]).await?.map(|row| row.int(0)).transpose()
    }

    async fn late_behind(&self, number: i64) -> Result<Vec<Late>, StoreError> {
        let late = |row: &Row| Ok(Late { number: row.int(0)?, first: row.int(1)?, last: row.int(2)? });
        self.read(WAITING, vec![number.into(), ROUND_RANGES.into()]).await?.iter().map(late).collect()
    }

    /// Indexes events behind the mark, and late ones that it has passed. Each exactly once: what is behind the mark when it
    /// is read is never late, and late rows are read after that.
    pub(crate) async fn index_own_events(&self) -> Result<Round, StoreError> {
        let kind = Kind::Events;
        let mark = self.progress(kind as i64).await?.unwrap_or(0);
        let done = match self.progress(LATE).await? {
            Some(done) => done,
            // A new index: whatever is there already lies behind its mark.
            None if mark == 0 => {
                let newest = self.read_one(NEWEST, vec![]).await?.ok_or(StoreError::NotFound)?;
                newest.opt_int(0)?.unwrap_or(0)
            }
            None => 0,
        };
        let mut texts = self.texts_between(kind, mark + 1, i64::MAX).await?;
        let late = self.late_behind(done).await?;
        let many = late.len() as i64 == ROUND_RANGES
            || late.iter().map(|late| late.last - late.first + 1).sum::<i64>() > ROUND_TEXTS;
        // Those first, then: the mark must not pass any whose row hasn't been looked at.
        if many {
            texts.clear();
        }
        let full = many || texts.len() as i64 >= ROUND_TEXTS;
        let reached = texts.last().map_or(mark, |(id, _)| *id);
        let known: HashSet<i64> = texts.iter().map(|(id, _)| *id).collect();
        let mut now_done = done;
        for Late { number, first, last } in late {
            if many && texts.len() as i64 >= ROUND_TEXTS {
                break;
            }
            // The mark comes to those beyond it.
            let own = self.all_between(first, last.min(reached)).await?;
            texts.extend(own.into_iter().filter(|(id, _)| !known.contains(id)));
            now_done = number;
        }
        if reached == mark && now_done == done {
            return Ok(Round { texts: 0, more: false });
        }
        texts.sort_unstable_by_key(|(id, _)| *id);
        let mut batch = Batch::new();
        if reached > 0 {
            batch.any(SET_PROGRESS, vec![(kind as i64).into(), reached.into()]);
        }
        batch.any(SET_PROGRESS, vec![LATE.into(), now_done.into()]);
        let round = self.index_texts(kind, texts, mark, batch).await?;
        if now_done / KEPT > done / KEPT {
            let mut batch = Batch::new();
            batch.any(FORGET, vec![(now_done - KEPT).into()]);
            self.write(Arc::new(batch)).await?;
        }
        Ok(Round { more: full, ..round })
    }

    /// All events of a range: no more than a transaction stores.
    async fn all_between(&self, first: i64, last: i64) -> Result<Vec<(i64, Event)>, StoreError> {
        let (mut all, mut from) = (Vec::new(), first);
        while from <= last {
            let some = self.texts_between(Kind::Events, from, last).await?;
            from = match some.last() {
                Some((id, _)) if some.len() as i64 >= ROUND_TEXTS => id + 1,
                _ => last + 1,
            };
            all.extend(some);
        }
        Ok(all)
    }
}
