-- What people make of an alert. Columns that may be empty cost no rewrite of the table.
ALTER TABLE alerts ADD COLUMN title TEXT;
ALTER TABLE alerts ADD COLUMN assignee_id {int};
ALTER TABLE alerts ADD COLUMN snoozed_until {int};
ALTER TABLE alerts ADD COLUMN verdict {small};
ALTER TABLE alerts ADD COLUMN acknowledged_by TEXT;
ALTER TABLE alerts ADD COLUMN resolved_by TEXT;
-- Its tags, separated by blanks: as they are read. The table of tags is what alerts are found by.
ALTER TABLE alerts ADD COLUMN tags TEXT;
CREATE TABLE alert_tags (
    tag TEXT NOT NULL,
    created_at {int} NOT NULL,
    alert_id {int} NOT NULL,
    PRIMARY KEY (tag, created_at, alert_id)
) {by_key};

-- What else than a change of status happened; empty for that.
ALTER TABLE alert_history ADD COLUMN action TEXT;
ALTER TABLE alert_history ADD COLUMN from_value TEXT;
ALTER TABLE alert_history ADD COLUMN to_value TEXT;
ALTER TABLE alert_history ADD COLUMN verdict {small};
ALTER TABLE alert_history ADD COLUMN why TEXT;
