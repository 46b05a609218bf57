//! Space that a user claims without sending bytes: it is not taken from others.

use rustix::process::Signal;
use std::os::unix::fs::MetadataExt as _;
use towline_protocol::request::{Link, Mkdir, Move, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::process::{Launch, ServerProcess, stdout, towlined};
use towline_tests::raw_client::{RawClient, ZERO, names, resume, upload, upload_of_size};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::Volume;
use towline_types::{FileSize, LinkTarget, OnConflict};

const MIB: u64 = 1 << 20;

/// What uploads leave free by default.
const RESERVE: u64 = 64 * MIB;

async fn two_users(volume: &Volume) -> (Site, ServerProcess, [TestUser; 2]) {
    let site = Site::on(volume);
    let users = [site.add_user("ada").await, site.add_user("mallory").await];
    let server = Launch::over(&site).start().await;
    (site, server, users)
}

/// A hundred uploads say that they are long, and send a byte each.
#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_only_said_takes_no_space_from_others() {
    let Some(volume) = Volume::ext4(160 << 20) else { return };
    let (site, server, [ada, mallory]) = two_users(&volume).await;
    let mut hostile = server.client(&mallory).await;
    let filesize = FileSize::try_from(50 * MIB).expect("a size");
    for number in 0..100 {
        let channel = Channel(number);
        let name = format!("{number}.bin");
        let begin = Upload { channel, ..upload_of_size(&name, filesize) };
        hostile.send(&Request::Upload(begin)).await;
        hostile.chunk(channel, 0, &[7]).await;
        let answer = hostile.reply_on(channel).await;
        assert!(matches!(answer, Reply::Upload(_)), "{answer:?}");
    }
    hostile.ping().await;
    let test_file = TestFile::new(40 * BLOCK, 1800);
    let mut honest = server.client(&ada).await;
    honest.upload(upload("honest.bin", &test_file)).await;
    honest.chunks(ZERO, &test_file, 0..test_file.size()).await;
    honest.complete(ZERO).await;
    site.assert_published(&ada, "honest.bin", &test_file);
    server.gone().await;
}

/// The space ahead of the last byte is free again when its client has gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_ahead_is_given_back_at_the_pause() {
    let Some(volume) = Volume::ext4(160 << 20) else { return };
    let (site, server, [ada, _]) = two_users(&volume).await;
    let test_file = TestFile::new(50 * BLOCK, 1801);
    let mut client = server.client(&ada).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..12 * BLOCK).await;
    client.has_received(id, 12 * BLOCK).await;
    let taken = || site.staging(id).metadata().expect("it is there").blocks() * 512;
    assert!(taken() > 13 * MIB, "{}", taken());
    client.pause().await;
    assert!(taken() < 13 * MIB, "{}", taken());
    let mut again = server.client(&ada).await;
    again.resume(resume(id)).await;
    again.chunks(ZERO, &test_file, 12 * BLOCK..test_file.size()).await;
    again.complete(ZERO).await;
    site.assert_published(&ada, "doc", &test_file);
    server.gone().await;
}

/// What takes no bytes takes rows and names. When only the reserve is left, none of it is made, and
/// whatever ends or removes something goes on.
#[tokio::test(flavor = "multi_thread")]
async fn empty_files_folders_and_links_leave_the_reserve_to_those_who_tidy_up() {
    let Some(volume) = Volume::ext4(128 << 20) else { return };
    let (site, mut server, [ada, mallory]) = two_users(&volume).await;
    let mut honest = server.client(&ada).await;
    let test_file = TestFile::new(BLOCK, 1802);
    let begun = honest.upload(upload("begun", &test_file)).await.document_id;
    honest.mkdir("old").await;
    let _ballast = volume.fill_up_to(RESERVE + MIB / 2);

    let mut hostile = server.client(&mallory).await;
    let refused = fills(&mut hostile).await;
    println!("refused after {refused:?} of each kind");

    honest.cancel(begun).await;
    honest.remove("old").await;
    hostile.remove("folder 0").await;
    let mut remove = towlined();
    remove.args(["user", "remove", "mallory", "--data-dir"]).arg(site.path());
    stdout(&mut remove).await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success(), "it stops in good order");
}

/// Makes things without bytes until each kind is refused; says how many of each were made.
async fn fills(client: &mut RawClient) -> [usize; 3] {
    let empty = TestFile::new(0, 1803);
    let mut made = [0; 3];
    for (kind, made) in made.iter_mut().enumerate() {
        loop {
            let (number, channel) = (*made, ZERO);
            let request = match kind {
                0 => Request::Mkdir(Mkdir {
                    path: names(&format!("folder {number}")),
                    ..Mkdir::default()
                }),
                1 => Request::Link(Link {
                    channel,
                    path: names(&format!("link {number}")),
                    target: LinkTarget::new("nowhere").expect("a target"),
                    mtime_ms: None,
                    on_conflict: OnConflict::default(),
                }),
                _ => Request::Upload(upload(&format!("file {number}"), &empty)),
            };
            client.send(&request).await;
            match client.reply_on(channel).await {
                Reply::Error(error) => {
                    assert_eq!(error.code, Code::NoSpace, "{error:?}");
                    break;
                }
                Reply::Upload(_) => drop(client.complete(channel).await),
                _ => {}
            }
            *made += 1;
            assert!(*made < 5000, "kind {kind} has no end");
        }
    }
    let moved =
        Move { path: Some(names("folder 1")), to: names("folder 1 again"), ..Move::default() };
    client.tree_refused(&Request::Move(moved), Code::NoSpace).await;
    made
}

/// Each of the uploads fits when it begins; all of them together do not.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_a_block_that_begin_together_leave_the_reserve() {
    let Some(volume) = Volume::ext4(128 << 20) else { return };
    let (_site, server, [_, mallory]) = two_users(&volume).await;
    let _ballast = volume.fill_up_to(RESERVE + 4 * MIB);
    let test_file = TestFile::new(BLOCK, 1804);
    let mut client = server.client(&mallory).await;
    for number in 0..20 {
        let channel = Channel(number);
        let begin = Upload { channel, ..upload(&format!("{number}.bin"), &test_file) };
        client.send(&Request::Upload(begin)).await;
        let answer = client.reply_on(channel).await;
        assert!(matches!(answer, Reply::Upload(_)), "{answer:?}");
    }
    for number in 0..20 {
        let _ = client.try_chunks(Channel(number), &test_file, 0..BLOCK).await;
    }
    client.ping().await;
    client.error_on(Channel(19), Code::NoSpace).await;
    let disk = rustix::fs::statvfs(volume.path()).expect("the disk answers");
    let free = disk.f_bavail * disk.f_frsize;
    assert!(free > RESERVE - MIB, "{free} bytes are free");
    server.gone().await;
}
