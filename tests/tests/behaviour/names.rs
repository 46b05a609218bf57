//! Names that are taken, names that are the same in other letters, and what
//! somebody has put where a document should go.

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::symlink;
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::corpus::Corpus;
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, offset, upload};
use towline_types::{DocumentId, OnConflict};

/// Uploads a whole file; the name it got.
async fn put(speaker: &mut Speaker, begin: Upload, corpus: &Corpus) -> String {
    let channel = begin.channel;
    speaker.upload(begin).await;
    speaker.chunks(channel, corpus, 0..corpus.size()).await;
    speaker.complete(channel).await.filename
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_gets_a_number() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    for (filename, copies) in [
        ("doc.pdf", ["doc.pdf", "doc (1).pdf", "doc (2).pdf"]),
        ("noext", ["noext", "noext (1)", "noext (2)"]),
        ("a (1).txt", ["a (1).txt", "a (1) (1).txt", "a (1) (2).txt"]),
    ] {
        for (i, name) in copies.into_iter().enumerate() {
            let corpus = Corpus::new(1000, 140 + i as u64);
            assert_eq!(put(&mut speaker, upload(filename, &corpus), &corpus).await, name);
        }
        for (i, name) in copies.into_iter().enumerate() {
            let corpus = Corpus::new(1000, 140 + i as u64);
            server.site.assert_published(&server.person, name, &corpus);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_gets_a_number_too() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let corpus = Corpus::new(10, 150);
    for name in [format!("{}.pdf", "x".repeat(251)), format!("{}.pdf", "ü".repeat(125))] {
        assert_eq!(put(&mut speaker, upload(&name, &corpus), &corpus).await, name);
        let second = put(&mut speaker, upload(&name, &corpus), &corpus).await;
        assert!(second.ends_with(" (1).pdf") && second.len() <= 255, "{second}");
        server.site.assert_published(&server.person, &second, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_is_refused_at_upload() {
    let server = TestServer::start().await;
    let (old, new) = (Corpus::new(1000, 151), Corpus::new(1000, 152));
    let mut speaker = server.speaker().await;
    put(&mut speaker, upload("doc.pdf", &old), &old).await;
    let before = server.site.on_disk();
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &new) };
    speaker.upload_refused(begin, Code::Exists).await;
    assert_eq!(server.site.on_disk(), before);
    assert!(server.site.state().uploads.is_empty());
    server.site.assert_published(&server.person, "doc.pdf", &old);
    // Another folder is another place, and another user has a folder of their own.
    let elsewhere = Upload {
        on_conflict: OnConflict::Reject,
        folder: vec!["new".to_owned()],
        ..upload("doc.pdf", &new)
    };
    put(&mut speaker, elsewhere, &new).await;
    server.site.assert_published(&server.person, "new/doc.pdf", &new);
    let bob = server.site.add_user("bob").await;
    let mut speaker = Speaker::login(server.address(), &bob.token).await;
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &new) };
    put(&mut speaker, begin, &new).await;
    server.site.assert_published(&bob, "doc.pdf", &new);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_race_for_one_name() {
    let server = TestServer::start().await;
    let (first, second) = (Corpus::new(1000, 153), Corpus::new(2000, 154));
    let mut speaker = server.speaker().await;
    let begin = |channel, corpus: &Corpus| Upload {
        channel,
        on_conflict: OnConflict::Reject,
        ..upload("doc.pdf", corpus)
    };
    let (one, two) = (Channel(1), Channel(2));
    speaker.upload(begin(one, &first)).await;
    let loser = speaker.upload(begin(two, &second)).await.document_id;
    speaker.chunks(two, &second, 0..2000).await;
    speaker.chunks(one, &first, 0..1000).await;
    speaker.complete(one).await;
    let again = Complete { channel: two, ..Complete::default() };
    for _ in 0..2 {
        speaker.complete_refused(again.clone(), Code::Exists).await;
    }
    let status = speaker.status(loser).await;
    assert_eq!((status.status.as_str(), status.received), ("uploading", offset(2000)));
    // All bytes are kept; by another name it ends well.
    let renamed = Complete { on_conflict: Some(OnConflict::Rename), ..again };
    let success = speaker.complete_with(renamed).await;
    assert_eq!((success.filename.as_str(), success.blake3), ("doc (1).pdf", second.hash()));
    server.site.assert_published(&server.person, "doc.pdf", &first);
    server.site.assert_published(&server.person, "doc (1).pdf", &second);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_race_for_one_name() {
    let server = TestServer::start().await;
    let mut racing = Vec::new();
    for i in 0..12 {
        let mut speaker = server.speaker().await;
        let corpus = Corpus::new(5000 + i, 155);
        speaker.upload(upload("race.bin", &corpus)).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        racing.push(tokio::spawn(async move { (speaker.complete(ZERO).await.filename, corpus) }));
    }
    let mut names = Vec::new();
    for racer in racing {
        let (name, corpus) = racer.await.unwrap();
        server.site.assert_published(&server.person, &name, &corpus);
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 12, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_in_case_and_normalisation() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 156);
    let mut speaker = server.speaker().await;
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
        put(&mut speaker, upload(name, &corpus), &corpus).await;
        let begin = Upload { on_conflict: OnConflict::Reject, ..upload(twin, &corpus) };
        speaker.upload_refused(begin, Code::Exists).await;
        assert_eq!(put(&mut speaker, upload(twin, &corpus), &corpus).await, renamed, "{twin}");
        server.site.assert_published(&server.person, renamed, &corpus);
    }
    // Folders are part of the name.
    let within = |folder: &str, name: &str| Upload {
        folder: vec![folder.to_owned()],
        on_conflict: OnConflict::Reject,
        ..upload(name, &corpus)
    };
    put(&mut speaker, within("Photos", "a.jpg"), &corpus).await;
    speaker.upload_refused(within("photos", "A.jpg"), Code::Exists).await;
    put(&mut speaker, within("photos", "b.jpg"), &corpus).await;
}

/// To whoever looks at the names, and to other file systems, they are one.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_and_a_folder_that_are_twins() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 156);
    let mut speaker = server.speaker().await;
    put(&mut speaker, upload("Twinfile É", &corpus), &corpus).await;
    for folder in ["Twinfile É", "TWINFILE É", "twinfile e\u{301}"] {
        let begin = Upload { folder: vec![folder.to_owned()], ..upload("x", &corpus) };
        speaker.upload_refused(begin.clone(), Code::Exists).await;
        let deeper = Upload { folder: vec![folder.to_owned(), "y".to_owned()], ..begin };
        speaker.upload_refused(deeper, Code::Exists).await;
    }
    let begin = Upload { folder: vec!["Twinfolder".to_owned()], ..upload("x", &corpus) };
    put(&mut speaker, begin, &corpus).await;
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("TWINFOLDER", &corpus) };
    speaker.upload_refused(begin, Code::Exists).await;
    let got = put(&mut speaker, upload("TWINFOLDER", &corpus), &corpus).await;
    assert_eq!(got, "TWINFOLDER (1)");
}

/// A name below the longest path gets its number there too, or the answer comes before
/// the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_the_longest_path() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let folder: Vec<_> = (0..7).map(|_| "d".repeat(255)).chain(["e".repeat(245)]).collect();
    for (name, renamed) in [("abcdefghij", Some("abcdef (1)")), ("a.23456789", None)] {
        let (old, new) = (Corpus::new(10, 150), Corpus::new(11, 151));
        let begin = |corpus| Upload { folder: folder.clone(), ..upload(name, corpus) };
        assert_eq!(put(&mut speaker, begin(&old), &old).await, name);
        match renamed {
            Some(renamed) => assert_eq!(put(&mut speaker, begin(&new), &new).await, renamed),
            None => drop(speaker.upload_refused(begin(&new), Code::Exists).await),
        }
    }
}

/// A path with room for one digit, or for two, has as many numbered names as it has room for.
#[tokio::test(flavor = "multi_thread")]
async fn all_numbers_that_a_long_path_has_room_for() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let folder: Vec<_> = (0..7).map(|_| "d".repeat(255)).chain(["e".repeat(245)]).collect();
    let begin = |name: &str, corpus: &Corpus| {
        let on_conflict = OnConflict::Rename;
        Upload { folder: folder.clone(), on_conflict, ..upload(name, corpus) }
    };
    for (extension, last) in [("2345", 9), ("234", 99)] {
        let name = format!("a.{extension}");
        for copy in 0..=last {
            let corpus = Corpus::new(10 + copy, 152);
            let expected = if copy == 0 { name.clone() } else { format!("a ({copy}).{extension}") };
            assert_eq!(put(&mut speaker, begin(&name, &corpus), &corpus).await, expected);
        }
        let corpus = Corpus::new(500, 153);
        speaker.upload(begin(&name, &corpus)).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        let told = speaker.complete_refused(Complete::default(), Code::Exists).await;
        speaker.cancel(told.document_id.unwrap()).await;
        // A name whose file is gone is free again, whichever it is.
        let free = server.site.document(&server.person, &folder.join("/"));
        std::fs::remove_file(free.join(format!("a ({last}).{extension}"))).unwrap();
        let got = put(&mut speaker, begin(&name, &corpus), &corpus).await;
        assert_eq!(got, format!("a ({last}).{extension}"));
    }
}

/// What lies in a folder of that name is beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_a_folder_of_the_name_of_a_document() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 157);
    let mut speaker = server.speaker().await;
    let within = |folder: &[&str], name: &str| Upload {
        folder: folder.iter().map(|name| (*name).to_owned()).collect(),
        ..upload(name, &corpus)
    };
    put(&mut speaker, within(&["a", "b"], "c"), &corpus).await;
    assert_eq!(put(&mut speaker, within(&["a"], "b"), &corpus).await, "b (1)");
    server.site.assert_published(&server.person, "a/b (1)", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_folder_of_one_name() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 157);
    let mut speaker = server.speaker().await;
    let within = Upload { folder: vec!["a".to_owned()], ..upload("b", &corpus) };
    put(&mut speaker, within, &corpus).await;
    // A folder is in the way of a file: it goes beside it.
    let name = put(&mut speaker, upload("a", &corpus), &corpus).await;
    assert_ne!(name, "a");
    server.site.assert_published(&server.person, "a/b", &corpus);
    server.site.assert_published(&server.person, &name, &corpus);
    // A file is in the way of a folder: a plain answer, at once or at the end,
    // and a server that goes on.
    put(&mut speaker, upload("file", &corpus), &corpus).await;
    let below = Upload { folder: vec!["file".to_owned()], ..upload("c", &corpus) };
    speaker.send(&Request::Upload(below)).await;
    let refusal = match speaker.reply_on(ZERO).await {
        Reply::Error(error) => error,
        Reply::Upload(_) => {
            speaker.chunks(ZERO, &corpus, 0..100).await;
            speaker.send(&Request::Complete(Complete::default())).await;
            match speaker.reply_on(ZERO).await {
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
    server.site.assert_published(&server.person, "file", &corpus);
    put(&mut server.speaker().await, upload("after", &corpus), &corpus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_else_put_there_is_not_overwritten() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 158);
    let mut speaker = server.speaker().await;
    put(&mut speaker, upload("first", &corpus), &corpus).await;
    let planted = server.site.document(&server.person, "doc.pdf");
    std::fs::write(&planted, "mine").unwrap();
    assert_eq!(put(&mut speaker, upload("doc.pdf", &corpus), &corpus).await, "doc (1).pdf");
    assert_eq!(std::fs::read(&planted).unwrap(), b"mine");
    // The catalog does not know it: the disk decides, before the first byte.
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &corpus) };
    speaker.upload_refused(begin.clone(), Code::Exists).await;
    let known = Upload { blake3: Some(corpus.hash()), ..begin };
    speaker.upload_refused(known, Code::Exists).await;
    assert_eq!(std::fs::read(&planted).unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_planted_in_the_users_folder_leads_nowhere() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 159);
    let mut speaker = server.speaker().await;
    put(&mut speaker, upload("first", &corpus), &corpus).await;
    let outside = server.site.outside().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let documents = server.site.documents(&server.person);
    symlink(&outside, documents.join("link")).unwrap();
    symlink("../../outside", documents.join("relative")).unwrap();
    symlink(outside.join("target"), documents.join("doc.pdf")).unwrap();
    for folder in ["link", "relative"] {
        let begin = Upload { folder: vec![folder.to_owned()], ..upload("x", &corpus) };
        speaker.send(&Request::Upload(begin)).await;
        let mut reply = speaker.reply_on(ZERO).await;
        if let Reply::Upload(_) = reply {
            speaker.chunks(ZERO, &corpus, 0..100).await;
            speaker.send(&Request::Complete(Complete::default())).await;
            reply = speaker.reply_on(ZERO).await;
        }
        println!("{folder}: {reply:?}");
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    assert_eq!(put(&mut speaker, upload("doc.pdf", &corpus), &corpus).await, "doc (1).pdf");
    assert_eq!(outside.read_dir().unwrap().count(), 0, "nothing was written outside");
    // It was one path that was refused, not the disk.
    put(&mut server.speaker().await, upload("after", &corpus), &corpus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_the_users_folder() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 160);
    let outside = server.site.outside().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let _ = std::fs::remove_dir(server.site.documents(&server.person));
    symlink(&outside, server.site.documents(&server.person)).unwrap();
    let mut speaker = server.speaker().await;
    speaker.send(&Request::Upload(upload("x", &corpus))).await;
    let mut reply = speaker.reply_on(ZERO).await;
    if let Reply::Upload(_) = reply {
        speaker.chunks(ZERO, &corpus, 0..100).await;
        speaker.send(&Request::Complete(Complete::default())).await;
        reply = speaker.reply_on(ZERO).await;
    }
    assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    assert_eq!(outside.read_dir().unwrap().count(), 0, "nothing was written outside");
    let bob = server.site.add_user("bob").await;
    let mut bob = Speaker::login(server.address(), &bob.token).await;
    put(&mut bob, upload("after", &corpus), &corpus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_row_knows_refuses_the_name_and_not_the_upload() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 161);
    let mut speaker = server.speaker().await;
    put(&mut speaker, upload("first", &corpus), &corpus).await;
    let by_hand = server.site.document(&server.person, "doc.pdf");
    let other = Corpus::new(100, 162);
    let begin = Upload { on_conflict: OnConflict::Reject, ..upload("doc.pdf", &other) };
    let id = speaker.upload(begin).await.document_id;
    std::fs::write(&by_hand, "somebody's").unwrap();
    speaker.chunks(ZERO, &other, 0..100).await;
    speaker.complete_refused(Complete::default(), Code::Exists).await;
    assert_eq!(speaker.status(id).await.status, "uploading");
    let rename = Complete { on_conflict: Some(OnConflict::Rename), ..Complete::default() };
    assert_eq!(speaker.complete_with(rename).await.filename, "doc (1).pdf");
    assert_eq!(std::fs::read(by_hand).unwrap(), b"somebody's");
}

/// A stranger's file that has the name of the next staging file is not deleted: that upload
/// is refused, and the next one begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_the_name_of_the_next_staging_file_stays() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let corpus = Corpus::new(100_000, 154);
    for suffix in ["tmp", "new"] {
        let id = speaker.upload(upload("first", &corpus)).await.document_id;
        speaker.cancel(id).await;
        let next = DocumentId::try_from(id.get() + 1).unwrap();
        let strange = server.site.staging(next).with_extension(suffix);
        std::fs::write(&strange, "a stranger's").unwrap();
        if suffix == "tmp" {
            speaker.upload_refused(upload("doc", &corpus), Code::Internal).await;
            assert_eq!(speaker.status(next).await.status, "failed");
        }
        assert_eq!(std::fs::read(&strange).unwrap(), b"a stranger's");
        let got = put(&mut speaker, upload(suffix, &corpus), &corpus).await;
        assert_eq!(got, suffix);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_the_place_of_a_document_holds_nobody_up() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100, 163);
    let mut speaker = server.speaker().await;
    put(&mut speaker, upload("doc.pdf", &corpus), &corpus).await;
    let place = server.site.document(&server.person, "doc.pdf");
    std::fs::remove_file(&place).unwrap();
    mknodat(CWD, &place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The same bytes: the server looks whether the file is still there.
    let again = Upload { blake3: Some(corpus.hash()), ..upload("doc.pdf", &corpus) };
    assert_eq!(put(&mut speaker, again, &corpus).await, "doc (1).pdf");
}
