//! A document whose name is kept for another one, which is just being published.

use crate::kit::{
    Call, Client, Gate, Moment, Server, ada, file, new_upload, offset, soon,
    without_timed_checkpoints,
};
use std::time::Duration;
use tokio::time::Instant;
use towline_engine::storage::{Spot, TreeStorage as _};
use towline_engine::{Command, CompleteRequest, NewUpload, Phase};
use towline_types::{DocumentId, OnConflict};

const LENGTH: usize = 3000;

fn replacing() -> NewUpload {
    let mut new = new_upload("doc", LENGTH);
    new.on_conflict = OnConflict::Replace;
    new
}

/// A file, one client that is just replacing it, and another one that wants to replace it too.
async fn two_replace(server: &Server) -> (Gate, [(Client, DocumentId); 2]) {
    server.put("doc", b"old").await;
    let gate = server.storage.hold(Moment::Before, Call::Replace, 1);
    let mut clients = Vec::new();
    for seed in [1, 2] {
        let mut client = server.client();
        let (id, _) = client.begin(0, replacing()).await;
        client.data(0, &file(LENGTH, seed), 0..LENGTH).await;
        client.settle(0).await;
        server.storage.take_calls();
        client.tell(0, Command::Complete(CompleteRequest::default())).await;
        if seed == 1 {
            gate.reached().await;
        }
        clients.push((client, id));
    }
    // The bytes of the second one are durable, and the catalog is asked for its name.
    soon(async {
        while server.storage.count(Call::SyncData) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..3 {
        assert_eq!(server.status(clients[1].1).await.phase, Phase::Uploading);
    }
    (gate, clients.try_into().ok().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_waits_until_the_other_one_has_its_name() {
    let server = Server::with(without_timed_checkpoints).await;
    let (gate, [(mut one, first), (mut two, second)]) = two_replace(&server).await;
    gate.open();
    assert_eq!(one.hear().await, format!("0: completed doc ({LENGTH}) #{first}"));
    assert_eq!(two.hear().await, format!("0: completed doc ({LENGTH}) #{second}"));
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), file(LENGTH, 2));
    let kept = server.storage.memory().open_spot(ada(), &Spot::Version(first), &[]).unwrap();
    let mut bytes = vec![0; LENGTH];
    kept.unwrap().read_exact_at(&mut bytes, offset(0)).unwrap();
    assert_eq!(bytes, file(LENGTH, 1), "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_wait_and_loses_nothing() {
    let server = Server::with(without_timed_checkpoints).await;
    let (gate, [(mut one, first), (mut two, second)]) = two_replace(&server).await;
    let begun = Instant::now();
    server.engine.begin_shut_down();
    // The other one is still under way, and without a stop this one would wait for ten seconds.
    assert_eq!(two.hear().await, format!("0: rejected Busy #{second}"));
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(server.status(second).await.phase, Phase::Uploading);
    gate.open();
    assert_eq!(one.hear().await, format!("0: completed doc ({LENGTH}) #{first}"));
    drop((one, two));
    let server = server.restart().await;
    let upload = server.resume(second).await;
    assert_eq!(upload.offset(), offset(LENGTH));
    crate::kit::complete(upload, None).await.unwrap();
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), file(LENGTH, 2));
}
