-- Whether the bytes of a publishing document were synced before its row said so. Every
-- row of before was written by a server that knew no other way.
ALTER TABLE documents ADD COLUMN bytes_synced INTEGER NOT NULL DEFAULT 1
    CHECK (bytes_synced IN (0, 1));

-- The status too: thousands may be publishing where durability is relaxed, and the cap
-- on uploads that wait for bytes must not count its way through them each time.
DROP INDEX documents_unfinished;
CREATE INDEX documents_unfinished ON documents (finished_at, user_id, status, document_id)
    WHERE finished_at IS NULL;

-- How a client finds again what it has forgotten, beside any number of others.
CREATE INDEX documents_unfinished_name ON documents (user_id, filename, filesize)
    WHERE finished_at IS NULL;
