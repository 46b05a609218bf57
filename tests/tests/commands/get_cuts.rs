//! `towline get` of a tree over a link that is cut and damages bytes: every byte arrives, and what is
//! fetched again is one block for each cut and each damaged byte at most.

use std::path::PathBuf;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

const CUTS: usize = 20;
const FLIPS: usize = 10;

/// The files of the tree, with their sizes: 56 MiB.
fn files() -> Vec<(String, usize)> {
    let mut files = vec![
        ("proj/big.bin".to_owned(), 30 * BLOCK + 12_345),
        ("proj/sub/large.bin".to_owned(), 16 * BLOCK),
        ("proj/empty".to_owned(), 0),
    ];
    files.extend((0..8).map(|n| (format!("proj/sub/{n}/middle.bin"), BLOCK + n)));
    files.extend((0..300).map(|n| (format!("proj/many/{n:03}"), 7 * n)));
    files
}

async fn fetched_over(connections: &str, more: &[&str]) {
    let server = TestServer::start().await;
    let straight = CliFixture::new(&server.site, &server.user, server.address());
    let files: Vec<_> = files().into_iter().zip(1500..).collect();
    for ((name, size), seed) in &files {
        straight.write(name, &TestFile::new(*size, *seed));
    }
    run(straight.put(&straight.path("proj"))).await.assert_done();

    // The first connection lists. A byte is damaged well before the cut of its connection.
    let mut chance = chance();
    let faults = (0..CUTS).map(|number| {
        let cut = chance.u64(BLOCK as u64 / 4..2 * BLOCK as u64);
        let flips = number % (CUTS / FLIPS) == 0;
        let flip_reply_at = flips.then(|| chance.u64(4096..cut));
        Faults { cut_after_replies: Some(cut), flip_reply_at, ..Faults::none() }
    });
    let plan: Vec<_> = std::iter::once(Faults::none()).chain(faults).collect();
    let proxy = FaultProxy::start(server.address(), plan.clone()).await;
    let cli = CliFixture::at(straight.path("far"), &server.user, proxy.address());
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.args(["proj", "--json", "--parallel", connections]).args(more);
    get.current_dir(cli.path("."));
    let outcome = run(get).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!(summary["fetched"], files.len(), "{summary}");

    let place = |name: &str| -> PathBuf { cli.path(name) };
    for ((name, size), seed) in &files {
        let expected = TestFile::new(*size, *seed).bytes;
        assert!(std::fs::read(place(name)).unwrap() == expected, "{name} is another file");
    }
    let mut cuts = 0;
    for (number, faults) in plan.iter().enumerate().skip(1) {
        let link = proxy.link(number).await;
        cuts += usize::from(Some(link.delivered()) == faults.cut_after_replies);
    }
    assert_eq!(cuts, CUTS);
    let bytes: usize = files.iter().map(|((_, size), _)| size).sum();
    let again = summary["fetched_bytes"].as_u64().unwrap() - bytes as u64;
    println!("{connections} connections, {CUTS} cuts, {FLIPS} flips: {again} bytes fetched again");
    assert!(again <= ((CUTS + FLIPS) * BLOCK) as u64, "{again} bytes were fetched again");
    // Nothing but the tree is left.
    let names: Vec<_> = std::fs::read_dir(cli.path("proj")).unwrap().collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_over_a_link_that_is_cut_twenty_times() {
    fetched_over("1", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_over_four_connections_that_are_cut_twenty_times() {
    fetched_over("4", &["--no-sync"]).await;
}
