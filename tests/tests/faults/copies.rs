//! The server, the machine or the connection ends while the server makes a document from another
//! one with the same bytes. Afterwards the document is absent, or it exists once and is complete;
//! no other file is left, the source document has not changed, and the same request again gets
//! SUCCESS.

use rustix::process::Signal;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::disks::Disks;
use towline_tests::points::{COPIED, WHOLE};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{Heard, RawClient, ZERO, errors, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::Volume;

/// Points that a copy reaches after its own points, in order.
const PUBLISHED: &[&str] = &[
    "publish.synced",
    "publish.row_publishing",
    "publish.folder_made",
    "publish.renamed",
    "publish.folder_synced",
    "publish.in_place",
    "publish.row_completed",
];

/// The same for a copy that need not be durable at once.
const RELAXED: &[&str] = &["publish.row_publishing", "publish.folder_made", "publish.renamed"];

const DURABLE_WAY: &[&str] = &[];
const RELAXED_WAY: &[&str] = &["--durability", "relaxed"];

fn ways() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let way = |points: Vec<&'static str>, arguments| {
        points.into_iter().map(move |point| (point, arguments))
    };
    way([COPIED, WHOLE, PUBLISHED].concat(), DURABLE_WAY)
        .chain(way([COPIED, WHOLE, RELAXED].concat(), RELAXED_WAY))
}

fn wish(test_file: &TestFile) -> Upload {
    Upload {
        folder: vec!["in".to_owned()],
        blake3: Some(test_file.hash()),
        blocks: true,
        ..upload("copy", test_file)
    }
}

/// The document that is copied, made by a server without failpoints.
async fn source(site: &Site, user: &TestUser, test_file: &TestFile) {
    let server = Launch::without_reserve(site).start().await;
    let mut client = server.client(user).await;
    client.upload(upload("source", test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    server.gone().await;
}

async fn dies(launch: &Launch, user: &TestUser, test_file: &TestFile, point: &str) {
    let mut server = launch.start().await;
    let mut client = server.client(user).await;
    client.send(&Request::Upload(wish(test_file))).await;
    server.ended().await;
    assert!(server.was_killed().await, "{point} is never reached");
}

fn absent_or_whole(site: &Site, user: &TestUser, test_file: &TestFile, point: &str) {
    site.assert_published(user, "source", test_file);
    let Ok(bytes) = fs::read(site.document(user, "in/copy")) else { return };
    assert!(bytes == test_file.bytes, "{point} leaves something else");
}

fn staged(site: &Site) -> Vec<OsString> {
    site.staged_names().into_iter().map(OsString::from).collect()
}

async fn arrives(server: &ServerProcess, site: &Site, user: &TestUser, test_file: &TestFile) {
    let mut client = server.client(user).await;
    client.send(&Request::Upload(wish(test_file))).await;
    let success = match answer(&mut client, ZERO).await {
        Reply::Success(success) => success,
        other => panic!("{other:?}"),
    };
    assert!(success.copied || success.existing);
    assert_eq!((success.filename.as_str(), success.blake3), ("copy", test_file.hash()));
    let there = fs::read_dir(site.documents(user).join("in")).expect("the folder");
    assert_eq!(there.count(), 1, "there once");
    site.assert_published(user, "in/copy", test_file);
    site.assert_published(user, "source", test_file);
    server.assert_calm();
}

/// The answer on that channel, without progress reports.
async fn answer(client: &mut RawClient, channel: Channel) -> Reply {
    let is_answer = |heard: &Heard| {
        matches!(heard, Heard::Reply(reply)
            if reply.channel() == channel && !matches!(reply, Reply::Progress(_)))
    };
    match client.until("an answer", is_answer).await.pop() {
        Some(Heard::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_killed_at_every_point_of_a_copy_keeps_every_promise() {
    let test_file = TestFile::new(3 * BLOCK + 5, 980);
    for (point, arguments) in ways() {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        source(&site, &user, &test_file).await;
        let plan = format!("{point}=kill@1");
        let launch = Launch::without_reserve(&site).arguments(arguments);
        dies(&launch.failpoints(&plan), &user, &test_file, point).await;
        absent_or_whole(&site, &user, &test_file, point);
        let server = Launch::without_reserve(&site).start().await;
        assert!(staged(&site).is_empty(), "{point} leaves {:?}", staged(&site));
        arrives(&server, &site, &user, &test_file).await;
        server.gone().await;
    }
}

#[tokio::test]
async fn a_power_cut_at_every_point_of_a_copy_keeps_every_promise() {
    let test_file = TestFile::new(2 * BLOCK + 5, 981);
    for (point, arguments) in ways() {
        for disks in [Disks::one, Disks::two] {
            let Some(mut disks) = disks() else { return };
            let user = disks.site().add_user("ada").await;
            source(disks.site(), &user, &test_file).await;
            let plan = format!("{point}=kill@1");
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

/// A server that takes one second for each block of a copy, and one copy of 30 s that has begun.
async fn in_the_middle(site: &Site, user: &TestUser) -> (ServerProcess, RawClient, TestFile) {
    let test_file = TestFile::new(30 * BLOCK, 982);
    source(site, user, &test_file).await;
    let server = Launch::without_reserve(site).failpoints("copy.block=wait:1000").start().await;
    let mut client = server.client(user).await;
    client.send(&Request::Upload(wish(&test_file))).await;
    // The client gets a progress report long before the end.
    let heard =
        client.until("progress", |heard| matches!(heard, Heard::Reply(Reply::Progress(_)))).await;
    let Some(Heard::Reply(Reply::Progress(progress))) = heard.last() else { panic!("{heard:?}") };
    assert!(progress.received < progress.filesize.end() && progress.durable.get() == 0);
    (server, client, test_file)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_uploads_go_on_beside_a_copy() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let (server, mut client, _) = in_the_middle(&site, &user).await;
    let small = TestFile::new(5, 983);
    for connection in 0..2 {
        let mut other = server.client(&user).await;
        let (client, channel) =
            if connection == 0 { (&mut client, Channel(7)) } else { (&mut other, Channel(8)) };
        let name = format!("small {connection}");
        client.send(&Request::Upload(Upload { channel, ..upload(&name, &small) })).await;
        assert!(matches!(answer(client, channel).await, Reply::Upload(_)));
        client.chunks(channel, &small, 0..5).await;
        client.send(&Request::Complete(Complete { channel, ..Complete::default() })).await;
        assert!(matches!(answer(client, channel).await, Reply::Success(_)));
        site.assert_published(&user, &name, &small);
    }
    assert_eq!(staged(&site).len(), 1, "the copy is still under way");
    client.reset();
    server.assert_calm();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_ends_with_its_connection() {
    for says_goodbye in [false, true] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let (server, mut client, test_file) = in_the_middle(&site, &user).await;
        if says_goodbye {
            client.finish_sending().await;
            let heard = client.ended().await;
            assert_eq!(errors(&heard), [(Code::Internal, None)], "it is told, and may come again");
        } else {
            client.reset();
        }
        let asked = Instant::now();
        while !staged(&site).is_empty() {
            assert!(asked.elapsed() < PATIENCE, "{:?} is still there", staged(&site));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!site.document(&user, "in/copy").exists());
        site.state_is_empty().await;
        server.assert_calm();
        server.gone().await;
        let server = Launch::without_reserve(&site).start().await;
        arrives(&server, &site, &user, &test_file).await;
        server.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_ends_with_its_server() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let (mut server, _speaker, test_file) = in_the_middle(&site, &user).await;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{:#?}", server.said());
    assert!(asked.elapsed() < Duration::from_secs(5), "it is not waited for to its end");
    assert!(staged(&site).is_empty(), "{:?}", staged(&site));
    assert!(!site.document(&user, "in/copy").exists());
    let server = Launch::without_reserve(&site).start().await;
    arrives(&server, &site, &user, &test_file).await;
    server.gone().await;
}

/// Where the disk has no room for a copy, it has none for the file: the server refuses the upload
/// before it makes a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_room_makes_nothing() {
    let Some(volume) = Volume::memory(24 << 20) else { return };
    let site = Site::on(&volume);
    let user = site.add_user("ada").await;
    let test_file = TestFile::new(14 * BLOCK, 984);
    source(&site, &user, &test_file).await;
    let server = Launch::without_reserve(&site).start().await;
    let mut client = server.client(&user).await;
    client.upload_refused(wish(&test_file), Code::NoSpace).await;
    assert!(staged(&site).is_empty());
    // Where the document exists already, no room is needed.
    let there = Upload { blake3: Some(test_file.hash()), ..upload("source", &test_file) };
    client.send(&Request::Upload(there)).await;
    assert!(client.success_on(ZERO).await.existing);
    server.assert_calm();
    server.gone().await;
}

/// The server dies after it has found that a file is gone, and before the row says so.
#[tokio::test]
async fn a_server_killed_where_a_file_is_found_to_be_gone_recovers() {
    let test_file = TestFile::new(70_000, 985);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    source(&site, &user, &test_file).await;
    fs::remove_file(site.document(&user, "source")).expect("it is there");
    let again = Upload { blake3: Some(test_file.hash()), ..upload("source", &test_file) };
    let launch = Launch::without_reserve(&site);
    let mut server = launch.clone().failpoints("gone.found=kill").start().await;
    server.client(&user).await.send(&Request::Upload(again.clone())).await;
    server.ended().await;
    assert!(server.was_killed().await);
    let server = launch.start().await;
    let mut client = server.client(&user).await;
    client.upload(again).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.filename, "source");
    site.assert_published(&user, "source", &test_file);
    server.gone().await;
}

/// An operator has put the file of a document back without a sync. After `SUCCESS` the file must
/// survive a power cut all the same.
#[tokio::test]
async fn a_power_cut_behind_a_file_that_was_put_back_breaks_no_promise() {
    for size in [70_000, 2 * BLOCK + 5] {
        let test_file = TestFile::new(size, 986);
        let Some(mut disks) = Disks::one() else { return };
        let user = disks.site().add_user("ada").await;
        source(disks.site(), &user, &test_file).await;
        let path = disks.site().document(&user, "source");
        let server = Launch::without_reserve(disks.site()).start().await;
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, &test_file.bytes).expect("it is put back");
        let mut client = server.client(&user).await;
        let again = Upload { blake3: Some(test_file.hash()), ..upload("source", &test_file) };
        client.send(&Request::Upload(again)).await;
        let success = client.success_on(ZERO).await;
        assert!(success.existing && success.durable);
        disks.power_off();
        server.gone().await;
        disks.power_on();
        let server = Launch::without_reserve(disks.site()).start().await;
        disks.site().assert_published(&user, "source", &test_file);
        server.gone().await;
    }
}
