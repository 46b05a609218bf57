//! Death and power cuts while the data folder of the last release is brought up to date: the next
//! start finishes it, with the same tree, and the log of changes leads to that tree.

use towline_tests::disks::Disks;
use towline_tests::is_long;
use towline_tests::last_release::{assert_all_there, catalog_files, fill};
use towline_tests::points::AT_THE_START;
use towline_tests::process::{Launch, assert_calm};
use towline_tests::site::Site;
use towline_tests::strace::Strace;
use towline_tests::volume;

/// Calls that change SQLite's files, or make a change durable.
const WRITES: &str = "pwrite64,ftruncate,fdatasync,fsync,unlink,unlinkat";

/// Which of the calls is the last one of a server. The quick form takes some; the long one all.
fn numbers() -> Box<dyn Iterator<Item = usize>> {
    match is_long() {
        true => Box::new(1..),
        false => Box::new([1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610].into_iter()),
    }
}

/// A start that dies at the n-th write to the catalog. Returns whether it did.
async fn dies_at_write(site: &Site, number: usize) -> bool {
    let log = site.outside().join("strace.log");
    let strace = Strace::kill(&log, WRITES).when(number);
    let strace = strace.about(catalog_files(site));
    match Launch::without_reserve(site).under(&strace.words()).try_start().await {
        Ok(server) => server.was_killed().await,
        Err(ended) => {
            assert_calm(&ended.said);
            assert!(ended.was_killed(), "{ended:#?}");
            true
        }
    }
}

/// What the next start makes of it, and the one behind a kill of that.
async fn arrives(site: &Site, what: &str) {
    println!("{what}");
    let mut server = Launch::without_reserve(site).start().await;
    assert_all_there(site, &server, &[]).await;
    server.kill_and_start_again().await;
    assert_all_there(site, &server, &[]).await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_killed_at_each_write_of_the_migration_is_finished_by_the_next() {
    if !volume::has("strace") {
        return;
    }
    let mut deaths = 0;
    for number in numbers() {
        let site = Site::in_memory();
        fill(&site);
        let died = dies_at_write(&site, number).await;
        let how = if died { "dies" } else { "lives" };
        arrives(&site, &format!("write {number}: {how}")).await;
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 5, "the migration writes more often than {deaths} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cut_at_each_write_of_the_migration_loses_nothing() {
    if !volume::has("strace") {
        return;
    }
    let mut cuts = 0;
    for number in numbers() {
        let Some(mut disks) = Disks::two() else { return };
        fill(disks.site());
        let died = dies_at_write(disks.site(), number).await;
        disks.lose_power();
        let how = if died { "dies" } else { "lives" };
        arrives(disks.site(), &format!("write {number}, power cut: {how}")).await;
        if !died {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 5, "the migration writes more often than {cuts} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_killed_at_each_point_behind_the_migration_is_finished_by_the_next() {
    let mut never = AT_THE_START.to_vec();
    for point in AT_THE_START {
        let Some(mut disks) = Disks::two() else { return };
        fill(disks.site());
        let launch = Launch::without_reserve(disks.site()).failpoints(&format!("{point}=kill@1"));
        let died = match launch.try_start().await {
            Ok(server) => server.was_killed().await,
            Err(ended) => {
                assert!(ended.was_killed(), "{ended:#?}");
                true
            }
        };
        if died {
            never.retain(|other| other != point);
        }
        disks.lose_power();
        let how = if died { "dies" } else { "lives" };
        arrives(disks.site(), &format!("{point}: {how}")).await;
    }
    println!("never reached: {never:?}");
    assert!(never.len() < AT_THE_START.len());
}
