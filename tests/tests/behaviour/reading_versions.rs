//! Older versions and removed files are read by their document numbers, and what is not, or no
//! longer, what was uploaded is named and not served as good, wherever it lies.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_protocol::request::{Move, Read, Request, Upload};
use towline_protocol::{Code, ErrorReply};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, names, read_of, upload};
use towline_tests::server::TestServer;
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{DocumentId, ModifiedTime, OnConflict};

const SIZE: usize = 3 * BLOCK + 5;

async fn put(client: &mut RawClient, path: &str, test_file: &TestFile, mtime: i64) -> DocumentId {
    let (folder, filename) = path.rsplit_once('/').unwrap_or(("", path));
    let begin = Upload {
        folder: names(folder),
        on_conflict: OnConflict::Replace,
        mtime_ms: Some(ModifiedTime::from_ms(mtime)),
        ..upload(filename, test_file)
    };
    client.upload(begin).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await.document_id
}

fn with_values(document_id: DocumentId) -> Read {
    Read { blocks: true, ..read_of(document_id) }
}

/// Reads the document with the values of its blocks, and without them.
async fn assert_good(client: &mut RawClient, document_id: DocumentId, test_file: &TestFile) {
    for blocks in [true, false] {
        let received = client.read(Read { blocks, ..read_of(document_id) }).await.unwrap();
        assert!(received.bytes == test_file.bytes);
        let values = (0..test_file.block_count()).map(|index| (index, test_file.value(index)));
        assert_eq!(received.values, values.filter(|_| blocks).collect::<Vec<_>>());
    }
}

/// A document in its place, an older version, and a file in the trash, alone and in a folder.
async fn four(client: &mut RawClient) -> Vec<(DocumentId, TestFile)> {
    let files: Vec<_> = (0..4).map(|salt| TestFile::new(SIZE, 700 + salt)).collect();
    let places = ["doc", "doc", "gone", "folder/sub/gone"];
    let mut documents = Vec::new();
    for (place, test_file) in places.into_iter().zip(files) {
        documents.push((put(client, place, &test_file, 5).await, test_file));
    }
    client.remove("gone").await;
    client.remove("folder").await;
    documents
}

/// The file of the document, wherever it lies: no two files of the test have the same bytes.
fn file_of(site: &Site, test_file: &TestFile) -> PathBuf {
    let found = site
        .on_disk()
        .into_keys()
        .find(|path| path.is_file() && fs::read(path).is_ok_and(|bytes| bytes == test_file.bytes));
    found.expect("its file is somewhere")
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_and_removed_files_are_read_by_their_numbers() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let documents = four(&mut client).await;
    for (document_id, test_file) in &documents {
        assert_good(&mut client, *document_id, test_file).await;
    }
    // From another start on the same.
    server.restart().await;
    let mut client = server.client().await;
    for (document_id, test_file) in &documents {
        assert_good(&mut client, *document_id, test_file).await;
    }
    let other = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &other.token).await;
    for (document_id, _) in &documents {
        assert_eq!(bob.read(read_of(*document_id)).await.unwrap_err().code, Code::NotFound);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_has_the_time_that_came_with_it() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let mut documents = Vec::new();
    for mtime in [-7000, 12_345, 99] {
        documents.push(put(&mut client, "doc", &TestFile::new(100, 710), mtime).await);
        documents.push(put(&mut client, "doc", &TestFile::new(200, 711), mtime + 1).await);
    }
    documents.reverse();
    let times = [100, 99, 12_346, 12_345, -6999, -7000];
    let expected: Vec<_> = documents.into_iter().zip(times).collect();
    let in_pages = async |client: &mut RawClient, limit| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (versions, next) = client.versions_page("doc", limit, after).await;
            assert!(versions.len() <= limit as usize, "at most {limit}");
            all.extend(versions);
            after = next;
            if after.is_none() {
                return all;
            }
        }
    };
    for limit in [1, 2, 3, 6, 100] {
        let all = in_pages(&mut client, limit).await;
        let found: Vec<_> = all
            .iter()
            .map(|version| (version.version, version.mtime_ms.map_or(0, ModifiedTime::as_ms)))
            .collect();
        assert_eq!(found, expected, "{limit} at a time");
        assert_eq!(all.iter().filter(|version| version.current).count(), 1);
    }
    server.stop().await;
}

fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn set_modified(path: &Path, time: std::time::SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// What another program does to a file behind the server.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Other bytes in block 2, and the time of modification as it was.
    SameStamp,
    /// Other bytes in block 2.
    OtherBytes,
    Truncated,
    /// Another file with other bytes in block 2 has the name.
    OtherInode,
    Removed,
}

impl Change {
    fn make(self, path: &Path, test_file: &TestFile) {
        let time = modified(path);
        let mut other = test_file.bytes.clone();
        other[2 * BLOCK + 100] ^= 1;
        match self {
            Self::SameStamp => {
                fs::write(path, &other).unwrap();
                set_modified(path, time);
            }
            Self::OtherBytes => {
                fs::write(path, &other).unwrap();
                set_modified(path, time + Duration::from_secs(9));
            }
            Self::Truncated => File::options().write(true).open(path).unwrap().set_len(7).unwrap(),
            Self::OtherInode => {
                let beside = path.with_extension("beside");
                fs::write(&beside, &other).unwrap();
                fs::rename(beside, path).unwrap();
            }
            Self::Removed => fs::remove_file(path).unwrap(),
        }
    }

    /// Whether the answer can say which block it is.
    const fn is_of_a_block(self) -> bool {
        matches!(self, Self::SameStamp | Self::OtherBytes | Self::OtherInode)
    }
}

async fn start() -> (Site, TestUser, ServerProcess) {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    (site, user, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_has_changed_is_named_with_its_block_and_not_served() {
    for change in [
        Change::SameStamp,
        Change::OtherBytes,
        Change::Truncated,
        Change::OtherInode,
        Change::Removed,
    ] {
        let (site, user, server) = start().await;
        let mut client = server.client(&user).await;
        for (document_id, test_file) in four(&mut client).await {
            // From the first time that all of it is read its values are kept.
            assert_good(&mut client, document_id, &test_file).await;
            change.make(&file_of(&site, &test_file), &test_file);
            if let Change::SameStamp = change {
                // Only the bytes tell: who asks for the values of blocks compares them.
                let received = client.read(with_values(document_id)).await.unwrap();
                assert_eq!(received.values[2].1, test_file.value(2));
                assert!(received.bytes != test_file.bytes);
            } else {
                let error = client.read(with_values(document_id)).await.unwrap_err();
                assert_eq!(error.code, Code::Damaged, "{change:?}: {error:?}");
            }
            let without = Read { blocks: false, ..read_of(document_id) };
            let error: ErrorReply = *client.read(without).await.unwrap_err();
            assert_eq!((error.code, error.document_id), (Code::Damaged, Some(document_id)));
            let index = error.index.map(|index| index.get());
            assert_eq!(index, change.is_of_a_block().then_some(2), "{change:?}: {error:?}");
            let words = format!("document={document_id}");
            server.says_in_one_line(&["ERROR", "damaged", &words]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stamp_with_the_same_bytes_is_served() {
    let (site, user, server) = start().await;
    let mut client = server.client(&user).await;
    for (document_id, test_file) in four(&mut client).await {
        let path = file_of(&site, &test_file);
        // Whether the values of its blocks are kept already or not.
        for _ in 0..2 {
            let later = modified(&path) + Duration::from_secs(3);
            set_modified(&path, later);
            assert_good(&mut client, document_id, &test_file).await;
            fs::copy(&path, site.outside().join("copy")).unwrap();
            fs::remove_file(&path).unwrap();
            fs::copy(site.outside().join("copy"), &path).unwrap();
            assert_good(&mut client, document_id, &test_file).await;
        }
    }
    let said = server.said();
    assert!(!said.iter().any(|line| line.contains("damaged")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_into_no_folder_says_that_it_is_the_folder_that_is_missing() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    client.mkdir("proj").await;
    let moving = |from: &str, to: &str| {
        Request::Move(Move { path: Some(names(from)), to: names(to), ..Move::default() })
    };
    let error = client.tree_refused(&moving("proj", "none/proj"), Code::NotFound).await;
    assert_eq!(error.field.as_deref(), Some("to"), "{error:?}");
    let error = client.tree_refused(&moving("none", "proj/none"), Code::NotFound).await;
    assert_eq!(error.field, None, "{error:?}");
    server.stop().await;
}
