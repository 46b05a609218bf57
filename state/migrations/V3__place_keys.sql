-- The keys of places anew: full case folding instead of lower case, and characters that do
-- not show left out. towline_place_key() is defined by the code that applies migrations.
--
-- Documents that were two places may be one now. Both stay as they are, and both files keep
-- their names: the older one has the key, each later one a key of its own with its number
-- behind it. No path has an empty name in it, so no other place can have such a key.
DROP INDEX documents_place;
UPDATE documents SET path_key = towline_place_key(file_path, path_key) WHERE path_key IS NOT NULL;
CREATE INDEX documents_place_twins ON documents (user_id, path_key, document_id)
    WHERE path_key IS NOT NULL;
UPDATE documents SET path_key = path_key || '//' || document_id
    WHERE path_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM documents AS older
        WHERE older.user_id = documents.user_id AND older.path_key = documents.path_key
          AND older.document_id < documents.document_id);
DROP INDEX documents_place_twins;
CREATE UNIQUE INDEX documents_place ON documents (user_id, path_key) WHERE path_key IS NOT NULL;
