-- How a client finds again what it has forgotten: by exactly one place and size. Ten
-- thousand uploads of one name and size in as many folders were looked at one by one.
DROP INDEX documents_unfinished_name;
CREATE INDEX documents_unfinished_place ON documents (user_id, folder, filename, filesize)
    WHERE finished_at IS NULL;
