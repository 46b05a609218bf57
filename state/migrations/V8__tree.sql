-- The tree of nodes: what a user sees. From here on it is the truth about where a document lies;
-- `documents.file_path` stays as the place that was got when the document was published, and
-- `documents.path_key` goes. FORMAT.md explains each table and column.
--
-- towline_folder(), towline_name() and towline_name_key() are defined by the code that applies
-- migrations: the folder of a path ('' for none), its last name, and the key of one name. All
-- three are NULL where the path or the name does not read. Foreign keys are off meanwhile.

-- The folders on the way to documents, outermost first. `is_told`: a completed document lies below.
CREATE TABLE v8_folders (
    node_id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    path    TEXT    NOT NULL,
    is_told INTEGER NOT NULL,
    UNIQUE (user_id, path)
) STRICT;

INSERT INTO v8_folders (user_id, path, is_told)
    WITH RECURSIVE above (user_id, path) AS (
        SELECT user_id, towline_folder(file_path) FROM documents
            WHERE status = 'completed' AND towline_folder(file_path) <> ''
        UNION
        SELECT user_id, towline_folder(path) FROM above WHERE towline_folder(path) <> '')
    SELECT user_id, path, 1 FROM above
        ORDER BY user_id, length(path) - length(replace(path, '/', '')), path;

INSERT INTO v8_folders (user_id, path, is_told)
    WITH RECURSIVE above (user_id, path) AS (
        SELECT user_id, towline_folder(file_path) FROM documents
            WHERE status = 'publishing' AND towline_folder(file_path) <> ''
        UNION
        SELECT user_id, towline_folder(path) FROM above WHERE towline_folder(path) <> '')
    SELECT user_id, path, 0 FROM above
        WHERE NOT EXISTS (SELECT 1 FROM v8_folders AS told
            WHERE told.user_id = above.user_id AND told.path = above.path)
        ORDER BY user_id, length(path) - length(replace(path, '/', '')), path;

-- Each change takes its number from here, in the transaction that makes the change true.
CREATE TABLE change_counters (
    user_id INTEGER PRIMARY KEY REFERENCES users (user_id),
    last    INTEGER NOT NULL CHECK (last >= 0),
    epoch   INTEGER NOT NULL CHECK (epoch >= 0),
    horizon INTEGER NOT NULL CHECK (horizon BETWEEN 0 AND last)
) STRICT;

-- A user's own folder is no row: what lies in it has no parent. `parent_id` has no foreign key,
-- since what is in the trash may outlive the folder that it came from.
CREATE TABLE nodes (
    node_id     INTEGER PRIMARY KEY AUTOINCREMENT CHECK (node_id > 0),
    user_id     INTEGER NOT NULL REFERENCES users (user_id),
    parent_id   INTEGER NULL CHECK (parent_id <> node_id),
    kind        TEXT    NOT NULL CHECK (kind IN ('file', 'folder', 'link')),
    name        TEXT    NOT NULL,
    name_key    TEXT    NOT NULL,
    version_id  INTEGER NULL,
    incoming_id INTEGER NULL,
    target      TEXT    NULL,
    mode        INTEGER NULL CHECK (mode BETWEEN 0 AND 511),
    mtime_ms    INTEGER NULL,
    place_rev   INTEGER NOT NULL CHECK (place_rev >= 0),
    content_rev INTEGER NOT NULL CHECK (content_rev >= 0),
    deleted_at  INTEGER NULL,
    CHECK (kind = 'file' OR (version_id IS NULL AND incoming_id IS NULL)),
    CHECK ((kind = 'link') = (target IS NOT NULL)),
    CHECK (deleted_at IS NULL OR place_rev > 0)
) STRICT;

-- One row for each change: the whole state of the node after it.
CREATE TABLE changes (
    user_id        INTEGER NOT NULL,
    change_id      INTEGER NOT NULL CHECK (change_id > 0),
    node_id        INTEGER NOT NULL,
    op             TEXT    NOT NULL CHECK (op IN ('CREATE', 'UPDATE', 'DELETE')),
    changed        TEXT    NOT NULL CHECK (changed IN ('', 'content', 'place', 'content,place')),
    parent_id      INTEGER NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('file', 'folder', 'link')),
    name           TEXT    NOT NULL,
    version_id     INTEGER NULL,
    content_length INTEGER NULL,
    blake3         BLOB    NULL CHECK (length(blake3) = 32),
    target         TEXT    NULL,
    mode           INTEGER NULL,
    mtime_ms       INTEGER NULL,
    place_rev      INTEGER NOT NULL,
    content_rev    INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    PRIMARY KEY (user_id, change_id)
) STRICT, WITHOUT ROWID;

-- Completed documents that are no longer the version of their node.
CREATE TABLE versions (
    node_id     INTEGER NOT NULL,
    document_id INTEGER NOT NULL UNIQUE,
    change_id   INTEGER NOT NULL,
    replaced_at INTEGER NOT NULL,
    PRIMARY KEY (node_id, document_id)
) STRICT, WITHOUT ROWID;

-- What is about to be renamed on the disk: written before the rename, gone with the transaction
-- that makes the change true.
CREATE TABLE moves (
    node_id   INTEGER PRIMARY KEY,
    user_id   INTEGER NOT NULL,
    to_trash  INTEGER NOT NULL CHECK (to_trash IN (0, 1)),
    to_parent INTEGER NULL,
    to_name   TEXT    NULL,
    to_key    TEXT    NULL,
    at        INTEGER NOT NULL,
    CHECK ((to_name IS NULL) = (to_trash = 1)),
    CHECK ((to_key IS NULL) = (to_trash = 1)),
    CHECK (to_trash = 0 OR to_parent IS NULL)
) STRICT;

CREATE UNIQUE INDEX moves_place ON moves (user_id, coalesce(to_parent, 0), to_key)
    WHERE to_trash = 0;

-- The chaining values of the blocks of completed documents: page n has those of the blocks from
-- n * 4096 on, 32 bytes each, one behind the other.
CREATE TABLE block_pages (
    document_id INTEGER NOT NULL REFERENCES documents (document_id) ON DELETE CASCADE,
    page        INTEGER NOT NULL CHECK (page >= 0),
    cvs         BLOB    NOT NULL CHECK (length(cvs) BETWEEN 32 AND 131072 AND length(cvs) % 32 = 0),
    PRIMARY KEY (document_id, page)
) STRICT;

-- Folders. Those that are told have the first numbers of their user's changes, each behind the
-- folder that it lies in.
INSERT INTO nodes (node_id, user_id, parent_id, kind, name, name_key, place_rev, content_rev)
    SELECT node_id, user_id, parent_id, 'folder', name, towline_name_key(name), rev, rev
    FROM (
        SELECT one.node_id, one.user_id, above.node_id AS parent_id, towline_name(one.path) AS name,
            CASE one.is_told WHEN 1
                THEN row_number() OVER (PARTITION BY one.user_id ORDER BY one.node_id)
                ELSE 0 END AS rev
        FROM v8_folders AS one LEFT JOIN v8_folders AS above
            ON above.user_id = one.user_id AND above.path = towline_folder(one.path));

-- Files of completed documents, in the order of these.
INSERT INTO nodes (node_id, user_id, parent_id, kind, name, name_key, version_id, place_rev,
        content_rev)
    SELECT (SELECT coalesce(max(node_id), 0) FROM v8_folders) + document_id, user_id,
        (SELECT node_id FROM v8_folders
            WHERE v8_folders.user_id = one.user_id AND path = towline_folder(file_path)),
        'file', towline_name(file_path), towline_name_key(towline_name(file_path)), document_id,
        folders + number, folders + number
    FROM (
        SELECT document_id, documents.user_id, file_path, coalesce(folders, 0) AS folders,
            row_number() OVER (PARTITION BY documents.user_id ORDER BY document_id) AS number
        FROM documents LEFT JOIN (
            SELECT user_id, count(*) AS folders FROM v8_folders WHERE is_told = 1 GROUP BY user_id
            ) AS told ON told.user_id = documents.user_id
        WHERE status = 'completed' AND towline_folder(file_path) IS NOT NULL) AS one;

-- Names that are kept for documents that are being published.
INSERT INTO nodes (node_id, user_id, parent_id, kind, name, name_key, incoming_id, place_rev,
        content_rev)
    SELECT (SELECT coalesce(max(node_id), 0) FROM v8_folders) + document_id, user_id,
        (SELECT node_id FROM v8_folders
            WHERE v8_folders.user_id = documents.user_id AND path = towline_folder(file_path)),
        'file', towline_name(file_path), towline_name_key(towline_name(file_path)), document_id,
        0, 0
    FROM documents WHERE status = 'publishing' AND towline_folder(file_path) IS NOT NULL;

-- Twins, from before keys were compared as today: the older node has the key, each later one a
-- key of its own with its number behind U+0001, which no name has. It sorts before all that a
-- name can have, so that twins stand one behind the other.
CREATE INDEX v8_twins ON nodes (user_id, coalesce(parent_id, 0), name_key, node_id);
UPDATE nodes SET name_key = name_key || char(1) || node_id
    WHERE EXISTS (
        SELECT 1 FROM nodes AS older
        WHERE older.user_id = nodes.user_id
          AND coalesce(older.parent_id, 0) = coalesce(nodes.parent_id, 0)
          AND older.name_key = nodes.name_key AND older.node_id < nodes.node_id);
DROP INDEX v8_twins;

-- Of one user's nodes in one folder no two have the same key. What is in the trash has no name.
CREATE UNIQUE INDEX nodes_place ON nodes (user_id, coalesce(parent_id, 0), name_key)
    WHERE deleted_at IS NULL;
CREATE INDEX nodes_trash ON nodes (user_id, deleted_at, node_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX nodes_of_user ON nodes (user_id, node_id);

-- Each user's log begins with what there is.
INSERT INTO changes (user_id, change_id, node_id, op, changed, parent_id, kind, name, version_id,
        content_length, blake3, place_rev, content_rev, at)
    SELECT nodes.user_id, place_rev, nodes.node_id, 'CREATE', 'content,place', parent_id, kind,
        name, version_id, filesize, blake3, place_rev, content_rev,
        CAST(unixepoch('subsec') * 1000 AS INTEGER)
    FROM nodes LEFT JOIN documents ON document_id = version_id
    WHERE place_rev > 0 ORDER BY nodes.node_id;

INSERT INTO change_counters (user_id, last, epoch, horizon)
    SELECT user_id,
        coalesce((SELECT max(change_id) FROM changes WHERE changes.user_id = users.user_id), 0),
        CAST(unixepoch('subsec') * 1000 AS INTEGER), 0
    FROM users;

-- The documents anew: without `path_key`, with what they are told to become.
CREATE TABLE documents_new (
    document_id      INTEGER PRIMARY KEY AUTOINCREMENT CHECK (document_id > 0),
    user_id          INTEGER NOT NULL REFERENCES users (user_id),
    folder           TEXT    NOT NULL,
    filename         TEXT    NOT NULL,
    filesize         INTEGER NOT NULL CHECK (filesize >= 0),
    blake3           BLOB    NULL CHECK (length(blake3) = 32),
    status           TEXT    NOT NULL CHECK (status IN
        ('uploading', 'publishing', 'completed', 'failed', 'cancelled', 'expired')),
    on_conflict      TEXT    NOT NULL CHECK (on_conflict IN
        ('rename', 'reject', 'replace', 'skip')),
    chunk_size       INTEGER NULL,
    durable_offset   INTEGER NOT NULL CHECK (durable_offset BETWEEN 0 AND filesize),
    file_path        TEXT    NULL,
    reason           TEXT    NULL,
    started_at       INTEGER NOT NULL,
    last_chunk_at    INTEGER NOT NULL,
    created_at       INTEGER NULL,
    finished_at      INTEGER NULL,
    cached_inode     INTEGER NULL CHECK (cached_inode IS NULL OR status = 'publishing'),
    file_inode       INTEGER NULL CHECK (file_inode IS NULL OR status = 'completed'),
    file_modified    INTEGER NULL CHECK ((file_modified IS NULL) = (file_inode IS NULL)),
    file_mount_depth INTEGER NULL
        CHECK (file_mount_depth IS NULL OR (file_mount_depth >= 0 AND file_inode IS NOT NULL)),
    length_is_open   INTEGER NOT NULL DEFAULT 0 CHECK (length_is_open IN (0, 1)
        AND (length_is_open = 0 OR status NOT IN ('publishing', 'completed'))),
    second_digest    TEXT    NULL CHECK (second_digest IN ('sha-256')),
    sha256           BLOB    NULL CHECK (length(sha256) = 32),
    node_id          INTEGER NULL
        CHECK (node_id IS NULL OR status IN ('publishing', 'completed')),
    onto_node        INTEGER NULL,
    into_folder      INTEGER NULL,
    base_version     INTEGER NULL,
    mtime_ms         INTEGER NULL,
    mode             INTEGER NULL CHECK (mode BETWEEN 0 AND 511),
    CHECK ((finished_at IS NULL) = (status IN ('uploading', 'publishing'))),
    CHECK ((created_at IS NOT NULL) = (status = 'completed')),
    CHECK ((file_path IS NOT NULL) = (status IN ('publishing', 'completed'))),
    CHECK ((blake3 IS NOT NULL) = (status IN ('publishing', 'completed')))
) STRICT;

INSERT INTO documents_new
    SELECT document_id, user_id, folder, filename, filesize, blake3, status, on_conflict,
        chunk_size, durable_offset, file_path, reason, started_at, last_chunk_at, created_at,
        finished_at, cached_inode, file_inode, file_modified, file_mount_depth, length_is_open,
        second_digest, sha256,
        CASE WHEN status IN ('publishing', 'completed') AND towline_folder(file_path) IS NOT NULL
            THEN (SELECT coalesce(max(node_id), 0) FROM v8_folders) + document_id END,
        NULL, NULL, NULL, NULL, NULL
    FROM documents ORDER BY document_id;

-- The numbers of documents go on where they were.
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'documents_new', 0 FROM sqlite_sequence WHERE name = 'documents'
        AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'documents_new');
UPDATE sqlite_sequence
    SET seq = coalesce(
        (SELECT old.seq FROM sqlite_sequence AS old WHERE old.name = 'documents'), 0)
    WHERE name = 'documents_new';

DROP TABLE documents;
ALTER TABLE documents_new RENAME TO documents;
DROP TABLE v8_folders;

-- What recovery, resuming, the cap on unfinished uploads and expiry look at. The column that is
-- always NULL leads, so that a search without a user is one of the index too.
CREATE INDEX documents_unfinished ON documents (finished_at, user_id, status, document_id)
    WHERE finished_at IS NULL;
-- How a client finds again what it has forgotten: by exactly one place and size.
CREATE INDEX documents_unfinished_place ON documents (user_id, folder, filename, filesize)
    WHERE finished_at IS NULL;
-- Whether a user has these bytes already, and whether in the place that is asked for.
CREATE INDEX documents_content ON documents (user_id, filesize, blake3, filename, folder)
    WHERE created_at IS NOT NULL;
CREATE INDEX documents_on_mounts ON documents (user_id) WHERE file_mount_depth IS NOT NULL;
