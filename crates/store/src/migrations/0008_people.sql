-- Whether the account was made by sign-up rather than by an Admin: it hands in no events.
ALTER TABLE users ADD COLUMN signed_up {small};

-- Every name that a user has or had, and whose it is. What was done under a name stays that user's: when its user is
-- renamed no other user can take it.
CREATE TABLE user_names (
    name_key TEXT NOT NULL CONSTRAINT user_names_name_key PRIMARY KEY,
    user_id {int} NOT NULL
) {by_key};
INSERT INTO user_names (name_key, user_id) SELECT username_key, id FROM users;
