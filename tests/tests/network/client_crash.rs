//! The client's machine loses its power, or its file changes.

use rustix::process::Signal;
use std::io::Write as _;
use std::path::Path;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};
use towline_tests::volume::Volume;

fn sync(path: &Path) {
    std::fs::File::open(path).unwrap().sync_all().unwrap();
}

/// The file and the state file are on a disk whose power is cut during an upload. The next run
/// continues with what the state file still has, and the document has the bytes of the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_where_the_file_and_the_notes_are() {
    let Some(volume) = Volume::ext4(96 << 20) else { return };
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let test_file = TestFile::new(16 * BLOCK + 321, 180);
    let cli = CliFixture::at(volume.path().join("desk"), &server.user, proxy.address());
    let mut chance = chance();
    for round in 0..6 {
        let name = format!("{round}.bin");
        let file = cli.write(&name, &test_file);
        for path in [&file, &cli.path("token"), &cli.path(""), &volume.path().to_owned()] {
            sync(path);
        }
        let number = proxy.connections();
        let place = chance.u64(1..test_file.size() as u64);
        proxy.plan([Faults::stall_after(place)]);
        let mut put = cli.put(&file);
        // Earlier files of the test had the same bytes.
        put.arg("--again");
        let sending = cli.start(put);
        let link = proxy.link(number).await;
        link.has_passed(place).await;
        volume.power_off();
        sending.signal(Signal::KILL);
        sending.end().await;
        link.cut();
        volume.power_on();

        // The state file is readable, or does not exist.
        let notes = cli.state_path().exists().then(|| cli.state().uploads.len());
        let mut client = server.client().await;
        let found = client.find(towline_tests::raw_client::find(&name, test_file.filesize())).await;
        let durable = found.unfinished.map_or(0, |unfinished| unfinished.offset.get());
        let mut put = cli.put(&file);
        put.args(["--again", "--json"]);
        let outcome = run(put).await;
        let completed = outcome.assert_done().event("completed");
        let sent = completed["sent_bytes"].as_u64().unwrap();
        println!("cut after {place}: notes {notes:?}, {durable} durable, then {sent} sent");
        let left = test_file.size() as u64 - durable;
        assert!(sent <= left + BLOCK as u64, "{sent} sent of {left} that were left");
        server.site.assert_published(&server.user, &name, &test_file);
        assert!(cli.state().uploads.is_empty());
        std::fs::remove_file(file).unwrap();
    }
}

/// An upload of `a.bin` that is held up after its first blocks while `change` is made. Returns how
/// it ended.
async fn changed_meanwhile(
    server: &TestServer,
    test_file: &TestFile,
    change: impl FnOnce(&CliFixture),
) -> (CliFixture, towline_tests::cli_fixture::Outcome) {
    let sent = 4 * BLOCK as u64;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(sent)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let sending = cli.start(cli.put(&cli.write("a.bin", test_file)));
    let link = proxy.link(0).await;
    link.has_passed(sent).await;
    change(&cli);
    link.go_on();
    let outcome = sending.end().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    (cli, outcome)
}

/// Neither version of the file, nor a mixture of them, was published.
fn nothing_is_published(server: &TestServer) {
    assert!(!server.site.documents(&server.user).exists());
}

/// More bytes than client, sockets and proxy can hold.
const LONG: usize = 40 * BLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_shorter() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(LONG, 181);
    let shorter = TestFile { bytes: test_file.bytes[..LONG - BLOCK - 7].to_vec() };
    let (cli, outcome) = changed_meanwhile(&server, &test_file, |cli| {
        let file = std::fs::File::options().write(true).open(cli.path("a.bin")).unwrap();
        file.set_len(shorter.size() as u64).unwrap();
    })
    .await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("changed"), "{outcome:?}");
    nothing_is_published(&server);
    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &shorter);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(LONG, 182);
    let longer = TestFile { bytes: [&test_file.bytes[..], b"more"].concat() };
    let (cli, outcome) = changed_meanwhile(&server, &test_file, |cli| {
        let mut file = std::fs::File::options().append(true).open(cli.path("a.bin")).unwrap();
        file.write_all(b"more").unwrap();
    })
    .await;
    outcome.assert_code(3);
    nothing_is_published(&server);
    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &longer);
}

/// A byte changes that was sent already, and the time of modification is set back.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_behind_a_time_that_was_put_back() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(LONG, 183);
    let mut other = test_file.clone();
    other.bytes[100] ^= 1;
    let (cli, outcome) = changed_meanwhile(&server, &test_file, |cli| {
        let path = cli.path("a.bin");
        let before = path.metadata().unwrap().modified().unwrap();
        std::fs::write(&path, &other.bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    })
    .await;
    outcome.assert_code(3);
    nothing_is_published(&server);
    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &other);
}

/// Another file takes the name, as editors do when they save: each of the two files may be
/// published, and never a mixture.
#[tokio::test(flavor = "multi_thread")]
async fn another_file_under_the_name() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(LONG, 184);
    let other = TestFile::new(LONG, 185);
    let (cli, outcome) = changed_meanwhile(&server, &test_file, |cli| {
        let new = cli.write("new", &other);
        std::fs::rename(new, cli.path("a.bin")).unwrap();
    })
    .await;
    println!("replaced while it was sent: exit code {:?}", outcome.code);
    if outcome.code == Some(0) {
        server.site.assert_published(&server.user, "a.bin", &test_file);
        return;
    }
    outcome.assert_code(3);
    nothing_is_published(&server);
    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &other);
}
