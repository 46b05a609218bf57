//! Names that are taken, names that differ only in case or form, and files of other programs at the
//! place of a document.

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::symlink;
use towline_protocol::request::{Complete, Mkdir, Move, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::raw_client::{RawClient, ZERO, offset, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_types::{DocumentId, OnConflict};

/// Uploads a whole file. Returns the name that it got.
async fn put(client: &mut RawClient, begin: Upload, test_file: &TestFile) -> String {
    let channel = begin.channel;
    client.upload(begin).await;
    client.chunks(channel, test_file, 0..test_file.size()).await;
    client.complete(channel).await.filename
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_gets_a_number() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (filename, copies) in [
        ("doc.pdf", ["doc.pdf", "doc (1).pdf", "doc (2).pdf"]),
        ("noext", ["noext", "noext (1)", "noext (2)"]),
        ("a (1).txt", ["a (1).txt", "a (1) (1).txt", "a (1) (2).txt"]),
    ] {
        for (i, name) in copies.into_iter().enumerate() {
            let test_file = TestFile::new(1000, 140 + i as u64);
            assert_eq!(put(&mut client, upload(filename, &test_file), &test_file).await, name);
        }
        for (i, name) in copies.into_iter().enumerate() {
            let test_file = TestFile::new(1000, 140 + i as u64);
            server.site.assert_published(&server.user, name, &test_file);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_gets_a_number_too() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(10, 150);
    for name in [format!("{}.pdf", "x".repeat(251)), format!("{}.pdf", "ü".repeat(125))] {
        assert_eq!(put(&mut client, upload(&name, &test_file), &test_file).await, name);
        let second = put(&mut client, upload(&name, &test_file), &test_file).await;
        assert!(second.ends_with(" (1).pdf") && second.len() <= 255, "{second}");
        server.site.assert_published(&server.user, &second, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_is_refused_at_upload() {
    let server = TestServer::start().await;
    let (old, new) = (TestFile::new(1000, 151), TestFile::new(1000, 152));
    let mut client = server.client().await;
    put(&mut client, upload("doc.pdf", &old), &old).await;
    let before = server.site.on_disk();
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &new) };
    client.upload_refused(begin, Code::Exists).await;
    assert_eq!(server.site.on_disk(), before);
    assert!(server.site.state().uploads.is_empty());
    server.site.assert_published(&server.user, "doc.pdf", &old);
    // The same name in another folder, or of another user, is free.
    let elsewhere = Upload {
        on_conflict: OnConflict::Reject,
        folder: vec!["new".to_owned()],
        ..upload("doc.pdf", &new)
    };
    put(&mut client, elsewhere, &new).await;
    server.site.assert_published(&server.user, "new/doc.pdf", &new);
    let bob = server.site.add_user("bob").await;
    let mut client = RawClient::login(server.address(), &bob.token).await;
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &new) };
    put(&mut client, begin, &new).await;
    server.site.assert_published(&bob, "doc.pdf", &new);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_uploads_that_race_for_a_name_get_two_names() {
    let server = TestServer::start().await;
    let (first, second) = (TestFile::new(1000, 153), TestFile::new(2000, 154));
    let mut client = server.client().await;
    let begin = |channel, test_file: &TestFile| Upload {
        channel,
        on_conflict: OnConflict::Reject,
        ..upload("doc.pdf", test_file)
    };
    let (one, two) = (Channel(1), Channel(2));
    client.upload(begin(one, &first)).await;
    let loser = client.upload(begin(two, &second)).await.document_id;
    client.chunks(two, &second, 0..2000).await;
    client.chunks(one, &first, 0..1000).await;
    client.complete(one).await;
    let again = Complete { channel: two, ..Complete::default() };
    for _ in 0..2 {
        client.complete_refused(again.clone(), Code::Exists).await;
    }
    let status = client.status(loser).await;
    assert_eq!((status.status.as_str(), status.received), ("uploading", offset(2000)));
    // All bytes are kept; under another name the upload is completed.
    let renamed = Complete { on_conflict: Some(OnConflict::Rename), ..again };
    let success = client.complete_with(renamed).await;
    assert_eq!((success.filename.as_str(), success.blake3), ("doc (1).pdf", second.hash()));
    server.site.assert_published(&server.user, "doc.pdf", &first);
    server.site.assert_published(&server.user, "doc (1).pdf", &second);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_that_race_for_a_name_get_a_name_each() {
    let server = TestServer::start().await;
    let mut racing = Vec::new();
    for i in 0..12 {
        let mut client = server.client().await;
        let test_file = TestFile::new(5000 + i, 155);
        client.upload(upload("race.bin", &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        racing.push(tokio::spawn(async move { (client.complete(ZERO).await.filename, test_file) }));
    }
    let mut names = Vec::new();
    for racer in racing {
        let (name, test_file) = racer.await.unwrap();
        server.site.assert_published(&server.user, &name, &test_file);
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 12, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_in_case_and_normalisation() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 156);
    let mut client = server.client().await;
    for (name, twin, renamed) in [
        ("doc.pdf", "DOC.pdf", "DOC (1).pdf"),
        ("caf\u{e9}.txt", "cafe\u{301}.txt", "cafe\u{301} (1).txt"),
        ("\u{fb01}sh.txt", "\u{fb01}SH.txt", "\u{fb01}SH (1).txt"),
        ("stra\u{df}e.txt", "STRA\u{df}E.txt", "STRA\u{df}E (1).txt"),
        ("\u{c5}.txt", "\u{212b}.txt", "\u{212b} (1).txt"),
        ("ΟΔΟΣ.PDF", "οδος.pdf", "οδος (1).pdf"),
        ("gro\u{df}.txt", "GROSS.TXT", "GROSS (1).TXT"),
        ("\u{17f}eil.txt", "Seil.txt", "Seil (1).txt"),
        ("5 \u{b5}m", "5 \u{3bc}m", "5 \u{3bc}m (1)"),
        ("\u{fb01}nal.txt", "FINAL.txt", "FINAL (1).txt"),
        ("❤.png", "❤\u{fe0f}.png", "❤\u{fe0f} (1).png"),
        ("a\u{202f}b", "a b", "a b (1)"),
    ] {
        put(&mut client, upload(name, &test_file), &test_file).await;
        let begin = Upload { on_conflict: OnConflict::Reject, ..upload(twin, &test_file) };
        client.upload_refused(begin, Code::Exists).await;
        assert_eq!(put(&mut client, upload(twin, &test_file), &test_file).await, renamed, "{twin}");
        server.site.assert_published(&server.user, renamed, &test_file);
    }
    // Folders are part of the name.
    let within = |folder: &str, name: &str| Upload {
        folder: vec![folder.to_owned()],
        on_conflict: OnConflict::Reject,
        ..upload(name, &test_file)
    };
    put(&mut client, within("Photos", "a.jpg"), &test_file).await;
    client.upload_refused(within("photos", "A.jpg"), Code::Exists).await;
    put(&mut client, within("photos", "b.jpg"), &test_file).await;
}

/// For a person who looks at the names, and for other file systems, the two names are the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_and_a_folder_that_are_twins() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 156);
    let mut client = server.client().await;
    put(&mut client, upload("Twinfile É", &test_file), &test_file).await;
    for folder in ["Twinfile É", "TWINFILE É", "twinfile e\u{301}"] {
        let begin = Upload { folder: vec![folder.to_owned()], ..upload("x", &test_file) };
        client.upload_refused(begin.clone(), Code::Exists).await;
        let deeper = Upload { folder: vec![folder.to_owned(), "y".to_owned()], ..begin };
        client.upload_refused(deeper, Code::Exists).await;
    }
    let begin = Upload { folder: vec!["Twinfolder".to_owned()], ..upload("x", &test_file) };
    put(&mut client, begin, &test_file).await;
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("TWINFOLDER", &test_file) };
    client.upload_refused(begin, Code::Exists).await;
    let got = put(&mut client, upload("TWINFOLDER", &test_file), &test_file).await;
    assert_eq!(got, "TWINFOLDER (1)");
}

/// A folder may lie as deep as a file; then nothing lies in it.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_folders_lie_around_a_file_or_a_folder() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100, 157);
    let deepest = vec!["d".to_owned(); 32];
    let within = |folder: &[String]| Upload { folder: folder.to_vec(), ..upload("x", &test_file) };
    assert_eq!(put(&mut client, within(&deepest), &test_file).await, "x");
    let below = [&deepest[..], &["last".to_owned()]].concat();
    assert_eq!(client.mkdir(&below.join("/")).await.path, below);
    client.upload_refused(within(&below), Code::BadName).await;
    let beyond = [&below[..], &["y".to_owned()]].concat();
    let mkdir = Mkdir { path: beyond.clone(), ..Mkdir::default() };
    client.tree_refused(&Request::Mkdir(mkdir), Code::BadName).await;
    client.mkdir("e").await;
    let to_deepest = Move { path: Some(vec!["e".to_owned()]), to: beyond, ..Move::default() };
    client.tree_refused(&Request::Move(to_deepest), Code::BadName).await;
    // A folder with something in it is a level deeper than it says.
    client.mkdir("e/f").await;
    let to = [&deepest[..], &["e".to_owned()]].concat();
    let too_deep = Move { path: Some(vec!["e".to_owned()]), to, ..Move::default() };
    client.tree_refused(&Request::Move(too_deep), Code::BadName).await;
    client.remove("e/f").await;
    client.move_node("e", &format!("{}/e", deepest.join("/"))).await;
}

/// A folder whose name is written in another way is another folder for an upload, and none that can
/// be made for itself; what is taken in the one is taken in the other.
#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_twins() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100, 158);
    client.mkdir("Photos").await;
    for path in ["photos", "PHOTOS/2024"] {
        let path = path.split('/').map(str::to_owned).collect();
        let mkdir = Request::Mkdir(Mkdir { path, ..Mkdir::default() });
        let node = client.tree_refused(&mkdir, Code::Exists).await.node;
        assert_eq!(node.expect("what has the name").name, "Photos");
    }
    let within =
        |name: &str| Upload { folder: vec!["photos".to_owned()], ..upload(name, &test_file) };
    assert_eq!(put(&mut client, within("a.jpg"), &test_file).await, "a.jpg");
    server.site.assert_published(&server.user, "photos/a.jpg", &test_file);
    let other = Upload { folder: vec!["Photos".to_owned()], ..upload("A.jpg", &test_file) };
    assert_eq!(put(&mut client, other, &test_file).await, "A (1).jpg");
    assert!(client.mkdir("photos").await.existing && client.mkdir("Photos").await.existing);
    let all: Vec<_> = client.tree(10).await.into_keys().collect();
    assert_eq!(all, ["Photos", "Photos/A (1).jpg", "photos", "photos/a.jpg"]);
}

/// A name in a folder with the longest allowed path gets its number, too, or is refused before the
/// bytes are sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_the_longest_path() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let folder: Vec<_> = (0..7).map(|_| "d".repeat(255)).chain(["e".repeat(245)]).collect();
    for (name, renamed) in [("abcdefghij", Some("abcdef (1)")), ("a.23456789", None)] {
        let (old, new) = (TestFile::new(10, 150), TestFile::new(11, 151));
        let begin = |test_file| Upload { folder: folder.clone(), ..upload(name, test_file) };
        assert_eq!(put(&mut client, begin(&old), &old).await, name);
        match renamed {
            Some(renamed) => assert_eq!(put(&mut client, begin(&new), &new).await, renamed),
            None => drop(client.upload_refused(begin(&new), Code::Exists).await),
        }
    }
}

/// A path with room for one digit, or for two, has as many numbered names as fit into that room.
#[tokio::test(flavor = "multi_thread")]
async fn all_numbers_that_a_long_path_has_room_for() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let folder: Vec<_> = (0..7).map(|_| "d".repeat(255)).chain(["e".repeat(245)]).collect();
    let begin = |name: &str, test_file: &TestFile| {
        let on_conflict = OnConflict::Rename;
        Upload { folder: folder.clone(), on_conflict, ..upload(name, test_file) }
    };
    for (extension, last) in [("2345", 9), ("234", 99)] {
        let name = format!("a.{extension}");
        for copy in 0..=last {
            let test_file = TestFile::new(10 + copy, 152);
            let expected = if copy == 0 { name.clone() } else { format!("a ({copy}).{extension}") };
            assert_eq!(put(&mut client, begin(&name, &test_file), &test_file).await, expected);
        }
        let test_file = TestFile::new(500, 153);
        client.upload(begin(&name, &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        let told = client.complete_refused(Complete::default(), Code::Exists).await;
        client.cancel(told.document_id.unwrap()).await;
        // A name whose file was removed is free again, in any folder.
        let free = server.site.document(&server.user, &folder.join("/"));
        std::fs::remove_file(free.join(format!("a ({last}).{extension}"))).unwrap();
        let got = put(&mut client, begin(&name, &test_file), &test_file).await;
        assert_eq!(got, format!("a ({last}).{extension}"));
    }
}

/// Where a folder already has the name of a document, the document gets a name with a number, also
/// inside another folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_a_folder_of_the_name_of_a_document() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 157);
    let mut client = server.client().await;
    let within = |folder: &[&str], name: &str| Upload {
        folder: folder.iter().map(|name| (*name).to_owned()).collect(),
        ..upload(name, &test_file)
    };
    put(&mut client, within(&["a", "b"], "c"), &test_file).await;
    assert_eq!(put(&mut client, within(&["a"], "b"), &test_file).await, "b (1)");
    server.site.assert_published(&server.user, "a/b (1)", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_folder_of_one_name() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 157);
    let mut client = server.client().await;
    let within = Upload { folder: vec!["a".to_owned()], ..upload("b", &test_file) };
    put(&mut client, within, &test_file).await;
    // A folder has the name of the file: the file gets another name.
    let name = put(&mut client, upload("a", &test_file), &test_file).await;
    assert_ne!(name, "a");
    server.site.assert_published(&server.user, "a/b", &test_file);
    server.site.assert_published(&server.user, &name, &test_file);
    // A file has the name of the folder: the client gets a plain answer, at once or at the end, and
    // the server continues.
    put(&mut client, upload("file", &test_file), &test_file).await;
    let below = Upload { folder: vec!["file".to_owned()], ..upload("c", &test_file) };
    client.send(&Request::Upload(below)).await;
    let refusal = match client.reply_on(ZERO).await {
        Reply::Error(error) => error,
        Reply::Upload(_) => {
            client.chunks(ZERO, &test_file, 0..100).await;
            client.send(&Request::Complete(Complete::default())).await;
            match client.reply_on(ZERO).await {
                Reply::Error(error) => error,
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    };
    println!("{refusal:?}");
    assert!(
        !matches!(refusal.code, Code::StorageFailed | Code::StorageReadOnly | Code::Internal),
        "{refusal:?}"
    );
    server.site.assert_published(&server.user, "file", &test_file);
    put(&mut server.client().await, upload("after", &test_file), &test_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_else_put_there_is_not_overwritten() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 158);
    let mut client = server.client().await;
    put(&mut client, upload("first", &test_file), &test_file).await;
    let planted = server.site.document(&server.user, "doc.pdf");
    std::fs::write(&planted, "mine").unwrap();
    assert_eq!(put(&mut client, upload("doc.pdf", &test_file), &test_file).await, "doc (1).pdf");
    assert_eq!(std::fs::read(&planted).unwrap(), b"mine");
    // The catalog has no row for the file: the server looks at the disk before it asks for the
    // first byte.
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &test_file) };
    client.upload_refused(begin.clone(), Code::Exists).await;
    let known = Upload { blake3: Some(test_file.hash()), ..begin };
    client.upload_refused(known, Code::Exists).await;
    assert_eq!(std::fs::read(&planted).unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_planted_in_the_users_folder_leads_nowhere() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 159);
    let mut client = server.client().await;
    put(&mut client, upload("first", &test_file), &test_file).await;
    let outside = server.site.outside().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let documents = server.site.documents(&server.user);
    symlink(&outside, documents.join("link")).unwrap();
    symlink("../../outside", documents.join("relative")).unwrap();
    symlink(outside.join("target"), documents.join("doc.pdf")).unwrap();
    for folder in ["link", "relative"] {
        let begin = Upload { folder: vec![folder.to_owned()], ..upload("x", &test_file) };
        client.send(&Request::Upload(begin)).await;
        let mut reply = client.reply_on(ZERO).await;
        if let Reply::Upload(_) = reply {
            client.chunks(ZERO, &test_file, 0..100).await;
            client.send(&Request::Complete(Complete::default())).await;
            reply = client.reply_on(ZERO).await;
        }
        println!("{folder}: {reply:?}");
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    assert_eq!(put(&mut client, upload("doc.pdf", &test_file), &test_file).await, "doc (1).pdf");
    assert_eq!(outside.read_dir().unwrap().count(), 0, "nothing was written outside");
    // Only one path was refused; the disk has no fault.
    put(&mut server.client().await, upload("after", &test_file), &test_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_the_users_folder() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 160);
    let outside = server.site.outside().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let _ = std::fs::remove_dir(server.site.documents(&server.user));
    symlink(&outside, server.site.documents(&server.user)).unwrap();
    let mut client = server.client().await;
    client.send(&Request::Upload(upload("x", &test_file))).await;
    let mut reply = client.reply_on(ZERO).await;
    if let Reply::Upload(_) = reply {
        client.chunks(ZERO, &test_file, 0..100).await;
        client.send(&Request::Complete(Complete::default())).await;
        reply = client.reply_on(ZERO).await;
    }
    assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    assert_eq!(outside.read_dir().unwrap().count(), 0, "nothing was written outside");
    let bob = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &bob.token).await;
    put(&mut bob, upload("after", &test_file), &test_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_row_knows_refuses_the_name_and_not_the_upload() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 161);
    let mut client = server.client().await;
    put(&mut client, upload("first", &test_file), &test_file).await;
    let by_hand = server.site.document(&server.user, "doc.pdf");
    let other = TestFile::new(100, 162);
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &other) };
    let id = client.upload(begin).await.document_id;
    std::fs::write(&by_hand, "somebody's").unwrap();
    client.chunks(ZERO, &other, 0..100).await;
    client.complete_refused(Complete::default(), Code::Exists).await;
    assert_eq!(client.status(id).await.status, "uploading");
    let rename = Complete { on_conflict: Some(OnConflict::Rename), ..Complete::default() };
    assert_eq!(client.complete_with(rename).await.filename, "doc (1).pdf");
    assert_eq!(std::fs::read(by_hand).unwrap(), b"somebody's");
}

/// A file of another program that has the name of the next staging file is not deleted: that upload
/// is refused, and the next one begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_the_name_of_the_next_staging_file_stays() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100_000, 154);
    for suffix in ["tmp", "new"] {
        let id = client.upload(upload("first", &test_file)).await.document_id;
        client.cancel(id).await;
        let next = DocumentId::try_from(id.get() + 1).unwrap();
        let strange = server.site.staging(next).with_extension(suffix);
        std::fs::write(&strange, "a stranger's").unwrap();
        if suffix == "tmp" {
            client.upload_refused(upload("doc", &test_file), Code::Internal).await;
            assert_eq!(client.status(next).await.status, "failed");
        }
        assert_eq!(std::fs::read(&strange).unwrap(), b"a stranger's");
        let got = put(&mut client, upload(suffix, &test_file), &test_file).await;
        assert_eq!(got, suffix);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_the_place_of_a_document_holds_nobody_up() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 163);
    let mut client = server.client().await;
    put(&mut client, upload("doc.pdf", &test_file), &test_file).await;
    let place = server.site.document(&server.user, "doc.pdf");
    std::fs::remove_file(&place).unwrap();
    mknodat(CWD, &place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The same bytes: the server checks whether the file is still there.
    let again = Upload { blake3: Some(test_file.hash()), ..upload("doc.pdf", &test_file) };
    assert_eq!(put(&mut client, again, &test_file).await, "doc (1).pdf");
}
