//! The server is killed at each of its named points, with and without a power cut just after that,
//! and at each point of the start that follows.

use std::collections::BTreeSet;
use std::path::Path;
use towline_tests::disks::Disks;
use towline_tests::is_long;
use towline_tests::points::{
    AT_THE_START, COPIED, ON_THE_WAY, OTHER_DOORS, RELAXED, RELEASE, SCAN, STORE, SWEEP, TREE,
    WHOLE,
};
use towline_tests::process::{Ended, Launch, assert_calm};
use towline_tests::scenario::{AllowedLoss, Scenario};
use towline_tests::site::Site;

/// Points that no scenario reaches. Reasons: only a damaged block leads there, which the crash test
/// sends; or only a refusal, which changes nothing that is kept; or only `towlined verify
/// --repair`, which has tests of its own; or only a fast upload, whose pieces reach all other
/// points after it. A relaxed server, a file that is sent at once, a copy, a file that has grown,
/// one whose length is said at its end, a document whose file was removed and a copy to another
/// file system have tests of their own.
const ELSEWHERE: &[&str] = &[
    "block.check",
    "declare.recorded",
    "gone.found",
    "publish.copied",
    "publish.copy_block",
    "publish.copy_named",
    "publish.copy_settled",
    // See `tree_kills`.
    "recovery.moved",
    "refuse.begun",
    "repair.returned",
    "repair.set_aside",
    "resume.growing",
    "resume.grown",
    "loan.pulled",
];

/// How many times of reaching a point are tested: the first ones, or with `TOWLINE_LONG=1` all.
fn times(quick: u64) -> u64 {
    if is_long() { u64::MAX } else { quick }
}

/// Runs the scenario with a server that is killed at that point. Returns whether the server died of
/// this kill.
async fn dies_at(site: &Site, scenario: &mut Scenario, point: &str, time: u64) -> bool {
    let plan = format!("{point}=kill@{time}");
    let mut server = match Launch::without_reserve(site).failpoints(&plan).try_start().await {
        Ok(server) => server,
        Err(ended) => return died_of_it(&ended),
    };
    scenario.travel(server.address()).await;
    if !scenario.is_done() {
        // Only the kill can keep a scenario from its end.
        server.ended().await;
    }
    server.was_killed().await
}

/// Whether a server that ended before it listened was killed at its point.
fn died_of_it(ended: &Ended) -> bool {
    assert_calm(&ended.said);
    assert!(ended.was_killed(), "{ended:#?}");
    true
}

#[test]
fn no_point_is_forgotten() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src");
    let mut found = BTreeSet::new();
    names(&source, &mut found);
    let known = [
        ON_THE_WAY,
        AT_THE_START,
        RELAXED,
        WHOLE,
        COPIED,
        TREE,
        STORE,
        SWEEP,
        SCAN,
        RELEASE,
        OTHER_DOORS,
        ELSEWHERE,
    ];
    let known = known.concat();
    let known: BTreeSet<_> = known.into_iter().map(str::to_owned).collect();
    assert_eq!(found, known);
}

/// The names of all points in the source.
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
async fn a_server_killed_at_every_point_keeps_every_promise() {
    for point in ON_THE_WAY {
        for time in 1..=times(2) {
            let site = Site::in_memory();
            let mut scenario = Scenario::new(&site.add_user("ada").await);
            let died = dies_at(&site, &mut scenario, point, time).await;
            assert!(died || time > 1, "{point} is never reached");
            println!(
                "{point}@{time}: {} {:?}",
                if died { "dies" } else { "lives" },
                scenario.errors()
            );
            arrives(&mut scenario, &site, AllowedLoss::None).await;
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

/// The next start works without an operator, every promise holds, and all uploads are completed.
async fn arrives(scenario: &mut Scenario, site: &Site, allowed_loss: AllowedLoss) {
    scenario.assert_only_whole_files(site);
    let server = Launch::without_reserve(site).start().await;
    scenario.arrive(server.address(), site, allowed_loss).await;
    server.assert_calm();
    server.gone().await;
}

async fn power_is_cut_at_every_point(disks: fn() -> Option<Disks>) {
    for point in ON_THE_WAY {
        for time in 1..=times(1) {
            let Some(mut disks) = disks() else { return };
            let mut scenario = Scenario::new(&disks.site().add_user("ada").await);
            let died = dies_at(disks.site(), &mut scenario, point, time).await;
            assert!(died || time > 1, "{point} is never reached");
            println!("{point}@{time}: {}", if died { "dies" } else { "lives" });
            disks.lose_power();
            arrives(&mut scenario, disks.site(), AllowedLoss::PowerCut).await;
            if !died {
                break;
            }
        }
    }
}

/// The uploads that the first kill leaves for the start: one with more bytes than promised, one
/// that is about to be renamed, one whose rename the power cut undoes, and one whose new name is
/// durable.
const LEFT_FOR_THE_START: &[&str] =
    &["checkpoint.synced", "publish.row_publishing", "publish.renamed", "publish.folder_synced"];

#[tokio::test]
async fn a_server_killed_again_at_every_point_of_its_start_keeps_every_promise() {
    let mut reached = BTreeSet::new();
    for left in LEFT_FOR_THE_START {
        for point in AT_THE_START {
            for time in 1..=times(1) {
                let Some(mut disks) = Disks::two() else { return };
                let mut scenario = Scenario::new(&disks.site().add_user("ada").await);
                assert!(dies_at(disks.site(), &mut scenario, left, 1).await, "{left}");
                disks.lose_power();
                let plan = format!("{point}=kill@{time}");
                let start =
                    Launch::without_reserve(disks.site()).failpoints(&plan).try_start().await;
                let died = match start {
                    Ok(server) => server.was_killed().await,
                    Err(ended) => died_of_it(&ended),
                };
                if died {
                    reached.insert(*point);
                }
                println!("{left}, {point}@{time}: {}", if died { "dies" } else { "lives" });
                disks.lose_power();
                arrives(&mut scenario, disks.site(), AllowedLoss::PowerCut).await;
                if !died {
                    break;
                }
            }
        }
    }
    let points: BTreeSet<_> = AT_THE_START.iter().copied().collect();
    assert_eq!(reached, points, "each is a death of some start");
}
