//! An older `catalog.db` that was copied into its place is noticed: clients with a cursor are told
//! to list everything anew, and no number is given twice.

use super::{Store, file, put};
use rustix::process::Signal;
use std::fs;
use towline_protocol::Code;
use towline_protocol::request::{Delta, Request};
use towline_tests::process::ServerProcess;

const NOTICED: &str = "the catalog is older than the one that was here before";

async fn stop(server: &mut ServerProcess) {
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
}

fn has_noticed(server: &ServerProcess) -> bool {
    server.said().iter().any(|line| line.contains(NOTICED))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_catalog_begins_another_history() {
    let Store { site, ada, mut server, .. } = Store::filled().await;
    stop(&mut server).await;
    let old = fs::read(site.catalog_path()).unwrap();
    server.start_again().await;
    let (cursor, late) = {
        let mut client = server.client(&ada).await;
        put(&mut client, "one", &file(81)).await;
        let latest = Delta { since: Some("latest".to_owned()), ..Delta::default() };
        let cursor = client.delta(latest).await.cursor;
        (cursor, put(&mut client, "two", &file(82)).await)
    };
    // No start over the catalog itself is taken for that, also not behind a kill.
    server.kill_and_start_again().await;
    stop(&mut server).await;
    server.start_again().await;
    assert!(!has_noticed(&server));
    stop(&mut server).await;

    fs::write(site.catalog_path(), old).unwrap();
    server.start_again().await;
    assert!(has_noticed(&server), "{:#?}", server.said());
    let mut client = server.client(&ada).await;
    // As many changes as the client has seen, and one more: only the epoch tells them from these.
    for (name, size) in [("three", 83), ("four", 84), ("five", 85)] {
        assert!(put(&mut client, name, &file(size)).await > late);
    }
    let since = Delta { since: Some(cursor), ..Delta::default() };
    client.tree_refused(&Request::Delta(since), Code::CursorReset).await;
    // It is noticed once.
    server.kill_and_start_again().await;
    assert!(!has_noticed(&server));
}
