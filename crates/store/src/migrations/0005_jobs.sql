-- What is done with many alerts at once, piece by piece: how far it is, and what came of each.
CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    user_id {int},
    actor TEXT NOT NULL,
    -- What is done, and the request that asked for it, so that it can be gone on with.
    action TEXT NOT NULL,
    request TEXT NOT NULL,
    total {int} NOT NULL,
    done {int} NOT NULL,
    changed {int} NOT NULL,
    created_at {int} NOT NULL,
    -- When somebody last worked at it.
    worked_at {int} NOT NULL,
    finished_at {int},
    -- The job that this one takes back, and the one that takes this one back.
    undoes TEXT,
    undone_by TEXT
) {by_key};
CREATE INDEX jobs_created ON jobs (created_at);
CREATE TABLE job_alerts (
    job TEXT NOT NULL,
    alert_id {int} NOT NULL,
    -- Empty while it waits.
    outcome {small},
    -- The version that the change made, and how the alert stood before it.
    version {int},
    status {small},
    verdict {small},
    assignee_id {int},
    assignee TEXT,
    snoozed_until {int},
    tags TEXT,
    title TEXT,
    PRIMARY KEY (job, alert_id)
) {by_key};
