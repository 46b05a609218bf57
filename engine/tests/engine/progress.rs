//! When a client hears how far its upload is.

use crate::kit::{BLOCK, Server, file, new_upload, offset, text, without_timed_checkpoints};
use std::time::Duration;
use towline_engine::{Command, EventKind, Query};

async fn reports(report: Duration, writes: usize) -> Vec<String> {
    let server = Server::with(move |config| {
        without_timed_checkpoints(config);
        config.timings.report = report;
    })
    .await;
    let bytes = file(BLOCK, 1);
    let mut client = server.client();
    client.begin(0, new_upload("doc", BLOCK)).await;
    for number in 0..writes {
        client.data(0, &bytes, number * 100..(number + 1) * 100).await;
    }
    client.tell(0, Command::Query(Query::Fence)).await;
    let mut heard = Vec::new();
    loop {
        let event = client.event().await;
        match event.kind {
            EventKind::Progress(_) => heard.push(text(&event)),
            EventKind::Answer(_) => return heard,
            _ => panic!("{}", text(&event)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_bytes_and_then_no_more_often_than_was_set() {
    let first = [format!("0: progress 100/0 of {BLOCK} #1")];
    assert_eq!(reports(Duration::from_secs(3600), 20).await, first);
    let each: Vec<_> =
        (1..=20).map(|number| format!("0: progress {}/0 of {BLOCK} #1", number * 100)).collect();
    assert_eq!(reports(Duration::ZERO, 20).await, each);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_writer_of_a_lease_hears_of_it() {
    let server = Server::with(|config| {
        without_timed_checkpoints(config);
        config.timings.report = Duration::ZERO;
    })
    .await;
    let bytes = file(BLOCK + 5, 1);
    let mut new = new_upload("doc", BLOCK + 5);
    new.mode = towline_engine::SendingMode::RANGES;
    let mut first = server.client();
    let (id, grant) = first.begin(1, new).await;
    let mut second = server.client();
    second.join(2, id, grant.lease.unwrap()).await;
    first.data(1, &bytes, 0..100).await;
    let report = |tag| format!("{tag}: progress 100/0 of {} #{id}", BLOCK + 5);
    assert_eq!(text(&first.event().await), report(1));
    loop {
        let event = text(&second.event().await);
        if event == report(2) {
            break;
        }
        assert!(event.starts_with("2: progress 0/0"), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_has_no_queue_without_end() {
    let server = Server::with(|config| {
        without_timed_checkpoints(config);
        config.timings.report = Duration::ZERO;
    })
    .await;
    let bytes = file(BLOCK, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", BLOCK)).await;
    for number in 0..1000 {
        client.data(0, &bytes, number * 100..(number + 1) * 100).await;
    }
    client.tell(0, Command::Query(Query::Fence)).await;
    while server.status(id).await.position.received < offset(100_000) {
        tokio::task::yield_now().await;
    }
    // The answer to a question is heard all the same, and so is the end.
    let mut count = 0;
    while !matches!(client.event().await.kind, EventKind::Answer(_)) {
        count += 1;
    }
    assert_eq!(count, 256);
    client.data(0, &bytes, 100_000..BLOCK).await;
    assert!(client.complete(0).await.starts_with("0: completed doc"));
}
