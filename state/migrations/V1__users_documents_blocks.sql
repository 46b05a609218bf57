-- Ids are never reused. Times are milliseconds since 1970-01-01 UTC. The words
-- of `status` and `on_conflict` are those of the wire. FORMAT.md explains each
-- column; a check here guards an invariant that a hand edit could break unseen.

CREATE TABLE users (
    user_id    INTEGER PRIMARY KEY AUTOINCREMENT CHECK (user_id > 0),
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    removed_at INTEGER NULL
) STRICT;

CREATE TABLE documents (
    document_id    INTEGER PRIMARY KEY AUTOINCREMENT CHECK (document_id > 0),
    user_id        INTEGER NOT NULL REFERENCES users (user_id),
    folder         TEXT    NOT NULL,
    filename       TEXT    NOT NULL,
    filesize       INTEGER NOT NULL CHECK (filesize >= 0),
    blake3         BLOB    NULL CHECK (length(blake3) = 32),
    status         TEXT    NOT NULL CHECK (status IN
        ('uploading', 'publishing', 'completed', 'failed', 'cancelled', 'expired')),
    on_conflict    TEXT    NOT NULL CHECK (on_conflict IN ('rename', 'reject')),
    chunk_size     INTEGER NULL,
    durable_offset INTEGER NOT NULL CHECK (durable_offset BETWEEN 0 AND filesize),
    file_path      TEXT    NULL,
    path_key       TEXT    NULL,
    reason         TEXT    NULL,
    started_at     INTEGER NOT NULL,
    last_chunk_at  INTEGER NOT NULL,
    created_at     INTEGER NULL,
    finished_at    INTEGER NULL,
    CHECK ((finished_at IS NULL) = (status IN ('uploading', 'publishing'))),
    CHECK ((created_at IS NOT NULL) = (status = 'completed')),
    CHECK ((file_path IS NOT NULL) = (status IN ('publishing', 'completed'))),
    CHECK ((path_key IS NOT NULL) = (status IN ('publishing', 'completed'))),
    CHECK ((blake3 IS NOT NULL) = (status IN ('publishing', 'completed')))
) STRICT;

-- Two documents of one user never have, nor are promised, the same place.
CREATE UNIQUE INDEX documents_place ON documents (user_id, path_key) WHERE path_key IS NOT NULL;

-- What recovery, resuming, the cap on unfinished uploads and expiry look at: a
-- handful of rows beside any number of finished ones. The column that is always
-- NULL leads, so that a search without a user is one of the index too.
CREATE INDEX documents_unfinished ON documents (finished_at, user_id, document_id)
    WHERE finished_at IS NULL;

-- Whether a user has this file already.
CREATE INDEX documents_content ON documents (user_id, filesize, blake3) WHERE created_at IS NOT NULL;

-- The verified blocks of unfinished uploads.
CREATE TABLE blocks (
    document_id INTEGER NOT NULL REFERENCES documents (document_id) ON DELETE CASCADE,
    block_index INTEGER NOT NULL CHECK (block_index >= 0),
    cv          BLOB    NOT NULL CHECK (length(cv) = 32),
    PRIMARY KEY (document_id, block_index)
) STRICT, WITHOUT ROWID;
