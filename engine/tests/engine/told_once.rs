//! A command that has to wait for a checkpoint of its upload: what happens to the upload meanwhile
//! is told once, and no answer is lost.

use crate::kit::scripted::Gate;
use crate::kit::{BLOCK, Call, Client, Moment, Server, file, index, new_upload, size, soon};
use towline_engine::{Command, CompleteRequest, Length, NewUpload, SendingMode};
use towline_types::DocumentId;

const LENGTH: usize = BLOCK + 5;

fn complete() -> Command {
    Command::Complete(CompleteRequest::default())
}

/// An upload of which all bytes are there, and whose checkpoint stands at the gate.
async fn with_checkpoint(server: &Server, new: NewUpload) -> (Client, DocumentId, Gate) {
    let gate = server.storage.hold(Moment::Before, Call::Sync, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new).await;
    client.data(0, &file(LENGTH, 1), 0..LENGTH).await;
    gate.reached().await;
    (client, id, gate)
}

/// Has the engine do so much else that a command that was given before has come to its wait.
async fn let_it_wait(server: &Server, place: &str) {
    server.put(place, b"bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_meanwhile_is_all_that_the_writer_hears() {
    for (number, command) in
        [complete(), Command::Withdraw(vec![index(0)..index(1)]), Command::Declare(size(LENGTH))]
            .into_iter()
            .enumerate()
    {
        let server = Server::new().await;
        let mut new = new_upload("doc", LENGTH);
        if matches!(command, Command::Declare(_)) {
            new.length = Length::Open { max: size(4 * BLOCK) };
        }
        let (mut client, id, gate) = with_checkpoint(&server, new).await;
        client.tell(0, command).await;
        let_it_wait(&server, "elsewhere").await;
        let mut other = server.client();
        let granted = other.resume(3, id, SendingMode::PLAIN).await;
        assert!(granted.starts_with(&format!("3: granted Resume at {LENGTH} of ")), "{granted}");
        assert_eq!(client.hear().await, format!("0: rejected Superseded #{id}"));
        gate.open();
        assert_eq!(client.settle(0).await, [""; 0], "command {number}");
        other.tell(3, Command::Declare(size(LENGTH))).await;
        assert_eq!(other.complete(3).await, format!("3: completed doc ({LENGTH}) #{id}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_meanwhile_is_told_as_what_it_is() {
    let server = Server::new().await;
    for turn in 0..5 {
        let place = format!("{turn}");
        let (mut client, id, gate) = with_checkpoint(&server, new_upload(&place, LENGTH)).await;
        client.tell(0, complete()).await;
        let mut other = server.client();
        other.tell(1, Command::Cancel(id)).await;
        let_it_wait(&server, "elsewhere").await;
        gate.open();
        // Which of the two comes first is not said; what comes of it is.
        let heard = (client.hear().await, other.hear().await);
        let cancelled = (format!("0: rejected Cancelled #{id}"), format!("1: cancelled #{id}"));
        let completed = (
            format!("0: completed {place} ({LENGTH}) #{id}"),
            format!("1: rejected WrongPhase {{ phase: Completed }} #{id}"),
        );
        assert!(heard == cancelled || heard == completed, "{heard:?}");
        assert_eq!(client.settle(0).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_that_complete_at_the_same_time_both_get_the_receipt() {
    let server = Server::new().await;
    for turn in 0..5 {
        let place = format!("{turn}");
        let gate = server.storage.hold(Moment::Before, Call::Sync, 1);
        let (mut first, mut second) = (server.client(), server.client());
        let new = NewUpload { mode: SendingMode::RANGES, ..new_upload(&place, LENGTH) };
        let (id, grant) = first.begin(0, new).await;
        second.join(1, id, grant.lease.unwrap()).await;
        first.data(0, &file(LENGTH, 1), 0..LENGTH).await;
        gate.reached().await;
        first.tell(0, complete()).await;
        second.tell(1, complete()).await;
        let_it_wait(&server, "elsewhere").await;
        gate.open();
        for (tag, client) in [(0, &mut first), (1, &mut second)] {
            let heard = soon(client.hear()).await;
            assert_eq!(heard, format!("{tag}: completed {place} ({LENGTH}) #{id}"));
        }
    }
}
