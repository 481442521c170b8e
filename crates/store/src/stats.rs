//! Counts over time, from what is kept in the transactions that change them: no table is scanned.

use crate::clauses::Clauses;
use crate::rollups::{ALL_TIME, GRAINS, OTHERS, Series};
use crate::{Db, StoreError};
use watchpost_model::Timestamp;

/// Classes of durations: eight to each doubling, so that a class is known to 9 %.
const CLASSES_PER_DOUBLING: f64 = 8.0;

/// The class of a duration in milliseconds.
pub(crate) fn duration_class(millis: i64) -> i64 {
    ((millis.max(1) as f64).log2() * CLASSES_PER_DOUBLING).round() as i64
}

/// The duration in the middle of a class, in milliseconds.
fn class_duration(class: i64) -> f64 {
    (class as f64 / CLASSES_PER_DOUBLING).exp2()
}

/// How much of what there was in one stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When the stretch begins.
    pub from: Timestamp,
    /// The value that was counted.
    pub value: String,
    /// How many.
    pub n: i64,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durations {
    /// How many there were.
    pub n: i64,
    /// On average, in seconds.
    pub mean: f64,
    /// Nine in ten took no longer, in seconds; known to 9 %.
    pub p90: f64,
}

/// Where a row of a list lies that was asked for by its number.
pub(crate) struct Place {
    /// The list goes on from here; nothing means from its beginning.
    pub(crate) edge: Option<Timestamp>,
    /// How many rows to pass over from there.
    pub(crate) skip: i64,
}

fn seconds(at: i64) -> Timestamp {
    Timestamp::from_micros(0).plus_seconds(at)
}

impl Db {
    fn buckets_of(&self, series: Series, grain: i64, from: i64, until: i64, values: &[String]) -> Clauses {
        let mut clauses = Clauses::new(self.engine());
        clauses.with("series = {}", series as i64);
        clauses.with("grain = {}", grain);
        clauses.with("bucket >= {}", from);
        clauses.with("bucket < {}", until);
        if !values.is_empty() {
            let places: Vec<_> =
                values.iter().map(|value| format!("?{}", clauses.param(value.as_str()))).collect();
            clauses.push(format!("value IN ({})", places.join(", ")));
        }
        clauses
    }

    /// Counts by bucket and value, in order of time; of these values, or of all when there are none. The ends are
    /// rounded outwards to whole buckets.
    pub async fn counts_over_time(
        &self,
        series: Series,
        grain: i64,
        from: Timestamp,
        until: Timestamp,
        values: &[String],
    ) -> Result<Vec<Bucket>, StoreError> {
        let from = from.seconds().div_euclid(grain) * grain;
        let clauses = self.buckets_of(series, grain, from, until.seconds(), values);
        let matching = clauses.sql();
        let sql = format!(
            "SELECT bucket, value, CAST(SUM(n) AS BIGINT) FROM rollups{matching} GROUP BY bucket, value ORDER BY bucket, value"
        );
        let rows = self.read(sql, clauses.params).await?;
        rows.iter()
            .map(|row| Ok(Bucket { from: seconds(row.int(0)?), value: row.text(1)?, n: row.int(2)? }))
            .collect()
    }

    /// The values with the largest counts, largest first.
    pub async fn top(
        &self,
        series: Series,
        grain: i64,
        from: Timestamp,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        let from = from.seconds().div_euclid(grain) * grain;
        let mut clauses = self.buckets_of(series, grain, from, until.seconds(), &[]);
        let (matching, limit) = (clauses.sql(), clauses.param(limit));
        let sql = format!(
            "SELECT value, CAST(SUM(n) AS BIGINT) FROM rollups{matching} GROUP BY value ORDER BY SUM(n) DESC, value LIMIT ?{limit}"
        );
        let rows = self.read(sql, clauses.params).await?;
        let named = |name: String| if name == OTHERS { "(others)".to_owned() } else { name };
        rows.iter().map(|row| Ok((named(row.text(0)?), row.int(1)?))).collect()
    }

    /// How long it took until alerts were acknowledged (or resolved) that were so at this time; nothing when none was.
    pub async fn durations(
        &self,
        resolved: bool,
        grain: i64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Durations>, StoreError> {
        let (classes, total) = match resolved {
            false => (Series::AcknowledgeTimes, Series::AcknowledgeTotal),
            true => (Series::ResolveTimes, Series::ResolveTotal),
        };
        let mut counts: Vec<(i64, i64)> = Vec::new();
        for bucket in self.counts_over_time(classes, grain, from, until, &[]).await? {
            let class = bucket
                .value
                .parse()
                .map_err(|_| StoreError::Internal(format!("{} is no class of durations", bucket.value)))?;
            counts.push((class, bucket.n));
        }
        counts.sort_unstable();
        let n: i64 = counts.iter().map(|(_, n)| n).sum();
        if n <= 0 {
            return Ok(None);
        }
        let millis: i64 =
            self.counts_over_time(total, grain, from, until, &[]).await?.iter().map(|b| b.n).sum();
        let wanted = (n * 9 + 9) / 10;
        let mut seen = 0;
        let reached = counts.iter().find(|(_, n)| {
            seen += n;
            seen >= wanted
        });
        let p90 = reached.map_or(0.0, |(class, _)| class_duration(*class) / 1_000.0);
        Ok(Some(Durations { n, mean: millis as f64 / n as f64 / 1_000.0, p90 }))
    }

    /// Finds the place of a row by its number in a list sorted by time: which day, which hour of it, which minute of
    /// that. Nothing when the list has fewer rows.
    pub(crate) async fn seek(
        &self,
        series: Series,
        values: &[String],
        descending: bool,
        offset: i64,
    ) -> Result<Option<Place>, StoreError> {
        let (mut skip, mut from, mut until) = (offset, 0, i64::MAX);
        let mut edge = None;
        if offset == 0 {
            return Ok(Some(Place { edge, skip }));
        }
        for grain in GRAINS.into_iter().rev().filter(|grain| *grain != ALL_TIME) {
            let clauses = self.buckets_of(series, grain, from, until, values);
            let (matching, direction) = (clauses.sql(), if descending { "DESC" } else { "ASC" });
            let sql = format!(
                "SELECT bucket, CAST(SUM(n) AS BIGINT) FROM rollups{matching} GROUP BY bucket ORDER BY bucket {direction}"
            );
            let mut found = None;
            let mut left = skip;
            for row in self.read(sql, clauses.params).await? {
                let (bucket, n) = (row.int(0)?, row.int(1)?);
                if left < n {
                    found = Some(bucket);
                    break;
                }
                left -= n;
            }
            match found {
                Some(bucket) => {
                    (from, until, skip) = (bucket, bucket + grain, left);
                    edge = Some(seconds(if descending { until } else { from }));
                }
                None if edge.is_none() => return Ok(None),
                // Finer counts of long ago are forgotten: the rows of the hour are passed over.
                None => break,
            }
        }
        Ok(Some(Place { edge, skip }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_known_to_nine_percent() {
        for millis in [1, 7, 1_000, 61_234, 86_400_000, 10_i64.pow(12)] {
            let told = class_duration(duration_class(millis));
            assert!((told / millis as f64 - 1.0).abs() < 0.09, "{millis} is told as {told}");
        }
    }
}
