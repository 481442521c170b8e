-- Blocks of ids that the application gives out itself.
CREATE TABLE id_blocks (
    name TEXT NOT NULL PRIMARY KEY,
    next {int} NOT NULL
) {by_key};
INSERT INTO id_blocks (name, next) VALUES ('events', 1), ('alerts', 1), ('users', 1), ('keys', 1);

-- What sensors saw. Ids lead with time, so this is in order of time and, on PostgreSQL, partitioned by it.
CREATE TABLE events (
    id {id},
    created_at {int} NOT NULL,
    source_name TEXT NOT NULL,
    event_type TEXT NOT NULL,
    severity {small} NOT NULL,
    description TEXT NOT NULL,
    user_id {int},
    key_id {int}
) {by_time};

CREATE TABLE alerts (
    id {id},
    event_id {int} NOT NULL,
    rule TEXT NOT NULL,
    source_name TEXT NOT NULL,
    event_type TEXT NOT NULL,
    severity {small} NOT NULL,
    status {small} NOT NULL,
    created_at {int} NOT NULL,
    updated_at {int} NOT NULL,
    version {int} NOT NULL,
    CONSTRAINT alerts_event_id UNIQUE (event_id, rule)
) {strict};
CREATE INDEX alerts_created ON alerts (created_at, id);
CREATE INDEX alerts_status ON alerts (status, created_at, id);
CREATE INDEX alerts_severity ON alerts (severity, created_at, id);
CREATE INDEX alerts_status_severity ON alerts (status, severity, created_at, id);
CREATE INDEX alerts_source ON alerts ({folded:source_name}, created_at, id);
CREATE INDEX alerts_type ON alerts ({folded:event_type}, created_at, id);

-- Each change of an alert's status; the version is the one the change made.
CREATE TABLE alert_history (
    alert_id {int} NOT NULL,
    version {int} NOT NULL,
    at {int} NOT NULL,
    actor TEXT NOT NULL,
    from_status {small} NOT NULL,
    to_status {small} NOT NULL,
    PRIMARY KEY (alert_id, version)
) {by_key};

-- Counts kept in the transaction that changes what they count. Writers that work side by side each add to
-- a lane of their own; the count is the sum.
CREATE TABLE counters (
    name TEXT NOT NULL,
    lane {int} NOT NULL,
    n {int} NOT NULL,
    PRIMARY KEY (name, lane)
) {by_key};
INSERT INTO counters (name, lane, n) VALUES ('access.changes', 0, 0);

CREATE TABLE users (
    id {id},
    username TEXT NOT NULL,
    username_key TEXT NOT NULL CONSTRAINT users_username_key UNIQUE,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    active {small} NOT NULL,
    -- Grows when older tokens have to die.
    token_epoch {int} NOT NULL,
    created_at {int} NOT NULL,
    updated_at {int} NOT NULL,
    last_login_at {int},
    version {int} NOT NULL
) {strict};

CREATE TABLE sensor_keys (
    id {id},
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    secret_hash TEXT NOT NULL CONSTRAINT sensor_keys_secret_hash UNIQUE,
    created_at {int} NOT NULL,
    expires_at {int},
    revoked_at {int},
    last_used_at {int}
) {strict};

-- Refresh tokens, by the hash of their jti. A used one is kept until it would have expired, so that a
-- second use is recognised as theft.
CREATE TABLE refresh_tokens (
    jti_hash TEXT NOT NULL PRIMARY KEY,
    family TEXT NOT NULL,
    user_id {int} NOT NULL,
    expires_at {int} NOT NULL,
    used_at {int}
) {by_key};
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

-- Sessions of the console, by the hash of their cookie.
CREATE TABLE sessions (
    id_hash TEXT NOT NULL PRIMARY KEY,
    user_id {int} NOT NULL,
    token_epoch {int} NOT NULL,
    created_at {int} NOT NULL,
    last_seen_at {int} NOT NULL,
    expires_at {int} NOT NULL
) {by_key};
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Who changed what about people, keys and settings.
CREATE TABLE audit (
    id {auto_id},
    at {int} NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
) {strict};
