-- What an event may say beside its description. Columns that may be empty cost no rewrite of the table.
ALTER TABLE events ADD COLUMN occurred_at {int};
ALTER TABLE events ADD COLUMN host TEXT;
ALTER TABLE events ADD COLUMN user_name TEXT;
ALTER TABLE events ADD COLUMN src_ip TEXT;
ALTER TABLE events ADD COLUMN dst_ip TEXT;
ALTER TABLE events ADD COLUMN attributes TEXT;

-- When an alert was first acknowledged, and first resolved.
ALTER TABLE alerts ADD COLUMN acknowledged_at {int};
ALTER TABLE alerts ADD COLUMN resolved_at {int};

-- Lists are put together from ranges of one status and severity each, so indexes with both serve all of them.
-- Those that replace these are built without holding up writers, see INDEXES.
DROP INDEX alerts_status;
DROP INDEX alerts_severity;
DROP INDEX alerts_source;
DROP INDEX alerts_type;

-- How much of what there was when: counts by the minute, the hour, the day and for all time (grain, in seconds;
-- 0 for all time), kept in the transaction that changes what they count. Lanes as for counters.
CREATE TABLE rollups (
    series {small} NOT NULL,
    grain {int} NOT NULL,
    bucket {int} NOT NULL,
    value TEXT NOT NULL,
    lane {int} NOT NULL,
    n {int} NOT NULL,
    PRIMARY KEY (series, grain, bucket, value, lane)
) {counting};

-- What came in under an Idempotency-Key, piece by piece: the same again stores nothing.
CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    piece {int} NOT NULL,
    body_hash TEXT NOT NULL,
    last {small} NOT NULL,
    first_event {int} NOT NULL,
    events {int} NOT NULL,
    at {int} NOT NULL,
    PRIMARY KEY (scope, piece)
) {by_key};
CREATE INDEX idempotency_at ON idempotency (at);

-- Counts of what is there already.
INSERT INTO rollups SELECT 1, 60, ((id >> 22) + 1704067200) / 60 * 60, CAST(severity AS TEXT), 0, COUNT(*) FROM events GROUP BY 3, 4;
INSERT INTO rollups SELECT 2, 60, ((id >> 22) + 1704067200) / 60 * 60, source_name, 0, COUNT(*) FROM events GROUP BY 3, 4;
INSERT INTO rollups SELECT 3, 60, ((id >> 22) + 1704067200) / 60 * 60, event_type, 0, COUNT(*) FROM events GROUP BY 3, 4;
INSERT INTO rollups SELECT 4, 60, created_at / 60000000 * 60, CAST(status AS TEXT) || '.' || CAST(severity AS TEXT), 0, COUNT(*) FROM alerts GROUP BY 3, 4;
INSERT INTO rollups SELECT series, 3600, bucket / 3600 * 3600, value, 0, CAST(SUM(n) AS BIGINT) FROM rollups WHERE grain = 60 GROUP BY 1, 3, 4;
INSERT INTO rollups SELECT series, 86400, bucket / 86400 * 86400, value, 0, CAST(SUM(n) AS BIGINT) FROM rollups WHERE grain = 60 GROUP BY 1, 3, 4;
INSERT INTO rollups SELECT series, 0, 0, value, 0, CAST(SUM(n) AS BIGINT) FROM rollups WHERE grain = 86400 GROUP BY 1, 4;
INSERT INTO rollups SELECT 9, 0, 0, CAST(status AS TEXT) || '.' || CAST(severity AS TEXT) || '.' || {folded:source_name}, 0, COUNT(*) FROM alerts GROUP BY 4;
INSERT INTO rollups SELECT 10, 0, 0, CAST(status AS TEXT) || '.' || CAST(severity AS TEXT) || '.' || {folded:event_type}, 0, COUNT(*) FROM alerts GROUP BY 4;
DELETE FROM counters WHERE name <> 'access.changes';
{search}
