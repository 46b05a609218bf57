//! The second hash of a whole file.

use crate::door::{Door, MIB, bytes, claim, new};
use sha2::{Digest as _, Sha256};
use towline_engine::{Command, CompleteRequest, NewUpload, RejectionKind, RequestEnd, SendingMode};
use towline_types::{BlockIndex, OnConflict, SecondDigest, Sha256Hash};

fn sha256(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash::from_bytes(Sha256::digest(bytes).into())
}

fn with_digest(name: &str, count: usize, mode: SendingMode) -> NewUpload {
    NewUpload { second_digest: SecondDigest::Sha256, ..new(name, count, mode) }
}

#[test]
fn the_hash_is_that_of_the_standard() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256(b"abc").to_string(), abc);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_has_the_hash_that_was_asked_for_in_whatever_order_the_bytes_came() {
    let door = Door::open().await;
    let mut client = door.client();
    let mut number = 0;
    for count in [0, 5, 3000, 3 * MIB + 7] {
        for mode in [SendingMode::PLAIN, SendingMode::RANGES] {
            let (name, file) = (format!("file {number}"), bytes(count, number));
            number += 1;
            client.begin(1, with_digest(&name, count, mode)).await;
            let half = count / 2;
            if mode == SendingMode::RANGES {
                client.send(1, half, &file[half..]).await;
                client.send(1, 0, &file[..half]).await;
            } else {
                client.send(1, 0, &file).await;
            }
            let receipt = client.complete(1, claim(&file)).await;
            assert_eq!(receipt.sha256(), Some(sha256(&file)), "{count} bytes, {mode:?}");
        }
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_restart_or_taken_back_is_hashed_as_it_is_in_the_end() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB + 5, 1);
    let (id, _) = client.begin(1, with_digest("a", file.len(), SendingMode::PLAIN)).await;
    client.send(1, 0, &file[..MIB + 9]).await;
    client.close().await;
    door.restart().await;
    let mut client = door.client();
    client.resume(1, id, SendingMode::PLAIN).await;
    client.send(1, MIB + 9, &file[MIB + 9..]).await;
    let request = CompleteRequest { sha256: Some(sha256(&file)), ..claim(&file) };
    assert_eq!(client.complete(1, request).await.sha256(), Some(sha256(&file)));

    client.begin(1, with_digest("b", file.len(), SendingMode::PLAIN)).await;
    client.send(1, 0, &file[..1000]).await;
    client.say(1, Command::BeginRequest(crate::door::offset(1000))).await;
    client.send(1, 1000, &bytes(5000, 2)).await;
    client.say(1, Command::EndRequest(RequestEnd::TakenBack)).await;
    client.answer(1).await;
    client.send(1, 1000, &file[1000..]).await;
    assert_eq!(client.complete(1, claim(&file)).await.sha256(), Some(sha256(&file)));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_alone_is_enough_and_a_wrong_one_fails_the_upload() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let file = bytes(MIB + 1, 3);
    let (a, _) = client.begin(1, new("a", file.len(), SendingMode::PLAIN)).await;
    client.send(1, 0, &file).await;
    let request = CompleteRequest { sha256: Some(sha256(&file)), ..CompleteRequest::default() };
    assert_eq!(client.complete(1, request).await.sha256(), Some(sha256(&file)));
    let (b, _) = client.begin(1, new("b", file.len(), SendingMode::PLAIN)).await;
    client.send(1, 0, &file).await;
    let request = CompleteRequest { sha256: Some(sha256(b"other")), ..claim(&file) };
    client.say(1, Command::Complete(request)).await;
    assert_eq!(client.rejected(1).await.kind, RejectionKind::HashMismatch);
    assert_eq!(client.status(1, b).await.phase.as_str(), "failed");
    client.close().await;
    // The hash is the document's: a later receipt has it as well.
    door.restart().await;
    let mut client = door.client();
    let again = CompleteRequest { id: Some(a), ..CompleteRequest::default() };
    assert_eq!(client.complete(1, again).await.sha256(), Some(sha256(&file)));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_found_that_was_not_asked_for() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(10, 4);
    client.begin(1, new("a", file.len(), SendingMode::PLAIN)).await;
    client.send(1, 0, &file).await;
    assert_eq!(client.complete(1, claim(&file)).await.sha256(), None);
    client.close().await;
}

/// What was found for one `complete` is found for the next one as well: the bytes may be others.
#[tokio::test(flavor = "multi_thread")]
async fn a_hash_of_bytes_that_were_replaced_is_not_that_of_the_document() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let (first, second) = (bytes(1000, 5), bytes(1000, 6));
    let (id, _) = client.begin(1, new("a", first.len(), SendingMode::PLAIN)).await;
    client.send(1, 0, &first).await;
    client.begin(2, new("a", 0, SendingMode::PLAIN)).await;
    client.complete(2, CompleteRequest::default()).await;
    let request = CompleteRequest { sha256: Some(sha256(&first)), ..claim(&first) };
    client.say(1, Command::Complete(request)).await;
    assert_eq!(client.rejected(1).await.kind, RejectionKind::NameTaken);
    client.close().await;
    door.restart().await;
    let mut client = door.client();
    client.resume(1, id, SendingMode::PLAIN).await;
    client.say(1, Command::Withdraw(vec![BlockIndex::FIRST..BlockIndex::FIRST.next()])).await;
    client.answer(1).await;
    client.send(1, 0, &second).await;
    let on_conflict = Some(OnConflict::Rename);
    let receipt = client.complete(1, CompleteRequest { on_conflict, ..claim(&second) }).await;
    assert_eq!(receipt.sha256(), Some(sha256(&second)));
    client.close().await;
}
