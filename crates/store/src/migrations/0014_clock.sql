-- What doesn't follow from a clock: up to when forgetting believes it (see trusted.rs), and that entries of the feed were
-- forgotten.
CREATE TABLE upkeep (
    name TEXT NOT NULL PRIMARY KEY,
    n {int} NOT NULL
) {by_key};
INSERT INTO upkeep (name, n) SELECT 'feed.forgotten', 1 WHERE EXISTS (SELECT 1 FROM feed);
{late}
