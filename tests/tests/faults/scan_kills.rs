//! Death between the steps of a scan, of the quarantine, of a release and of a deletion: after the
//! next start each document is in one state, its file lies where that state says, and no byte of it
//! came out in between.

use std::path::PathBuf;
use towline_protocol::{Code, Held};
use towline_tests::disks::Disks;
use towline_tests::points::{RELEASE, SCAN, STORE};
use towline_tests::process::{Launch, ServerProcess, assert_calm, stdout, towlined};
use towline_tests::raw_client::upload;
use towline_tests::scanned::EICAR_COMMAND;
use towline_tests::site::{Site, TestUser};
use towline_tests::stub_scanner::eicar;
use towline_tests::test_file::TestFile;
use towline_types::DocumentId;

/// Where the data folder lies.
enum Store {
    /// In memory: a death of the server is all that happens.
    Memory(Site),
    /// On disks that lose their power with the death.
    Disks(Disks),
}

impl Store {
    fn site(&self) -> &Site {
        match self {
            Self::Memory(site) => site,
            Self::Disks(disks) => disks.site(),
        }
    }

    fn lose_power(&mut self) {
        if let Self::Disks(disks) = self {
            disks.lose_power();
        }
    }
}

fn launch(site: &Site) -> Launch {
    Launch::without_reserve(site).arguments(&["--scan-command", EICAR_COMMAND])
}

fn infected() -> TestFile {
    TestFile { bytes: eicar() }
}

fn clean() -> TestFile {
    TestFile::new(2000, 8800)
}

/// Where a document lies in the quarantine.
fn isolated(site: &Site, user: &TestUser, id: DocumentId) -> PathBuf {
    site.uploads().join(format!(".quarantine/{}/{id}", user.id))
}

/// The points between the steps; those of the store that a move to another folder has.
fn points(of: &[&'static str]) -> Vec<&'static str> {
    let moves = STORE.iter().copied();
    let moves = moves.filter(|point| point.starts_with("relocate.") || *point == "sync.move");
    of.iter().copied().chain(moves).collect()
}

/// Starts the server once with that plan; it may die before it listens. Returns it where it lives.
async fn start(site: &Site, plan: &str) -> Option<ServerProcess> {
    match launch(site).failpoints(plan).try_start().await {
        Ok(server) => Some(server),
        Err(ended) => {
            assert_calm(&ended.said);
            assert!(ended.was_killed(), "{ended:#?}");
            None
        }
    }
}

/// Nothing is wrong with any file, and no file is none's.
async fn assert_whole(site: &Site) {
    let said = stdout(towlined().args(["--data-dir"]).arg(site.path()).arg("verify")).await;
    assert!(!said.contains("DAMAGED") && !said.contains("UNKNOWN"), "{said}");
}

/// An infected and a clean file on a server that dies at that point, and again while it starts.
/// Returns whether it died at the first.
async fn survives_scan(mut store: Store, point: &str, again: &str) -> bool {
    let user = store.site().add_user("ada").await;
    let server = start(store.site(), &format!("{point}=kill@1")).await.expect("nothing is to do");
    server.client(&user).await.try_put("e.com", &infected()).await;
    let mut server = server;
    let died = server.ends_before_it_says("scanned: infected").await;
    let killed = server.was_killed().await;
    assert_eq!(died, killed, "{point}");
    store.lose_power();
    if let Some(server) = start(store.site(), &format!("{again}=kill@1")).await {
        drop(server.gone().await);
    }
    store.lose_power();
    let site = store.site();
    let server = launch(site).start().await;
    let mut client = server.client(&user).await;
    if client.tree(10).await.is_empty() {
        // The kill came before the row said that it is complete.
        client.put(upload("e.com", &infected()), &infected()).await;
    }
    let id = client.until_held("e.com", Some(Held::Quarantined)).await;
    client.assert_held(id, Code::Quarantined).await;
    client.put(upload("a", &clean()), &clean()).await;
    client.until_held("a", None).await;
    site.assert_published(&user, "a", &clean());
    server.assert_calm();
    server.gone().await;
    assert_eq!(std::fs::read(isolated(site, &user, id)).expect("it is there"), eicar(), "{point}");
    assert!(!site.document(&user, "e.com").exists(), "{point}: its place is empty");
    assert_whole(site).await;
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_between_the_steps_of_a_scan_goes_on_where_it_was() {
    let points = points(SCAN);
    let mut never = points.clone();
    for point in &points {
        for again in ["recovery.begun", "isolation.renamed", "scan.recorded"] {
            let store = Store::Memory(Site::in_memory());
            let died = survives_scan(store, point, again).await;
            println!("{point}, then {again}: {}", if died { "dies" } else { "lives" });
            if died {
                never.retain(|other| other != point);
            }
        }
    }
    assert_eq!(never, [""; 0], "each is a death of some scan");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_between_the_steps_of_a_scan_gives_nothing_out() {
    for point in points(SCAN) {
        let Some(disks) = Disks::two() else { return };
        let died = survives_scan(Store::Disks(disks), point, "isolation.renamed").await;
        println!("{point}: {}", if died { "dies" } else { "lives" });
    }
}

/// What the operator wants of a document in the quarantine, on a server that dies of it at that
/// point, and again while it starts.
async fn survives_wish(mut store: Store, wish: &str, point: &str) -> bool {
    let user = store.site().add_user("ada").await;
    let server = launch(store.site()).start().await;
    let mut client = server.client(&user).await;
    client.put(upload("e.com", &infected()), &infected()).await;
    let id = client.until_held("e.com", Some(Held::Quarantined)).await;
    let text = id.to_string();
    drop(server.gone().await);
    let site = store.site();
    stdout(towlined().arg("--data-dir").arg(site.path()).args(["quarantine", wish, text.as_str()]))
        .await;
    let done = match wish {
        "release" => "the operator has released a document",
        _ => "a document was deleted from the quarantine",
    };
    let mut died = true;
    if let Some(mut server) = start(site, &format!("{point}=kill@1")).await {
        died = server.ends_before_it_says(done).await;
        assert_eq!(server.was_killed().await, died, "{wish} at {point}");
    }
    store.lose_power();
    if let Some(server) = start(store.site(), &format!("{point}=kill@1")).await {
        drop(server.gone().await);
    }
    store.lose_power();
    let site = store.site();
    let server = launch(site).start().await;
    let mut client = server.client(&user).await;
    match wish {
        "release" => {
            client.until_held("e.com", None).await;
            site.assert_published(&user, "e.com", &infected());
        }
        _ => {
            while !client.tree(10).await.is_empty() {
                client.ping().await;
            }
            assert!(!site.document(&user, "e.com").exists());
        }
    }
    server.assert_calm();
    server.gone().await;
    assert!(!isolated(site, &user, id).exists(), "{wish} at {point}");
    assert_whole(site).await;
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_between_the_steps_of_a_release_or_deletion_ends_it() {
    let points = points(RELEASE);
    let mut never = points.clone();
    for wish in ["release", "delete"] {
        for point in &points {
            let store = Store::Memory(Site::in_memory());
            let died = survives_wish(store, wish, point).await;
            println!("{wish} at {point}: {}", if died { "dies" } else { "lives" });
            if died {
                never.retain(|other| other != point);
            }
        }
    }
    assert_eq!(never, [""; 0], "each is a death of some wish");
}

/// The queue is in the catalog: as many documents as there are wait in it, and one at a time is in
/// memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_two_thousand_documents_drains_in_bounded_memory() {
    const DOCUMENTS: usize = 2000;
    /// What the scans of all of them may claim, in KiB: a byte for each KiB of the documents would be
    /// more.
    const SCANS_KIB: u64 = 24 << 10;
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let gate = site.outside().join("gate");
    std::fs::write(&gate, "").unwrap();
    let command =
        format!("while test -e '{}'; do sleep 0.05; done; cat >/dev/null", gate.display());
    let server =
        Launch::without_reserve(&site).arguments(&["--scan-command", &command]).start().await;
    let mut client = server.client(&user).await;
    let file = TestFile::new(20_000, 8801);
    for number in 0..DOCUMENTS {
        client.put(upload(&format!("{number}"), &file), &file).await;
    }
    let before = server.memory_kib();
    std::fs::remove_file(&gate).unwrap();
    for number in 0..DOCUMENTS {
        client.until_held(&number.to_string(), None).await;
    }
    let more = server.memory_kib().saturating_sub(before);
    assert!(more < SCANS_KIB, "{more} KiB more");
    server.assert_calm();
    server.gone().await;
}
