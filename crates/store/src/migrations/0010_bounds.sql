-- The session that a job was begun in, and why it was stopped before its end.
ALTER TABLE jobs ADD COLUMN session_id TEXT;
ALTER TABLE jobs ADD COLUMN stopped TEXT;
CREATE INDEX jobs_unfinished ON jobs (user_id) WHERE finished_at IS NULL;
