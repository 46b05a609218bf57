//! Questions for changes, and the watch, of a session: when they are answered, and how many of them
//! wait.

use crate::kit::{Client, Server, kind, new_upload, soon, text};
use std::time::Duration;
use towline_engine::{
    Client as Ending, Command, DeltaRequest, EventKind, Since, Tag, TreeAnswer, TreeRequest,
};
use towline_state::catalog::{Cursor, Delta};
use towline_types::ChangeId;

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(50);

fn changes(since: Since, wait: Duration) -> DeltaRequest {
    DeltaRequest { since, limit: 100, wait }
}

fn question(since: Cursor, wait: Duration) -> Command {
    let request = changes(Since::Cursor(since), wait);
    Command::Tree(Box::new(TreeRequest::Delta(request)))
}

async fn now(server: &Server) -> Cursor {
    soon(server.account().delta(changes(Since::Now, Duration::ZERO))).await.unwrap().next
}

/// The next event of the client, which has to be changes for that writer.
async fn told(client: &mut Client, tag: u32) -> Delta {
    let event = client.event().await;
    assert_eq!(event.tag, Tag(tag), "{}", text(&event));
    match event.kind {
        EventKind::Tree(answer) => match *answer {
            TreeAnswer::Delta { delta, .. } => delta,
            other => panic!("{other:?}"),
        },
        _ => panic!("{}", text(&event)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_already_is_told_without_a_wait() {
    let server = Server::new().await;
    let before = now(&server).await;
    server.put("1", b"x").await;
    server.put("2", b"x").await;
    for since in [Since::Nothing, Since::Cursor(before)] {
        let delta = soon(server.account().delta(changes(since, LONG))).await.unwrap();
        assert_eq!((delta.changes.len(), delta.has_more), (2, false));
    }
    // A page that is full is one as well.
    let request = DeltaRequest { limit: 1, ..changes(Since::Cursor(before), LONG) };
    let delta = soon(server.account().delta(request)).await.unwrap();
    assert_eq!((delta.changes.len(), delta.has_more), (1, true));
}

/// A cursor of now that came later would be behind the changes that came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_of_now_is_told_without_a_wait() {
    let server = Server::new().await;
    server.put("1", b"x").await;
    let delta = soon(server.account().delta(changes(Since::Now, LONG))).await.unwrap();
    assert_eq!((delta.changes.len(), delta.has_more), (0, false));
    server.put("2", b"x").await;
    let delta = soon(server.account().delta(changes(Since::Cursor(delta.next), LONG))).await;
    assert_eq!(delta.unwrap().changes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_no_change_ends_comes_to_its_own_end() {
    let server = Server::new().await;
    server.put("doc", b"x").await;
    let before = now(&server).await;
    for wait in [Duration::ZERO, Duration::from_millis(20)] {
        let request = changes(Since::Cursor(before), wait);
        let delta = soon(server.account().delta(request)).await.unwrap();
        assert_eq!((delta.changes.len(), delta.has_more), (0, false));
        assert_eq!(delta.next, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_of_a_session_waits_at_a_time() {
    let server = Server::new().await;
    let mut client = server.client();
    let mut since = now(&server).await;
    for turn in 0..3 {
        for tag in [1, 2] {
            client.tell(tag, question(since, LONG)).await;
        }
        let refused = client.hear().await;
        let waiting = if refused.starts_with("1: ") { 2 } else { 1 };
        assert_eq!(refused, format!("{}: rejected TooMany {{ max: 1 }}", 3 - waiting));
        // One that need not wait is answered, and other sessions have a wait of their own.
        client.tell(3, question(since, Duration::ZERO)).await;
        assert!(told(&mut client, 3).await.changes.is_empty());
        let mut other = server.client();
        other.tell(1, question(since, LONG)).await;
        server.put(&format!("{turn}"), b"x").await;
        let delta = told(&mut client, waiting).await;
        assert_eq!(delta.changes.len(), 1);
        assert_eq!(told(&mut other, 1).await.changes.len(), 1);
        since = delta.next;
    }
}

/// Who has its answer may ask the next question at once, whichever writer it asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_was_answered_waits_no_longer() {
    let server = Server::new().await;
    let mut client = server.client();
    let mut since = now(&server).await;
    for turn in 0..20 {
        let tag = turn % 2;
        client.tell(tag, question(since, LONG)).await;
        server.put(&format!("{turn}"), b"x").await;
        let delta = told(&mut client, tag).await;
        assert_eq!(delta.changes.len(), 1, "{turn}");
        since = delta.next;
    }
}

/// Changes of another user end no wait, and the end of the engine ends each.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_to_end_answers_at_once() {
    let server = Server::new().await;
    let before = now(&server).await;
    let mut client = server.client();
    client.tell(1, question(before, LONG)).await;
    let theirs = server.account_of(crate::kit::bob());
    let buffer = server.buffer(b"x").await;
    soon(theirs.put_whole(new_upload("doc", 1), buffer, None)).await.unwrap();
    server.engine.begin_shut_down();
    for _ in 0..2 {
        let delta = told(&mut client, 1).await;
        assert_eq!((delta.changes.len(), delta.next), (0, before));
        // One that comes later does not begin to wait.
        client.tell(1, question(before, LONG)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_closes_waits_for_no_change() {
    let server = Server::new().await;
    let before = now(&server).await;
    let mut client = server.client();
    client.tell(1, question(before, LONG)).await;
    let heard = soon(client.close(Ending::Listens)).await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("1: Delta"), "{heard:?}");
}

/// A writer that waits is in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waits_keeps_its_place_in_the_session() {
    let server = Server::new().await;
    let mut client = server.client_with(1);
    let before = now(&server).await;
    client.tell(1, question(before, LONG)).await;
    let begin = || Command::Begin(Box::new(new_upload("own", 10)));
    for place in ["1", "2", "3"] {
        // No change: nothing is in its place yet.
        soon(server.begin(place, 10).await.pause()).await;
        assert_eq!(kind(client.try_tell(2, begin()).await), "TooMany { max: 1 }");
    }
    server.put("doc", b"x").await;
    assert_eq!(told(&mut client, 1).await.changes.len(), 1);
    client.tell(1, begin()).await;
    client.granted().await;
}

async fn last_change(client: &mut Client, tag: u32) -> ChangeId {
    let event = client.event().await;
    assert_eq!(event.tag, Tag(tag), "{}", text(&event));
    match event.kind {
        EventKind::Tree(answer) => match *answer {
            TreeAnswer::LastChange(change) => change,
            other => panic!("{other:?}"),
        },
        _ => panic!("{}", text(&event)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_each_change_and_a_later_one_takes_its_place() {
    let server = Server::with(|config| config.timings.report = Duration::from_millis(1)).await;
    let watch = || Command::Tree(Box::new(TreeRequest::Watch));
    let mut client = server.client();
    client.tell(3, watch()).await;
    let mut last = last_change(&mut client, 3).await;
    assert_eq!(last, ChangeId::MIN);
    for place in ["1", "2"] {
        server.put(place, b"x").await;
        let next = last_change(&mut client, 3).await;
        assert!(next > last, "{next} {last}");
        last = next;
    }
    client.tell(4, watch()).await;
    assert_eq!(last_change(&mut client, 4).await, last);
    for place in ["3", "4"] {
        server.put(place, b"x").await;
        let next = last_change(&mut client, 4).await;
        assert!(next > last, "{next} {last}");
        last = next;
    }
    assert_eq!(client.settle(3).await, [""; 0]);
    // Another session has its own.
    let mut other = server.client();
    other.tell(3, watch()).await;
    assert_eq!(last_change(&mut other, 3).await, last);
    server.put("5", b"x").await;
    assert!(last_change(&mut client, 4).await > last);
    assert!(last_change(&mut other, 3).await > last);
}

/// A client that reads nothing is told the last change when it reads again.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_does_not_fill_the_queue_of_a_client_that_reads_nothing() {
    let server = Server::with(|config| config.timings.report = Duration::ZERO).await;
    let mut client = server.client();
    client.tell(3, Command::Tree(Box::new(TreeRequest::Watch))).await;
    last_change(&mut client, 3).await;
    // So many answers wait that reports are left out.
    for _ in 0..256 {
        client.tell(1, Command::Query(towline_engine::Query::Fence)).await;
    }
    while client.waiting() < 256 {
        tokio::task::yield_now().await;
    }
    let before = now(&server).await;
    for place in ["1", "2", "3"] {
        server.put(place, b"x").await;
    }
    assert_eq!(client.waiting(), 256);
    for _ in 0..256 {
        assert_eq!(client.hear().await, "1: fence");
    }
    // At most the first one was left out; the last one is told.
    let request = changes(Since::Cursor(before), Duration::ZERO);
    let latest = soon(server.account().delta(request)).await.unwrap().latest;
    while last_change(&mut client, 3).await < latest {}
}
