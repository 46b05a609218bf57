-- What each user has on the disk, counted with every row of a document that comes, changes or goes:
-- the length of a file, older versions and the trash included; of an unfinished upload the length
-- that it was begun for, or, where that is not known yet, what is durable. Ended uploads count for
-- nothing. `quota_bytes` and `quota_files` are the user's own limits; NULL: those of the server.
ALTER TABLE users ADD COLUMN quota_bytes INTEGER NULL CHECK (quota_bytes >= 0);
ALTER TABLE users ADD COLUMN quota_files INTEGER NULL CHECK (quota_files >= 0);
ALTER TABLE users ADD COLUMN used_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN used_files INTEGER NOT NULL DEFAULT 0;

UPDATE users SET (used_bytes, used_files) = (
    SELECT coalesce(sum(CASE length_is_open WHEN 1 THEN durable_offset ELSE filesize END), 0),
        count(*)
    FROM documents WHERE documents.user_id = users.user_id
        AND (finished_at IS NULL OR created_at IS NOT NULL));

CREATE TRIGGER documents_come AFTER INSERT ON documents
    WHEN new.finished_at IS NULL OR new.created_at IS NOT NULL
BEGIN
    UPDATE users SET
        used_bytes = used_bytes
            + CASE new.length_is_open WHEN 1 THEN new.durable_offset ELSE new.filesize END,
        used_files = used_files + 1
        WHERE user_id = new.user_id;
END;

CREATE TRIGGER documents_go AFTER DELETE ON documents
    WHEN old.finished_at IS NULL OR old.created_at IS NOT NULL
BEGIN
    UPDATE users SET
        used_bytes = used_bytes
            - CASE old.length_is_open WHEN 1 THEN old.durable_offset ELSE old.filesize END,
        used_files = used_files - 1
        WHERE user_id = old.user_id;
END;

-- An upload ends without a document, or a document is lost.
CREATE TRIGGER documents_end AFTER UPDATE OF finished_at, created_at ON documents
    WHEN (old.finished_at IS NULL OR old.created_at IS NOT NULL)
        AND new.finished_at IS NOT NULL AND new.created_at IS NULL
BEGIN
    UPDATE users SET
        used_bytes = used_bytes
            - CASE old.length_is_open WHEN 1 THEN old.durable_offset ELSE old.filesize END,
        used_files = used_files - 1
        WHERE user_id = old.user_id;
END;

-- A file grows, or its length is declared, or more of one is durable whose length is not.
CREATE TRIGGER documents_change AFTER UPDATE OF filesize, length_is_open, durable_offset ON documents
    WHEN (new.finished_at IS NULL OR new.created_at IS NOT NULL)
        AND CASE new.length_is_open WHEN 1 THEN new.durable_offset ELSE new.filesize END
            <> CASE old.length_is_open WHEN 1 THEN old.durable_offset ELSE old.filesize END
BEGIN
    UPDATE users SET
        used_bytes = used_bytes
            + CASE new.length_is_open WHEN 1 THEN new.durable_offset ELSE new.filesize END
            - CASE old.length_is_open WHEN 1 THEN old.durable_offset ELSE old.filesize END
        WHERE user_id = new.user_id;
END;
