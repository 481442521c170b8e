-- Whether a session was opened with a second factor (1: Watchpost's own, 2: the provider of single sign-on said so), and
-- when its user last showed who they are in it. Empty in sessions from before, which count as having shown neither.
ALTER TABLE sessions ADD COLUMN second_factor {small};
ALTER TABLE sessions ADD COLUMN proved_at {int};
-- A secret that waits for its first code is kept by who asked for it, sealed: nothing reads this column any more.
UPDATE users SET factor_pending = NULL WHERE factor_pending IS NOT NULL;
