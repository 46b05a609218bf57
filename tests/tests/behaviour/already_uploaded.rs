//! A file that is in its place already, with these bytes, is not sent again.

use crate::verify::verify;
use std::fs;
use towline_protocol::request::{Find, Upload};
use towline_protocol::{Code, Request};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, find, upload};
use towline_types::OnConflict;

async fn put(speaker: &mut Speaker, name: &str, corpus: &Corpus) -> towline_types::DocumentId {
    let document_id = speaker.upload(upload(name, corpus)).await.document_id;
    speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
    speaker.complete(ZERO).await;
    document_id
}

fn known(name: &str, corpus: &Corpus) -> Upload {
    Upload { blake3: Some(corpus.hash()), ..upload(name, corpus) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_document_is_the_answer_at_once() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 5, 170);
    let mut speaker = server.speaker().await;
    let document_id = put(&mut speaker, "old.bin", &corpus).await;
    for _ in 0..2 {
        let mut speaker = server.speaker().await;
        let before = server.site.on_disk();
        // `OLD.bin` is the same name to the server; which one there is it says.
        for name in ["old.bin", "OLD.bin"] {
            speaker.send(&Request::Upload(known(name, &corpus))).await;
            let success = speaker.success_on(ZERO).await;
            assert!(success.existing && !success.copied && success.durable);
            assert_eq!(success.document_id, document_id);
            assert_eq!((success.filename.as_str(), success.blake3), ("old.bin", corpus.hash()));
        }
        assert_eq!(server.site.on_disk(), before);
        // A client that did not wait: its bytes are dropped, its `complete` gets the receipt.
        speaker.send(&Request::Upload(known("old.bin", &corpus))).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        assert!(speaker.success_on(ZERO).await.existing);
        let receipt = speaker.complete(ZERO).await;
        assert_eq!((receipt.document_id, receipt.blake3), (document_id, corpus.hash()));
        server.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn find_tells_size_first_and_bytes_then() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 171);
    let other = Corpus::new(70_000, 172);
    let mut speaker = server.speaker().await;
    let question = find("doc.pdf", corpus.filesize());
    assert!(!speaker.find(question.clone()).await.same_size);
    let document_id = put(&mut speaker, "doc.pdf", &corpus).await;
    let found = speaker.find(question.clone()).await;
    assert!(found.same_size && found.document_id.is_none() && found.unfinished.is_none());
    let with = |corpus: &Corpus| Find { blake3: Some(corpus.hash()), ..question.clone() };
    let found = speaker.find(with(&corpus)).await;
    assert_eq!((found.document_id, found.known), (Some(document_id), false));
    let found = speaker.find(with(&other)).await;
    assert!(found.same_size && !found.known && found.document_id.is_none());
    // In another place it is not there, though the bytes are known.
    let elsewhere = Find { folder: vec!["in".to_owned()], ..with(&corpus) };
    let found = speaker.find(elsewhere).await;
    assert_eq!((found.same_size, found.document_id, found.known), (true, None, true));
    let found = speaker.find(find("doc.pdf", Corpus::new(70_001, 1).filesize())).await;
    assert!(!found.same_size);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_gets_nothing_of_it() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 173);
    put(&mut server.speaker().await, "doc.pdf", &corpus).await;
    let bob = server.site.add_user("bob").await;
    let mut speaker = Speaker::login(server.address(), &bob.token).await;
    let question = Find { blake3: Some(corpus.hash()), ..find("doc.pdf", corpus.filesize()) };
    let found = speaker.find(question).await;
    assert!(!found.same_size && found.document_id.is_none() && found.unfinished.is_none());
    speaker.upload(known("doc.pdf", &corpus)).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    assert!(!speaker.complete(ZERO).await.existing);
    server.site.assert_published(&bob, "doc.pdf", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_got_a_number_is_there_already_by_its_own_name_too() {
    let server = TestServer::start().await;
    let (first, second) = (Corpus::new(70_000, 175), Corpus::new(70_000, 176));
    let mut speaker = server.speaker().await;
    put(&mut speaker, "a.txt", &first).await;
    let numbered = put(&mut speaker, "a.txt", &second).await;
    for _ in 0..3 {
        speaker.send(&Request::Upload(known("a.txt", &second))).await;
        let success = speaker.success_on(ZERO).await;
        assert!(success.existing);
        assert_eq!((success.document_id, success.filename.as_str()), (numbered, "a (1).txt"));
    }
    // That name is not the one that was asked for, and no other will do.
    let begin = Upload { on_conflict: OnConflict::Reject, ..known("a.txt", &second) };
    speaker.upload_refused(begin, Code::Exists).await;
    let begin = Upload { on_conflict: OnConflict::Reject, ..known("a (1).txt", &second) };
    speaker.send(&Request::Upload(begin)).await;
    assert!(speaker.success_on(ZERO).await.existing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_name_does_not_stand_for_a_name_that_is_free() {
    let server = TestServer::start().await;
    let (first, second) = (Corpus::new(70_000, 188), Corpus::new(70_000, 189));
    let mut speaker = server.speaker().await;
    put(&mut speaker, "a.txt", &first).await;
    let numbered = put(&mut speaker, "a.txt", &second).await;
    // Another file of the folder says that its disk is mounted.
    put(&mut speaker, "b.txt", &first).await;
    fs::remove_file(server.site.document(&server.person, "a.txt")).unwrap();
    let question = Find { blake3: Some(second.hash()), ..find("a.txt", second.filesize()) };
    let found = speaker.find(question).await;
    assert_eq!((found.document_id, found.known), (None, true));
    speaker.send(&Request::Upload(known("a.txt", &second))).await;
    let success = speaker.success_on(ZERO).await;
    assert!(success.copied && !success.existing);
    assert_eq!(success.filename, "a.txt");
    server.site.assert_published(&server.person, "a.txt", &second);
    // The numbered one is still a document of its own.
    speaker.send(&Request::Upload(known("a (1).txt", &second))).await;
    let success = speaker.success_on(ZERO).await;
    assert!(success.existing);
    assert_eq!(success.document_id, numbered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_removed_gives_its_name_to_the_next() {
    let mut server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let keep = Corpus::new(10, 170);
    put(&mut speaker, "keep", &keep).await;
    for (n, on_conflict) in [(0, OnConflict::Rename), (1, OnConflict::Reject)] {
        let (old, new) = (Corpus::new(70_000, 174 + n), Corpus::new(70_000, 184 + n));
        let name = format!("{n}.bin");
        for (corpus, blake3) in [(&old, Some(old.hash())), (&old, None), (&new, Some(new.hash()))] {
            let removed = put(&mut speaker, &name, &old).await;
            fs::remove_file(server.site.document(&server.person, &name)).unwrap();
            let begin = Upload { on_conflict, blake3, ..upload(&name, corpus) };
            speaker.upload(begin).await;
            speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
            let success = speaker.complete(ZERO).await;
            assert_eq!((success.existing, success.filename.as_str()), (false, name.as_str()));
            server.site.assert_published(&server.person, &name, corpus);
            let status = speaker.status(removed).await;
            assert_eq!(status.status, "failed");
            assert!(status.reason.unwrap().contains("removed"));
            fs::remove_file(server.site.document(&server.person, &name)).unwrap();
        }
    }
    // So does one with a number, and one that has the name of a folder.
    put(&mut speaker, "twin", &keep).await;
    put(&mut speaker, "twin", &Corpus::new(11, 1)).await;
    fs::remove_file(server.site.document(&server.person, "twin (1)")).unwrap();
    let third = Corpus::new(12, 2);
    put(&mut speaker, "twin", &third).await;
    server.site.assert_published(&server.person, "twin (1)", &third);
    put(&mut speaker, "dir", &keep).await;
    fs::remove_file(server.site.document(&server.person, "dir")).unwrap();
    let within = Upload { folder: vec!["dir".to_owned()], ..upload("x", &keep) };
    speaker.upload(within).await;
    speaker.chunks(ZERO, &keep, 0..keep.size()).await;
    speaker.complete(ZERO).await;
    server.site.assert_published(&server.person, "dir/x", &keep);
    for name in ["0.bin", "1.bin"] {
        put(&mut speaker, name, &keep).await;
    }
    // No row is left that says otherwise than the disk.
    for arguments in [&[][..], &["--repair"]] {
        if !arguments.is_empty() {
            server.stop().await;
        }
        let verified = verify(&server.site, arguments).await;
        assert!(verified.is_well(), "{:?}", verified.kinds());
    }
}

/// A folder that was removed by hand keeps its name from no file, however many documents were
/// in it; one with a document left does.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_removed_gives_its_name_to_a_file() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    put(&mut speaker, "keep", &Corpus::new(10, 190)).await;
    for on_conflict in [OnConflict::Rename, OnConflict::Reject] {
        for n in 0..150 {
            let corpus = Corpus::new(10 + n, 191);
            let folder = vec!["dir".to_owned(), format!("{}", n % 3)];
            speaker.upload(Upload { folder, ..upload(&format!("{n}"), &corpus) }).await;
            speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
            speaker.complete(ZERO).await;
        }
        let dir = server.site.document(&server.person, "dir");
        let corpus = Corpus::new(20, 192);
        fs::remove_dir_all(dir.join("1")).unwrap();
        put(&mut speaker, "dir", &corpus).await;
        server.site.assert_published(&server.person, "dir (1)", &corpus);
        fs::remove_file(server.site.document(&server.person, "dir (1)")).unwrap();

        fs::remove_dir_all(&dir).unwrap();
        let begin = Upload { on_conflict, ..upload("dir", &corpus) };
        speaker.upload(begin).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        assert_eq!(speaker.complete(ZERO).await.filename, "dir");
        server.site.assert_published(&server.person, "dir", &corpus);
        fs::remove_file(dir).unwrap();
    }
}

/// There is nothing to read of it, so nothing is waited for either.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_was_removed_is_asked_for() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let corpus = Corpus::new(2 * BLOCK + 5, 187);
    put(&mut speaker, "doc.bin", &corpus).await;
    fs::remove_file(server.site.document(&server.person, "doc.bin")).unwrap();
    speaker.upload(known("doc.bin", &corpus)).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    assert!(!speaker.complete(ZERO).await.existing);
    server.site.assert_published(&server.person, "doc.bin", &corpus);
}

/// A disk that is not mounted takes no document away.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_says_nothing_of_its_documents() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 180);
    let mut speaker = server.speaker().await;
    let document_id = put(&mut speaker, "doc.bin", &corpus).await;
    let (folder, away) =
        (server.site.documents(&server.person), server.site.outside().join("away"));
    fs::rename(&folder, &away).unwrap();
    let found = Find { blake3: Some(corpus.hash()), ..find("doc.bin", corpus.filesize()) };
    assert_eq!(speaker.find(found.clone()).await.document_id, None);
    speaker.upload(known("doc.bin", &corpus)).await;
    assert_eq!(speaker.status(document_id).await.status, "completed");
    fs::rename(&away, &folder).unwrap();
    assert_eq!(speaker.find(found).await.document_id, Some(document_id));
}

/// What lies in its place is looked at, unless it is the very file that was published.
#[tokio::test(flavor = "multi_thread")]
async fn another_file_in_its_place_is_read() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    // As many bytes as are read at once, and more.
    for (n, size) in [70_000, BLOCK + 5].into_iter().enumerate() {
        let (corpus, other) = (Corpus::new(size, 181), Corpus::new(size, 182));
        let name = format!("{n}.bin");
        let document_id = put(&mut speaker, &name, &corpus).await;
        let path = server.site.document(&server.person, &name);
        // Put back from a backup: other inode, other time, the same bytes.
        fs::write(path.with_extension("new"), &corpus.bytes).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        for _ in 0..2 {
            speaker.send(&Request::Upload(known(&name, &corpus))).await;
            let success = speaker.success_on(ZERO).await;
            assert_eq!((success.existing, success.document_id), (true, document_id));
        }
        // Somebody's own file of the same length.
        fs::write(&path, &other.bytes).unwrap();
        speaker.upload(known(&name, &corpus)).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        let success = speaker.complete(ZERO).await;
        assert_eq!((success.existing, success.filename), (false, format!("{n} (1).bin")));
        server.site.assert_published(&server.person, &format!("{n} (1).bin"), &corpus);
        assert!(fs::read(&path).unwrap() == other.bytes, "it is not overwritten");
        let reject = Upload { on_conflict: OnConflict::Reject, ..known(&name, &corpus) };
        speaker.upload_refused(reject, Code::Exists).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_short_is_not_an_answer() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let corpus = Corpus::new(70_000, 174);
    put(&mut speaker, "doc.bin", &corpus).await;
    let path = server.site.document(&server.person, "doc.bin");
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    speaker.upload(known("doc.bin", &corpus)).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    let success = speaker.complete(ZERO).await;
    assert_eq!((success.existing, success.filename.as_str()), (false, "doc (1).bin"));
    server.site.assert_published(&server.person, "doc (1).bin", &corpus);
}
