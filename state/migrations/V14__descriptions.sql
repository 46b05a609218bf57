-- What clients have said of documents that no rule of the server reads, and the hash that they
-- expect of the whole file. Most documents have no row.
CREATE TABLE descriptions (
    document_id     INTEGER NOT NULL PRIMARY KEY REFERENCES documents (document_id) ON DELETE CASCADE,
    expected_sha256 BLOB NULL CHECK (length(expected_sha256) = 32),
    tags            TEXT NULL CHECK (json_valid(tags)),
    metadata        TEXT NULL CHECK (length(metadata) <= 4096)
) STRICT;
