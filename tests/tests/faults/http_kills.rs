//! As `kill_points`, for uploads over HTTP: the server is killed at each of its named points, with
//! and without a power cut just after that.

use std::collections::BTreeSet;
use towline_tests::disks::Disks;
use towline_tests::http_scenario::{HttpScenario, LengthTold};
use towline_tests::is_long;
use towline_tests::points::ON_THE_WAY;
use towline_tests::process::{Launch, assert_calm};
use towline_tests::scenario::AllowedLoss;
use towline_tests::site::Site;

/// Points that only an upload without a length reaches.
const OF_AN_OPEN_LENGTH: &[&str] = &["declare.recorded"];

/// Points that no request reaches: HTTP has no way to withdraw what was promised.
const NOT_OVER_HTTP: &[&str] = &["withdraw.recorded"];

/// How many times of reaching a point are tested: the first ones, or with `TOWLINE_LONG=1` all.
fn times(quick: u64) -> u64 {
    if is_long() { u64::MAX } else { quick }
}

const BOTH: [LengthTold; 2] = [LengthTold::AtTheBeginning, LengthTold::AtTheEnd];

/// Runs the scenario with a server that is killed at that point. Returns whether the server died of
/// this kill.
async fn dies_at(site: &Site, scenario: &mut HttpScenario, point: &str, time: u64) -> bool {
    let plan = format!("{point}=kill@{time}");
    let mut server = match Launch::without_reserve(site).failpoints(&plan).try_start().await {
        Ok(server) => server,
        Err(ended) => {
            assert_calm(&ended.said);
            assert!(ended.was_killed(), "{ended:#?}");
            return true;
        }
    };
    scenario.travel(server.address()).await;
    if !scenario.is_done() {
        // Only the kill can keep a scenario from its end.
        server.ended().await;
    }
    server.was_killed().await
}

/// The next start works without an operator, every promise holds, and the upload is completed.
async fn arrives(scenario: &mut HttpScenario, site: &Site, allowed_loss: AllowedLoss) {
    scenario.assert_only_whole_files(site);
    let server = Launch::without_reserve(site).start().await;
    scenario.arrive(server.address(), site, allowed_loss).await;
    server.assert_calm();
    server.gone().await;
}

#[tokio::test]
async fn a_server_killed_at_every_point_keeps_every_promise_over_http() {
    let points = [ON_THE_WAY, OF_AN_OPEN_LENGTH].concat();
    let mut never: BTreeSet<_> = points.iter().copied().collect();
    for length_told in BOTH {
        for point in &points {
            for time in 1..=times(1) {
                let site = Site::in_memory();
                let user = site.add_user("ada").await;
                let mut scenario = HttpScenario::new(&user, length_told);
                let died = dies_at(&site, &mut scenario, point, time).await;
                let word = if died { "dies" } else { "lives" };
                println!("{length_told:?}: {point}@{time}: {word} {:?}", scenario.errors());
                arrives(&mut scenario, &site, AllowedLoss::None).await;
                if !died {
                    break;
                }
                never.remove(point);
            }
        }
    }
    let expected = NOT_OVER_HTTP.iter().copied().collect();
    assert_eq!(never, expected, "each is a death of some upload");
}

#[tokio::test]
async fn power_is_cut_at_every_point_of_an_upload_over_http() {
    for length_told in BOTH {
        for point in [ON_THE_WAY, OF_AN_OPEN_LENGTH].concat() {
            for time in 1..=times(1) {
                let Some(mut disks) = Disks::two() else { return };
                let user = disks.site().add_user("ada").await;
                let mut scenario = HttpScenario::new(&user, length_told);
                let died = dies_at(disks.site(), &mut scenario, point, time).await;
                let word = if died { "dies" } else { "lives" };
                println!("{length_told:?}: {point}@{time}: {word}");
                disks.lose_power();
                arrives(&mut scenario, disks.site(), AllowedLoss::PowerCut).await;
                if !died {
                    break;
                }
            }
        }
    }
}
