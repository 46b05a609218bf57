//! Catalogs of earlier versions are brought up to date.

use super::super::migration_functions;
use super::{bring_up_to_date, embedded};
use refinery::Target;
use rusqlite::{Connection, params};
use std::path::Path;

/// A catalog as that version left it.
fn catalog_of(version: i32) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate_to(&mut connection, version);
    connection
}

fn migrate_to(connection: &mut Connection, version: i32) {
    migration_functions::define(connection).unwrap();
    let target = Target::Version(version);
    embedded::migrations::runner().set_target(target).run(connection).unwrap();
}

fn update(connection: &mut Connection) {
    bring_up_to_date(connection, Path::new("catalog.db")).unwrap();
    let wrong: i64 = connection
        .query_row("SELECT count(*) FROM pragma_foreign_key_check()", [], |row| row.get(0))
        .unwrap();
    assert_eq!(wrong, 0, "each row refers to one that is there");
}

fn add_users(connection: &Connection, count: i64) {
    for user in 1..=count {
        connection
            .execute(
                "INSERT INTO users VALUES ($1, $2, 0, NULL)",
                params![user, format!("u{user}")],
            )
            .unwrap();
    }
}

fn document(connection: &Connection, id: i64, user: i64, path: &str) {
    // The key of that time: lower case.
    document_with_key(connection, id, user, path, &path.to_lowercase(), "completed");
}

fn document_with_key(
    connection: &Connection,
    id: i64,
    user: i64,
    path: &str,
    key: &str,
    status: &str,
) {
    let completed_at = (status == "completed").then_some(0);
    connection
        .execute(
            "INSERT INTO documents (document_id, user_id, folder, filename, filesize, \
             blake3, status, on_conflict, durable_offset, file_path, path_key, started_at, \
             last_chunk_at, created_at, finished_at) VALUES \
             ($1, $2, '', 'x', $1, zeroblob(32), $3, 'rename', 0, $4, $5, 0, 0, $6, $6)",
            params![id, user, status, path, key, completed_at],
        )
        .unwrap();
}

/// What a query answers, each row as text.
fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cell = |at| match row.get_ref_unwrap(at) {
            rusqlite::types::ValueRef::Null => "-".to_owned(),
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            value => value.as_str().unwrap().replace('\u{1}', "|"),
        };
        Ok((0..columns).map(cell).collect::<Vec<_>>().join(" "))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn twins() -> Connection {
    let connection = catalog_of(2);
    add_users(&connection, 2);
    for (id, user, path) in [
        (1, 1, "Straße.txt"),
        (2, 1, "strasse.txt"),
        (3, 1, "STRASSE.txt"),
        (4, 2, "STRASSE.txt"),
        (5, 1, "a/οδος.pdf"),
        (6, 1, "a\u{2000}b"),
        (7, 1, "a\u{fe00}c"),
        (8, 1, "not//read"),
    ] {
        // The third was another place than the second even then.
        let path = if id == 3 { path.replace("SS", "ſS") } else { path.to_owned() };
        document(&connection, id, user, &path);
    }
    connection
}

#[test]
fn an_older_catalog_gets_the_keys_of_today_and_twins_keep_their_files() {
    let mut connection = twins();
    migrate_to(&mut connection, 7);
    let keys = rows(&connection, "SELECT document_id, path_key FROM documents ORDER BY 1");
    let expected = [
        "1 strasse.txt",
        "2 strasse.txt//2",
        "3 strasse.txt//3",
        "4 strasse.txt",
        "5 a/οδοσ.pdf",
        "6 a b",
        "7 ac",
        "8 not//read",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn twins_are_nodes_of_their_own_and_what_does_not_read_is_none() {
    let mut connection = twins();
    update(&mut connection);
    let nodes = rows(
        &connection,
        "SELECT user_id, version_id, parent_id, name, name_key, place_rev FROM nodes ORDER BY 1, 6",
    );
    let expected = [
        "1 - - a a 1",
        "1 1 - Straße.txt strasse.txt 2",
        "1 2 - strasse.txt strasse.txt|3 3",
        "1 3 - STRAſSE.txt strasse.txt|4 4",
        "1 5 1 οδος.pdf οδοσ.pdf 5",
        "1 6 - a\u{2000}b a b 6",
        "1 7 - a\u{fe00}c ac 7",
        "2 4 - STRASSE.txt strasse.txt 1",
    ];
    assert_eq!(nodes, expected);
    let kept = "SELECT document_id, file_path, node_id FROM documents WHERE node_id IS NULL";
    assert_eq!(rows(&connection, kept), ["8 not//read -"], "it stays, and does not read");
    // The index that keeps two nodes from one place.
    let twin = "UPDATE nodes SET name_key = 'a b' WHERE version_id = 7";
    assert!(connection.execute(twin, []).is_err());
    update(&mut connection);
}

/// A catalog of the version before nodes: users with folders, twins of folders, uploads that are
/// not finished, that are being published, and that have ended.
fn seventh() -> Connection {
    let connection = catalog_of(7);
    add_users(&connection, 3);
    for (id, path, key, status) in [
        (1, "proj/src/main.rs", "proj/src/main.rs", "completed"),
        (2, "proj/README", "proj/readme", "completed"),
        (3, "Proj/notes", "proj/notes", "completed"),
        (4, "Proj/readme", "proj/readme//4", "completed"),
        (5, "new/deep/er/file", "new/deep/er/file", "publishing"),
        (6, "proj/lib.rs", "proj/lib.rs", "publishing"),
        (7, "top", "top", "completed"),
    ] {
        document_with_key(&connection, id, 1, path, key, status);
    }
    document_with_key(&connection, 8, 2, "proj/other", "proj/other", "completed");
    connection
        .execute_batch(
            "INSERT INTO documents (document_id, user_id, folder, filename, filesize, status, \
             on_conflict, durable_offset, started_at, last_chunk_at) VALUES \
             (9, 1, 'proj', 'big', 3000000, 'uploading', 'reject', 1048576, 1, 2); \
             INSERT INTO blocks VALUES (9, 0, zeroblob(32)); \
             INSERT INTO documents (document_id, user_id, folder, filename, filesize, status, \
             on_conflict, durable_offset, started_at, last_chunk_at, reason, finished_at) VALUES \
             (10, 1, '', 'gone', 5, 'failed', 'rename', 0, 1, 2, 'because', 3); \
             UPDATE documents SET file_inode = 7, file_modified = 8, file_mount_depth = 1, \
             sha256 = zeroblob(32) WHERE document_id = 1; \
             UPDATE documents SET cached_inode = 77 WHERE document_id = 6; \
             UPDATE sqlite_sequence SET seq = 500 WHERE name = 'documents';",
        )
        .unwrap();
    connection
}

#[test]
fn documents_become_nodes_and_each_log_begins_with_them() {
    let mut connection = seventh();
    let other = "SELECT document_id, folder, filename, status, on_conflict, durable_offset, reason, \
                 started_at, last_chunk_at, created_at, finished_at, cached_inode, file_inode, \
                 file_modified, file_mount_depth, hex(sha256), file_path FROM documents ORDER BY 1";
    let before = rows(&connection, other);
    update(&mut connection);
    assert_eq!(rows(&connection, other), before, "the rest of the rows stays");
    let nodes = rows(
        &connection,
        "SELECT nodes.user_id, nodes.kind, nodes.name, nodes.name_key, above.name, \
         nodes.version_id, nodes.incoming_id, nodes.place_rev, nodes.content_rev, \
         nodes.deleted_at FROM nodes LEFT JOIN nodes AS above ON above.node_id = nodes.parent_id \
         ORDER BY nodes.user_id, nodes.place_rev, nodes.node_id",
    );
    let expected = [
        "1 folder new new - - - 0 0 -",
        "1 folder deep deep new - - 0 0 -",
        "1 folder er er deep - - 0 0 -",
        "1 file file file er - 5 0 0 -",
        "1 file lib.rs lib.rs proj - 6 0 0 -",
        "1 folder Proj proj - - - 1 1 -",
        "1 folder proj proj|3 - - - 2 2 -",
        "1 folder src src proj - - 3 3 -",
        "1 file main.rs main.rs src 1 - 4 4 -",
        "1 file README readme proj 2 - 5 5 -",
        "1 file notes notes Proj 3 - 6 6 -",
        "1 file readme readme Proj 4 - 7 7 -",
        "1 file top top - 7 - 8 8 -",
        "2 folder proj proj - - - 1 1 -",
        "2 file other other proj 8 - 2 2 -",
    ];
    let readable: Vec<_> = nodes.iter().map(|row| mask_twin(row)).collect();
    assert_eq!(readable, expected.map(mask_twin));
    let log = rows(
        &connection,
        "SELECT user_id, change_id, op, changed, kind, name, version_id, content_length, \
         length(blake3), place_rev, content_rev FROM changes ORDER BY 1, 2",
    );
    let expected = [
        "1 1 CREATE content,place folder Proj - - - 1 1",
        "1 2 CREATE content,place folder proj - - - 2 2",
        "1 3 CREATE content,place folder src - - - 3 3",
        "1 4 CREATE content,place file main.rs 1 1 32 4 4",
        "1 5 CREATE content,place file README 2 2 32 5 5",
        "1 6 CREATE content,place file notes 3 3 32 6 6",
        "1 7 CREATE content,place file readme 4 4 32 7 7",
        "1 8 CREATE content,place file top 7 7 32 8 8",
        "2 1 CREATE content,place folder proj - - - 1 1",
        "2 2 CREATE content,place file other 8 8 32 2 2",
    ];
    assert_eq!(log, expected);
    let counters = "SELECT user_id, last, horizon, epoch > 1700000000000 FROM change_counters";
    assert_eq!(rows(&connection, counters), ["1 8 0 1", "2 2 0 1", "3 0 0 1"]);
    assert_eq!(rows(&connection, "SELECT document_id, block_index FROM blocks"), ["9 0"]);
    let next = "SELECT seq FROM sqlite_sequence WHERE name = 'documents'";
    assert_eq!(rows(&connection, next), ["500"], "no number is given out again");
    // Foreign keys are there again, and go with their document.
    connection.execute("DELETE FROM documents WHERE document_id = 9", []).unwrap();
    assert!(rows(&connection, "SELECT document_id FROM blocks").is_empty());
    let left = "SELECT name FROM sqlite_master WHERE name LIKE 'v8%' OR name LIKE '%new%'";
    assert!(rows(&connection, left).is_empty());
}

/// The number in the key of a twin.
fn mask_twin(row: &str) -> String {
    let mask = |word: &str| match word.split_once('|') {
        Some((key, _)) => format!("{key}|twin"),
        None => word.to_owned(),
    };
    row.split(' ').map(mask).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_catalog_without_documents_keeps_the_numbers_that_it_has_given_out() {
    let mut connection = catalog_of(7);
    add_users(&connection, 1);
    connection
        .execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('documents', 1000000)", [])
        .unwrap();
    update(&mut connection);
    let next = "SELECT seq FROM sqlite_sequence WHERE name = 'documents'";
    assert_eq!(rows(&connection, next), ["1000000"]);
    assert_eq!(rows(&connection, "SELECT count(*) FROM nodes"), ["0"]);
}

#[test]
fn every_earlier_version_is_brought_up_to_date() {
    for version in 0..=7 {
        let mut connection = Connection::open_in_memory().unwrap();
        if version > 0 {
            migrate_to(&mut connection, version);
            add_users(&connection, 1);
            document(&connection, 1, 1, "a/b");
        }
        update(&mut connection);
        let nodes = rows(&connection, "SELECT kind, name FROM nodes");
        assert_eq!(nodes, if version > 0 { vec!["folder a", "file b"] } else { vec![] });
    }
}

/// A migration that fails at its end leaves what was there.
#[test]
fn a_migration_that_is_cut_off_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let schema = "SELECT coalesce(sql, name) FROM sqlite_master ORDER BY name";
    let mut connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    migrate_to(&mut connection, 7);
    add_users(&connection, 1);
    document(&connection, 1, 1, "a/b");
    let before = rows(&connection, schema);
    let mut begun = Connection::open(&path).unwrap();
    migration_functions::define(&begun).unwrap();
    begun.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let eighth = embedded::migrations::runner();
    let sql = eighth.get_migrations().iter().find(|one| one.version() == 8).unwrap();
    let transaction = begun.transaction().unwrap();
    transaction.execute_batch(sql.sql().unwrap()).unwrap();
    // As a power cut would: never committed.
    drop(transaction);
    drop(begun);
    assert_eq!(rows(&connection, schema), before);
    update(&mut connection);
    assert_eq!(rows(&connection, "SELECT count(*) FROM changes"), ["2"]);
}

#[test]
fn no_check_makes_a_table_of_its_words_for_each_row() {
    let mut connection = Connection::open_in_memory().unwrap();
    update(&mut connection);
    let tables = rows(
        &connection,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    );
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        let explain = format!("EXPLAIN INSERT INTO {table} DEFAULT VALUES");
        let steps = rows(&connection, &explain);
        let is_insert =
            |step: &String| [" Insert ", " IdxInsert "].iter().any(|one| step.contains(one));
        assert!(steps.iter().any(is_insert), "{table}: {steps:#?}");
        let made = steps.iter().find(|step| step.contains("OpenEphemeral"));
        assert_eq!(made, None, "{table}");
    }
}

#[test]
fn the_checks_still_refuse_words_that_mean_nothing() {
    let mut connection = catalog_of(8);
    add_users(&connection, 1);
    update(&mut connection);
    let insert = |kind: &str| {
        connection.execute(
            "INSERT INTO nodes (user_id, kind, name, name_key, place_rev, content_rev) \
             VALUES (1, $1, $1, $1, 1, 1)",
            [kind],
        )
    };
    insert("file").unwrap();
    insert("folder").unwrap();
    insert("door").unwrap_err();
    let change = |op: &str, changed: &str, kind: &str| {
        connection.execute(
            "INSERT INTO changes (user_id, change_id, node_id, op, changed, kind, name, \
             place_rev, content_rev, at) \
             SELECT 1, 1 + count(*), 1, $1, $2, $3, 'x', 1, 1, 0 FROM changes",
            [op, changed, kind],
        )
    };
    for changed in ["content,place", "content", "place", ""] {
        change("UPDATE", changed, "file").unwrap();
    }
    change("CREATE", "", "link").unwrap();
    change("DELETE", "", "folder").unwrap();
    change("create", "", "file").unwrap_err();
    change("CREATE", "name", "file").unwrap_err();
    change("CREATE", "", "door").unwrap_err();
    let document = |status: &str, on_conflict: &str, ended: Option<i64>| {
        connection.execute(
            "INSERT INTO documents (user_id, folder, filename, filesize, status, on_conflict, \
             durable_offset, started_at, last_chunk_at, finished_at) \
             VALUES (1, '', 'x', 1, $1, $2, 0, 0, 0, $3)",
            params![status, on_conflict, ended],
        )
    };
    for on_conflict in ["rename", "reject", "replace", "skip"] {
        document("uploading", on_conflict, None).unwrap();
    }
    for status in ["failed", "cancelled", "expired"] {
        document(status, "rename", Some(1)).unwrap();
    }
    document("uploading", "rewrite", None).unwrap_err();
    document("lost", "rename", Some(1)).unwrap_err();
}

#[test]
fn a_token_has_one_row_and_the_row_has_a_user() {
    let mut connection = catalog_of(9);
    add_users(&connection, 1);
    update(&mut connection);
    connection.pragma_update(None, "foreign_keys", "ON").unwrap();
    let insert = |id: &str, user: i64| {
        connection.execute(
            "INSERT INTO tokens (token_id, user_id, key_id, issued_at, expires_at) \
             VALUES ($1, $2, '0123456789abcdef', 1, 2)",
            params![id, user],
        )
    };
    let id = "0123456789abcdef0123456789abcdef";
    insert(id, 1).unwrap();
    insert(id, 1).unwrap_err();
    insert("short", 1).unwrap_err();
    insert(&id.replace('0', "1"), 2).unwrap_err();
}
