//! What keeps a node that is older than the schema from writing. It would leave out what newer steps added (counts,
//! groups, the feed), and nothing would ever show that they drifted.
//!
//! Only PostgreSQL has several nodes, and there the database itself refuses: each connection says which step it
//! knows, and triggers compare that with the least that writers have to know. So a Watchpost that knows nothing of
//! this is refused as well. On SQLite one process has the file, and one that is older isn't started on it.

use crate::db::Engine;

/// The SQLSTATE of the refusal. Its class is that of interventions by the operator, which older versions take for
/// something that passes: they answer 503.
pub(crate) const OUTDATED: &str = "57WP1";

/// What every connection says about itself.
pub(crate) fn introduction(step: i64) -> String {
    format!("SET watchpost.step = '{step}'")
}

/// What is written by all that would leave something out, in the order in which writers come to it.
const GUARDED: [(&str, &str); 6] = [
    ("events", "INSERT"),
    ("alerts", "INSERT OR UPDATE"),
    ("alert_history", "INSERT"),
    ("jobs", "INSERT OR UPDATE"),
    ("search_queue", "UPDATE OR DELETE"),
    ("audit_log", "INSERT"),
];

/// psql and pg_restore pass, so that a restore of data alone does. The table is named with its schema: pg_restore
/// looks for tables in none.
const REFUSAL: &str = "
CREATE TABLE writers (one BIGINT PRIMARY KEY, least_step BIGINT NOT NULL);
INSERT INTO writers (one, least_step) VALUES (1, 0);
DO $make$ BEGIN EXECUTE format($function$
    CREATE FUNCTION refuse_older_writers() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        IF COALESCE(CAST(NULLIF(current_setting('watchpost.step', true), '') AS BIGINT), 0)
                < (SELECT w.least_step FROM %I.writers w)
            AND current_setting('application_name') NOT IN ('psql', 'pg_restore')
        THEN
            RAISE EXCEPTION USING ERRCODE = '57WP1',
                MESSAGE = 'this Watchpost is older than the schema of the database needs: it would leave something out',
                HINT = 'Upgrade this node.';
        END IF;
        RETURN NULL;
    END $body$
$function$, current_schema()); END $make$;";

/// What a migration adds for it.
pub(crate) fn migration(engine: Engine) -> String {
    if engine == Engine::Sqlite {
        return String::new();
    }
    let trigger = |(table, what): &(&str, &str)| {
        format!(
            "\nCREATE TRIGGER {table}_writers BEFORE {what} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_older_writers();"
        )
    };
    REFUSAL.to_owned() + &GUARDED.iter().map(trigger).collect::<String>()
}

/// What comes before a step that writers have to know: those that are writing end first, and what they wrote is there
/// when the step counts it.
pub(super) fn before(engine: Engine) -> Option<String> {
    let tables: Vec<&str> = GUARDED.iter().map(|(table, _)| *table).collect();
    let lock = || format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "));
    (engine == Engine::Postgres).then(lock)
}

/// What comes behind it: from its commit on, older nodes are refused.
pub(super) fn behind(engine: Engine, step: i64) -> Option<String> {
    let raise = || format!("UPDATE writers SET least_step = {step} WHERE least_step < {step}");
    (engine == Engine::Postgres).then(raise)
}
