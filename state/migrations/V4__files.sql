-- What a published file is known by besides its length: where the file in a document's
-- place has the same inode number and time of modification (nanoseconds since
-- 1970-01-01 UTC), nobody has put another there. NULL where that is not known: then the
-- file is read before anything is said of it.
ALTER TABLE documents ADD COLUMN file_inode INTEGER NULL
    CHECK (file_inode IS NULL OR status = 'completed');
ALTER TABLE documents ADD COLUMN file_modified INTEGER NULL
    CHECK ((file_modified IS NULL) = (file_inode IS NULL));

-- Whether a user has these bytes already, and whether in the place that is asked for:
-- a thousand equal files in a thousand folders must not be looked at one by one.
DROP INDEX documents_content;
CREATE INDEX documents_content ON documents (user_id, filesize, blake3, filename, folder)
    WHERE created_at IS NOT NULL;
