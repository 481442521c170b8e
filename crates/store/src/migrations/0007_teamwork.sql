-- The severity of an alert's event, where somebody gave the alert another; empty while they are the same.
ALTER TABLE alerts ADD COLUMN event_severity {small};
ALTER TABLE job_alerts ADD COLUMN severity {small};

-- What was committed, one row a transaction: which events and alerts it brought and which alerts it changed.
-- Whoever follows reads it in the order of its key; see feed.rs for what makes that safe.
CREATE TABLE feed (
    {feed_key}
    at {int} NOT NULL,
    -- Ranges of ids, such as 5-9,12.
    events TEXT NOT NULL,
    alerts TEXT NOT NULL,
    -- Alerts with the versions that changes made of them, such as 7.2,9.4.
    changes TEXT NOT NULL
) {strict};

-- Lists that people keep under a name, for themselves or for all.
CREATE TABLE views (
    id {id},
    user_id {int} NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    query TEXT NOT NULL,
    shared {small} NOT NULL,
    created_at {int} NOT NULL,
    version {int} NOT NULL,
    CONSTRAINT views_user_id UNIQUE (user_id, name_key)
) {strict};
INSERT INTO id_blocks (name, next) VALUES ('views', 1);

-- Up to when people have seen what others did.
ALTER TABLE users ADD COLUMN seen_until {int};
-- How pages look for them: theme and time zone.
ALTER TABLE users ADD COLUMN theme TEXT;
ALTER TABLE users ADD COLUMN time_zone TEXT;
