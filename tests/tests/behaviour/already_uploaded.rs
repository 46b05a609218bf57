//! A file that is already in its place with the same bytes is not sent again.

use crate::verify::verify;
use std::fs;
use towline_protocol::request::{Find, Upload};
use towline_protocol::{Code, Request};
use towline_tests::raw_client::{RawClient, ZERO, find, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{ModifiedTime, OnConflict};

async fn put(
    client: &mut RawClient,
    name: &str,
    test_file: &TestFile,
) -> towline_types::DocumentId {
    let document_id = client.upload(upload(name, test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    document_id
}

fn known(name: &str, test_file: &TestFile) -> Upload {
    Upload { blake3: Some(test_file.hash()), ..upload(name, test_file) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_document_is_the_answer_at_once() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5, 170);
    let mut client = server.client().await;
    let document_id = put(&mut client, "old.bin", &test_file).await;
    for _ in 0..2 {
        let mut client = server.client().await;
        let before = server.site.on_disk();
        // For the server `OLD.bin` is the same name; the receipt has the name that exists.
        for name in ["old.bin", "OLD.bin"] {
            client.send(&Request::Upload(known(name, &test_file))).await;
            let success = client.success_on(ZERO).await;
            assert!(success.existing && !success.copied && success.durable);
            assert_eq!(success.document_id, document_id);
            assert_eq!((success.filename.as_str(), success.blake3), ("old.bin", test_file.hash()));
        }
        assert_eq!(server.site.on_disk(), before);
        // A client that sends all before any answer: its bytes are dropped, and its `complete` gets
        // the receipt.
        client.send(&Request::Upload(known("old.bin", &test_file))).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert!(client.success_on(ZERO).await.existing);
        let receipt = client.complete(ZERO).await;
        assert_eq!((receipt.document_id, receipt.blake3), (document_id, test_file.hash()));
        server.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn find_tells_size_first_and_bytes_then() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(70_000, 171);
    let other = TestFile::new(70_000, 172);
    let mut client = server.client().await;
    let question = find("doc.pdf", test_file.filesize());
    assert!(!client.find(question.clone()).await.same_size);
    let document_id = put(&mut client, "doc.pdf", &test_file).await;
    let found = client.find(question.clone()).await;
    assert!(found.same_size && found.document_id.is_none() && found.unfinished.is_none());
    let with = |test_file: &TestFile| Find { blake3: Some(test_file.hash()), ..question.clone() };
    let found = client.find(with(&test_file)).await;
    assert_eq!((found.document_id, found.known), (Some(document_id), false));
    let found = client.find(with(&other)).await;
    assert!(found.same_size && !found.known && found.document_id.is_none());
    // In another folder the file does not exist, though the server knows the bytes.
    let elsewhere = Find { folder: vec!["in".to_owned()], ..with(&test_file) };
    let found = client.find(elsewhere).await;
    assert_eq!((found.same_size, found.document_id, found.known), (true, None, true));
    let found = client.find(find("doc.pdf", TestFile::new(70_001, 1).filesize())).await;
    assert!(!found.same_size);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_gets_nothing_of_it() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(70_000, 173);
    put(&mut server.client().await, "doc.pdf", &test_file).await;
    let bob = server.site.add_user("bob").await;
    let mut client = RawClient::login(server.address(), &bob.token).await;
    let question = Find { blake3: Some(test_file.hash()), ..find("doc.pdf", test_file.filesize()) };
    let found = client.find(question).await;
    assert!(!found.same_size && found.document_id.is_none() && found.unfinished.is_none());
    client.upload(known("doc.pdf", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    assert!(!client.complete(ZERO).await.existing);
    server.site.assert_published(&bob, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_got_a_number_is_there_already_by_its_own_name_too() {
    let server = TestServer::start().await;
    let (first, second) = (TestFile::new(70_000, 175), TestFile::new(70_000, 176));
    let mut client = server.client().await;
    put(&mut client, "a.txt", &first).await;
    let numbered = put(&mut client, "a.txt", &second).await;
    for _ in 0..3 {
        client.send(&Request::Upload(known("a.txt", &second))).await;
        let success = client.success_on(ZERO).await;
        assert!(success.existing);
        assert_eq!((success.document_id, success.filename.as_str()), (numbered, "a (1).txt"));
    }
    // The document has another name than the one that was asked for, and with `reject` no other
    // name is allowed.
    let begin = Upload { on_conflict: OnConflict::Reject, ..known("a.txt", &second) };
    client.upload_refused(begin, Code::Exists).await;
    let begin = Upload { on_conflict: OnConflict::Reject, ..known("a (1).txt", &second) };
    client.send(&Request::Upload(begin)).await;
    assert!(client.success_on(ZERO).await.existing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_name_does_not_stand_for_a_name_that_is_free() {
    let server = TestServer::start().await;
    let (first, second) = (TestFile::new(70_000, 188), TestFile::new(70_000, 189));
    let mut client = server.client().await;
    put(&mut client, "a.txt", &first).await;
    let numbered = put(&mut client, "a.txt", &second).await;
    // Another file in the folder shows the server that the folder's disk is mounted.
    put(&mut client, "b.txt", &first).await;
    fs::remove_file(server.site.document(&server.user, "a.txt")).unwrap();
    let question = Find { blake3: Some(second.hash()), ..find("a.txt", second.filesize()) };
    let found = client.find(question).await;
    assert_eq!((found.document_id, found.known), (None, true));
    client.send(&Request::Upload(known("a.txt", &second))).await;
    let success = client.success_on(ZERO).await;
    assert!(success.copied && !success.existing);
    assert_eq!(success.filename, "a.txt");
    server.site.assert_published(&server.user, "a.txt", &second);
    // The document with the number in its name is still there.
    client.send(&Request::Upload(known("a (1).txt", &second))).await;
    let success = client.success_on(ZERO).await;
    assert!(success.existing);
    assert_eq!(success.document_id, numbered);
}

/// A person keeps an old copy under another name, sends a new file, and then the old one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_does_not_stand_for_its_old_name() {
    let server = TestServer::start().await;
    let (first, second) = (TestFile::new(70_000, 190), TestFile::new(70_000, 191));
    let mut client = server.client().await;
    let moved = put(&mut client, "a.txt", &first).await;
    client.move_node("a.txt", "old.txt").await;
    put(&mut client, "a.txt", &second).await;
    let question = Find { blake3: Some(first.hash()), ..find("a.txt", first.filesize()) };
    let found = client.find(question.clone()).await;
    assert_eq!((found.document_id, found.known), (None, true));
    // The time of a file here is not given to one that was moved.
    let mtime = Some(ModifiedTime::from_ms(1_705_331_200_123));
    let again = Upload { mtime_ms: mtime, ..known("a.txt", &first) };
    client.send(&Request::Upload(again.clone())).await;
    let success = client.success_on(ZERO).await;
    assert!(success.copied && !success.existing);
    assert_eq!(success.filename, "a (1).txt");
    let copy = success.document_id;
    assert_ne!(copy, moved);
    for _ in 0..3 {
        client.send(&Request::Upload(again.clone())).await;
        let success = client.success_on(ZERO).await;
        assert!(success.existing, "no further copy");
        assert_eq!((success.document_id, success.filename.as_str()), (copy, "a (1).txt"));
    }
    assert_eq!(client.find(question).await.document_id, Some(copy));
    let node = client.stat("old.txt").await.node;
    assert_eq!((node.version, node.mtime_ms), (Some(moved), None));
    server.site.assert_published(&server.user, "old.txt", &first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_removed_gives_its_name_to_the_next() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let keep = TestFile::new(10, 170);
    put(&mut client, "keep", &keep).await;
    for (n, on_conflict) in [(0, OnConflict::Rename), (1, OnConflict::Reject)] {
        let (old, new) = (TestFile::new(70_000, 174 + n), TestFile::new(70_000, 184 + n));
        let name = format!("{n}.bin");
        for (test_file, blake3) in
            [(&old, Some(old.hash())), (&old, None), (&new, Some(new.hash()))]
        {
            let removed = put(&mut client, &name, &old).await;
            fs::remove_file(server.site.document(&server.user, &name)).unwrap();
            let begin = Upload { on_conflict, blake3, ..upload(&name, test_file) };
            client.upload(begin).await;
            client.chunks(ZERO, test_file, 0..test_file.size()).await;
            let success = client.complete(ZERO).await;
            assert_eq!((success.existing, success.filename.as_str()), (false, name.as_str()));
            server.site.assert_published(&server.user, &name, test_file);
            let status = client.status(removed).await;
            assert_eq!(status.status, "failed");
            assert!(status.reason.unwrap().contains("removed"));
            fs::remove_file(server.site.document(&server.user, &name)).unwrap();
        }
    }
    // A removed document also frees a name with a number, and a name that a folder has now.
    put(&mut client, "twin", &keep).await;
    put(&mut client, "twin", &TestFile::new(11, 1)).await;
    fs::remove_file(server.site.document(&server.user, "twin (1)")).unwrap();
    let third = TestFile::new(12, 2);
    put(&mut client, "twin", &third).await;
    server.site.assert_published(&server.user, "twin (1)", &third);
    put(&mut client, "dir", &keep).await;
    fs::remove_file(server.site.document(&server.user, "dir")).unwrap();
    let within = Upload { folder: vec!["dir".to_owned()], ..upload("x", &keep) };
    client.upload(within).await;
    client.chunks(ZERO, &keep, 0..keep.size()).await;
    client.complete(ZERO).await;
    server.site.assert_published(&server.user, "dir/x", &keep);
    for name in ["0.bin", "1.bin"] {
        put(&mut client, name, &keep).await;
    }
    // No row differs from the files on the disk.
    for arguments in [&[][..], &["--repair"]] {
        if !arguments.is_empty() {
            server.stop().await;
        }
        let verified = verify(&server.site, arguments).await;
        assert!(verified.is_well(), "{:?}", verified.kinds());
    }
}

/// A folder that was removed by hand does not keep its name from a file, however many documents it
/// had. A folder that still has a document does.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_removed_gives_its_name_to_a_file() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "keep", &TestFile::new(10, 190)).await;
    for on_conflict in [OnConflict::Rename, OnConflict::Reject] {
        for n in 0..150 {
            let test_file = TestFile::new(10 + n, 191);
            let folder = vec!["dir".to_owned(), format!("{}", n % 3)];
            client.upload(Upload { folder, ..upload(&format!("{n}"), &test_file) }).await;
            client.chunks(ZERO, &test_file, 0..test_file.size()).await;
            client.complete(ZERO).await;
        }
        let dir = server.site.document(&server.user, "dir");
        let test_file = TestFile::new(20, 192);
        fs::remove_dir_all(dir.join("1")).unwrap();
        put(&mut client, "dir", &test_file).await;
        server.site.assert_published(&server.user, "dir (1)", &test_file);
        fs::remove_file(server.site.document(&server.user, "dir (1)")).unwrap();

        fs::remove_dir_all(&dir).unwrap();
        let begin = Upload { on_conflict, ..upload("dir", &test_file) };
        client.upload(begin).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.filename, "dir");
        server.site.assert_published(&server.user, "dir", &test_file);
        fs::remove_file(dir).unwrap();
    }
}

/// The server has no bytes to read, so it answers without waiting for the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_was_removed_is_asked_for() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(2 * BLOCK + 5, 187);
    put(&mut client, "doc.bin", &test_file).await;
    fs::remove_file(server.site.document(&server.user, "doc.bin")).unwrap();
    client.upload(known("doc.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    assert!(!client.complete(ZERO).await.existing);
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

/// A disk that is not mounted takes no document away.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_says_nothing_of_its_documents() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(70_000, 180);
    let mut client = server.client().await;
    let document_id = put(&mut client, "doc.bin", &test_file).await;
    let (folder, away) = (server.site.documents(&server.user), server.site.outside().join("away"));
    fs::rename(&folder, &away).unwrap();
    let found = Find { blake3: Some(test_file.hash()), ..find("doc.bin", test_file.filesize()) };
    assert_eq!(client.find(found.clone()).await.document_id, None);
    client.upload(known("doc.bin", &test_file)).await;
    assert_eq!(client.status(document_id).await.status, "completed");
    fs::rename(&away, &folder).unwrap();
    assert_eq!(client.find(found).await.document_id, Some(document_id));
}

/// The server reads the file that is in the place of the document, unless it is the same file that
/// was published.
#[tokio::test(flavor = "multi_thread")]
async fn another_file_in_its_place_is_read() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    // One file that fits into one read, and one that does not.
    for (n, size) in [70_000, BLOCK + 5].into_iter().enumerate() {
        let (test_file, other) = (TestFile::new(size, 181), TestFile::new(size, 182));
        let name = format!("{n}.bin");
        let document_id = put(&mut client, &name, &test_file).await;
        let path = server.site.document(&server.user, &name);
        // The file was put back from a backup: other inode, other time, the same bytes.
        fs::write(path.with_extension("new"), &test_file.bytes).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        for _ in 0..2 {
            client.send(&Request::Upload(known(&name, &test_file))).await;
            let success = client.success_on(ZERO).await;
            assert_eq!((success.existing, success.document_id), (true, document_id));
        }
        // Another program's file of the same length.
        fs::write(&path, &other.bytes).unwrap();
        client.upload(known(&name, &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        let success = client.complete(ZERO).await;
        assert_eq!((success.existing, success.filename), (false, format!("{n} (1).bin")));
        server.site.assert_published(&server.user, &format!("{n} (1).bin"), &test_file);
        assert!(fs::read(&path).unwrap() == other.bytes, "it is not overwritten");
        let reject = Upload { on_conflict: OnConflict::Reject, ..known(&name, &test_file) };
        client.upload_refused(reject, Code::Exists).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_short_is_not_an_answer() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(70_000, 174);
    put(&mut client, "doc.bin", &test_file).await;
    let path = server.site.document(&server.user, "doc.bin");
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    client.upload(known("doc.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let success = client.complete(ZERO).await;
    assert_eq!((success.existing, success.filename.as_str()), (false, "doc (1).bin"));
    server.site.assert_published(&server.user, "doc (1).bin", &test_file);
}
