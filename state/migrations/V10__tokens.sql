-- The tokens that were issued, each by its id: the token itself is kept nowhere. A token without a
-- row, of before or of a catalog that was lost since, gets one when it is first used.
CREATE TABLE tokens (
    row_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    token_id     TEXT    NOT NULL UNIQUE CHECK (length(token_id) = 32),
    user_id      INTEGER NOT NULL REFERENCES users (user_id),
    key_id       TEXT    NOT NULL CHECK (length(key_id) = 16),
    issued_at    INTEGER NOT NULL CHECK (issued_at >= 0),
    expires_at   INTEGER NOT NULL CHECK (expires_at >= 0),
    last_used_at INTEGER NULL,
    revoked_at   INTEGER NULL
) STRICT;
