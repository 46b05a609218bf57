//! An upload that its owner gives up.

use crate::kit::{Call, Moment, Server, ada, file, kind, new_upload, soon};
use towline_engine::{Command, Phase, ResumeRequest, SendingMode};

#[tokio::test(flavor = "multi_thread")]
async fn its_bytes_go_and_its_writer_is_told() {
    let server = Server::new().await;
    let bytes = file(1000, 1);
    let free = towline_engine::storage::Storage::free_bytes(server.storage.memory()).unwrap();
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 1000)).await;
    client.data(0, &bytes, 0..500).await;
    client.settle(0).await;
    assert_eq!(server.storage.areas(), [(id.get(), false, 500)]);
    soon(server.account().cancel(id)).await.unwrap();
    assert_eq!(client.hear().await, format!("0: rejected Cancelled #{id}"));
    assert_eq!(server.storage.areas(), []);
    let free_now = towline_engine::storage::Storage::free_bytes(server.storage.memory()).unwrap();
    assert_eq!(free_now, free);
    client.data(0, &bytes, 500..1000).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    // Twice is fine, also after a restart.
    soon(server.account().cancel(id)).await.unwrap();
    drop(client);
    let server = server.kill().await;
    soon(server.account().cancel(id)).await.unwrap();
    assert_eq!(server.status(id).await.phase, Phase::Cancelled);
    assert_eq!(server.storage.areas(), []);
    let resume = ResumeRequest::of(id, SendingMode::PLAIN);
    assert_eq!(kind(soon(server.account().resume(resume)).await), "Cancelled");
    assert_eq!(server.put("doc", &bytes).await.receipt.path().to_string(), "doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_itself_may_cancel() {
    let server = Server::new().await;
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 1000)).await;
    client.data(0, &file(1000, 1), 0..500).await;
    client.tell(0, Command::Cancel(id)).await;
    let heard = client.settle(0).await;
    assert!(heard.contains(&format!("0: cancelled #{id}")), "{heard:?}");
    assert!(heard.iter().all(|said| said.contains("ancelled")), "{heard:?}");
    assert_eq!(server.storage.areas(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_upload_is_cancelled_without_a_writer() {
    let server = Server::new().await;
    let mut upload = server.begin("doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..500).await;
    let id = upload.id();
    soon(upload.pause()).await;
    let server = server.restart().await;
    assert_eq!(server.storage.areas(), [(id.get(), false, 500)]);
    soon(server.account().cancel(id)).await.unwrap();
    assert_eq!(server.storage.areas(), []);
    let server = server.cut_power().await;
    assert_eq!(server.status(id).await.phase, Phase::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_document_stays() {
    let server = Server::new().await;
    let id = server.put("doc", b"x").await.receipt.document_id();
    assert_eq!(kind(soon(server.account().cancel(id)).await), "WrongPhase { phase: Completed }");
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), b"x");
    assert_eq!(server.status(id).await.phase, Phase::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_under_way_is_waited_for() {
    let server = Server::new().await;
    let bytes = file(1000, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 1000)).await;
    client.data(0, &bytes, 0..1000).await;
    let gate = server.storage.hold(Moment::Before, Call::Publish, 1);
    client.tell(0, Command::Complete(Default::default())).await;
    gate.reached().await;
    let mut other = server.client();
    other.tell(5, Command::Cancel(id)).await;
    gate.open();
    let late = other.hear().await;
    assert_eq!(late, format!("5: rejected WrongPhase {{ phase: Completed }} #{id}"));
    assert_eq!(client.hear().await, format!("0: completed doc (1000) #{id}"));
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_bytes_are_gone_leaves_none_of_them() {
    let server = Server::new().await;
    let mut upload = server.begin("doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..500).await;
    let id = upload.id();
    soon(upload.pause()).await;
    let crash = server.crash_at(Moment::Before, Call::Discard, 1);
    soon(server.account().cancel(id)).await.unwrap();
    let left = crash.take().unwrap().after_power_cut();
    assert_eq!(left.status(id).await.phase, Phase::Cancelled);
    assert_eq!(left.storage.areas(), []);
}
