-- Alerts of one rule, source, type and severity, summed up. Lanes as for counts; names without letter case, and as
-- they were first written.
CREATE TABLE alert_groups (
    rule TEXT NOT NULL,
    severity {small} NOT NULL,
    source_key TEXT NOT NULL,
    type_key TEXT NOT NULL,
    lane {int} NOT NULL,
    source_name TEXT NOT NULL,
    event_type TEXT NOT NULL,
    open {int} NOT NULL,
    acknowledged {int} NOT NULL,
    resolved {int} NOT NULL,
    first_at {int} NOT NULL,
    last_at {int} NOT NULL,
    last_alert {int} NOT NULL,
    PRIMARY KEY (rule, severity, source_key, type_key, lane)
) {counting};
INSERT INTO alert_groups (rule, severity, source_key, type_key, lane, source_name, event_type, open, acknowledged, resolved, first_at, last_at, last_alert)
    SELECT rule, severity, {folded:source_name}, {folded:event_type}, 0, MIN(source_name), MIN(event_type),
        CAST(SUM(CASE WHEN status = 1 THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN status = 2 THEN 1 ELSE 0 END) AS BIGINT),
        CAST(SUM(CASE WHEN status = 3 THEN 1 ELSE 0 END) AS BIGINT), MIN(created_at), MAX(created_at), MAX(id)
    FROM alerts GROUP BY 1, 2, 3, 4;
