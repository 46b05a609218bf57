//! The same rules for a door that sends one request and waits for its answer.

use crate::door::{Door, MIB, bytes, hash, new, offset, size};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use towline_engine::{
    Begun, CompleteRequest, Length, NewUpload, RejectionKind, RequestEnd, SendingMode, UploadHandle,
};
use towline_types::{BlockIndex, OnConflict, SecondDigest};

async fn begin(door: &Door, new: NewUpload) -> UploadHandle {
    match door.account().begin(new).await {
        Ok(Begun::Uploading(upload)) => *upload,
        _ => panic!("it begins"),
    }
}

async fn write(door: &Door, upload: &mut UploadHandle, at: usize, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(MIB).enumerate() {
        upload.write(offset(at + index * MIB), door.buffer(piece).await).await.unwrap();
    }
}

/// Polls a future at most that many times, and drops it.
async fn polled<T>(future: impl Future<Output = T>, turns: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..turns {
        let poll = |context: &mut Context<'_>| Poll::Ready(future.as_mut().poll(context));
        if let Poll::Ready(output) = poll_fn(poll).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

fn block(index: u64) -> BlockIndex {
    BlockIndex::new(index).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_durable_before_a_withdrawal_says_nothing_of_bytes_that_came_after_it() {
    let door = Door::open().await;
    let mut upload = begin(&door, new("a", 4 * MIB, SendingMode::RANGES)).await;
    write(&door, &mut upload, 0, &bytes(2 * MIB, 1)).await;
    assert_eq!(upload.durable().await.unwrap().durable.get(), offset(2 * MIB));
    assert_eq!(upload.withdraw(vec![block(0)..block(2)]).await.unwrap(), offset(0));
    write(&door, &mut upload, 0, &bytes(MIB, 2)).await;
    assert_eq!(upload.durable().await.unwrap().durable.get(), offset(MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_not_waited_for_is_not_taken_for_the_next_one() {
    let door = Door::open().await;
    let mut upload = begin(&door, new("a", 4 * MIB, SendingMode::RANGES)).await;
    write(&door, &mut upload, 0, &bytes(MIB, 1)).await;
    for _ in 0..3 {
        // Asked, and dropped before the answer is there.
        polled(upload.position(), 1).await;
        polled(upload.durable(), 1).await;
    }
    assert_eq!(upload.withdraw(vec![block(0)..block(1)]).await.unwrap(), offset(0));
    write(&door, &mut upload, 0, &bytes(4 * MIB, 2)).await;
    assert_eq!(upload.position().await.unwrap().received, offset(4 * MIB));
    polled(upload.position(), 1).await;
    upload.complete(Some(hash(&bytes(4 * MIB, 2)))).await.unwrap();
    assert_eq!(door.read("a"), bytes(4 * MIB, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_was_not_waited_for_is_told_by_the_next_method() {
    let door = Door::open().await;
    let mut upload = begin(&door, new("a", MIB, SendingMode::PLAIN)).await;
    write(&door, &mut upload, 7, b"behind a gap").await;
    let mut turns = 1;
    let told = loop {
        // Each is dropped at another place.
        match polled(upload.position(), turns).await {
            None => turns += 1,
            Some(told) => break told,
        }
    };
    let expected = RejectionKind::OffsetMismatch { expected: offset(0) };
    assert_eq!(told.map_err(|rejection| rejection.kind), Err(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_another_writer_takes_back_are_not_waited_for() {
    let door = Door::open().await;
    let mut first = begin(&door, new("a", 4 * MIB, SendingMode::RANGES)).await;
    let joined = door.account().join(first.id(), first.lease().unwrap()).await;
    let Ok(Begun::Uploading(mut second)) = joined else { panic!("it joins") };
    first.begin_request(offset(0)).await.unwrap();
    write(&door, &mut first, 0, &bytes(MIB, 1)).await;
    assert_eq!(first.position().await.unwrap().received, offset(MIB));
    let taking_back = async {
        // Three answers come later than the first of `durable`, which asks the same.
        for _ in 0..3 {
            first.position().await.unwrap();
        }
        first.end_request(RequestEnd::TakenBack).await.unwrap();
    };
    let both = async { tokio::join!(second.durable(), taking_back) };
    let (position, ()) = timeout(Duration::from_secs(60), both).await.expect("it ends");
    assert_eq!(position.unwrap().durable.get(), offset(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_document_that_another_writer_completes_are_durable() {
    let door = Door::open().await;
    let file = bytes(MIB, 1);
    let mut first = begin(&door, new("a", MIB, SendingMode::RANGES)).await;
    let joined = door.account().join(first.id(), first.lease().unwrap()).await;
    let Ok(Begun::Uploading(mut second)) = joined else { panic!("it joins") };
    write(&door, &mut first, 0, &file).await;
    let completing = async {
        for _ in 0..3 {
            first.position().await.unwrap();
        }
        first.complete(Some(hash(&file))).await.unwrap();
    };
    let both = async { tokio::join!(second.durable(), completing) };
    let (position, ()) = timeout(Duration::from_secs(60), both).await.expect("it ends");
    assert_eq!(position.unwrap().durable.get(), offset(MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_unknown_length_in_requests_one_of_which_is_wrong() {
    let door = Door::open().await;
    let account = door.account();
    let file = bytes(MIB + MIB / 3, 1);
    let length = Length::Open { max: size(10 * MIB) };
    let second_digest = SecondDigest::Sha256;
    let new = NewUpload { length, second_digest, ..new("a", 0, SendingMode::PLAIN) };
    let Ok(Begun::Uploading(mut upload)) = account.begin(new).await else { panic!("it begins") };
    assert_eq!(upload.length(), length);
    let mut at = 0;
    for (turn, request) in file.chunks(MIB / 3).enumerate() {
        upload.begin_request(offset(at)).await.unwrap();
        if turn == 1 {
            let wrong = door.buffer(&bytes(request.len() + 7, 2)).await;
            upload.write(offset(at), wrong).await.unwrap();
            let early = upload.durable().await.unwrap_err();
            assert_eq!(early.kind, RejectionKind::BadRequest { field: None, max: None });
            let position = upload.end_request(RequestEnd::TakenBack).await.unwrap();
            assert_eq!(position.received, offset(at));
            upload.begin_request(offset(at)).await.unwrap();
        }
        upload.write(offset(at), door.buffer(request).await).await.unwrap();
        at += request.len();
        let position = upload.end_request(RequestEnd::Confirmed).await.unwrap();
        assert_eq!(position.received, offset(at));
        assert_eq!(upload.durable().await.unwrap().durable.get(), offset(at));
    }
    let position = upload.declare(size(file.len())).await.unwrap();
    assert_eq!(position.length, Length::Declared(size(file.len())));
    let request = CompleteRequest { hash: Some(hash(&file)), ..CompleteRequest::default() };
    let completion = upload.complete_with(request).await.unwrap();
    assert!(completion.receipt.sha256().is_some());
    assert_eq!(door.read("a"), file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_end_is_refused_goes_on_in_the_same_handle() {
    let door = Door::open().await;
    let file = bytes(MIB + 7, 1);
    let claimed = Some(hash(&file));
    let mut upload = begin(&door, new("a", file.len(), SendingMode::PLAIN)).await;
    let mut other = begin(&door, new("a", 5, SendingMode::PLAIN)).await;
    write(&door, &mut other, 0, b"other").await;
    other.complete(None).await.unwrap();
    write(&door, &mut upload, 0, &file[..MIB]).await;
    let kind = upload.complete(claimed).await.unwrap_err().kind;
    assert_eq!(kind, RejectionKind::Incomplete { expected: offset(MIB) });
    write(&door, &mut upload, MIB, &file[MIB..]).await;
    assert_eq!(upload.complete(claimed).await.unwrap_err().kind, RejectionKind::NameTaken);
    let on_conflict = Some(OnConflict::Rename);
    let request = CompleteRequest { hash: claimed, on_conflict, ..CompleteRequest::default() };
    let completion = upload.complete_with(request).await.unwrap();
    assert_eq!(completion.receipt.path().to_string(), "a (1)");
    assert_eq!(door.read("a (1)"), file);
    let again = upload.complete(claimed).await.unwrap();
    assert_eq!(again.receipt.document_id(), completion.receipt.document_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_stored_in_one_step_or_refused_with_the_reason() {
    let door = Door::open().await;
    let (account, file) = (door.account(), bytes(1000, 1));
    let put = async |name, hashed: &[u8]| {
        let new = new(name, file.len(), SendingMode::PLAIN);
        account.put_whole(new, door.buffer(&file).await, Some(hash(hashed))).await
    };
    let completion = put("a", &file).await.unwrap();
    assert!(!completion.existing);
    assert_eq!(completion.receipt.filesize(), size(file.len()));
    assert_eq!(door.read("a"), file);
    assert_eq!(put("a", &file).await.unwrap_err().kind, RejectionKind::NameTaken);
    let other = put("b", b"other bytes").await.unwrap_err();
    assert_eq!(other.kind, RejectionKind::HashMismatch);
    assert_eq!(
        account.status(completion.receipt.document_id()).await.unwrap().hash,
        Some(hash(&file))
    );
}
