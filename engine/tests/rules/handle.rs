//! The same rules for a door that sends one request and waits for its answer.

use crate::door::{Door, MIB, bytes, hash, new, offset, size};
use towline_engine::{
    Begun, CompleteRequest, Length, NewUpload, RejectionKind, RequestEnd, SendingMode,
};
use towline_types::SecondDigest;

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
