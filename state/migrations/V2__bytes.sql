-- The inode number of a publishing document's file where its bytes were not synced before
-- its row said so; NULL where they were, as in every row of before.
ALTER TABLE documents ADD COLUMN cached_inode INTEGER NULL
    CHECK (cached_inode IS NULL OR status = 'publishing');

-- The status too: thousands may be publishing where durability is relaxed, and the cap
-- on uploads that wait for bytes must not count its way through them each time.
DROP INDEX documents_unfinished;
CREATE INDEX documents_unfinished ON documents (finished_at, user_id, status, document_id)
    WHERE finished_at IS NULL;

-- How a client finds again what it has forgotten, beside any number of others.
CREATE INDEX documents_unfinished_name ON documents (user_id, filename, filesize)
    WHERE finished_at IS NULL;
