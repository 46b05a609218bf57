//! Files that the server has and has to read before it says anything of them: what a client hears,
//! and how many large ones are read at a time.

use crate::kit::{
    BLOCK, CAPACITY_BYTES, Call, Client, Extensions, Moment, Scripted, Server, ada, file,
    found_text, hash_of, id, new_upload, path, size, soon, stored, text, uploading,
};
use std::time::Duration;
use towline_engine::storage::{MemoryStorage, Storage as _};
use towline_engine::{Client as Ending, Command, EventKind, NewUpload};

const COPIES: Extensions = Extensions { copies: true, ..Extensions::NONE };

/// The longest file that other writers wait for.
const SHORT: usize = 256 << 10;

fn known(place: &str, bytes: &[u8]) -> NewUpload {
    NewUpload { hash: Some(hash_of(bytes)), ..new_upload(place, bytes.len()) }
}

fn begin(new: NewUpload) -> Command {
    Command::Begin(Box::new(new))
}

/// A server that has these documents, and whose store has files with other stamps in their places:
/// another program may have written them, so each is read before it counts.
async fn with_unread(documents: &[(&str, Vec<u8>)]) -> Server {
    let server = Server::new().await;
    let memory = MemoryStorage::new(CAPACITY_BYTES);
    for (number, (place, bytes)) in (900..).zip(documents) {
        server.put(place, bytes).await;
        memory.create_whole(id(number), bytes).unwrap().sync_data().unwrap();
        memory.publish(id(number), ada(), &path(place), hash_of(bytes), &mut |_| true).unwrap();
    }
    let (folder, _) = server.stop().await;
    Server::over_folder_with(folder, Scripted::of(memory, COPIES), |config| {
        config.timings.report = Duration::from_millis(1);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_to_be_read_is_read_once_and_known_from_then_on() {
    for length in [SHORT, SHORT + 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5] {
        let bytes = file(length, 1);
        let server = with_unread(&[("a/doc", bytes.clone())]).await;
        let mut client = server.client();
        for reads in [length.div_ceil(BLOCK), 0] {
            server.storage.take_calls();
            let heard = client.ask(0, begin(known("a/doc", &bytes))).await;
            assert_eq!(heard, format!("0: completed a/doc ({length}), existing #1"));
            assert_eq!(server.storage.count(Call::ReadPublished), reads, "{length}");
            assert_eq!(server.storage.count(Call::Create), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_other_bytes_is_not_the_document() {
    for length in [1000, 2 * BLOCK] {
        let (bytes, other) = (file(length, 1), file(length, 2));
        let server = Server::new().await;
        server.put("doc", &bytes).await;
        let memory = MemoryStorage::new(CAPACITY_BYTES);
        memory.create_whole(id(900), &other).unwrap().sync_data().unwrap();
        memory.publish(id(900), ada(), &path("doc"), hash_of(&other), &mut |_| true).unwrap();
        let (folder, _) = server.stop().await;
        let server = Server::over_folder(folder, Scripted::of(memory, COPIES)).await;
        let mut upload =
            uploading(soon(server.account().begin(known("doc", &bytes))).await.unwrap());
        server.write(&mut upload, &bytes, 0..length).await;
        let receipt = crate::kit::complete(upload, None).await.unwrap().receipt;
        assert_eq!(receipt.path().to_string(), "doc (1)");
        assert!(server.storage.bytes(ada(), "doc").unwrap() == other);
    }
}

/// A question is answered soon: only a short file is read for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_reads_a_short_file_and_no_longer_one() {
    for (length, said) in [
        (1000, "same_place=Some(1) known=false"),
        (SHORT, "same_place=Some(1) known=false"),
        (SHORT + 1, "same_place=None known=true"),
        (2 * BLOCK, "same_place=None known=true"),
    ] {
        let bytes = file(length, 1);
        let server = with_unread(&[("a/doc", bytes.clone())]).await;
        let hash = Some(hash_of(&bytes));
        let found = soon(server.account().find(path("a/doc"), size(length), hash)).await.unwrap();
        assert_eq!(found_text(&found), format!("found same_size=true {said} unfinished=None"));
    }
}

/// Waits for the next event, which has to be that one.
async fn expect(client: &mut Client, event: &str) {
    assert_eq!(text(&client.event().await), event);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_large_files_are_read_at_a_time_and_nothing_else_waits_for_them() {
    let length = 2 * BLOCK;
    let mut documents: Vec<_> = ["1", "2", "3", "4", "5"]
        .into_iter()
        .zip(1..)
        .map(|(at, n)| (at, file(length, n)))
        .collect();
    documents.extend([("block", file(BLOCK, 6)), ("half", file(BLOCK / 2, 7))]);
    documents.push(("short", file(1000, 8)));
    let server = with_unread(&documents).await;
    let [_, _, _, _, fifth, block, half, short] = &documents[..] else { panic!("eight") };

    let mut readers = server.client();
    let mut gates = Vec::new();
    for (tag, (place, bytes)) in (1..).zip(&documents[..4]) {
        let gate = server.storage.hold(Moment::Before, Call::ReadPublished, 1);
        readers.tell(tag, begin(known(place, bytes))).await;
        gate.reached().await;
        gates.push(gate);
    }
    let mut waiting = server.client();
    waiting.tell(5, begin(known(fifth.0, &fifth.1))).await;
    expect(&mut waiting, &format!("5: at work 0 of {length}, copied None #5")).await;

    // What is not large is read at once.
    let mut client = server.client();
    for ((place, bytes), number) in [block, half, short].into_iter().zip(6..) {
        let heard = client.ask(0, begin(known(place, bytes))).await;
        assert_eq!(heard, format!("0: completed {place} ({}), existing #{number}", bytes.len()));
    }
    // It is copied too; of a large file the client sends the bytes.
    for (_, bytes) in [block, short] {
        let copy = soon(server.account().begin(known("a/copy", bytes))).await.unwrap();
        assert!(stored(copy).receipt.is_copy());
    }
    drop(uploading(soon(server.account().begin(known("a/large", &documents[0].1))).await.unwrap()));
    // And it is stored.
    server.put("new", &file(BLOCK, 9)).await;

    // Who does not wait any more has not heard that the file is not there, and no upload has begun.
    let mut leaving = server.client();
    leaving.tell(7, begin(known(fifth.0, &fifth.1))).await;
    expect(&mut leaving, &format!("7: at work 0 of {length}, copied None #5")).await;
    leaving.session().begin_end(Ending::Listens);
    assert_eq!(leaving.hear().await, "7: rejected Internal");

    gates.remove(0).open();
    assert_eq!(readers.hear().await, format!("1: completed 1 ({length}), existing #1"));
    assert_eq!(waiting.hear().await, format!("5: completed 5 ({length}), existing #5"));
    for (gate, tag) in gates.into_iter().zip(2..) {
        gate.open();
        assert_eq!(
            readers.hear().await,
            format!("{tag}: completed {tag} ({length}), existing #{tag}")
        );
    }
}

/// The copy of a file is cut off where its session ends, but not behind the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_last_byte_was_read_is_made_though_its_session_ends() {
    for length in [BLOCK, 2 * BLOCK] {
        let server = Server::extended(COPIES).await;
        let bytes = file(length, 1);
        server.put("a/doc", &bytes).await;
        let blocks = length / BLOCK;
        let gate = server.storage.hold(Moment::Before, Call::ReadPublished, blocks);
        let mut client = server.client();
        client.tell(0, begin(known("b/doc", &bytes))).await;
        gate.reached().await;
        client.session().begin_end(Ending::Listens);
        gate.open();
        assert_eq!(client.hear().await, format!("0: completed b/doc ({length}), copied #2"));
        assert!(server.storage.bytes(ada(), "b/doc").unwrap() == bytes);
    }
}

/// A session that ends while a large file is read hears that it was cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_not_read_to_its_end_is_not_said_to_be_another() {
    let bytes = file(3 * BLOCK, 1);
    let server = with_unread(&[("doc", bytes.clone())]).await;
    let gate = server.storage.hold(Moment::Before, Call::ReadPublished, 1);
    let mut client = server.client();
    client.tell(0, begin(known("doc", &bytes))).await;
    gate.reached().await;
    client.session().begin_end(Ending::Listens);
    gate.open();
    loop {
        let event = client.event().await;
        if !matches!(event.kind, EventKind::AtWork { .. }) {
            assert_eq!(text(&event), "0: rejected Internal");
            break;
        }
    }
    assert_eq!(server.storage.areas(), []);
    assert_eq!(server.status(id(1)).await.phase.as_str(), "completed");
}
