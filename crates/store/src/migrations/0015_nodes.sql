-- The nodes that run on this database, and the newest step that each knows: a row each, renewed while it runs.
CREATE TABLE nodes (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    step {int} NOT NULL,
    started_at {int} NOT NULL,
    seen_at {int} NOT NULL
) {by_key};
{writers}
{feed_origin}
