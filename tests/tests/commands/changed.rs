//! A local file that has changed since its upload began.

use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// Many more bytes than sockets and proxy can hold: the bytes that they hold arrive even after the
/// client has stopped.
const LONG: usize = 40 * BLOCK;

/// A command-line fixture with an upload of `a.bin` that was paused.
async fn partly_sent(server: &TestServer, proxy: &FaultProxy, test_file: &TestFile) -> CliFixture {
    proxy.otherwise(Faults { delay: Duration::from_millis(5), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    is_paused(&cli, cli.put(&cli.write("a.bin", test_file)), 4 * BLOCK).await;
    proxy.otherwise(Faults::none());
    cli
}

/// Runs that command until the server has that number of bytes of the file, and pauses it.
async fn is_paused(cli: &CliFixture, command: Command, bytes: usize) {
    let mut sending = cli.start(command);
    sending.until(|event| event["received"].as_u64() >= Some(bytes as u64)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
}

/// Uploads `a.bin`, and returns its event `completed`.
async fn put_again(cli: &CliFixture) -> Value {
    let mut put = cli.put(&cli.path("a.bin"));
    put.arg("--json");
    run(put).await.assert_done().event("completed")
}

/// The offset of the upload in the state file.
fn noted_offset(cli: &CliFixture) -> u64 {
    cli.state().uploads.values().next().expect("an upload in the notes").offset.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_in_one_block_sends_that_block() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut test_file = TestFile::new(LONG, 70);
    let cli = partly_sent(&server, &proxy, &test_file).await;
    let offset = noted_offset(&cli);
    test_file.bytes[BLOCK + 17] ^= 1;
    cli.write("a.bin", &test_file);
    let completed = put_again(&cli).await;
    let sent = completed["sent_bytes"].as_u64().unwrap();
    assert_eq!(completed["document_id"], 1, "the same upload");
    assert!(sent <= test_file.size() as u64 - offset + 2 * BLOCK as u64, "{sent} after {offset}");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_in_length_begins_anew_and_says_so() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = partly_sent(&server, &proxy, &TestFile::new(LONG, 71)).await;
    let longer = TestFile::new(LONG + 1, 72);
    let outcome = run(cli.put(&cli.write("a.bin", &longer))).await;
    outcome.assert_done();
    assert!(outcome.err.contains("a.bin"), "it is said: {outcome:?}");
    server.site.assert_published(&server.user, "a.bin", &longer);
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grew_keeps_its_unchanged_blocks() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut test_file = TestFile::new(LONG + 77, 83);
    let cli = partly_sent(&server, &proxy, &test_file).await;
    let offset = noted_offset(&cli);
    test_file.bytes.extend_from_slice(&TestFile::new(2 * BLOCK, 84).bytes);
    test_file.bytes[BLOCK + 17] ^= 1;
    cli.write("a.bin", &test_file);
    let completed = put_again(&cli).await;
    let sent = completed["sent_bytes"].as_u64().unwrap();
    assert_eq!(completed["document_id"], 1, "the same upload");
    assert!(sent <= test_file.size() as u64 - offset + 2 * BLOCK as u64, "{sent} after {offset}");
    server.site.assert_published(&server.user, "a.bin", &test_file);
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_size_is_not_its_length_arrives_whole() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let paths = ["/proc/version", "/sys/class/net/lo/address"].map(std::path::Path::new);
    for path in paths.into_iter().filter(|path| path.exists()) {
        let expected = std::fs::read(path).unwrap();
        assert_ne!(std::fs::metadata(path).unwrap().len(), expected.len() as u64, "{path:?}");
        run(cli.put(path)).await.assert_done();
        let name = path.file_name().unwrap().to_str().unwrap();
        let stored = std::fs::read(server.site.document(&server.user, name)).unwrap();
        assert_eq!(stored, expected, "{path:?}");
    }
    // The same together with other files.
    let mut put = cli.put(std::path::Path::new("/proc/devices"));
    put.arg("/proc/filesystems").args(["--folder", "many"]);
    run(put).await.assert_done();
    for name in ["devices", "filesystems"] {
        let stored = server.site.document(&server.user, &format!("many/{name}"));
        assert_eq!(std::fs::read(stored).unwrap(), std::fs::read(format!("/proc/{name}")).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_while_it_is_sent_is_never_a_mixture() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(LONG, 73);
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(BLOCK as u64)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let sending = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    let link = proxy.link(0).await;
    link.has_passed(BLOCK as u64).await;
    let other = TestFile::new(LONG, 74);
    cli.write("a.bin", &other);
    link.go_on();
    let outcome = sending.end().await;
    outcome.assert_code(3);
    assert!(!server.site.document(&server.user, "a.bin").exists());
    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_notes_cost_nothing() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let test_file = TestFile::new(LONG, 75);
    let cli = partly_sent(&server, &proxy, &test_file).await;
    let offset = noted_offset(&cli);
    std::fs::remove_file(cli.state_path()).unwrap();
    let completed = put_again(&cli).await;
    assert_eq!(completed["document_id"], 1, "the same upload");
    let again = completed["sent_bytes"].as_u64().unwrap() + offset - test_file.size() as u64;
    assert!(again <= BLOCK as u64, "{again} bytes again");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

/// Two machines with different files of the same name and size, and one upload.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_another_upload_are_never_taken_for_ours() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let ours = TestFile::new(LONG, 76);
    let cli = partly_sent(&server, &proxy, &ours).await;
    // The first block of the other machine's file is the same. That machine continues the upload,
    // with a state file of its own.
    let mut theirs = TestFile::new(LONG, 77);
    theirs.bytes[..BLOCK].copy_from_slice(&ours.bytes[..BLOCK]);
    proxy.otherwise(Faults { delay: Duration::from_millis(5), ..Faults::none() });
    let file = cli.write("elsewhere/a.bin", &theirs);
    let put = cli.elsewhere(&file, "elsewhere/state.json");
    is_paused(&cli, put, 6 * BLOCK).await;
    proxy.otherwise(Faults::none());

    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &ours);
    run(cli.elsewhere(&file, "elsewhere/state.json")).await.assert_done();
    server.site.assert_published(&server.user, "a (1).bin", &theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_one_name_do_not_undo_each_other() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let first = TestFile::new(LONG, 78);
    let cli = partly_sent(&server, &proxy, &first).await;
    let offset = noted_offset(&cli);
    let second = TestFile::new(LONG, 79);
    run(cli.put(&cli.write("other/a.bin", &second))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &second);
    let sent = put_again(&cli).await["sent_bytes"].as_u64().unwrap();
    assert_eq!(sent, first.size() as u64 - offset, "the first one kept its head start");
    server.site.assert_published(&server.user, "a (1).bin", &first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_behind_an_old_time_is_noticed() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut test_file = TestFile::new(LONG, 82);
    let cli = partly_sent(&server, &proxy, &test_file).await;
    let path = cli.path("a.bin");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    test_file.bytes[17] ^= 1;
    std::fs::write(&path, &test_file.bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    run(cli.put(&path)).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
