//! Death at every named point of the server, with and without a power cut right
//! behind it, and death at every point of the start that follows.

use std::collections::BTreeSet;
use std::path::Path;
use towline_tests::disks::Disks;
use towline_tests::journey::{Excuse, Journey};
use towline_tests::process::Launch;
use towline_tests::site::Site;

/// Points that a journey passes.
const ON_THE_WAY: &[&str] = &[
    "block.check",
    "checkpoint.recorded",
    "checkpoint.synced",
    "end.recorded",
    "publish.folder_made",
    "publish.folder_synced",
    "publish.in_place",
    "publish.renamed",
    "publish.row_completed",
    "publish.row_publishing",
    "publish.synced",
    "publish.verified",
    "sync.data",
    "sync.folder",
    "upload.file_made",
    "upload.row_made",
    "withdraw.recorded",
    "write.hashed",
    "write.written",
];

/// Points that a start passes which has something to put in order.
const AT_THE_START: &[&str] =
    &["recovery.begun", "recovery.done", "recovery.restored", "recovery.settling"];

/// The journey's uploads leave no space for the server's usual reserve.
const SETTINGS: &str = "reserve = '0B'";

/// How often each point is waited for: the first times, or with `TOWLINE_LONG=1` all
/// there are.
fn times(quick: u64) -> u64 {
    if std::env::var_os("TOWLINE_LONG").is_some() { u64::MAX } else { quick }
}

fn launch(site: &Site) -> Launch {
    Launch::over(site).settings(&site.settings(SETTINGS))
}

/// Travels with a server that dies there at that time. Says whether it did.
async fn dies_at(site: &Site, journey: &mut Journey, point: &str, time: u64) -> bool {
    let plan = format!("{point}=kill@{time}");
    let Ok(server) = launch(site).failpoints(&plan).try_start().await else { return true };
    journey.travel(server.address()).await;
    server.gone().await;
    !journey.is_done()
}

#[test]
fn no_point_is_forgotten() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src");
    let mut found = BTreeSet::new();
    names(&source, &mut found);
    let known: BTreeSet<_> =
        ON_THE_WAY.iter().chain(AT_THE_START).map(ToString::to_string).collect();
    assert_eq!(found, known);
}

/// The points that the source names.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the source of the server") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        for call in ["failpoint::reach(\"", "failpoint::is_faked(\""] {
            let rests = text.split(call).skip(1);
            found.extend(rests.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

#[tokio::test]
async fn killed_at_every_point() {
    for point in ON_THE_WAY {
        for time in 1..=times(2) {
            let site = Site::in_memory();
            let mut journey = Journey::new(&site.add_user("ada").await);
            let died = dies_at(&site, &mut journey, point, time).await;
            assert!(died || time > 1, "{point} is never reached");
            println!(
                "{point}@{time}: {} {:?}",
                if died { "dies" } else { "lives" },
                journey.errors()
            );
            let server = launch(&site).start().await;
            journey.arrive(server.address(), &site, Excuse::None).await;
            server.gone().await;
            if !died {
                break;
            }
        }
    }
}

#[tokio::test]
async fn power_is_cut_at_every_point_with_everything_on_one_disk() {
    power_is_cut_at_every_point(Disks::one).await;
}

#[tokio::test]
async fn power_is_cut_at_every_point_with_the_catalog_on_another_disk() {
    power_is_cut_at_every_point(Disks::two).await;
}

async fn power_is_cut_at_every_point(disks: fn() -> Option<Disks>) {
    for point in ON_THE_WAY {
        for time in 1..=times(1) {
            let Some(mut disks) = disks() else { return };
            let mut journey = Journey::new(&disks.site().add_user("ada").await);
            let died = dies_at(disks.site(), &mut journey, point, time).await;
            println!("{point}@{time}: {}", if died { "dies" } else { "lives" });
            disks.lose_power();
            journey.assert_only_whole_files(disks.site());
            let server = launch(disks.site()).start().await;
            journey.arrive(server.address(), disks.site(), Excuse::PowerCut).await;
            server.gone().await;
            if !died {
                break;
            }
        }
    }
}

/// What the first death leaves for the start: an upload that is longer than
/// promised, one that is about to move, one that has moved.
const LEFT_FOR_THE_START: &[&str] =
    &["checkpoint.synced", "publish.row_publishing", "publish.renamed"];

#[tokio::test]
async fn killed_again_at_every_point_of_the_start() {
    for left in LEFT_FOR_THE_START {
        for point in AT_THE_START {
            for time in 1..=times(1) {
                let Some(mut disks) = Disks::two() else { return };
                let mut journey = Journey::new(&disks.site().add_user("ada").await);
                assert!(dies_at(disks.site(), &mut journey, left, 1).await, "{left}");
                disks.lose_power();
                let plan = format!("{point}=kill@{time}");
                let start = launch(disks.site()).failpoints(&plan).try_start().await;
                let died = start.is_err();
                if let Ok(server) = start {
                    server.gone().await;
                }
                println!("{left}, {point}@{time}: {}", if died { "dies" } else { "lives" });
                disks.lose_power();
                journey.assert_only_whole_files(disks.site());
                let server = launch(disks.site()).start().await;
                journey.arrive(server.address(), disks.site(), Excuse::PowerCut).await;
                server.gone().await;
                if !died {
                    break;
                }
            }
        }
    }
}
