//! The server or the machine dies while it handles a small file that was sent at once. Afterwards
//! the document is absent, or it exists once and is complete; no other file is left, and the same
//! messages again get SUCCESS.

use std::fs;
use towline_protocol::request::Upload;
use towline_protocol::{Code, Reply, Request};
use towline_tests::disks::Disks;
use towline_tests::one_shot_frames::one_shot_frames;
use towline_tests::points::{RELAXED, WHOLE};
use towline_tests::process::{Launch, ServerProcess, output, towlined};
use towline_tests::raw_client::{Heard, RawClient, ZERO, about, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::strace::Strace;
use towline_tests::test_file::TestFile;
use towline_tests::volume;
use towline_types::DocumentId;

/// Points that the server reaches for such a file, in order.
const ON_THE_WAY: &[&str] = &[
    "publish.synced",
    "publish.row_publishing",
    "publish.folder_made",
    "publish.renamed",
    "publish.folder_synced",
    "publish.in_place",
    "publish.row_completed",
];

/// The same for a server that need not make the file durable at once.
const ON_THE_RELAXED_WAY: &[&str] =
    &["publish.row_publishing", "publish.folder_made", "publish.renamed"];

/// Points at which no row names the file.
const BEFORE_THE_ROW: &[&str] = &["whole.file_made", "publish.synced"];

/// The `upload` that `towline put` sends.
fn wish(test_file: &TestFile) -> Upload {
    Upload {
        folder: vec!["in".to_owned()],
        blake3: Some(test_file.hash()),
        blocks: true,
        new_only: true,
        ..upload("doc", test_file)
    }
}

async fn dies(launch: &Launch, user: &TestUser, test_file: &TestFile, point: &str) {
    let mut server = launch.start().await;
    let mut client = server.client(user).await;
    client.send_raw(&one_shot_frames(wish(test_file), test_file)).await;
    server.ended().await;
    assert!(server.was_killed().await, "{point} is never reached");
}

/// Sends everything again, as a client does that has received no answer.
async fn arrives(server: &ServerProcess, site: &Site, user: &TestUser, test_file: &TestFile) {
    let mut client = server.client(user).await;
    client.send_raw(&one_shot_frames(wish(test_file), test_file)).await;
    let success = match client.reply_on(ZERO).await {
        Reply::Upload(_) => client.success_on(ZERO).await,
        Reply::Success(success) => success,
        other => panic!("{other:?}"),
    };
    assert_eq!((success.filename.as_str(), success.blake3), ("doc", test_file.hash()));
    let there = fs::read_dir(site.documents(user).join("in")).expect("the folder");
    assert_eq!(there.count(), 1, "there once");
    site.assert_published(user, "in/doc", test_file);
    server.assert_calm();
}

/// No staging file is left; the folder for files that were set aside may exist, and must be empty.
fn assert_no_litter(site: &Site, point: &str) {
    let left = site.staged_names();
    assert!(left.is_empty(), "{point} leaves {left:?}");
}

fn absent_or_whole(site: &Site, user: &TestUser, test_file: &TestFile, point: &str) {
    let Ok(bytes) = fs::read(site.document(user, "in/doc")) else { return };
    assert!(bytes == test_file.bytes, "{point} leaves something else");
}

fn ways() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let durable = WHOLE.iter().chain(ON_THE_WAY).map(|point| (*point, &[][..]));
    let relaxed: &[&str] = &["--durability", "relaxed"];
    let points = [WHOLE, ON_THE_RELAXED_WAY, RELAXED].concat();
    durable.chain(points.into_iter().map(move |point| (point, relaxed)))
}

#[tokio::test]
async fn a_server_killed_at_every_point_of_a_one_shot_upload_keeps_every_promise() {
    let test_file = TestFile::new(4096, 990);
    for (point, arguments) in ways() {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let plan = format!("{point}=kill");
        let launch = Launch::without_reserve(&site).arguments(arguments);
        dies(&launch.failpoints(&plan), &user, &test_file, point).await;
        absent_or_whole(&site, &user, &test_file, point);
        let server = Launch::without_reserve(&site).start().await;
        assert_no_litter(&site, point);
        arrives(&server, &site, &user, &test_file).await;
        server.gone().await;
    }
}

#[tokio::test]
async fn a_power_cut_at_every_point_of_a_one_shot_upload_keeps_every_promise() {
    let test_file = TestFile::new(4096, 991);
    for (point, arguments) in ways() {
        for disks in [Disks::one, Disks::two] {
            let Some(mut disks) = disks() else { return };
            let user = disks.site().add_user("ada").await;
            let plan = format!("{point}=kill");
            let launch = Launch::without_reserve(disks.site()).arguments(arguments);
            dies(&launch.failpoints(&plan), &user, &test_file, point).await;
            disks.lose_power();
            let site = disks.site();
            let server = Launch::without_reserve(site).start().await;
            absent_or_whole(site, &user, &test_file, point);
            arrives(&server, site, &user, &test_file).await;
            server.gone().await;
        }
    }
}

/// A panic of the server: the connection ends, and nothing keeps the next upload of the file from
/// being published.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_at_every_point_of_a_one_shot_upload_keeps_every_promise() {
    let test_file = TestFile::new(4096, 992);
    let is_deferred = |point: &str| point.starts_with("deferred") || point == "publish.named";
    for (point, arguments) in ways().filter(|(point, _)| !is_deferred(point)) {
        println!("{point} {arguments:?}");
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let plan = format!("{point}=panic@1");
        let launch = Launch::without_reserve(&site).arguments(arguments).failpoints(&plan);
        let server = launch.start().await;
        let mut client = RawClient::login(server.address(), &user.token).await;
        client.send_raw(&one_shot_frames(wish(&test_file), &test_file)).await;
        let heard = client.ended().await;
        let is_told = |heard: &Heard| matches!(heard, Heard::Reply(Reply::Error(e)) if e.code == Code::Internal);
        assert!(heard.iter().any(is_told), "{heard:?}");
        let mut client = server.client(&user).await;
        let again = Upload { new_only: false, ..wish(&test_file) };
        client.send_raw(&one_shot_frames(again, &test_file)).await;
        client.until("SUCCESS", |heard| matches!(heard, Heard::Reply(Reply::Success(_)))).await;
        if BEFORE_THE_ROW.contains(&point) {
            assert_no_litter(&site, point);
        }
        server.gone().await;
        let server = Launch::without_reserve(&site).start().await;
        arrives_whole(&site, &user, &test_file);
        server.assert_calm();
        server.gone().await;
        assert_no_litter(&site, point);
    }
}

/// The next start has made a document of what the panic left, or has removed it.
fn arrives_whole(site: &Site, user: &TestUser, test_file: &TestFile) {
    for entry in fs::read_dir(site.documents(user).join("in")).expect("the folder").flatten() {
        assert!(
            fs::read(entry.path()).expect("a file") == test_file.bytes,
            "{:?}",
            entry.file_name()
        );
    }
}

#[tokio::test]
async fn a_sync_that_fails_makes_no_row() {
    if !volume::has("strace") {
        return;
    }
    let test_file = TestFile::new(4096, 993);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let strace = Strace::inject(&site.outside().join("log"), "fdatasync", "error=EIO")
        .about([site.staging_folder().join("1.new")]);
    let server = Launch::without_reserve(&site).under(&strace.words()).start().await;
    let mut client = server.client(&user).await;
    client.send_raw(&one_shot_frames(wish(&test_file), &test_file)).await;
    let told = client.error_on(ZERO, Code::StorageFailed).await;
    println!("{}", told.message);
    let mut other = server.client(&user).await;
    other.send(&Request::Status(about(DocumentId::MIN))).await;
    other.error(Code::NotFound).await;
    // The volume counts as failed, and every later upload gets this error.
    client.send_raw(&one_shot_frames(wish(&test_file), &test_file)).await;
    client.error_on(ZERO, Code::StorageReadOnly).await;
    server.gone().await;
    assert_eq!(strace.seen().len(), 1, "asked once and never again: {:?}", strace.seen());
    assert!(!site.document(&user, "in/doc").exists());

    let server = Launch::without_reserve(&site).start().await;
    assert_no_litter(&site, "the sync");
    arrives(&server, &site, &user, &test_file).await;
    server.gone().await;
}

/// A file of another program has the name that the row has, and the server dies before it has found
/// another name: `verify` leaves that file alone.
#[tokio::test]
async fn a_file_of_another_program_in_its_place_is_not_damaged() {
    let test_file = TestFile::new(4096, 994);
    let site = Site::new();
    let user = site.add_user("ada").await;
    let note = site.document(&user, "in/doc");
    fs::create_dir_all(note.parent().expect("a folder")).expect("a folder");
    fs::write(&note, "of a person").expect("a file");
    let launch = relaxed(&site).failpoints("publish.folder_made=kill");
    dies(&launch, &user, &test_file, "publish.folder_made").await;
    for arguments in [&[][..], &["--repair"]] {
        let mut verify = towlined();
        verify.arg("verify").arg("--data-dir").arg(site.path()).args(arguments);
        let said = output(&mut verify).await;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.contains("damaged"), "{said}");
        assert_eq!(fs::read(&note).expect("the file"), b"of a person");
    }
    let server = relaxed(&site).start().await;
    let mut client = server.client(&user).await;
    client.send_raw(&one_shot_frames(wish(&test_file), &test_file)).await;
    client.until("SUCCESS", |heard| matches!(heard, Heard::Reply(Reply::Success(_)))).await;
    assert_eq!(fs::read(&note).expect("the file"), b"of a person");
    site.assert_published(&user, "in/doc (1)", &test_file);
    server.assert_calm();
    server.gone().await;
}

fn relaxed(site: &Site) -> Launch {
    Launch::without_reserve(site).arguments(&["--durability", "relaxed"])
}

/// The system refuses to give an unnamed file a name, for different reasons. The file is published
/// on the resumable path, or its client gets the reason; in both cases no other file is left.
#[tokio::test]
async fn a_one_shot_upload_whose_name_cannot_be_linked_is_published_or_refused() {
    if !volume::has("strace") {
        return;
    }
    let test_file = TestFile::new(4096, 995);
    // The first link finds out which method the system allows.
    for (error, times) in [("EIO", "2"), ("EPERM", "2+"), ("ENOSPC", "2")] {
        println!("{error}");
        let site = Site::new();
        let user = site.add_user("ada").await;
        let fault = format!("error={error}");
        let strace = Strace::inject(&site.outside().join("log"), "linkat", &fault).when(times);
        let server = relaxed(&site).under(&strace.words()).start().await;
        let mut client = server.client(&user).await;
        client.send_raw(&one_shot_frames(wish(&test_file), &test_file)).await;
        let granted = client.reply_on(ZERO).await;
        assert!(matches!(granted, Reply::Upload(_)), "{granted:?}");
        match client.reply_on(ZERO).await {
            Reply::Success(success) => {
                assert_eq!((success.blake3, error != "EIO"), (test_file.hash(), true))
            }
            Reply::Error(told) => {
                println!("{} {}", told.code, told.message);
                assert_eq!((error, told.document_id), ("EIO", Some(DocumentId::MIN)));
            }
            other => panic!("{other:?}"),
        }
        server.assert_calm();
        server.gone().await;
        assert!(strace.has_fired(), "no link was made to fail");
        let server = relaxed(&site).start().await;
        assert_no_litter(&site, error);
        arrives(&server, &site, &user, &test_file).await;
        server.gone().await;
    }
}
