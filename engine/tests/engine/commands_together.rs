//! The commands of a small file, where all of them are there before the first is done: they are one
//! file, stored in one step, if nothing is unusual about them.

use crate::kit::{
    BLOCK, Call, Client, Moment, Server, ada, file, hash_of, new_upload, offset, size, soon, text,
    value_of,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use towline_engine::{
    Command, CompleteRequest, EventKind, NewUpload, Query, REQUESTS_MAX, Receipt, SendingMode, Tag,
    WHOLE_BYTES_MAX, WholeUpload,
};
use towline_types::{OnConflict, SecondDigest, Sha256Hash};

const LENGTH: usize = 1000;

fn begin(new: NewUpload) -> Command {
    Command::Begin(Box::new(new))
}

async fn data(server: &Server, bytes: &[u8]) -> Command {
    Command::Data { offset: offset(0), buffer: server.buffer(bytes).await }
}

/// In how many steps the files were stored since the calls were taken: at once, and as uploads.
fn stored(server: &Server) -> (usize, usize) {
    (server.storage.count(Call::CreateWhole), server.storage.count(Call::Create))
}

/// Gives writer 4 all these commands before the first of them is done.
async fn tell_together(server: &Server, client: &mut Client, commands: Vec<Command>) {
    server.storage.take_calls();
    for command in commands {
        client.tell_held_back(4, command).await;
    }
}

/// What is said of a file of that mode, with these values announced and that end.
async fn said(
    server: &Server,
    client: &mut Client,
    new: NewUpload,
    announced: &[&[u8]],
    complete: CompleteRequest,
) -> Vec<String> {
    let bytes = file(LENGTH, 1);
    let mut commands = vec![begin(new), data(server, &bytes).await];
    for block in announced {
        let (index, value) = (crate::kit::index(0), value_of(block, 0));
        commands.push(Command::Announce { index, value });
    }
    commands.push(Command::Complete(complete));
    tell_together(server, client, commands).await;
    client.settle(4).await
}

fn granted(number: u64) -> String {
    format!("4: granted Begin at 0 of {LENGTH} #{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_value_belongs_to_the_file() {
    for mode in [SendingMode::PLAIN, SendingMode::BLOCKS] {
        let server = Server::new().await;
        let mut client = server.client();
        let (bytes, other) = (file(LENGTH, 1), file(LENGTH, 2));
        let new = |place| NewUpload { mode, ..new_upload(place, LENGTH) };
        let end = CompleteRequest::default();
        let heard = said(&server, &mut client, new("right"), &[&bytes], end).await;
        let at_once = [
            format!("4: granted Begin at 0 of {LENGTH}, unshared #1"),
            format!("4: completed right ({LENGTH}) #1"),
        ];
        assert_eq!(heard, at_once, "{mode:?}");
        assert_eq!(stored(&server), (1, 0), "{mode:?}");

        // A wrong value is told like that of any other block, whatever is announced behind it.
        for announced in [vec![&other[..]], vec![&other[..], &bytes[..]]] {
            let heard = said(&server, &mut client, new("wrong"), &announced, end).await;
            let mismatch = "rejected BlockMismatch { index: BlockIndex(0) }";
            assert!(heard[1].contains(mismatch), "{heard:?}");
            assert!(heard.last().unwrap().contains("rejected Incomplete"), "{heard:?}");
            assert_eq!(server.storage.bytes(ada(), "wrong"), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_larger_is_an_upload() {
    for (length, expected) in [(WHOLE_BYTES_MAX, (1, 0)), (WHOLE_BYTES_MAX + 1, (0, 1))] {
        let server = Server::new().await;
        let mut client = server.client();
        client.begin(4, new_upload("first", 10)).await;
        let gate = server.storage.hold(Moment::Before, Call::Write, 1);
        client.data(4, b"0123456789", 0..10).await;
        gate.reached().await;
        let bytes = file(length, 1);
        let commands = vec![
            begin(new_upload("doc", length)),
            data(&server, &bytes).await,
            Command::Complete(CompleteRequest::default()),
        ];
        tell_together(&server, &mut client, commands).await;
        gate.open();
        let heard = client.settle(4).await;
        assert_eq!(heard.last().unwrap(), &format!("4: completed doc ({length}) #2"));
        assert_eq!(stored(&server), expected, "{length}");
        assert!(server.storage.bytes(ada(), "doc").unwrap() == bytes);
    }
}

/// What a door keeps back to see whether a whole small file comes.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_small_file_begins_with_is_held_back() {
    let server = Server::new().await;
    let bytes = file(WHOLE_BYTES_MAX + 1, 1);
    for (at, length, is_held) in [
        (0, WHOLE_BYTES_MAX, true),
        (0, 1, true),
        (0, WHOLE_BYTES_MAX + 1, false),
        (1, 10, false),
        (1, WHOLE_BYTES_MAX + 1, false),
    ] {
        let mut client = server.client();
        client.tell_held_back(4, begin(new_upload("doc", BLOCK))).await;
        assert!(client.session().is_holding_back());
        let buffer = server.buffer(&bytes[..length]).await;
        client.tell_held_back(4, Command::Data { offset: offset(at), buffer }).await;
        assert_eq!(client.session().is_holding_back(), is_held, "{at} {length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_another_document_is_not_that_of_the_file() {
    let server = Server::new().await;
    let other = server.put("other", b"x").await.receipt.document_id();
    let mut client = server.client();
    let end = CompleteRequest { id: Some(other), ..CompleteRequest::default() };
    let heard = said(&server, &mut client, new_upload("doc", LENGTH), &[], end).await;
    assert_eq!(heard, [granted(2), format!("4: completed other (1) #{other}")]);
    assert_eq!(server.storage.bytes(ada(), "doc"), None);
    assert_eq!(client.complete(4).await, format!("4: completed doc ({LENGTH}) #2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_said_again_has_to_be_the_same() {
    let server = Server::new().await;
    let mut client = server.client();
    let with = |length| CompleteRequest { filesize: Some(size(length)), ..Default::default() };
    let heard =
        said(&server, &mut client, new_upload("wrong", LENGTH), &[], with(LENGTH - 1)).await;
    assert_eq!(heard[0], granted(1));
    assert!(heard[1].starts_with("4: rejected "), "{heard:?}");
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(server.storage.bytes(ada(), "wrong"), None);
    let heard = said(&server, &mut client, new_upload("right", LENGTH), &[], with(LENGTH)).await;
    assert_eq!(heard.last().unwrap(), &format!("4: completed right ({LENGTH}) #2"));
    assert_eq!(stored(&server), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_treated_as_the_end_says() {
    let server = Server::new().await;
    server.put("doc", b"first").await;
    let mut client = server.client();
    let with = |wish| CompleteRequest { on_conflict: Some(wish), ..Default::default() };
    let new = || new_upload("doc", LENGTH);
    let heard = said(&server, &mut client, new(), &[], with(OnConflict::Reject)).await;
    assert_eq!(heard, [granted(2), "4: rejected NameTaken #2".to_owned()]);
    let heard = said(&server, &mut client, new(), &[], with(OnConflict::Rename)).await;
    assert_eq!(heard.last().unwrap(), &format!("4: completed doc (1) ({LENGTH}) #3"));
    assert_eq!(stored(&server), (1, 0));
}

fn sha256(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash::from_bytes(Sha256::digest(bytes).into())
}

/// The receipt that comes next.
async fn receipt(client: &mut Client) -> Arc<Receipt> {
    loop {
        let event = client.event().await;
        match event.kind {
            EventKind::Completed { receipt, .. } => return receipt,
            EventKind::Granted(_) | EventKind::Progress(_) | EventKind::AtWork { .. } => {}
            _ => panic!("{}", text(&event)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hash_is_found_whoever_asks_for_it() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let claim = |sha256| CompleteRequest { sha256: Some(sha256), ..CompleteRequest::default() };
    let wrong = claim(sha256(b"other"));
    let heard = said(&server, &mut client, new_upload("wrong", LENGTH), &[], wrong).await;
    assert_eq!(heard, [granted(1), "4: rejected HashMismatch #1".to_owned()]);
    assert_eq!(server.storage.bytes(ada(), "wrong"), None);

    let second_digest = SecondDigest::Sha256;
    let asked = |place| NewUpload { second_digest, ..new_upload(place, LENGTH) };
    for (new, end) in [
        (asked("asked"), CompleteRequest::default()),
        (new_upload("claimed", LENGTH), claim(sha256(&bytes))),
    ] {
        let commands = vec![begin(new), data(&server, &bytes).await, Command::Complete(end)];
        tell_together(&server, &mut client, commands).await;
        assert_eq!(receipt(&mut client).await.sha256(), Some(sha256(&bytes)));
    }
    // In one command too.
    let one = server.put_whole(asked("one"), &bytes).await.unwrap();
    assert_eq!(one.receipt.sha256(), Some(sha256(&bytes)));
    let without = server.put_whole(new_upload("without", LENGTH), &bytes).await.unwrap();
    assert_eq!(without.receipt.sha256(), None);
}

/// What vouches for the bytes of a file that came in one command.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_vouched_for_are_stored_in_one_step() {
    let server = Server::new().await;
    let mut client = server.client();
    let (bytes, none) = (file(LENGTH, 1), Vec::new());
    let (hash, value) = (Some(hash_of(&bytes)), Some(value_of(&bytes, 0)));
    let (plain, blocks) = (SendingMode::PLAIN, SendingMode::BLOCKS);
    let mut number = 0;
    for (mode, bytes, known, value, hash, is_stored_at_once) in [
        (plain, &bytes, None, None, None, true),
        (plain, &bytes, None, value, None, true),
        (plain, &bytes, None, None, hash, true),
        (plain, &bytes, hash, None, None, true),
        (plain, &bytes, hash, value, hash, true),
        (plain, &none, None, None, None, true),
        (blocks, &bytes, None, value, None, true),
        (blocks, &bytes, None, None, hash, true),
        (blocks, &none, None, None, None, true),
        // Nothing vouches for the bytes of a client that wanted to announce values.
        (blocks, &bytes, None, None, None, false),
        // The client has told of another file at the beginning.
        (plain, &bytes, Some(hash_of(b"other")), None, None, false),
    ] {
        number += 1;
        let place = format!("{number}");
        let new = NewUpload { mode, hash: known, ..new_upload(&place, bytes.len()) };
        let data = server.buffer(bytes).await;
        let whole = WholeUpload { new, data, value, hash };
        server.storage.take_calls();
        client.tell(4, Command::Whole(Box::new(whole))).await;
        let heard = client.settle(4).await;
        let expected = if is_stored_at_once { (1, 0) } else { (0, 1) };
        assert_eq!(stored(&server), expected, "{place}: {heard:?}");
        if place == "10" {
            assert!(heard[1].contains("rejected Incomplete"), "{heard:?}");
        } else {
            assert!(heard[1].starts_with(&format!("4: completed {place} ")), "{heard:?}");
            assert!(server.storage.bytes(ada(), &place).unwrap() == *bytes);
        }
    }
}

/// What waits of one session is bounded, and a small file counts until it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_takes_of_its_session_is_given_back_when_it_is_stored() {
    let server = Server::with(|config| config.limits.buffers_per_session = 1).await;
    let mut client = server.client();
    let gate = server.storage.hold(Moment::Before, Call::CreateWhole, 1);
    let commands = vec![
        begin(new_upload("doc", LENGTH)),
        data(&server, &file(LENGTH, 1)).await,
        Command::Complete(CompleteRequest::default()),
    ];
    tell_together(&server, &mut client, commands).await;
    gate.reached().await;
    let block = data(&server, &file(BLOCK, 2)).await;
    let mut waiting = client.session().admit(Tag(4), block).unwrap().unwrap();
    assert!(!waiting.is_granted(), "the session has room for one block");
    let mut fences = 0;
    loop {
        let fence = Command::Query(Query::Fence);
        let admitted = client.session().admit(Tag(4), fence).unwrap().unwrap();
        if !admitted.is_granted() {
            client.session().give_back(admitted);
            break;
        }
        client.session().push(admitted);
        fences += 1;
        assert!(fences < REQUESTS_MAX, "the commands of the file count");
    }
    gate.open();
    soon(waiting.granted()).await;
    client.session().give_back(waiting);
    let heard = client.settle(4).await;
    assert_eq!(heard.last().unwrap(), &format!("4: completed doc ({LENGTH}) #1"));
}
