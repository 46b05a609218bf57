-- Which store this is: one row, made in the transaction that makes the table. `store_id` is
-- random and never changes. `tokens_without_id_until` is when an older catalog got its id:
-- tokens issued up to then name no store. NULL where the catalog had no user by then, so that
-- no such token can exist. `marked_at` is when each part of the data folder had its marker.
CREATE TABLE store (
    row                     INTEGER PRIMARY KEY CHECK (row = 1),
    store_id                TEXT    NOT NULL
        CHECK (length(store_id) = 32 AND store_id NOT GLOB '*[^0-9a-f]*'),
    made_at                 INTEGER NOT NULL,
    tokens_without_id_until INTEGER NULL,
    marked_at               INTEGER NULL
) STRICT;

INSERT INTO store (row, store_id, made_at, tokens_without_id_until)
    SELECT 1, lower(hex(randomblob(16))), at, CASE WHEN EXISTS (SELECT 1 FROM users) THEN at END
    FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS at);
