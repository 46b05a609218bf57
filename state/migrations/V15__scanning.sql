-- What comes after the last byte. `availability` is NULL for a document that is given out. `scanning`:
-- a scanner has not said yet what it is; `failed`: it could not be scanned; `quarantined`: its file
-- lies in the quarantine. `isolating` and `releasing`: the file is on its way there, or back; a start
-- finishes both. Documents of before are given out as they were.
ALTER TABLE documents ADD COLUMN availability TEXT NULL
    CHECK (availability IS NULL OR (status = 'completed' AND (
        availability = 'scanning' OR availability = 'failed' OR availability = 'isolating'
        OR availability = 'quarantined' OR availability = 'releasing')));

CREATE INDEX documents_held ON documents (availability, document_id) WHERE availability IS NOT NULL;

-- Work that is still to be done about a document, at most one thing for each. A scan is put here in
-- the transaction that completes the document. `lease` and `lease_until` are set while a worker is at
-- it; `deaths` counts the workers that never came back.
CREATE TABLE jobs (
    document_id INTEGER NOT NULL PRIMARY KEY REFERENCES documents (document_id) ON DELETE CASCADE,
    user_id     INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind = 'scan' OR kind = 'release' OR kind = 'delete'),
    run_after   INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    deaths      INTEGER NOT NULL DEFAULT 0 CHECK (deaths >= 0),
    lease       INTEGER NULL,
    lease_until INTEGER NULL CHECK ((lease_until IS NULL) = (lease IS NULL)),
    last_error  TEXT    NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- What a worker may take next: users in turn, and of each the job that has waited longest.
CREATE INDEX jobs_waiting ON jobs (user_id, run_after, document_id) WHERE lease IS NULL;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE lease IS NOT NULL;

-- What was found out about a document: by a scanner, or by the operator.
CREATE TABLE verdicts (
    document_id  INTEGER NOT NULL PRIMARY KEY REFERENCES documents (document_id) ON DELETE CASCADE,
    verdict      TEXT    NOT NULL CHECK (verdict = 'clean' OR verdict = 'infected'
        OR verdict = 'unscannable' OR verdict = 'failed' OR verdict = 'released'),
    scanner      TEXT    NULL,
    signatures   TEXT    NULL,
    detail       TEXT    NULL,
    content_type TEXT    NULL,
    at           INTEGER NOT NULL
) STRICT;
