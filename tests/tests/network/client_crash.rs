//! The machine of the one who uploads loses its power, or its file changes.

use rustix::process::Signal;
use std::io::Write as _;
use std::path::Path;
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::desk::{Desk, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::volume::Volume;

fn sync(path: &Path) {
    std::fs::File::open(path).unwrap().sync_all().unwrap();
}

/// File and notes lie on a disk whose power goes in the middle of an upload. The next
/// run goes on, with what notes it has, and the file arrives as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_where_the_file_and_the_notes_are() {
    let Some(volume) = Volume::ext4(96 << 20) else { return };
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let corpus = Corpus::new(16 * BLOCK + 321, 180);
    let desk = Desk::at(volume.path().join("desk"), &server.person, proxy.address());
    let mut chance = chance();
    for round in 0..6 {
        let name = format!("{round}.bin");
        let file = desk.write(&name, &corpus);
        for path in [&file, &desk.path("token"), &desk.path(""), &volume.path().to_owned()] {
            sync(path);
        }
        let number = proxy.connections();
        let place = chance.u64(1..corpus.size() as u64);
        proxy.plan([Faults::stall_after(place)]);
        let mut put = desk.put(&file);
        // Others before it had the same bytes.
        put.arg("--again");
        let sending = desk.start(put);
        let link = proxy.link(number).await;
        link.has_passed(place).await;
        volume.power_off();
        sending.signal(Signal::KILL);
        sending.end().await;
        link.cut();
        volume.power_on();

        // Whatever is left of the notes reads well, or is not there.
        let notes = desk.state_path().exists().then(|| desk.state().uploads.len());
        let mut speaker = server.speaker().await;
        let found = speaker.find(towline_tests::speaker::find(&name, corpus.filesize())).await;
        let durable = found.unfinished.map_or(0, |unfinished| unfinished.offset.get());
        let mut put = desk.put(&file);
        put.args(["--again", "--json"]);
        let outcome = run(put).await;
        let completed = outcome.assert_done().event("completed");
        let sent = completed["sent_bytes"].as_u64().unwrap();
        println!("cut after {place}: notes {notes:?}, {durable} durable, then {sent} sent");
        let left = corpus.size() as u64 - durable;
        assert!(sent <= left + BLOCK as u64, "{sent} sent of {left} that were left");
        server.site.assert_published(&server.person, &name, &corpus);
        assert!(desk.state().uploads.is_empty());
        std::fs::remove_file(file).unwrap();
    }
}

/// An upload of `a.bin` that stands still behind its first blocks while `change` is made, and its end.
async fn changed_meanwhile(
    server: &TestServer,
    corpus: &Corpus,
    change: impl FnOnce(&Desk),
) -> (Desk, towline_tests::desk::Outcome) {
    let sent = 4 * BLOCK as u64;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(sent)]).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let sending = desk.start(desk.put(&desk.write("a.bin", corpus)));
    let link = proxy.link(0).await;
    link.has_passed(sent).await;
    change(&desk);
    link.go_on();
    let outcome = sending.end().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    (desk, outcome)
}

/// Neither the one nor the other nor anything between was published.
fn nothing_is_published(server: &TestServer) {
    assert!(!server.site.documents(&server.person).exists());
}

/// More than client, sockets and proxy hold between them.
const LONG: usize = 40 * BLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_shorter() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(LONG, 181);
    let shorter = Corpus { bytes: corpus.bytes[..LONG - BLOCK - 7].to_vec() };
    let (desk, outcome) = changed_meanwhile(&server, &corpus, |desk| {
        let file = std::fs::File::options().write(true).open(desk.path("a.bin")).unwrap();
        file.set_len(shorter.size() as u64).unwrap();
    })
    .await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("changed"), "{outcome:?}");
    nothing_is_published(&server);
    run(desk.put(&desk.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.person, "a.bin", &shorter);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(LONG, 182);
    let longer = Corpus { bytes: [&corpus.bytes[..], b"more"].concat() };
    let (desk, outcome) = changed_meanwhile(&server, &corpus, |desk| {
        let mut file = std::fs::File::options().append(true).open(desk.path("a.bin")).unwrap();
        file.write_all(b"more").unwrap();
    })
    .await;
    outcome.assert_code(3);
    nothing_is_published(&server);
    run(desk.put(&desk.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.person, "a.bin", &longer);
}

/// A byte that was sent already, behind a time that was put back.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_behind_a_time_that_was_put_back() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(LONG, 183);
    let mut other = corpus.clone();
    other.bytes[100] ^= 1;
    let (desk, outcome) = changed_meanwhile(&server, &corpus, |desk| {
        let path = desk.path("a.bin");
        let before = path.metadata().unwrap().modified().unwrap();
        std::fs::write(&path, &other.bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    })
    .await;
    outcome.assert_code(3);
    nothing_is_published(&server);
    run(desk.put(&desk.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.person, "a.bin", &other);
}

/// Another file takes the name, as editors save: either whole file is right, and a
/// mixture never is.
#[tokio::test(flavor = "multi_thread")]
async fn another_file_under_the_name() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(LONG, 184);
    let other = Corpus::new(LONG, 185);
    let (desk, outcome) = changed_meanwhile(&server, &corpus, |desk| {
        let new = desk.write("new", &other);
        std::fs::rename(new, desk.path("a.bin")).unwrap();
    })
    .await;
    println!("replaced while it was sent: exit code {:?}", outcome.code);
    if outcome.code == Some(0) {
        server.site.assert_published(&server.person, "a.bin", &corpus);
        return;
    }
    outcome.assert_code(3);
    nothing_is_published(&server);
    run(desk.put(&desk.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.person, "a.bin", &other);
}
