//! `--durability relaxed`, where the server or the machine dies between SUCCESS and the
//! sync: a name is absent or whole, and what was whole is kept.

use towline_protocol::{Code, DocumentId};
use towline_tests::by_hand::{cut, flip};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::disks::Disks;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::site::{Person, Site};
use towline_tests::speaker::{ZERO, resume, upload};

/// Points behind the row `publishing` that only a relaxed server passes.
const POINTS: &[&str] = &["publish.named", "settling.settled"];

fn relaxed(site: &Site) -> Launch {
    Launch::without_reserve(site).arguments(&["--durability", "relaxed"])
}

/// Puts a document on a server that is to die on the way, and waits until it has.
async fn put_and_die(launch: &Launch, person: &Person, corpus: &Corpus) -> DocumentId {
    let mut server = launch.start().await;
    let mut speaker = server.speaker(person).await;
    let id = speaker.upload(upload("doc", corpus)).await.document_id;
    speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
    speaker.send(&towline_protocol::Request::Complete(Default::default())).await;
    server.ended().await;
    assert!(server.was_killed().await);
    id
}

async fn started(site: &Site) -> ServerProcess {
    relaxed(site).start().await
}

#[tokio::test]
async fn a_kill_loses_nothing() {
    let corpus = Corpus::new(BLOCK + 5, 970);
    for point in POINTS {
        let site = Site::in_memory();
        let person = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints(&format!("{point}=kill"));
        let id = put_and_die(&launch, &person, &corpus).await;
        let server = started(&site).await;
        let status = server.speaker(&person).await.status(id).await;
        assert_eq!(status.status, "completed", "{point}");
        site.assert_published(&person, "doc", &corpus);
        server.assert_calm();
        server.gone().await;
    }
}

#[tokio::test]
async fn bytes_that_did_not_get_to_the_disk_are_not_served() {
    let corpus = Corpus::new(BLOCK + 5, 971);
    // What a power cut leaves of a file that was never synced.
    let damages: [fn(&std::path::Path); 3] =
        [|path| flip(path, 70), |path| cut(path, 1000), |path| cut(path, 0)];
    for damage in damages {
        let site = Site::in_memory();
        let person = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints("publish.named=kill");
        let id = put_and_die(&launch, &person, &corpus).await;
        damage(&site.document(&person, "doc"));
        let server = started(&site).await;
        assert!(!site.document(&person, "doc").exists(), "absent, or whole");
        let mut speaker = server.speaker(&person).await;
        assert_eq!(speaker.status(id).await.status, "failed");
        speaker.resume_refused(resume(id), Code::Failed).await;
        // The best copy that anybody may have is kept, and the place is free.
        let orphans = site.staging_folder().join("orphans");
        assert_eq!(std::fs::read_dir(orphans).unwrap().count(), 1);
        speaker.upload(upload("doc", &corpus)).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        assert_eq!(speaker.complete(ZERO).await.filename, "doc");
        server.assert_calm();
        server.gone().await;
        site.assert_published(&person, "doc", &corpus);
    }
}

#[tokio::test]
async fn a_power_cut_leaves_a_name_absent_or_whole() {
    let corpus = Corpus::new(BLOCK + 5, 972);
    for point in POINTS {
        for disks in [Disks::one, Disks::two] {
            let Some(mut disks) = disks() else { return };
            let person = disks.site().add_user("ada").await;
            let launch = relaxed(disks.site()).failpoints(&format!("{point}=kill"));
            let id = put_and_die(&launch, &person, &corpus).await;
            disks.lose_power();
            let server = started(disks.site()).await;
            let mut speaker = server.speaker(&person).await;
            let status = speaker.status(id).await.status;
            let path = disks.site().document(&person, "doc");
            println!("{point}: {status}, {}", if path.exists() { "there" } else { "absent" });
            match status.as_str() {
                "completed" => disks.site().assert_published(&person, "doc", &corpus),
                "failed" => assert!(!path.exists()),
                other => panic!("{point}: {other}"),
            }
            server.assert_calm();
            server.gone().await;
        }
    }
}
