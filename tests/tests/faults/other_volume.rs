//! The folder of a user is on a disk of its own, so no rename leads there from the folder of the
//! staging files. The tests show that documents are published there by a copy, that a missing disk,
//! a crash or a slow copy loses no document and no promised byte, and that damaged files there are
//! repaired.

use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use towline_protocol::Code;
use towline_protocol::request::{Complete, Request, Upload};
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::{Launch, output, towlined};
use towline_tests::raw_client::{RawClient, ZERO, resume, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::tamper::flip;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::{Shown, Volume};

/// A data folder whose user has that volume as their folder.
pub(crate) async fn beside(volume: &Volume) -> (Site, TestUser, Shown) {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    std::fs::create_dir_all(site.documents(&user)).expect("a folder");
    let shown = volume.show_at(&site.documents(&user));
    (site, user, shown)
}

/// The names of all files in a folder and below.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().into_string().expect("a name that is text");
        if entry.path().is_dir() {
            if name != "lost+found" {
                let below = files(&entry.path());
                found.extend(below.into_iter().map(|below| format!("{name}/{below}")));
            }
        } else if name != ".towline-store" {
            // This file has the id of the store that the folder belongs to.
            found.push(name);
        }
    }
    found.sort();
    found
}

fn assert_nothing_is_left(site: &Site, user: &TestUser, documents: &[&str]) {
    assert_eq!(files(&site.documents(user)), documents);
    assert_eq!(files(&site.staging_folder()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_on_another_volume_gets_its_documents() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    for durability in ["durable", "relaxed"] {
        let (site, user, shown) = beside(&volume).await;
        let arguments = ["--durability", durability];
        let mut server = Launch::over(&site).arguments(&arguments).start().await;
        let cli = CliFixture::new(&site, &user, server.address());
        let corpora =
            [TestFile::new(3 * BLOCK + 7, 980), TestFile::new(1000, 981), TestFile::new(0, 982)];
        for (name, test_file) in ["t/large", "t/deep/small", "t/empty"].into_iter().zip(&corpora) {
            cli.write(name, test_file);
        }
        run(cli.put(&cli.path("t"))).await.assert_done();
        for (name, test_file) in ["t/large", "t/deep/small", "t/empty"].into_iter().zip(&corpora) {
            site.assert_published(&user, name, test_file);
        }
        // A file of another program is not overwritten there, either.
        std::fs::write(site.document(&user, "t/taken"), "a stranger's").unwrap();
        let mut client = server.client(&user).await;
        let begin = Upload { folder: vec!["t".to_owned()], ..upload("taken", &corpora[0]) };
        client.upload(begin).await;
        client.chunks(ZERO, &corpora[0], 0..corpora[0].size()).await;
        assert_eq!(client.complete(ZERO).await.filename, "taken (1)");
        site.assert_published(&user, "t/taken (1)", &corpora[0]);
        let stranger = std::fs::read(site.document(&user, "t/taken")).unwrap();
        assert_eq!(stranger, b"a stranger's");
        let documents = ["t/deep/small", "t/empty", "t/large", "t/taken", "t/taken (1)"];
        assert_nothing_is_left(&site, &user, &documents);

        server.signal(Signal::TERM);
        assert!(server.ended().await.success());
        std::fs::remove_dir_all(site.document(&user, "t")).unwrap();
        shown.hide();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_on_another_volume_gets_each_document_once_wherever_the_server_dies() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(2 * BLOCK + 5, 983);
    let points = [
        "publish.row_publishing",
        "publish.copy_block",
        "publish.copied",
        "publish.copy_named",
        "publish.copy_settled",
        "publish.in_place",
    ];
    for point in points {
        let plan = format!("{point}=kill@1");
        let mut server = Launch::over(&site).failpoints(&plan).start().await;
        let mut client = RawClient::login(server.address(), &user.token).await;
        let id = client.upload(upload(point, &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        let _ = client.try_send(&Request::Complete(Complete::default())).await;
        server.ended().await;
        assert!(server.was_killed().await, "{point}");

        let server = Launch::over(&site).start().await;
        let mut client = RawClient::login(server.address(), &user.token).await;
        let again = Complete { document_id: Some(id), ..Complete::default() };
        let receipt = client.complete_with(again).await;
        assert_eq!(receipt.filename, point);
        site.assert_published(&user, point, &test_file);
        assert_nothing_is_left(&site, &user, &[point]);
        server.gone().await;
        std::fs::remove_file(site.document(&user, point)).unwrap();
    }
    drop(shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_volume_that_is_full_says_so_and_keeps_the_bytes() {
    let Some(volume) = Volume::memory(4 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let ballast = volume.fill_up_to(BLOCK as u64);
    let server = Launch::over(&site).start().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let test_file = TestFile::new(2 * BLOCK, 984);
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let told = client.complete_refused(Complete::default(), Code::NoSpace).await;
    println!("{}", told.message);
    assert_eq!(files(&site.documents(&user)), ["ballast"], "no half copy is left");
    std::fs::remove_file(ballast).unwrap();
    client.resume(resume(id)).await;
    client.complete(ZERO).await;
    site.assert_published(&user, "doc", &test_file);
    assert_nothing_is_left(&site, &user, &["doc"]);
    server.gone().await;
    drop(shown);
}

/// The disk is not mounted for a while: the server gives up no document on it, and writes no file
/// into the empty folder, where the disk would hide it. A document that was removed by hand while
/// the disk was mounted is given up.
#[tokio::test(flavor = "multi_thread")]
async fn another_volume_that_is_not_mounted_keeps_its_documents_and_hides_no_new_ones() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    for folder in ["", "big"] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let mount_point = site.documents(&user).join(folder);
        std::fs::create_dir_all(&mount_point).expect("a folder");
        let shown = volume.show_at(&mount_point);
        let (old, new) = (TestFile::new(BLOCK + 7, 985), TestFile::new(1000, 986));
        let late = TestFile::new(2000, 990);
        let within = |name: &str, test_file: &TestFile| {
            let folder = (!folder.is_empty()).then(|| folder.to_owned()).into_iter().collect();
            Upload { folder, blake3: Some(test_file.hash()), ..upload(name, test_file) }
        };
        let name = |name: &str| Path::new(folder).join(name).display().to_string();

        let mut server = Launch::over(&site).start().await;
        let mut client = server.client(&user).await;
        let mut ids = Vec::new();
        for document in ["kept", "removed"] {
            let test_file = TestFile::new(BLOCK + 7, if document == "kept" { 985 } else { 987 });
            ids.push(client.upload(within(document, &test_file)).await.document_id);
            client.chunks(ZERO, &test_file, 0..test_file.size()).await;
            client.complete(ZERO).await;
        }
        // The file is removed by hand while the disk is mounted: the name is free again.
        std::fs::remove_file(site.document(&user, &name("removed"))).unwrap();
        client.upload(within("removed", &new)).await;
        client.chunks(ZERO, &new, 0..new.size()).await;
        assert_eq!(client.complete(ZERO).await.filename, "removed");
        assert_eq!(client.status(ids[1]).await.status, "failed");

        // An upload is complete, and the disk is not mounted at the next start.
        let waiting = client.upload(within("waiting", &late)).await.document_id;
        client.chunks(ZERO, &late, 0..late.size()).await;
        client.has_received(waiting, late.size()).await;
        server.signal(Signal::TERM);
        assert!(server.ended().await.success());
        shown.hide();
        let mut server = Launch::over(&site).start().await;
        let mut client = server.client(&user).await;
        for test_file in [&old, &new] {
            client.upload_refused(within("kept", test_file), Code::Internal).await;
        }
        client.resume(resume(waiting)).await;
        client.complete_refused(Complete::default(), Code::Internal).await;
        assert_eq!(files(&mount_point), Vec::<String>::new(), "the disk would hide it");
        assert_eq!(client.status(ids[0]).await.status, "completed");
        server.signal(Signal::TERM);
        assert!(server.ended().await.success());
        let mut repair = towlined();
        let repair = repair.args(["verify", "--repair", "--data-dir"]).arg(site.path());
        let repaired = output(repair).await;
        assert_eq!(repaired.status.code(), Some(1), "{repaired:?}");

        let shown = volume.show_at(&mount_point);
        let mut server = Launch::over(&site).start().await;
        let mut client = server.client(&user).await;
        client.send(&Request::Upload(within("kept", &old))).await;
        let success = client.success_on(ZERO).await;
        assert!(success.existing && success.document_id == ids[0]);
        client.resume(resume(waiting)).await;
        client.complete(ZERO).await;
        site.assert_published(&user, &name("waiting"), &late);
        server.signal(Signal::TERM);
        assert!(server.ended().await.success());
        for name in ["kept", "removed", "waiting"] {
            std::fs::remove_file(mount_point.join(name)).unwrap();
        }
        shown.hide();
    }
}

/// The server dies between the copy and the row, and the disk is not mounted at the next start: the
/// promised bytes are still in the staging file.
#[tokio::test(flavor = "multi_thread")]
async fn another_volume_that_is_gone_after_a_crash_loses_no_promised_byte() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    for point in ["publish.copy_settled", "publish.in_place"] {
        let (site, user, shown) = beside(&volume).await;
        let (first, test_file) = (TestFile::new(10, 988), TestFile::new(2 * BLOCK + 5, 989));
        let server = Launch::over(&site).start().await;
        let mut client = server.client(&user).await;
        client.upload(upload("first", &first)).await;
        client.chunks(ZERO, &first, 0..first.size()).await;
        client.complete(ZERO).await;
        server.gone().await;

        let mut server = Launch::over(&site).failpoints(&format!("{point}=kill@1")).start().await;
        let mut client = RawClient::login(server.address(), &user.token).await;
        let id = client.upload(upload("doc", &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        let _ = client.try_send(&Request::Complete(Complete::default())).await;
        server.ended().await;
        assert!(server.was_killed().await, "{point}");
        shown.hide();

        let server = Launch::over(&site).start().await;
        let mut client = RawClient::login(server.address(), &user.token).await;
        assert_ne!(client.status(id).await.status, "failed", "{point}");
        server.gone().await;
        let shown = volume.show_at(&site.documents(&user));
        let server = Launch::over(&site).start().await;
        let mut client = RawClient::login(server.address(), &user.token).await;
        // The upload accepts bytes again, and the promised bytes need not be sent again.
        let granted = client.resume(resume(id)).await;
        let from = towline_tests::raw_client::position(granted.offset);
        client.chunks(ZERO, &test_file, from..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.filename, "doc", "{point}");
        site.assert_published(&user, "doc", &test_file);
        assert_nothing_is_left(&site, &user, &["doc", "first"]);
        server.gone().await;
        for name in ["doc", "first"] {
            std::fs::remove_file(site.document(&user, name)).unwrap();
        }
        shown.hide();
    }
}

/// A copy that takes long: its client gets progress reports, another client that asks for the
/// document gets them as well, and SIGTERM does not wait for the copy. The next start listens
/// before the copy is done, and finishes it with or without a client.
#[tokio::test(flavor = "multi_thread")]
async fn another_volume_that_is_slow_delays_neither_the_stop_nor_the_start() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    for durability in ["durable", "relaxed"] {
        let (site, user, shown) = beside(&volume).await;
        let other = site.add_user("bob").await;
        let test_file = TestFile::new(30 * BLOCK + 9, 991);
        let arguments = ["--durability", durability];
        let launch = || Launch::over(&site).arguments(&arguments);
        let mut server = launch().failpoints("publish.copy_block=wait:1000").start().await;
        let mut client = server.client(&user).await;
        let id = client.upload(upload("doc", &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.send(&Request::Complete(Complete::default())).await;
        let whole = test_file.filesize().end();
        let far = |at: usize| towline_tests::raw_client::offset(at * BLOCK);
        let told = client.progress_that("a copy", |progress| progress.copied > Some(far(1))).await;
        assert_eq!((told.received, told.durable), (whole, whole), "{told:?}");
        let mut second = server.client(&user).await;
        assert_eq!(second.status(id).await.status, "publishing");
        second.send(&Request::Resume(resume(id))).await;
        let is_it = |progress: &towline_protocol::reply::Progress| progress.copied > told.copied;
        second.progress_that("the copy under way", is_it).await;

        let began = Instant::now();
        server.signal(Signal::TERM);
        assert!(server.ended().await.success());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(files(&site.documents(&user)), Vec::<String>::new(), "no half copy is left");

        let began = Instant::now();
        let server = launch().failpoints("publish.copy_block=wait:300").start().await;
        let mut client = server.client(&user).await;
        let mut second = server.client(&other).await;
        // Other documents become durable meanwhile.
        let small = TestFile::new(1000, 992);
        let small_id = second.upload(upload("small", &small)).await.document_id;
        second.chunks(ZERO, &small, 0..small.size()).await;
        second.complete(ZERO).await;
        let again = Complete { document_id: Some(small_id), ..Complete::default() };
        assert!(second.complete_with(again).await.durable);
        assert_eq!(client.status(id).await.status, "publishing");
        assert!(began.elapsed() < Duration::from_secs(9), "the copy alone takes that long");
        // No client waits for the copy.
        client.send(&Request::Resume(resume(id))).await;
        client.progress_that("the copy", |progress| progress.copied.is_some()).await;
        client.reset();
        let mut client = server.client(&user).await;
        client.send(&Request::Resume(resume(id))).await;
        assert_eq!(client.success_on(ZERO).await.filename, "doc");
        site.assert_published(&user, "doc", &test_file);
        assert_nothing_is_left(&site, &user, &["doc"]);
        server.gone().await;
        std::fs::remove_file(site.document(&user, "doc")).unwrap();
        shown.hide();
    }
}

/// A damaged file on such a disk is set aside on that disk. Where that is not possible, the repair
/// reports this one file and continues with the others.
#[tokio::test(flavor = "multi_thread")]
async fn another_volume_with_damaged_files_is_repaired_as_far_as_possible() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, ada, shown) = beside(&volume).await;
    let bob = site.add_user("bob").await;
    let test_file = TestFile::new(BLOCK + 7, 993);
    let server = Launch::over(&site).start().await;
    for user in [&ada, &bob] {
        let mut client = server.client(user).await;
        client.upload(upload("doc", &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.complete(ZERO).await;
    }
    server.gone().await;
    for user in [&ada, &bob] {
        flip(&site.document(user, "doc"), 3);
    }
    let damaged = std::fs::read(site.document(&ada, "doc")).unwrap();

    volume.remount("ro");
    let (code, told) = repair(&site).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("2 findings, 1 dealt with"), "{told}");
    assert!(told.contains("not repaired"), "{told}");
    assert_eq!(std::fs::read(site.document(&ada, "doc")).unwrap(), damaged);
    assert!(!site.document(&bob, "doc").exists());
    volume.remount("rw");
    // Another file has the name to which the damaged one would be moved.
    let in_the_way = site.document(&ada, " 1.damaged");
    std::fs::write(&in_the_way, "a stranger's").unwrap();
    let (code, told) = repair(&site).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("1 finding, 1 dealt with"), "{told}");
    assert!(!site.document(&ada, "doc").exists());
    assert_eq!(std::fs::read(site.document(&ada, " 1.damaged.1")).unwrap(), damaged);
    assert_eq!(std::fs::read(&in_the_way).unwrap(), b"a stranger's");
    let (code, told) = repair(&site).await;
    assert_eq!(code, Some(0), "{told}");

    let server = Launch::over(&site).start().await;
    let mut client = server.client(&ada).await;
    let again = Upload { blake3: Some(test_file.hash()), ..upload("doc", &test_file) };
    client.upload(again).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.filename, "doc");
    server.gone().await;
    drop(shown);
}

async fn repair(site: &Site) -> (Option<i32>, String) {
    let mut repair = towlined();
    let repaired = output(repair.args(["verify", "--repair", "--data-dir"]).arg(site.path())).await;
    let told = String::from_utf8([repaired.stdout, repaired.stderr].concat()).expect("text");
    (repaired.status.code(), told)
}
