//! Data that a writer fetches by itself, from a source that a door lends it.

use crate::kit::{BLOCK, Server, file, new_upload, offset, soon, value_of};
use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Instant;
use tokio::sync::oneshot;
use towline_engine::{BlockBuffer, DataSource, Pulled, SendingMode, Tag};

/// Brings what it has, and goes home.
struct Source {
    left: VecDeque<Pulled>,
    home: Option<oneshot::Sender<usize>>,
    asked: mpsc::Sender<Instant>,
}

impl DataSource for Source {
    fn pull(&mut self, until: Instant) -> Option<Pulled> {
        let _ = self.asked.send(until);
        self.left.pop_front()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.home.take().unwrap().send(self.left.len());
    }
}

fn source(left: VecDeque<Pulled>) -> (Source, oneshot::Receiver<usize>, mpsc::Receiver<Instant>) {
    let (home, is_home) = oneshot::channel();
    let (asked, was_asked) = mpsc::channel();
    (Source { left, home: Some(home), asked }, is_home, was_asked)
}

fn data(at: usize, buffer: BlockBuffer) -> Pulled {
    Pulled::Data { offset: offset(at), buffer }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_brings_is_written_until_it_has_no_more() {
    let server = Server::new().await;
    let bytes = file(2 * BLOCK + 5, 1);
    let mut client = server.client();
    let mut new = new_upload("doc", bytes.len());
    new.mode = SendingMode::BLOCKS;
    let (id, _) = client.begin(3, new).await;
    let mut left = VecDeque::new();
    for (number, piece) in crate::kit::pieces(0..bytes.len()).into_iter().enumerate() {
        left.push_back(data(piece.start, server.buffer(&bytes[piece]).await));
        let index = crate::kit::index(number as u64);
        left.push_back(Pulled::Announce { index, value: value_of(&bytes, number as u64) });
    }
    let (source, is_home, was_asked) = source(left);
    let begun = Instant::now();
    client.session().lend(Tag(3), |_permit| Some(Box::new(source)));
    assert_eq!(soon(is_home).await.unwrap(), 0);
    assert!(was_asked.iter().all(|until| until >= begun));
    assert_eq!(server.status(id).await.position.received, offset(bytes.len()));
    assert_eq!(client.complete(3).await, format!("3: completed doc ({}) #{id}", bytes.len()));
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_home_with_the_rest_where_the_writer_is_refused() {
    let server = Server::new().await;
    let bytes = file(1000, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 1000)).await;
    let mut left = VecDeque::new();
    for at in [0, 500, 600] {
        left.push_back(data(at, server.buffer(&bytes[at..at + 100]).await));
    }
    let (source, is_home, _asked) = source(left);
    client.session().lend(Tag(0), |_permit| Some(Box::new(source)));
    assert_eq!(soon(is_home).await.unwrap(), 1, "what was not pulled is the door's");
    let said = format!("0: rejected OffsetMismatch {{ expected: Offset(100) }} #{id}");
    assert_eq!(client.settle(0).await, [said]);
    assert_eq!(server.resume(id).await.offset(), offset(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_without_an_upload_pulls_nothing() {
    let server = Server::new().await;
    let mut client = server.client();
    // A writer that the session does not have is lent nothing at all.
    client.session().lend(Tag(9), |_permit| panic!("there is no such writer"));
    let (number, _) = client.begin(0, new_upload("doc", 10)).await;
    soon(server.account().cancel(number)).await.unwrap();
    client.settle(0).await;
    let left = VecDeque::from([data(0, server.buffer(b"0123456789").await)]);
    let (source, is_home, asked) = source(left);
    client.session().lend(Tag(0), |_permit| Some(Box::new(source)));
    assert_eq!(soon(is_home).await.unwrap(), 1);
    assert!(asked.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_ends_the_loan() {
    let server = Server::new().await;
    let bytes = file(1000, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 1000)).await;
    let mut left = VecDeque::new();
    for at in [0, 100] {
        left.push_back(data(at, server.buffer(&bytes[at..at + 100]).await));
    }
    let (source, is_home, _asked) = source(left);
    let gate = server.storage.hold(crate::kit::Moment::After, crate::kit::Call::Write, 1);
    client.session().lend(Tag(0), |_permit| Some(Box::new(source)));
    gate.reached().await;
    let mut other = server.client();
    other.tell(0, crate::kit::resume_command(id)).await;
    gate.open();
    assert!(other.hear().await.starts_with("0: granted Resume at "));
    soon(is_home).await.unwrap();
    assert_eq!(client.settle(0).await, [format!("0: rejected Superseded #{id}")]);
    let from = server.status(id).await.position.received;
    other.data(0, &bytes, usize::try_from(from.get()).unwrap()..1000).await;
    assert!(other.complete(0).await.contains("completed doc"));
    assert!(server.read(id).await == bytes);
}
