//! How much of a file the server has, in the lines of a run: no line says more than is true, and
//! all lines agree.

use rustix::process::Signal;
use std::time::Duration;
use towline_protocol::Channel;
use towline_protocol::request::Upload;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::upload;
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

const MIB: u64 = BLOCK as u64;

/// An upload whose blocks are announced.
fn in_blocks(name: &str, test_file: &TestFile) -> Upload {
    Upload { blocks: true, ..upload(name, test_file) }
}

fn slowly() -> Faults {
    Faults { delay: Duration::from_millis(10), ..Faults::none() }
}

/// The number in front of ` MiB` that follows this word.
fn mib_behind(text: &str, word: &str) -> f64 {
    let behind = text.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {text:?}")).1;
    behind.trim_start().split(' ').next().unwrap().parse().unwrap()
}

/// Another program has sent blocks beyond the first gap.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_beyond_a_gap_counts_at_once_and_never_as_speed() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 260);
    let mut client = server.client().await;
    let channel = Channel::default();
    client.upload(in_blocks("a.bin", &test_file)).await;
    for index in (0..1).chain(4..20) {
        client.block(channel, &test_file, index).await;
    }
    client.pause().await;

    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(slowly());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut sending = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    let resumed = sending.until(|event| event["event"] == "resumed").await;
    assert_eq!((&resumed["received"], &resumed["held_bytes"]), (&MIB.into(), &(17 * MIB).into()));
    assert_eq!(resumed["left_bytes"], 7 * MIB);
    // The gap closes, and the offset jumps over the blocks that were there already.
    let mut held_before = 17 * MIB;
    sending
        .until(|event| {
            if event["event"] != "progress" {
                return false;
            }
            let held = event["held_bytes"].as_u64().unwrap();
            let sent = event["sent_bytes"].as_u64().unwrap();
            assert!(held >= held_before && held <= 17 * MIB + sent, "{event}");
            assert!(event["safe_bytes"].as_u64() <= Some(held), "{event}");
            held_before = held;
            event["received"].as_u64() >= Some(20 * MIB)
        })
        .await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    if outcome.code == Some(3) {
        let paused = outcome.event("paused");
        assert!(paused["safe_bytes"].as_u64() >= Some(20 * MIB), "{paused}");
        proxy.otherwise(Faults::none());
        run(cli.put(&cli.path("a.bin"))).await.assert_done();
    }
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_the_resumption_after_it_tell_the_same() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 261);
    let mut client = server.client().await;
    client.upload(in_blocks("a.bin", &test_file)).await;
    for index in (0..2).chain(8..16) {
        client.block(Channel::default(), &test_file, index).await;
    }
    client.pause().await;
    // No further byte of the file reaches the server.
    let stalling = Faults::stall_after(64 << 10);
    let proxy = FaultProxy::start(server.address(), [stalling]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut sending = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    sending.until(|event| event["event"] == "resumed").await;
    proxy.link(0).await.has_passed(64 << 10).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    outcome.assert_code(3);
    let paused = mib_behind(&outcome.err, "paused at");
    proxy.otherwise(Faults::none());
    let outcome = run(cli.put(&cli.path("a.bin"))).await;
    let resumed = mib_behind(&outcome.assert_done().err, "resuming at");
    // Bytes that were not confirmed may have arrived, and are never called safe.
    assert!(paused <= resumed && resumed >= 10.0, "{paused} and {resumed}");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

/// A begun block cannot be compared, so it is not kept where the file has changed.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_changed_file_whole_equal_blocks_stay_and_nothing_else() {
    let server = TestServer::start().await;
    for (equal_blocks, stays) in [(2, Some(2.0)), (0, None)] {
        let name = format!("{equal_blocks}.bin");
        let test_file = TestFile::new(24 * BLOCK, 262);
        let mut client = server.client().await;
        let channel = Channel::default();
        client.upload(in_blocks(&name, &test_file)).await;
        for index in 0..6 {
            client.block(channel, &test_file, index).await;
        }
        // A part of the seventh block is sent, too.
        let begun = 6 * BLOCK..6 * BLOCK + BLOCK / 2;
        client.chunks(channel, &test_file, begun).await;
        client.pause().await;

        let cli = CliFixture::new(&server.site, &server.user, server.address());
        let file = cli.write(&name, &test_file);
        // The list says that the upload was begun with this file.
        let known = server.site.state_that("the upload", |state| !state.uploads.is_empty()).await;
        let (id, entry) = known.uploads.iter().next().unwrap();
        let mut state = towline_state::UploadsState::default();
        let entry = towline_state::state_file::UploadEntry {
            path: Some(file.clone()),
            server: Some(server.address().to_string()),
            ..entry.clone()
        };
        state.uploads.insert(id.clone(), entry);
        let notes = towline_state::StateFile::at(cli.state_path());
        notes.update(|notes| *notes = state).unwrap();

        let mut changed = TestFile::new(24 * BLOCK, 263);
        let equal = ..equal_blocks * BLOCK;
        changed.bytes[equal].copy_from_slice(&test_file.bytes[equal]);
        let mut put = cli.put(&cli.write(&name, &changed));
        put.arg("--verbose");
        let outcome = run(put).await;
        let err = &outcome.assert_done().err;
        match stays {
            Some(stays) => {
                assert!(err.contains("2.0 of 24.0 MiB are unchanged and are kept"), "{err}");
                assert!((mib_behind(err, "sending") + stays - 24.0).abs() < 0.01, "{err}");
            }
            None => {
                assert!(!err.contains("unchanged") && !err.contains(" stay"), "{err}");
                assert!((mib_behind(err, "sending") - 24.0).abs() < 0.01, "{err}");
            }
        }
        // This number of MiB was sent.
        let sent = 24.0 - stays.unwrap_or(0.0);
        if stays.is_some() {
            assert!(outcome.out.contains(&format!("{sent:.1} MiB of it sent")), "{outcome:#?}");
        }
        server.site.assert_published(&server.user, &name, &changed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_shrinks_is_promised_nothing() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(6 * MIB)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 264);
    let file = cli.write("a.bin", &test_file);
    let sending = cli.start(cli.put(&file));
    let link = proxy.link(0).await;
    link.has_passed(6 * MIB).await;
    let shorter = TestFile { bytes: test_file.bytes[..12 * BLOCK].to_vec() };
    std::fs::File::options().write(true).open(&file).unwrap().set_len(12 * MIB).unwrap();
    link.go_on();
    let outcome = sending.end().await;
    let message = outcome.assert_code(3).event("error");
    let text = format!("{} {}", message["message"], message["advice"]);
    assert!(text.contains("shorter") && text.contains("from its beginning"), "{text}");
    assert!(!text.contains("safe") && !text.contains("only the changed parts"), "{text}");
    let again = run(cli.put(&file)).await;
    assert!(again.assert_done().err.contains("a new one begins"), "{again:#?}");
    server.site.assert_published(&server.user, "a.bin", &shorter);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_of_an_interrupted_run_counts_what_was_sent_and_what_is_safe() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(slowly());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for name in ["d/a.bin", "d/b.bin"] {
        cli.write(name, &TestFile::new(24 * BLOCK, 265));
    }
    let mut put = cli.put(&cli.path("d"));
    put.arg("--again");
    let mut sending = cli.start(put);
    sending.until(|event| event["safe_bytes"].as_u64() >= Some(3 * MIB)).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    let summary = outcome.assert_code(3).event("summary");
    let (paused, sum) = (outcome.event("paused"), summary["sent_bytes"].as_u64());
    assert!(sum >= Some(3 * MIB) && sum <= Some(24 * MIB), "{summary}");
    assert_eq!(summary["safe_bytes"], paused["safe_bytes"], "{summary}");
    assert_eq!((&summary["paused"], &summary["sent"]), (&2.into(), &0.into()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_that_go_on_get_no_line_each() {
    let server = TestServer::start().await;
    let plan: Vec<_> = (1..8).map(|n| Faults::reset_after(n * 40_000)).collect();
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for n in 0..120 {
        cli.write(&format!("many/{n}"), &TestFile::new(9000 + n, 400 + n as u64));
    }
    let outcome = run(cli.put(&cli.path("many"))).await;
    // A file whose receipt was lost is found on the server.
    assert!(outcome.assert_done().out.contains("0 failed; "), "{outcome:#?}");
    assert!(proxy.connections() > 3);
    assert!(!outcome.err.contains("0 bytes"), "{outcome:#?}");
    // At most one line for each lost connection, and none for a file that is continued.
    assert!(outcome.err.lines().count() <= 2 * proxy.connections(), "{outcome:#?}");
    assert!(!outcome.err.contains("resuming at"), "{outcome:#?}");
}
