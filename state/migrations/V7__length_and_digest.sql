-- 1 while the length of an upload's file is not declared yet: `filesize` is then the largest
-- that may be declared.
ALTER TABLE documents ADD COLUMN length_is_open INTEGER NOT NULL DEFAULT 0
    CHECK (length_is_open IN (0, 1)
        AND (length_is_open = 0 OR status NOT IN ('publishing', 'completed')));

-- A hash of the whole file besides BLAKE3 that was asked for when the upload began, and the
-- hash itself once it was found. It may be found without having been asked for then.
ALTER TABLE documents ADD COLUMN second_digest TEXT NULL
    CHECK (second_digest IN ('sha-256'));
ALTER TABLE documents ADD COLUMN sha256 BLOB NULL CHECK (length(sha256) = 32);
