//! Two users of one server, of whom one is hostile and knows every number of the other: each
//! request by number is answered as if the number did not exist, and nothing is changed.

use std::collections::BTreeSet;
use towline_protocol::request::{
    Complete, Join, List, Move, Read, Remove, Restore, Stat, Upload, Versions,
};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::raw_client::{
    RawClient, ZERO, about, find, names, nobodys_document, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::tree_audit::assert_tree_is_one;
use towline_types::{DocumentId, Generation, NodeId, OnConflict};

/// What a user has, by its numbers.
#[derive(Clone, Copy)]
struct Numbers {
    node: NodeId,
    folder: NodeId,
    removed: NodeId,
    document: DocumentId,
    unfinished: DocumentId,
}

fn requests(numbers: Numbers, lease: Generation) -> Vec<Request> {
    let Numbers { node, folder, removed, document, unfinished } = numbers;
    let test_file = TestFile::new(10, 5000);
    let below = Upload { parent_id: Some(folder), ..upload("x", &test_file) };
    let over = Upload { node_id: Some(node), ..upload("x", &test_file) };
    let mut all = vec![
        Request::Upload(below),
        Request::Upload(over),
        Request::Join(Join { channel: ZERO, document_id: unfinished, lease }),
    ];
    for id in [document, unfinished] {
        let complete = Complete { document_id: Some(id), ..Complete::default() };
        all.extend([
            Request::Status(about(id)),
            Request::Blocks(about(id)),
            Request::Cancel(about(id)),
            Request::Resume(resume(id)),
            Request::Complete(complete),
            Request::Read(Read { document_id: Some(id), ..Read::default() }),
            Request::Restore(Restore {
                node_id: Some(node),
                version: Some(id),
                ..Restore::default()
            }),
        ]);
    }
    for id in [node, folder, removed] {
        let node_id = Some(id);
        all.extend([
            Request::Stat(Stat { node_id, ..Stat::default() }),
            Request::List(List { node_id, ..List::default() }),
            Request::Versions(Versions { node_id, ..Versions::default() }),
            Request::Read(Read { node_id, ..Read::default() }),
            Request::Move(Move { node_id, to: names("mine"), ..Move::default() }),
            Request::Remove(Remove { node_id, recursive: true, ..Remove::default() }),
            Request::Restore(Restore { node_id, ..Restore::default() }),
        ]);
    }
    all
}

/// The answer to each of the requests, without the numbers that it was asked with.
async fn answers(client: &mut RawClient, requests: Vec<Request>, numbers: Numbers) -> Vec<String> {
    let Numbers { node, folder, removed, document, unfinished } = numbers;
    let asked: BTreeSet<u64> =
        [node.get(), folder.get(), removed.get(), document.get(), unfinished.get()].into();
    let mut answers = Vec::new();
    for request in requests {
        client.send(&request).await;
        let reply = client.reply_on(ZERO).await;
        let Reply::Error(error) = reply else { panic!("{request:?} is answered: {reply:?}") };
        assert_eq!(error.code, Code::NotFound, "{request:?}: {error:?}");
        let words = error.message.split(|c: char| !c.is_ascii_alphanumeric());
        let words = words.map(|word| match word.parse() {
            Ok(number) if asked.contains(&number) => "N",
            _ => word,
        });
        answers.push(words.collect::<Vec<_>>().join(" "));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_user_looks_like_what_does_not_exist() {
    let server = TestServer::start().await;
    let ada = &server.user;
    let mut client = server.client().await;
    let (first, second) = (TestFile::new(3000, 5001), TestFile::new(4000, 5002));
    for test_file in [&first, &second] {
        let on_conflict = OnConflict::Replace;
        client
            .upload(Upload { folder: names("own"), on_conflict, ..upload("doc", test_file) })
            .await;
        client.chunks(ZERO, test_file, 0..test_file.size()).await;
        client.complete(ZERO).await;
    }
    client.mkdir("gone").await;
    let removed = client.remove("gone").await.node.node_id;
    let long = TestFile::new(2 * BLOCK, 5003);
    let granted = client.upload(upload("long", &long)).await;
    client.chunks(ZERO, &long, 0..BLOCK).await;
    client.has_received(granted.document_id, BLOCK).await;
    let node = client.stat("own/doc").await.node;
    let theirs = Numbers {
        node: node.node_id,
        folder: client.stat("own").await.node.node_id,
        removed,
        document: node.version.expect("it is a file"),
        unfinished: granted.document_id,
    };
    let before = assert_tree_is_one(&server.site, ada, &mut client).await;

    let mallory = server.site.add_user("mallory").await;
    let mut hostile = RawClient::login(server.address(), &mallory.token).await;
    let nobodys = |number| NodeId::try_from(number).expect("a number");
    let none = Numbers {
        node: nobodys(987_001),
        folder: nobodys(987_002),
        removed: nobodys(987_003),
        document: nobodys_document(),
        unfinished: DocumentId::try_from(987_655).expect("a number"),
    };
    let lease = granted.lease.expect("it has one");
    let asked = requests(theirs, lease);
    let count = asked.len();
    let of_theirs = answers(&mut hostile, asked, theirs).await;
    let of_none = answers(&mut hostile, requests(none, lease), none).await;
    assert_eq!(of_theirs, of_none, "the words are the same");
    println!("{count} requests");

    // Nor can their bytes be guessed: the same content, name and size find nothing.
    let blake3 = Some(second.hash());
    let found = hostile
        .find(towline_protocol::request::Find { blake3, ..find("doc", second.filesize()) })
        .await;
    assert!(found.unfinished.is_none() && found.document_id.is_none(), "{found:?}");
    assert!(!found.same_size && !found.known, "{found:?}");
    let begin = Upload { blake3, channel: Channel(0), ..upload("doc", &second) };
    assert_eq!(hostile.upload(begin).await.offset.get(), 0, "all of it is to be sent");
    assert!(hostile.tree(100).await.is_empty());

    let after = assert_tree_is_one(&server.site, ada, &mut client).await;
    assert_eq!(before, after);
    assert!(client.status(granted.document_id).await.active);
    client.chunks(ZERO, &long, BLOCK..long.size()).await;
    client.complete(ZERO).await;
    server.site.assert_published(ada, "long", &long);
}
