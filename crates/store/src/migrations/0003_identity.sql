-- What a sensor key is held to, beside the time it ends.
ALTER TABLE sensor_keys ADD COLUMN source_name TEXT;
ALTER TABLE sensor_keys ADD COLUMN max_severity {small};
ALTER TABLE sensor_keys ADD COLUMN networks TEXT;
ALTER TABLE sensor_keys ADD COLUMN rate_count {int};
ALTER TABLE sensor_keys ADD COLUMN rate_seconds {int};

-- Until when a password works that has to be changed; empty for one's own.
ALTER TABLE users ADD COLUMN password_until {int};
-- The second factor, sealed: the one in use, and one that waits for its first code.
ALTER TABLE users ADD COLUMN factor_secret TEXT;
ALTER TABLE users ADD COLUMN factor_pending TEXT;
-- The newest time step a code was taken for: no code works twice.
ALTER TABLE users ADD COLUMN factor_step {int};
-- Hashes of the codes for whoever lost the second factor, each good once, separated by blanks.
ALTER TABLE users ADD COLUMN recovery_codes TEXT;
-- Who this is for the provider of single sign-on.
ALTER TABLE users ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX users_external_id ON users (external_id);

-- One row for each log-in that goes on, in the console or with tokens. Whoever was logged in has to do so again.
DROP TABLE sessions;
DROP TABLE refresh_tokens;
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    kind {small} NOT NULL,
    -- The hash of the cookie, or of the id of the refresh token that can be used next.
    secret_hash TEXT NOT NULL CONSTRAINT sessions_secret_hash UNIQUE,
    user_id {int} NOT NULL,
    token_epoch {int} NOT NULL,
    created_at {int} NOT NULL,
    last_seen_at {int} NOT NULL,
    expires_at {int} NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
) {by_key};
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Attempts to log in that didn't end well, by what they have in common; all nodes count together.
CREATE TABLE login_attempts (
    subject TEXT NOT NULL PRIMARY KEY,
    attempts {int} NOT NULL,
    last_at {int} NOT NULL,
    wait_until {int} NOT NULL
) {by_key};
CREATE INDEX login_attempts_last ON login_attempts (last_at);

-- From where people have logged in: there, strangers' attempts don't hold them up.
CREATE TABLE login_networks (
    user_id {int} NOT NULL,
    network TEXT NOT NULL,
    last_at {int} NOT NULL,
    PRIMARY KEY (user_id, network)
) {by_key};

-- Who did what. Each row carries the hash of itself and the row before it. What was written before there were
-- hashes is kept without one.
{sha256_hex}
CREATE TABLE audit_log (
    id {id},
    at {int} NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL
) {strict};
CREATE INDEX audit_log_at ON audit_log (at, id);
CREATE INDEX audit_log_actor ON audit_log (actor, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE INDEX audit_log_object ON audit_log (object, id);
INSERT INTO audit_log (id, at, actor, address, action, object, detail, hash)
    SELECT id, at, actor, '', action, object, detail, '' FROM audit;
DROP TABLE audit;

-- The end of the chain: writers wait for each other here.
CREATE TABLE audit_head (
    one {id},
    first_id {int} NOT NULL,
    last_id {int} NOT NULL,
    hash TEXT NOT NULL
) {strict};
INSERT INTO audit_head (one, first_id, last_id, hash)
    SELECT 1, COALESCE(MAX(id), 0) + 1, COALESCE(MAX(id), 0), '' FROM audit_log;
