//! A data folder that the last release has left, in `tests/fixtures/v2`: made once with the
//! programs of commit 4bd6c06 (catalog schema 2), and never made again.
//!
//! Two users have documents in folders, names that are twins only by the rules of today, documents
//! that a relaxed server had synced, and two that it had not recorded yet when it was killed; and
//! unfinished uploads that are durable to some byte. The kill has left a journal. Keys and tokens
//! are not in it.

use crate::process::ServerProcess;
use crate::raw_client::{offset, read_of, resume};
use crate::site::{Site, TestUser};
use crate::test_file::TestFile;
use crate::tree_audit::assert_tree_is_one;
use rusqlite::config::DbConfig;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_types::{DocumentId, NodeKind};

/// A file of the fixture: the number of its user, its path, its length, and what its bytes begin
/// with.
type FixtureFile = (u64, &'static str, usize, usize);

const DOCUMENTS: &[FixtureFile] = &[
    (11, "report.txt", 200, 0),
    (11, "proj/a.txt", 237, 1),
    (11, "proj/src/main.rs", 274, 2),
    (11, "proj/src/deep/er/file.bin", 311, 3),
    (11, "Stra\u{df}e.txt", 348, 4),
    (11, "STRASSE.txt", 385, 5),
    (11, "Stra\u{df}e/one.txt", 422, 6),
    (11, "STRASSE/one.txt", 459, 7),
    (11, "STRASSE/two.txt", 496, 8),
    (11, "proj/a (1).txt", 533, 9),
    (11, "proj/empty", 0, 10),
    (11, "caf\u{e9}/men\u{fc}.md", 607, 11),
    (11, "relaxed/fast.txt", 4000, 40),
    (11, "proj/relaxed.txt", 5000, 41),
    (11, "relaxed/last.txt", 6100, 43),
    (12, "report.txt", 300, 20),
    (12, "films/list.txt", 301, 21),
    (12, "relaxed/last.txt", 6000, 42),
];

/// The rows that were `publishing` with bytes in the page cache, and their files.
const CACHED: [(u64, &str); 2] =
    [(20, "uploads/12/relaxed/last.txt"), (21, "uploads/11/relaxed/last.txt")];

/// An unfinished upload: its number, the file, and how many bytes of it are durable.
pub const UNFINISHED: &[(u64, FixtureFile, usize)] = &[
    (15, (11, "proj/unfinished.bin", 50_000, 30), 30_000),
    (16, (12, "inbox/later.bin", 20_000, 31), 7001),
    (17, (12, "nothing.bin", 9000, 32), 0),
];

/// The bytes of a file of the fixture.
///
/// # Panics
/// Never.
#[must_use]
pub fn content((_, _, size, seed): FixtureFile) -> TestFile {
    let byte = |i: usize| u8::try_from((i * 31 + seed * 17) % 251).expect("less than 251");
    TestFile { bytes: (0..size).map(byte).collect() }
}

/// Fills a data folder in which no server ever was with copies of the files. They outlast a power
/// cut.
///
/// # Panics
/// Where a file cannot be copied.
pub fn fill(site: &Site) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v2");
    copy(&fixture, site.path());
    // A file that is being published is known by its inode, and a copy has another one. The journal
    // stays: it is what a kill leaves.
    let connection = rusqlite::Connection::open(site.catalog_path()).expect("a database");
    let keep = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    assert!(keep.expect("a setting"));
    for (id, path) in CACHED {
        let inode = site.path().join(path).metadata().expect("a copy").ino().cast_signed();
        let sql = "UPDATE documents SET cached_inode = ?1 WHERE document_id = ?2 \
                   AND status = 'publishing' AND cached_inode IS NOT NULL";
        let id = i64::try_from(id).expect("a number");
        assert_eq!(connection.execute(sql, [inode, id]).expect("a statement"), 1);
    }
    drop(connection);
    sync(site.path());
}

/// The users; to be asked for once the catalog is up to date.
///
/// # Panics
/// Never.
#[must_use]
pub fn users(site: &Site) -> Vec<TestUser> {
    let user = |(id, name): (u64, &str)| {
        let id = id.try_into().expect("a number");
        let token = site.token(id, Duration::from_secs(3600));
        TestUser { id, name: name.to_owned(), token }
    };
    [(11, "ada"), (12, "bob")].map(user).to_vec()
}

/// Checks that everything is there: list, log of changes and disk agree, each document reads as it
/// was uploaded, and each upload goes on where it was durable. `completed` are the uploads that were
/// brought to their end since.
///
/// # Panics
/// Where something is missing or another.
pub async fn assert_all_there(site: &Site, server: &ServerProcess, completed: &[DocumentId]) {
    for user in users(site) {
        let mut client = server.client(&user).await;
        let tree = assert_tree_is_one(site, &user, &mut client).await;
        let is_completed = |id: &u64| completed.iter().any(|completed| completed.get() == *id);
        let since = UNFINISHED.iter().filter(|(id, ..)| is_completed(id)).map(|(_, file, _)| *file);
        let mut expected: Vec<FixtureFile> = DOCUMENTS.iter().copied().chain(since).collect();
        expected.retain(|(owner, ..)| *owner == user.id.get());
        for file in &expected {
            let node = tree.get(file.1).unwrap_or_else(|| panic!("{} is not listed", file.1));
            let version = node.version.unwrap_or_else(|| panic!("{} has no version", file.1));
            let received = client.read(read_of(version)).await;
            let received = received.unwrap_or_else(|error| panic!("{}: {error:?}", file.1));
            assert!(received.bytes == content(*file).bytes, "{} reads as another", file.1);
        }
        let files = tree.values().filter(|node| node.kind == NodeKind::File).count();
        assert_eq!(files, expected.len(), "{:?}", tree.keys());
        for (id, file, durable) in UNFINISHED.iter().filter(|(id, ..)| !is_completed(id)) {
            if file.0 == user.id.get() {
                let id = DocumentId::try_from(*id).expect("a number");
                let granted = client.resume(resume(id)).await;
                assert_eq!(granted.offset, offset(*durable), "{}", file.1);
                drop(client.pause().await);
                client = server.client(&user).await;
            }
        }
    }
    server.assert_calm();
}

/// SQLite's files of the catalog.
#[must_use]
pub fn catalog_files(site: &Site) -> Vec<PathBuf> {
    ["db", "db-wal", "db-shm", "db-journal"]
        .map(|end| site.catalog_path().with_extension(end))
        .into()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("a copy");
        }
    }
}

fn sync(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sync(&path);
        } else {
            File::open(&path).and_then(|file| file.sync_all()).expect("a sync");
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).expect("a sync");
}
