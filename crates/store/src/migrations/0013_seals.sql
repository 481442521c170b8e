-- Who did it, by what doesn't change: `user:7`, `key:3`. Empty for what older servers wrote.
ALTER TABLE audit_log ADD COLUMN actor_id TEXT NOT NULL DEFAULT '';
-- What only a server with the secret can make of the row (HMAC). Empty for what older servers wrote.
ALTER TABLE audit_log ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_log_actor_id ON audit_log (actor_id, id);

-- Where the chain stood when a server looked at it, sealed with the secret: nobody without it writes the chain anew
-- without it showing. Rows are only added.
CREATE TABLE audit_seals (
    n {auto_id},
    at {int} NOT NULL,
    -- Why it was made: 0 as a matter of course, 1 because somebody at the command line took the log as it stood.
    kind {small} NOT NULL,
    -- The last row that it vouches for, with its hash, and where the chain begins.
    row_id {int} NOT NULL,
    hash TEXT NOT NULL,
    first_id {int} NOT NULL,
    -- A hash over the rows before the chain; empty where there are none.
    earlier TEXT NOT NULL,
    key_id TEXT NOT NULL,
    mac TEXT NOT NULL
) {strict};
CREATE INDEX audit_seals_mac ON audit_seals (mac);
