-- What a published file is known by besides its length: where the file in a document's
-- place has the same inode number and time of modification (nanoseconds since
-- 1970-01-01 UTC), nobody has put another there. NULL where that is not known: then the
-- file is read before anything is said of it.
ALTER TABLE documents ADD COLUMN file_inode INTEGER NULL
    CHECK (file_inode IS NULL OR status = 'completed');
ALTER TABLE documents ADD COLUMN file_modified INTEGER NULL
    CHECK ((file_modified IS NULL) = (file_inode IS NULL));

-- Where the file lay on a disk that is mounted at its user's folder or below it: how many
-- of the document's folders lead to the mount point, 0 where it is the user's own folder.
-- NULL where the file lay on the file system of the folder `uploads`, or where that is not
-- known. Without it an empty mount point looks like a folder whose files were removed.
ALTER TABLE documents ADD COLUMN file_mount_depth INTEGER NULL
    CHECK (file_mount_depth IS NULL OR (file_mount_depth >= 0 AND file_inode IS NOT NULL));
CREATE INDEX documents_on_mounts ON documents (user_id) WHERE file_mount_depth IS NOT NULL;

-- Whether a user has these bytes already, and whether in the place that is asked for:
-- a thousand equal files in a thousand folders must not be looked at one by one.
DROP INDEX documents_content;
CREATE INDEX documents_content ON documents (user_id, filesize, blake3, filename, folder)
    WHERE created_at IS NOT NULL;
