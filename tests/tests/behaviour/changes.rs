//! The log of changes: cursors, waiting, watching.

use std::time::{Duration, Instant};
use towline_protocol::reply::{ChangeNotice, Operation, Part};
use towline_protocol::request::{Delta, Request, Watch};
use towline_protocol::{Channel, Code, Reply};
use towline_tests::raw_client::{Changes, RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_tests::tree_audit::assert_tree_is_one;

fn since(cursor: &str) -> Delta {
    Delta { since: Some(cursor.to_owned()), ..Delta::default() }
}

/// Behind all changes of now.
async fn now(client: &mut RawClient) -> String {
    let Changes { items, cursor, more } = client.delta(since("latest")).await;
    assert!(items.is_empty() && !more);
    cursor
}

async fn put(client: &mut RawClient, name: &str, seed: u64) {
    let test_file = TestFile::new(1000, seed);
    client.upload(upload(name, &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_with_a_cursor_misses_nothing_and_hears_nothing_twice() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "before", 1).await;
    let cursor = now(&mut client).await;
    assert_eq!(client.delta(since(&cursor)).await.items, []);
    client.mkdir("a/b").await;
    put(&mut client, "c", 2).await;
    client.move_node("c", "a/c").await;
    client.remove("before").await;
    let (changes, end) = client.changes(Some(&cursor), 2).await;
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.op, &*change.node.name, change.changed.clone()))
        .collect();
    let both = vec![Part::Content, Part::Place];
    assert_eq!(
        told,
        [
            (Operation::Create, "a", both.clone()),
            (Operation::Create, "b", both.clone()),
            (Operation::Create, "c", both),
            (Operation::Update, "c", vec![Part::Place]),
            (Operation::Delete, "before", vec![Part::Place]),
        ]
    );
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(client.changes(Some(&end), 100).await, (vec![], end.clone()));
    let (snapshot, head) = client.changes(None, 2).await;
    let there: Vec<_> = snapshot.iter().map(|change| &*change.node.name).collect();
    assert_eq!(there, ["a", "b", "c"]);
    assert_eq!(head, end, "the log goes on where the snapshot ends");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_for_changes_waits_for_one() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let cursor = now(&mut client).await;
    let waiting = |channel, wait_ms| Delta { channel, wait_ms: Some(wait_ms), ..since(&cursor) };

    // Until the time is over: the same cursor.
    let began = Instant::now();
    let Changes { items, cursor: same, more } = client.delta(waiting(ZERO, 300)).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(items.is_empty() && same == cursor && !more);

    // Until there is one; and meanwhile the connection is of use.
    let channel = Channel(7);
    client.send(&Request::Delta(waiting(channel, 55_000))).await;
    client.mkdir("a").await;
    let Changes { items, cursor: next, .. } = client.changes_on(channel).await;
    assert_eq!(items.len(), 1);
    assert_ne!(next, cursor);

    // A connection waits with one.
    let waiting = |channel| Delta { channel, wait_ms: Some(55_000), ..since(&next) };
    // Each channel has a writer of its own, and either of them may be the first.
    let channels = [channel, Channel(8)];
    for channel in channels {
        client.send(&Request::Delta(waiting(channel))).await;
    }
    let refused = match client.reply().await {
        Reply::Error(error) if error.code == Code::TooMany => error.channel,
        other => panic!("one question too many gets {other:?}"),
    };
    let channel = channels[usize::from(refused == channels[0])];
    let late = Delta { wait_ms: Some(55_001), ..since(&next) };
    assert_eq!(
        client.tree_refused(&Request::Delta(late), Code::BadRequest).await.max,
        Some(55_000)
    );

    // A server that stops answers with the same cursor.
    let stopping = tokio::spawn(async move { server.stop().await });
    let Changes { items, cursor, .. } = client.changes_on(channel).await;
    assert!(items.is_empty() && cursor == next);
    stopping.await.expect("the server stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_told_that_something_has_changed() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let mut watching = server.client().await;
    let channel = Channel(9);
    watching.send(&Request::Watch(Watch { channel })).await;
    let first = notice(&mut watching, channel).await;
    for number in 0..20 {
        client.mkdir(&format!("folder {number}")).await;
    }
    let mut last = first;
    let mut notices = 0;
    while last.latest.get() < first.latest.get() + 20 {
        let next = notice(&mut watching, channel).await;
        assert!(next.latest > last.latest);
        last = next;
        notices += 1;
    }
    println!("{notices} notices for 20 changes");
    // Another request moves the watch.
    watching.send(&Request::Watch(Watch { channel: ZERO })).await;
    assert_eq!(notice(&mut watching, ZERO).await.latest, last.latest);
    client.mkdir("one more").await;
    assert_eq!(notice(&mut watching, ZERO).await.latest.get(), last.latest.get() + 1);
    server.stop().await;
}

async fn notice(client: &mut RawClient, channel: Channel) -> ChangeNotice {
    match client.reply_on(channel).await {
        Reply::Change(notice) => notice,
        other => panic!("no notice but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_none_is_refused_and_costs_nothing() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    client.mkdir("a").await;
    let bob = server.site.add_user("bob").await;
    let mut theirs = RawClient::login(server.address(), &bob.token).await;
    let foreign = now(&mut theirs).await;
    for cursor in ["", "c1", "c1.1.1", "12", "x1.1.1.1", &foreign] {
        client.tree_refused(&Request::Delta(since(cursor)), Code::BadCursor).await;
    }
    let cursor = now(&mut client).await;
    let (log, last) = cursor.rsplit_once('.').expect("a cursor ends with a number");
    let (user, epoch) = log.rsplit_once('.').expect("and has an epoch before it");
    // Of a log that was set back.
    let restored = format!("{user}.{}.{last}", epoch.parse::<u64>().expect("a number") + 1);
    let error = client.tree_refused(&Request::Delta(since(&restored)), Code::CursorReset).await;
    assert_eq!(error.reason.as_deref(), Some("restored"));
    let error =
        client.tree_refused(&Request::Delta(since(&format!("{log}.999"))), Code::CursorReset).await;
    assert_eq!(error.reason.as_deref(), Some("restored"), "nothing has that number yet");
    server.stop().await;
}

/// Sixteen connections of one user change the tree at the same time, and a reader follows with a
/// cursor: it misses no change and reads none twice, and the numbers have no gap.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_and_a_reader_that_misses_nothing() {
    const WRITERS: u64 = 16;
    const ROUNDS: u64 = 12;
    let mut server = TestServer::start().await;
    let mut reader = server.client().await;
    let beginning = now(&mut reader).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (address, token) = (server.address(), server.user.token.clone());
            tokio::spawn(async move {
                let mut client = RawClient::login(address, &token).await;
                for round in 0..ROUNDS {
                    let name = format!("{number} {round}");
                    put(&mut client, &name, number * ROUNDS + round).await;
                    match round % 3 {
                        0 => drop(client.mkdir(&format!("shared/{name}")).await),
                        1 => drop(client.move_node(&name, &format!("moved {name}")).await),
                        _ => drop(client.remove(&name).await),
                    }
                }
            })
        })
        .collect();
    let done = tokio::spawn(async move {
        for writer in writers {
            writer.await.expect("a writer");
        }
    });
    let (mut seen, mut cursor) = (Vec::new(), beginning.clone());
    loop {
        let was_done = done.is_finished();
        let (changes, next) = reader.changes(Some(&cursor), 7).await;
        seen.extend(changes);
        cursor = next;
        if was_done {
            break;
        }
        let waiting = Delta { wait_ms: Some(100), ..since(&cursor) };
        let Changes { items, cursor: next, .. } = reader.delta(waiting).await;
        seen.extend(items);
        cursor = next;
    }
    done.await.expect("all writers");
    let (all, end) = reader.changes(Some(&beginning), 2000).await;
    assert_eq!((&seen, &cursor), (&all, &end));
    // Each round is a file and one change more, and the shared folder is made once.
    assert_eq!(all.len() as u64, WRITERS * ROUNDS * 2 + 1);
    assert_tree_is_one(&server.site, &server.user, &mut reader).await;
    server.stop().await;
}
