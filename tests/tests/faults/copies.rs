//! A document that the server makes from another with the same bytes, and the server, the
//! machine or the connection ends on the way: its name is absent or it is there once and
//! whole, nothing else is left, the other document is as it was, and the same words again
//! get SUCCESS.

use rustix::process::Signal;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::disks::Disks;
use towline_tests::points::{COPIED, WHOLE};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::site::{Person, Site};
use towline_tests::speaker::{Heard, Speaker, ZERO, errors, upload};
use towline_tests::volume::Volume;

/// Points that a copy passes behind those of its own, in order.
const PUBLISHED: &[&str] = &[
    "publish.synced",
    "publish.row_publishing",
    "publish.folder_made",
    "publish.renamed",
    "publish.folder_synced",
    "publish.in_place",
    "publish.row_completed",
];

/// Where it need not be durable at once.
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

fn wish(corpus: &Corpus) -> Upload {
    Upload {
        folder: vec!["in".to_owned()],
        blake3: Some(corpus.hash()),
        blocks: true,
        ..upload("copy", corpus)
    }
}

/// The document that is copied, by a server that dies nowhere.
async fn source(site: &Site, person: &Person, corpus: &Corpus) {
    let server = Launch::without_reserve(site).start().await;
    let mut speaker = server.speaker(person).await;
    speaker.upload(upload("source", corpus)).await;
    speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
    speaker.complete(ZERO).await;
    server.gone().await;
}

async fn dies(launch: &Launch, person: &Person, corpus: &Corpus, point: &str) {
    let mut server = launch.start().await;
    let mut speaker = server.speaker(person).await;
    speaker.send(&Request::Upload(wish(corpus))).await;
    server.ended().await;
    assert!(server.was_killed().await, "{point} is never reached");
}

fn absent_or_whole(site: &Site, person: &Person, corpus: &Corpus, point: &str) {
    site.assert_published(person, "source", corpus);
    let Ok(bytes) = fs::read(site.document(person, "in/copy")) else { return };
    assert!(bytes == corpus.bytes, "{point} leaves something else");
}

fn staged(site: &Site) -> Vec<OsString> {
    site.staged_names().into_iter().map(OsString::from).collect()
}

async fn arrives(server: &ServerProcess, site: &Site, person: &Person, corpus: &Corpus) {
    let mut speaker = server.speaker(person).await;
    speaker.send(&Request::Upload(wish(corpus))).await;
    let success = match answer(&mut speaker, ZERO).await {
        Reply::Success(success) => success,
        other => panic!("{other:?}"),
    };
    assert!(success.copied || success.existing);
    assert_eq!((success.filename.as_str(), success.blake3), ("copy", corpus.hash()));
    let there = fs::read_dir(site.documents(person).join("in")).expect("the folder");
    assert_eq!(there.count(), 1, "there once");
    site.assert_published(person, "in/copy", corpus);
    site.assert_published(person, "source", corpus);
    server.assert_calm();
}

/// The answer on that channel, without what is said of the progress.
async fn answer(speaker: &mut Speaker, channel: Channel) -> Reply {
    let is_answer = |heard: &Heard| {
        matches!(heard, Heard::Reply(reply)
            if reply.channel() == channel && !matches!(reply, Reply::Progress(_)))
    };
    match speaker.until("an answer", is_answer).await.pop() {
        Some(Heard::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn killed_at_every_point() {
    let corpus = Corpus::new(3 * BLOCK + 5, 980);
    for (point, arguments) in ways() {
        let site = Site::in_memory();
        let person = site.add_user("ada").await;
        source(&site, &person, &corpus).await;
        let plan = format!("{point}=kill@1");
        let launch = Launch::without_reserve(&site).arguments(arguments);
        dies(&launch.failpoints(&plan), &person, &corpus, point).await;
        absent_or_whole(&site, &person, &corpus, point);
        let server = Launch::without_reserve(&site).start().await;
        assert!(staged(&site).is_empty(), "{point} leaves {:?}", staged(&site));
        arrives(&server, &site, &person, &corpus).await;
        server.gone().await;
    }
}

#[tokio::test]
async fn power_is_cut_at_every_point() {
    let corpus = Corpus::new(2 * BLOCK + 5, 981);
    for (point, arguments) in ways() {
        for disks in [Disks::one, Disks::two] {
            let Some(mut disks) = disks() else { return };
            let person = disks.site().add_user("ada").await;
            source(disks.site(), &person, &corpus).await;
            let plan = format!("{point}=kill@1");
            let launch = Launch::without_reserve(disks.site()).arguments(arguments);
            dies(&launch.failpoints(&plan), &person, &corpus, point).await;
            disks.lose_power();
            let site = disks.site();
            let server = Launch::without_reserve(site).start().await;
            absent_or_whole(site, &person, &corpus, point);
            arrives(&server, site, &person, &corpus).await;
            server.gone().await;
        }
    }
}

/// A server whose copies take a second for each block, and one of half a minute under way.
async fn in_the_middle(site: &Site, person: &Person) -> (ServerProcess, Speaker, Corpus) {
    let corpus = Corpus::new(30 * BLOCK, 982);
    source(site, person, &corpus).await;
    let server = Launch::without_reserve(site).failpoints("copy.block=wait:1000").start().await;
    let mut speaker = server.speaker(person).await;
    speaker.send(&Request::Upload(wish(&corpus))).await;
    // It is told how far it is, long before the end.
    let heard =
        speaker.until("progress", |heard| matches!(heard, Heard::Reply(Reply::Progress(_)))).await;
    let Some(Heard::Reply(Reply::Progress(progress))) = heard.last() else { panic!("{heard:?}") };
    assert!(progress.received < progress.filesize.end() && progress.durable.get() == 0);
    (server, speaker, corpus)
}

#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_beside_it() {
    let site = Site::in_memory();
    let person = site.add_user("ada").await;
    let (server, mut speaker, _) = in_the_middle(&site, &person).await;
    let small = Corpus::new(5, 983);
    for connection in 0..2 {
        let mut other = server.speaker(&person).await;
        let (speaker, channel) =
            if connection == 0 { (&mut speaker, Channel(7)) } else { (&mut other, Channel(8)) };
        let name = format!("small {connection}");
        speaker.send(&Request::Upload(Upload { channel, ..upload(&name, &small) })).await;
        assert!(matches!(answer(speaker, channel).await, Reply::Upload(_)));
        speaker.chunks(channel, &small, 0..5).await;
        speaker.send(&Request::Complete(Complete { channel, ..Complete::default() })).await;
        assert!(matches!(answer(speaker, channel).await, Reply::Success(_)));
        site.assert_published(&person, &name, &small);
    }
    assert_eq!(staged(&site).len(), 1, "the copy is still under way");
    speaker.reset();
    server.assert_calm();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_connection() {
    for says_goodbye in [false, true] {
        let site = Site::in_memory();
        let person = site.add_user("ada").await;
        let (server, mut speaker, corpus) = in_the_middle(&site, &person).await;
        if says_goodbye {
            speaker.finish_sending().await;
            let heard = speaker.ended().await;
            assert_eq!(errors(&heard), [(Code::Internal, None)], "it is told, and may come again");
        } else {
            speaker.reset();
        }
        let asked = Instant::now();
        while !staged(&site).is_empty() {
            assert!(asked.elapsed() < PATIENCE, "{:?} is still there", staged(&site));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!site.document(&person, "in/copy").exists());
        site.state_is_empty().await;
        server.assert_calm();
        server.gone().await;
        let server = Launch::without_reserve(&site).start().await;
        arrives(&server, &site, &person, &corpus).await;
        server.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_server() {
    let site = Site::in_memory();
    let person = site.add_user("ada").await;
    let (mut server, _speaker, corpus) = in_the_middle(&site, &person).await;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{:#?}", server.said());
    assert!(asked.elapsed() < Duration::from_secs(5), "it is not waited for to its end");
    assert!(staged(&site).is_empty(), "{:?}", staged(&site));
    assert!(!site.document(&person, "in/copy").exists());
    let server = Launch::without_reserve(&site).start().await;
    arrives(&server, &site, &person, &corpus).await;
    server.gone().await;
}

/// No room for a copy is no room for the file: it is said before anything is made.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_is_made() {
    let Some(volume) = Volume::memory(24 << 20) else { return };
    let site = Site::on(&volume);
    let person = site.add_user("ada").await;
    let corpus = Corpus::new(14 * BLOCK, 984);
    source(&site, &person, &corpus).await;
    let server = Launch::without_reserve(&site).start().await;
    let mut speaker = server.speaker(&person).await;
    speaker.upload_refused(wish(&corpus), Code::NoSpace).await;
    assert!(staged(&site).is_empty());
    // Where it is there already no room is needed.
    let there = Upload { blake3: Some(corpus.hash()), ..upload("source", &corpus) };
    speaker.send(&Request::Upload(there)).await;
    assert!(speaker.success_on(ZERO).await.existing);
    server.assert_calm();
    server.gone().await;
}

/// A death between the look at a file that is gone and the word of the row.
#[tokio::test]
async fn killed_where_a_file_is_found_to_be_gone() {
    let corpus = Corpus::new(70_000, 985);
    let site = Site::in_memory();
    let person = site.add_user("ada").await;
    source(&site, &person, &corpus).await;
    fs::remove_file(site.document(&person, "source")).expect("it is there");
    let again = Upload { blake3: Some(corpus.hash()), ..upload("source", &corpus) };
    let launch = Launch::without_reserve(&site);
    let mut server = launch.clone().failpoints("gone.found=kill").start().await;
    server.speaker(&person).await.send(&Request::Upload(again.clone())).await;
    server.ended().await;
    assert!(server.was_killed().await);
    let server = launch.start().await;
    let mut speaker = server.speaker(&person).await;
    speaker.upload(again).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.filename, "source");
    site.assert_published(&person, "source", &corpus);
    server.gone().await;
}

/// An operator has put the file of a document back, and nothing has synced it. `SUCCESS`
/// means that it outlives the power all the same.
#[tokio::test]
async fn power_is_cut_behind_a_file_that_was_put_back() {
    for size in [70_000, 2 * BLOCK + 5] {
        let corpus = Corpus::new(size, 986);
        let Some(mut disks) = Disks::one() else { return };
        let person = disks.site().add_user("ada").await;
        source(disks.site(), &person, &corpus).await;
        let path = disks.site().document(&person, "source");
        let server = Launch::without_reserve(disks.site()).start().await;
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, &corpus.bytes).expect("it is put back");
        let mut speaker = server.speaker(&person).await;
        let again = Upload { blake3: Some(corpus.hash()), ..upload("source", &corpus) };
        speaker.send(&Request::Upload(again)).await;
        let success = speaker.success_on(ZERO).await;
        assert!(success.existing && success.durable);
        disks.power_off();
        server.gone().await;
        disks.power_on();
        let server = Launch::without_reserve(disks.site()).start().await;
        disks.site().assert_published(&person, "source", &corpus);
        server.gone().await;
    }
}
