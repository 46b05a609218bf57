-- Unfinished uploads that the operator has cancelled. The server ends each of them, and its row goes with that.
CREATE TABLE cancellations (
    document_id INTEGER NOT NULL PRIMARY KEY REFERENCES documents (document_id) ON DELETE CASCADE,
    asked_at    INTEGER NOT NULL CHECK (asked_at >= 0)
) STRICT;

-- Uploads that have ended without a document, in the order in which each user's are forgotten.
CREATE INDEX documents_ended ON documents (user_id, finished_at, document_id)
    WHERE finished_at IS NOT NULL AND created_at IS NULL;
