-- One-time secrets, each of which a new client exchanges for a token. The secret itself is kept nowhere.
CREATE TABLE joins (
    secret_hash TEXT    NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 64),
    user_id     INTEGER NOT NULL REFERENCES users (user_id),
    token_ttl_s INTEGER NOT NULL CHECK (token_ttl_s > 0),
    made_at     INTEGER NOT NULL CHECK (made_at >= 0),
    expires_at  INTEGER NOT NULL CHECK (expires_at >= 0),
    used_at     INTEGER NULL
) STRICT;
