-- Changes that were undone since, and the undos: they count in no figure. Empty for all others. Those that count have
-- an index of their own, see INDEXES.
ALTER TABLE alert_history ADD COLUMN undone {small};
UPDATE alert_history SET undone = 1 WHERE action = 'undo';
UPDATE alert_history SET undone = 1
    WHERE (alert_id, version) IN (SELECT u.alert_id, u.version - 1 FROM alert_history u WHERE u.action = 'undo');
DROP INDEX IF EXISTS alert_history_at;

-- When the alert was first acknowledged and resolved before a job changed it, and by which user. What older servers
-- wrote doesn't say so and leaves has_times empty.
ALTER TABLE job_alerts ADD COLUMN acknowledged_at {int};
ALTER TABLE job_alerts ADD COLUMN acknowledged_by TEXT;
ALTER TABLE job_alerts ADD COLUMN resolved_at {int};
ALTER TABLE job_alerts ADD COLUMN resolved_by TEXT;
ALTER TABLE job_alerts ADD COLUMN has_times {small};

-- Alerts that still name the time and the user of an acknowledgement or resolution that was undone.
UPDATE alerts SET
    acknowledged_at = (SELECT h.at FROM alert_history h WHERE h.alert_id = alerts.id AND h.undone IS NULL
        AND h.from_status <> 2 AND h.to_status = 2 ORDER BY h.version LIMIT 1),
    acknowledged_by = (SELECT h.actor FROM alert_history h WHERE h.alert_id = alerts.id AND h.undone IS NULL
        AND h.from_status <> 2 AND h.to_status = 2 ORDER BY h.version LIMIT 1),
    resolved_at = (SELECT h.at FROM alert_history h WHERE h.alert_id = alerts.id AND h.undone IS NULL
        AND h.from_status <> 3 AND h.to_status = 3 ORDER BY h.version LIMIT 1),
    resolved_by = (SELECT h.actor FROM alert_history h WHERE h.alert_id = alerts.id AND h.undone IS NULL
        AND h.from_status <> 3 AND h.to_status = 3 ORDER BY h.version LIMIT 1)
    WHERE id IN (SELECT u.alert_id FROM alert_history u WHERE u.action = 'undo');
