//! What waits while a document is copied to another file system: the tests show that its client may
//! leave, another client may ask for it or cancel it, and the server may be told to stop, while
//! other questions and connections are not delayed.

use crate::other_volume::beside;
use rustix::process::Signal;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};
use towline_protocol::Code;
use towline_protocol::reply::Progress;
use towline_protocol::request::{Complete, Request, Upload};
use towline_tests::PATIENCE;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, about, errors, offset, resume, upload};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::Volume;
use towline_types::DocumentId;

/// The number of documents that are copied at the same time.
const PLACES: usize = 4;

/// How many times the server has waited at that failpoint so far.
fn waits(server: &ServerProcess, point: &str) -> usize {
    server
        .said()
        .iter()
        .filter(|line| line.contains("a failpoint waits") && line.contains(point))
        .count()
}

async fn waits_again(server: &ServerProcess, point: &str, before: usize) {
    let began = Instant::now();
    while waits(server, point) <= before {
        assert!(began.elapsed() < PATIENCE, "{point} is not reached: {:#?}", server.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks for the status, which does not finish the publishing, until it is `status`.
async fn comes_to(client: &mut RawClient, id: DocumentId, status: &str) {
    let began = Instant::now();
    loop {
        let told = client.status(id).await;
        if told.status == status {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that the log has exactly one line for the end of that upload.
async fn assert_one_end_is_logged(server: &ServerProcess, name: &str) {
    let path = format!("path=\"{name}\"");
    server.says(&path).await;
    let said = server.said();
    let is_end = |line: &&String| line.contains(&path) && line.contains("outcome=\"completed\"");
    assert_eq!(said.iter().filter(is_end).count(), 1, "{said:#?}");
}

async fn sends(client: &mut RawClient, name: &str, test_file: &TestFile) -> DocumentId {
    let id = client.upload(upload(name, test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    id
}

/// The client leaves while its data is being synced, before the copy: the document is published
/// though no client asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_leaves_its_document_to_the_server() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(BLOCK + 9, 1200);
    let server = Launch::over(&site).failpoints("publish.synced=wait:300").start().await;
    let mut watcher = server.client(&user).await;
    for number in 0..8 {
        let name = format!("{number}.bin");
        let mut client = server.client(&user).await;
        let id = sends(&mut client, &name, &test_file).await;
        waits_again(&server, "publish.synced", number).await;
        client.reset();
        comes_to(&mut watcher, id, "completed").await;
        site.assert_published(&user, &name, &test_file);
        assert_one_end_is_logged(&server, &name).await;
    }
    server.gone().await;
    drop(shown);
}

/// `cancel` comes while the data is being synced for `complete`, and the row still says
/// `uploading`. The request waits without a thread, and other questions about the document are
/// answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_comes_too_late_holds_up_no_other_question() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(2 * BLOCK + 9, 1201);
    let plan = "publish.synced=wait:3000, publish.copy_block=wait:500";
    let server = Launch::over(&site).failpoints(plan).start().await;
    let mut client = server.client(&user).await;
    let id = sends(&mut client, "doc", &test_file).await;
    waits_again(&server, "publish.synced", 0).await;

    let mut second = server.client(&user).await;
    second.send(&Request::Cancel(about(id))).await;
    second.ping().await;
    let mut third = server.client(&user).await;
    for _ in 0..20 {
        assert_eq!(third.status(id).await.status, "uploading");
    }
    assert_eq!(waits(&server, "publish.copy_block"), 0, "the questions waited for the copy");
    second.progress_that("the copy", |progress| progress.copied.is_some()).await;
    let told = second.error(Code::BadState).await;
    println!("{}", told.message);
    assert_eq!(client.success_on(ZERO).await.filename, "doc");
    site.assert_published(&user, "doc", &test_file);
    server.assert_calm();
    server.gone().await;
    drop(shown);
}

/// The server makes a document from another one, in a folder on another disk. A question with the
/// document's number is answered during the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_made_from_another_is_answered_for_while_it_is_copied() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(3 * BLOCK + 9, 1202);
    let server = Launch::over(&site).start().await;
    let mut client = server.client(&user).await;
    sends(&mut client, "first", &test_file).await;
    client.success_on(ZERO).await;
    server.gone().await;

    let server = Launch::over(&site).failpoints("publish.copy_block=wait:700").start().await;
    let mut client = server.client(&user).await;
    let again =
        Upload { blake3: Some(test_file.hash()), blocks: true, ..upload("second", &test_file) };
    client.send(&Request::Upload(again)).await;
    let told = client.progress_that("the copy", |progress| progress.copied.is_some()).await;
    let id = told.document_id;
    let mut second = server.client(&user).await;
    assert_eq!(second.status(id).await.status, "publishing");
    second.send(&Request::Resume(resume(id))).await;
    second.progress_that("the copy", |progress| progress.copied > told.copied).await;
    assert!(client.success_on(ZERO).await.copied);
    assert_eq!(second.success_on(ZERO).await.filename, "second");
    site.assert_published(&user, "second", &test_file);
    server.gone().await;
    drop(shown);
}

/// Only [`PLACES`] documents are copied at a time. The clients of the other documents are told that
/// theirs wait, whether they sent them or ask for them later.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_waits_for_its_turn_is_not_silent() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(BLOCK + 9, 1203);
    let server = Launch::over(&site).failpoints("publish.copy_block=wait:3000").start().await;
    let mut copied = Vec::new();
    for number in 0..PLACES {
        let mut client = server.client(&user).await;
        sends(&mut client, &format!("{number}.bin"), &test_file).await;
        copied.push(client);
    }
    waits_again(&server, "publish.copy_block", PLACES - 1).await;
    let mut last = server.client(&user).await;
    let id = sends(&mut last, "last.bin", &test_file).await;
    let begun = |progress: &Progress| progress.copied.is_some();
    for _ in 0..3 {
        let told = last.progress_that("its turn", begun).await;
        assert_eq!(told.copied, Some(offset(0)));
        assert_eq!((told.received, told.durable), (test_file.filesize().end(), told.received));
    }
    // The same for a client that asks after the sender is gone.
    last.reset();
    let mut again = server.client(&user).await;
    again.send(&Request::Resume(resume(id))).await;
    for _ in 0..3 {
        assert_eq!(again.progress_that("its turn", begun).await.copied, Some(offset(0)));
    }
    assert_eq!(waits(&server, "publish.copy_block"), PLACES, "it was its turn already");
    assert_eq!(again.success_on(ZERO).await.filename, "last.bin");
    // The document was completed without a connection.
    assert_one_end_is_logged(&server, "last.bin").await;
    for mut client in copied {
        client.success_on(ZERO).await;
    }
    server.gone().await;
    drop(shown);
}

/// A client whose copy is interrupted by a stop of the server is told that the server stops, not
/// that it has failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_the_copy_is_no_fault_of_the_server() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(4 * BLOCK, 1204);
    let mut server = Launch::over(&site).failpoints("publish.copy_block=wait:500").start().await;
    let mut client = server.client(&user).await;
    let id = sends(&mut client, "doc", &test_file).await;
    client.progress_that("the copy", |progress| progress.copied.is_some()).await;
    let mut second = server.client(&user).await;
    second.send(&Request::Resume(resume(id))).await;
    second.progress_that("the copy", |progress| progress.copied.is_some()).await;
    server.signal(Signal::TERM);
    for client in [client, second] {
        let mut client = client;
        let heard = client.closed().await;
        let codes: Vec<Code> = errors(&heard).into_iter().map(|(code, _)| code).collect();
        assert!(!codes.is_empty(), "{heard:?}");
        assert!(codes.iter().all(|code| *code == Code::ShuttingDown), "{codes:?}");
    }
    assert!(server.ended().await.success());
    drop(shown);
}

/// During a copy no further bytes have to be made durable. So the server must not make one
/// checkpoint after another, each of which writes a copy of the catalog to the state file.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_no_checkpoint_busy() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(4 * BLOCK, 1205);
    let server = Launch::over(&site).failpoints("publish.copy_block=wait:1000").start().await;
    let mut client = server.client(&user).await;
    sends(&mut client, "doc", &test_file).await;
    let state_file = site.path().join("state/uploads_state.json");
    let written = || {
        let about = std::fs::metadata(&state_file).expect("a state file");
        (about.ino(), about.mtime(), about.mtime_nsec())
    };
    let far = |blocks: usize| Some(offset(blocks * BLOCK));
    // Earlier changes of the upload may be written to the state file at the beginning of the copy.
    client.progress_that("the copy", |progress| progress.copied >= far(2)).await;
    let before = written();
    client.progress_that("the copy", |progress| progress.copied >= far(3)).await;
    assert_eq!(written(), before, "the state file is written again and again");
    client.success_on(ZERO).await;
    server.gone().await;
    drop(shown);
}

/// A copy continues without its client, and the client's connection is closed meanwhile: it takes
/// no place from other connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_no_place_of_a_connection_that_is_gone() {
    let Some(volume) = Volume::ext4(64 << 20) else { return };
    let (site, user, shown) = beside(&volume).await;
    let test_file = TestFile::new(4 * BLOCK, 1206);
    let settings = site.settings("max_connections = 2");
    let launch = Launch::over(&site).settings(&settings);
    let server = launch.failpoints("publish.copy_block=wait:2000").start().await;
    let mut client = server.client(&user).await;
    let id = sends(&mut client, "doc", &test_file).await;
    client.progress_that("the copy", |progress| progress.copied.is_some()).await;
    client.reset();
    let mut second = server.client(&user).await;
    let began = Instant::now();
    while RawClient::try_login(server.address(), &user.token).await.is_none() {
        assert!(began.elapsed() < PATIENCE, "no place is free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(second.status(id).await.status, "publishing", "the copy kept the place");
    comes_to(&mut second, id, "completed").await;
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
    drop(shown);
}
