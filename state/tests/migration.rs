//! A catalog of many documents is brought up to date without holding them in memory. Alone in its
//! program: the limit holds for all of SQLite in it.
#![allow(clippy::unwrap_used, reason = "tests say so by panicking")]

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use std::time::Instant;
use towline_state::Catalog;
use towline_state::catalog::{Depth, NodeRef};
use towline_testkit::{path, user};
use towline_types::{DocumentPath, NodePath};

/// So many documents, a hundred in each folder. A larger number can be asked for.
const DOCUMENTS: u64 = 100_000;

/// What SQLite may hold of all of it: the rows have some 45 MB, and a million of them ten times
/// as much.
const MEMORY_BYTES: i64 = 24 << 20;

/// The schema of the version before nodes.
const BEFORE: [&str; 7] = [
    include_str!("../migrations/V1__users_documents_blocks.sql"),
    include_str!("../migrations/V2__bytes.sql"),
    include_str!("../migrations/V3__place_keys.sql"),
    include_str!("../migrations/V4__files.sql"),
    include_str!("../migrations/V5__store.sql"),
    include_str!("../migrations/V6__find.sql"),
    include_str!("../migrations/V7__length_and_digest.sql"),
];

#[test]
fn many_documents_become_nodes_in_bounded_memory() {
    let count = std::env::var("TOWLINE_MIGRATED").ok();
    let count = count.map_or(DOCUMENTS, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.db");
    // As the last release leaves it: its own record of migrations is what a start looks at.
    drop(Catalog::open(&file).unwrap());
    let records = records(&file);
    std::fs::remove_file(&file).unwrap();
    let connection = Connection::open(&file).unwrap();
    connection
        .create_scalar_function("towline_place_key", 2, FunctionFlags::default(), |context| {
            context.get::<String>(1)
        })
        .unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
    for sql in BEFORE {
        connection.execute_batch(sql).unwrap();
    }
    connection
        .execute_batch(
            "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), \
             applied_on VARCHAR(255), checksum VARCHAR(255)); \
             INSERT INTO users VALUES (1, 'ann', 1, NULL), (2, 'bob', 1, NULL);",
        )
        .unwrap();
    for (version, name, checksum) in records.into_iter().filter(|(version, ..)| *version <= 7) {
        let sql = "INSERT INTO refinery_schema_history VALUES ($1, $2, '2026-01-01T00:00:00Z', $3)";
        connection.execute(sql, (version, name, checksum)).unwrap();
    }
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO documents (document_id, user_id, folder, filename, filesize, blake3, status, \
         on_conflict, durable_offset, file_path, path_key, started_at, last_chunk_at, created_at, \
         finished_at) SELECT i, 1 + i % 2, '', 'x', i, randomblob(32), 'completed', 'rename', i, \
         printf('top %d/folder number %d/document number %d.bin', i / 10000, i / 100, i), \
         printf('top %d/folder number %d/document number %d.bin', i / 10000, i / 100, i), \
         1, 1, 1, 1 FROM n"
    );
    connection.execute(&sql, []).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);

    let limit = Connection::open_in_memory().unwrap();
    let set: i64 = limit
        .pragma_update_and_check(None, "hard_heap_limit", MEMORY_BYTES, |row| row.get(0))
        .unwrap();
    assert_eq!(set, MEMORY_BYTES);
    let began = Instant::now();
    let catalog = Catalog::open(&file).unwrap();
    println!("{count} documents became nodes in {:?}", began.elapsed());
    for number in [1, 2, 99, 100, count] {
        let id = towline_testkit::id(number);
        let document = catalog.document(id).wait().unwrap().unwrap();
        let (top, middle) = (number / 10_000, number / 100);
        let place = format!("top {top}/folder number {middle}/document number {number}.bin");
        assert_eq!(document.file_path, Some(path(&place)));
        assert_eq!(document.path, DocumentPath::parse("x").unwrap());
    }
    let total: u64 =
        [1, 2].map(|number| catalog.log_head(user(number)).wait().unwrap().last.get()).iter().sum();
    assert!(total > count, "each document and each folder has a change: {total}");
    let root = NodeRef::Path(NodePath::ROOT);
    let listed = catalog.list(user(1), root, Depth::Children, None, 10_000).wait().unwrap();
    assert_eq!(listed.entries.len() as u64, count / 10_000 + 1);
    catalog.close().wait().unwrap();
}

fn records(file: &std::path::Path) -> Vec<(i64, String, String)> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection
        .prepare("SELECT version, name, checksum FROM refinery_schema_history ORDER BY version")
        .unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}
