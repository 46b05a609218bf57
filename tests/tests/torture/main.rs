//! The quick form of the crash test, and the check that it finds faults: with a step of the server
//! left out it has to find a broken promise. The long form is the program `torture`.

use towline_tests::test_file::run_seed;
use towline_tests::torture::{CrashTest, Goal, Layout, Report};
use towline_tests::volume::{has, skipped};

/// The crash test has to find a broken promise within this number of rounds.
const CONTROL_ROUNDS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_and_no_power_cut_breaks_a_promise() {
    let goal = Goal { kills: 30, cuts: 40, doubles: 8 };
    let report = CrashTest::of(run_seed(), goal).run().await;
    println!("{report}");
    if let Some(why) = &report.no_power_cuts {
        skipped(&format!("power cuts: {why}"));
    }
    assert_eq!(report.broken, None);
    assert!(report.heard.durable > 0 && report.heard.receipts > 0, "{report}");
    assert!(report.heard.over_http > 0 && report.heard.http_reads > 0, "{report}");
}

/// SUCCESS may say that the document is not durable; all other promises are the same.
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_and_no_power_cut_breaks_a_promise_of_a_relaxed_server() {
    let goal = Goal { kills: 20, cuts: 30, doubles: 5 };
    let torture = CrashTest { is_relaxed: true, ..CrashTest::of(run_seed(), goal) };
    let report = torture.run().await;
    println!("{report}");
    if let Some(why) = &report.no_power_cuts {
        skipped(&format!("power cuts: {why}"));
    }
    assert_eq!(report.broken, None);
    assert!(report.heard.receipts > 0, "{report}");
}

/// Runs the crash test with a step left out, which has to break a promise. Nothing where the
/// machine has no volume whose power can be cut.
async fn control(failpoints: &str, layout: Option<Layout>, goal: Goal) -> Option<Report> {
    let failpoints = Some(failpoints.to_owned());
    let torture = CrashTest { failpoints, layout, ..CrashTest::of(run_seed(), goal) };
    let report = torture.run().await;
    if let (Some(why), None) = (&report.no_power_cuts, &report.broken) {
        skipped(&format!("power cuts: {why}"));
        return None;
    }
    println!("{report}");
    Some(report)
}

/// Checks that a promise was broken that had been made. A server that never made a promise, or that
/// panicked, proves nothing.
fn assert_noticed(report: &Report, what: &str) {
    let Some(broken) = &report.broken else { panic!("{what} can be left out: {report}") };
    assert!(!broken.contains("panicked"), "{report}");
    assert!(report.heard.promises() > 0, "nothing was promised: {report}");
}

const CUTS: Goal = Goal { kills: 0, cuts: CONTROL_ROUNDS, doubles: 0 };
const KILLS: Goal = Goal { kills: CONTROL_ROUNDS, cuts: 0, doubles: 0 };

#[tokio::test(flavor = "multi_thread")]
async fn control_data_that_is_not_synced_is_noticed() {
    let Some(report) = control("sync.data=fake", None, CUTS).await else { return };
    assert_noticed(&report, "the sync of the data");
    assert!(report.counts.power_cuts > 0, "{report}");
}

/// Where catalog and files share a journal, a commit of the catalog makes names of files durable as
/// a side effect, so only two volumes show the fault.
#[tokio::test(flavor = "multi_thread")]
async fn control_folders_that_are_not_synced_are_noticed() {
    let layout = Some(Layout::TwoVolumes);
    let Some(report) = control("sync.folder=fake", layout, CUTS).await else { return };
    assert_noticed(&report, "the sync of the folders");
    assert!(report.counts.power_cuts > 0, "{report}");
}

/// Moves, removals and restorations alone lose their syncs, so only a changed tree shows the fault.
#[tokio::test(flavor = "multi_thread")]
async fn control_moves_that_are_not_synced_are_noticed() {
    let layout = Some(Layout::TwoVolumes);
    let Some(report) = control("sync.move=fake", layout, CUTS).await else { return };
    assert_noticed(&report, "the sync of a move");
    assert!(report.counts.power_cuts > 0, "{report}");
}

/// `strace` leaves SQLite's own syncs out, and returns success for them.
#[tokio::test(flavor = "multi_thread")]
async fn control_a_catalog_that_is_not_synced_is_noticed() {
    if !has("strace") {
        return;
    }
    let torture = CrashTest {
        fakes_catalog_sync: true,
        layout: Some(Layout::TwoVolumes),
        ..CrashTest::of(run_seed(), CUTS)
    };
    let report = torture.run().await;
    if let Some(why) = &report.no_power_cuts {
        return skipped(&format!("power cuts: {why}"));
    }
    println!("{report}");
    assert_noticed(&report, "the sync of the catalog");
    assert!(report.counts.power_cuts > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_blocks_that_are_not_checked_are_noticed() {
    let layout = Some(Layout::Folder);
    let Some(report) = control("block.check=fake", layout, KILLS).await else { return };
    assert_noticed(&report, "the check of the blocks");
    assert!(!report.broken.iter().any(|broken| broken.contains("does not start")), "{report}");
}
