//! Requests for a document that another writer publishes just now: they wait for its end, and not
//! for longer than somebody waits for the answer.

use crate::kit::scripted::Gate;
use crate::kit::{
    BLOCK, Call, Client, Moment, Server, file, new_upload, resume_command, soon, text,
    without_timed_checkpoints,
};
use std::time::Duration;
use tokio::task::JoinHandle;
use towline_engine::{
    Client as Ending, Command, CompleteRequest, EventKind, NewUpload, Phase, SendingMode,
};
use towline_types::DocumentId;

/// It has its place in one step.
const SMALL: usize = 1000;

/// The store of these tests copies it to its place, as between two file systems.
const LARGE: usize = 2 * BLOCK + 5;

async fn new_server() -> Server {
    Server::with(|config| {
        without_timed_checkpoints(config);
        config.timings.report = Duration::from_millis(1);
    })
    .await
}

fn complete(id: Option<DocumentId>) -> Command {
    Command::Complete(CompleteRequest { id, ..CompleteRequest::default() })
}

/// A document whose publishing stands at the gate, and the client that has completed it.
async fn publishing(server: &Server, length: usize, call: Call) -> (Client, DocumentId, Gate) {
    let bytes = file(length, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", length)).await;
    client.data(0, &bytes, 0..length).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    let gate = server.storage.hold(Moment::Before, call, 1);
    client.tell(0, complete(None)).await;
    gate.reached().await;
    (client, id, gate)
}

/// Has the engine do so much else that whatever was asked before it has been looked at.
async fn let_it_look(server: &Server) {
    for place in ["1", "2", "3"] {
        soon(server.begin(place, 10).await.pause()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_gets_the_receipt() {
    for call in [Call::FindAgain, Call::SyncData, Call::Publish] {
        let server = new_server().await;
        let (mut client, id, gate) = publishing(&server, SMALL, call).await;
        let mut others = [server.client(), server.client()];
        others[0].tell(5, complete(Some(id))).await;
        others[1].tell(5, resume_command(id)).await;
        let_it_look(&server).await;
        gate.open();
        assert_eq!(client.hear().await, format!("0: completed doc ({SMALL}) #{id}"));
        for other in &mut others {
            let heard = other.hear().await;
            assert_eq!(heard, format!("5: completed doc ({SMALL}) #{id}"), "{call:?}");
        }
    }
}

/// A writer of the same lease means that document, where it names no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_writers_of_the_upload_get_the_receipt_or_hear_why_not() {
    for is_stopped in [false, true] {
        let server = new_server().await;
        let bytes = file(SMALL, 1);
        let (mut first, mut second) = (server.client(), server.client());
        let new = NewUpload { mode: SendingMode::RANGES, ..new_upload("doc", SMALL) };
        let (id, grant) = first.begin(0, new).await;
        second.join(1, id, grant.lease.unwrap()).await;
        first.data(0, &bytes, 0..SMALL).await;
        let gate = server.storage.hold(Moment::Before, Call::Publish, 1);
        first.tell(0, complete(None)).await;
        gate.reached().await;
        second.tell(1, complete(None)).await;
        let_it_look(&server).await;
        if is_stopped {
            server.engine.begin_shut_down();
            assert_eq!(second.hear().await, format!("1: rejected Stopping #{id}"));
        }
        gate.open();
        assert_eq!(first.hear().await, format!("0: completed doc ({SMALL}) #{id}"));
        if !is_stopped {
            assert_eq!(second.hear().await, format!("1: completed doc ({SMALL}) #{id}"));
        }
    }
}

fn close(client: Client, ending: Ending) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move { client.close(ending).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_nothing_more_still_gets_its_answer() {
    for call in [Call::SyncData, Call::Publish] {
        let server = new_server().await;
        let (_client, id, gate) = publishing(&server, SMALL, call).await;
        let mut other = server.client();
        other.tell(5, complete(Some(id))).await;
        let closing = close(other, Ending::Listens);
        let_it_look(&server).await;
        gate.open();
        let heard = soon(closing).await.unwrap();
        assert_eq!(heard, [format!("5: completed doc ({SMALL}) #{id}")], "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_it_when_the_engine_stops() {
    for is_cancelled in [false, true] {
        let server = new_server().await;
        let (mut client, id, gate) = publishing(&server, SMALL, Call::Publish).await;
        let mut other = server.client();
        let command = if is_cancelled { Command::Cancel(id) } else { complete(Some(id)) };
        other.tell(5, command).await;
        let_it_look(&server).await;
        server.engine.begin_shut_down();
        assert_eq!(other.hear().await, format!("5: rejected Stopping #{id}"));
        gate.open();
        assert_eq!(client.hear().await, format!("0: completed doc ({SMALL}) #{id}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_copy_hears_how_far_it_is() {
    let server = new_server().await;
    let (mut client, id, gate) = publishing(&server, LARGE, Call::Publish).await;
    let mut other = server.client();
    other.tell(5, complete(Some(id))).await;
    let event = other.event().await;
    let EventKind::AtWork { copied: Some(_), .. } = event.kind else { panic!("{}", text(&event)) };
    assert_eq!(
        text(&event),
        format!("5: at work {LARGE} of {LARGE}, copied Some(Offset(0)) #{id}")
    );
    gate.open();
    for (tag, client) in [(0, &mut client), (5, &mut other)] {
        assert_eq!(client.hear().await, format!("{tag}: completed doc ({LARGE}) #{id}"));
    }
}

/// A copy may take an hour: no session that has ended waits so long.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_nothing_more_does_not_wait_for_a_copy() {
    let server = new_server().await;
    let (mut client, id, gate) = publishing(&server, LARGE, Call::Publish).await;
    let mut other = server.client();
    other.tell(5, complete(Some(id))).await;
    let heard = soon(other.close(Ending::Listens)).await;
    let heard: Vec<_> = heard.iter().filter(|event| !event.contains("at work")).collect();
    assert_eq!(heard, [&format!("5: rejected Internal #{id}")]);
    gate.open();
    assert_eq!(client.hear().await, format!("0: completed doc ({LARGE}) #{id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_of_a_client_that_is_gone_goes_on_without_its_session() {
    let server = new_server().await;
    let (client, id, sync) = publishing(&server, LARGE, Call::SyncData).await;
    let closing = close(client, Ending::Gone);
    let_it_look(&server).await;
    let copy = server.storage.hold(Moment::Before, Call::Publish, 1);
    sync.open();
    copy.reached().await;
    soon(closing).await.unwrap();
    assert_eq!(server.status(id).await.phase, Phase::Publishing);
    copy.open();
    let is_there = async {
        while server.status(id).await.phase != Phase::Completed {
            tokio::task::yield_now().await;
        }
    };
    soon(is_there).await;
    assert!(server.read(id).await == file(LARGE, 1));
}

/// Whoever listens for the last words hears of the document.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_listens_waits_for_its_own_copy() {
    let server = new_server().await;
    let (client, id, copy) = publishing(&server, LARGE, Call::Publish).await;
    let closing = close(client, Ending::Listens);
    let_it_look(&server).await;
    assert!(!closing.is_finished());
    copy.open();
    let heard = soon(closing).await.unwrap();
    assert_eq!(heard.last().unwrap(), &format!("0: completed doc ({LARGE}) #{id}"));
}
