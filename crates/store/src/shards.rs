//! Where one part of the search index ends and the next begins.
//!
//! A part takes the ids from its first one up to the next part's. A new one begins where the last one is full, and where
//! ids are far ahead of those before them: a clock that was wrong for a moment must not keep a part from ever being left.

use crate::db::{Engine, Row};
use crate::index::{Kind, SHARD_LIMIT, Shard};
use crate::{Db, StoreError};
use std::sync::atomic::Ordering;
use watchpost_model::id::EVENT_IDS_PER_SECOND;

/// Events that are a week ahead of those before them begin a part of their own.
const FAR_AHEAD: i64 = 7 * 86_400 * EVENT_IDS_PER_SECOND;

const SHARDS: &str = "SELECT number, from_id, texts FROM search_shards WHERE kind = ?1 ORDER BY from_id";
const STORED: &str = "SELECT COUNT(*) FROM (SELECT id FROM events WHERE id >= ?1 AND id < ?2 LIMIT ?3) s";

impl Db {
    /// The parts of the index in the order of their ids.
    pub(crate) async fn shards(&self, kind: Kind) -> Result<Vec<Shard>, StoreError> {
        let shard = |row: &Row| Ok(Shard { number: row.int(0)?, from_id: row.int(1)?, texts: row.int(2)? });
        self.read(SHARDS, vec![(kind as i64).into()]).await?.iter().map(shard).collect()
    }

    /// The same when there is a place for these texts, which are in order.
    pub(crate) async fn shards_for(
        &self,
        kind: Kind,
        ids: &[i64],
        mark: i64,
    ) -> Result<Vec<Shard>, StoreError> {
        let mut shards = self.shards(kind).await?;
        let limit = match SHARD_LIMIT.load(Ordering::Relaxed) {
            0 => self.engine().shard_texts(),
            limit => limit,
        };
        for own in ids.chunk_by(|one, next| next - one < FAR_AHEAD) {
            let Some(first) = own.first() else { continue };
            let Some(place) = shards.iter().rposition(|shard| shard.from_id <= *first) else {
                shards.push(self.open_shard(kind, &shards, 0, 0).await?);
                continue;
            };
            let full = shards[place].texts >= limit;
            if *first > shards[place].from_id
                && (full || self.is_far_ahead(kind, shards[place], *first).await?)
            {
                let end = shards.get(place + 1).map_or(i64::MAX, |next| next.from_id);
                let own = &own[..own.partition_point(|id| *id < end)];
                if let Some(from) = self.beginning(kind, shards[place], end, own, mark).await? {
                    shards.insert(place + 1, self.open_shard(kind, &shards, place, from).await?);
                }
            }
        }
        Ok(shards)
    }

    async fn is_far_ahead(&self, kind: Kind, shard: Shard, first: i64) -> Result<bool, StoreError> {
        // Alerts have numbers without gaps.
        if kind == Kind::Alerts {
            return Ok(false);
        }
        let before = self.last_event(shard.from_id, first).await?;
        Ok(before >= shard.from_id && first - before >= FAR_AHEAD)
    }

    /// From which id on a new part can take texts: none that is indexed already may lie behind it. Nothing when there is no
    /// such place among these.
    async fn beginning(
        &self,
        kind: Kind,
        shard: Shard,
        end: i64,
        own: &[i64],
        mark: i64,
    ) -> Result<Option<i64>, StoreError> {
        let (Some(first), Some(last)) = (own.first(), own.last()) else { return Ok(None) };
        if self.engine() == Engine::Postgres {
            // Transactions overlap: some of those behind these may have been indexed before them.
            let indexed = format!("SELECT MAX(id) FROM {}", kind.table(shard.number));
            let row = self.read_one(indexed, vec![]).await?.ok_or(StoreError::NotFound)?;
            let from = row.opt_int(0)?.map_or(*first, |indexed| indexed + 1).max(*first);
            return Ok((from <= *last).then_some(from));
        }
        if *first > mark || kind == Kind::Alerts {
            return Ok(Some(*first));
        }
        // Late ones: the mark has passed them, and what else lies between may be indexed.
        let passed = own.partition_point(|id| *id <= mark) as i64;
        let params = vec![(*first).into(), end.min(mark + 1).into(), (passed + 1).into()];
        let stored = self.read_one(STORED, params).await?.ok_or(StoreError::NotFound)?.int(0)?;
        Ok((stored == passed).then_some(*first))
    }

    /// Begins a new part of the index behind another.
    async fn open_shard(
        &self,
        kind: Kind,
        all: &[Shard],
        behind: usize,
        from_id: i64,
    ) -> Result<Shard, StoreError> {
        let number = all.iter().map(|shard| shard.number + 1).max().unwrap_or(0);
        let engine = self.engine();
        let record = format!(
            "INSERT INTO search_shards (kind, number, from_id, texts) VALUES ({}, {number}, {from_id}, 0)",
            kind as i64
        );
        let mut script = vec![engine.index_table(&kind.table(number)), record];
        if engine == Engine::Postgres
            && let Some(full) = all.get(behind)
        {
            // It won't change much any more: what the planner learns of it now stays true.
            script.push(format!("ANALYZE {}", kind.table(full.number)));
        }
        self.index_script(script).await?;
        Ok(Shard { number, from_id, texts: 0 })
    }
}
