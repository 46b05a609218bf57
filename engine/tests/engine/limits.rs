//! What is bounded: uploads of a user, writers of a session, sizes, room, and what may wait.

use crate::kit::{
    BLOCK, Extensions, Scripted, Server, bob, complete, file, id, kind, new_upload, offset,
    refused, size, soon,
};
use towline_engine::storage::Storage as _;
use towline_engine::{
    Command, CompleteRequest, Length, NewUpload, Query, REQUESTS_MAX, RejectedRequest, Rejection,
    RejectionKind, Tag,
};
use towline_types::FileSize;

#[tokio::test(flavor = "multi_thread")]
async fn the_unfinished_uploads_of_one_user_are_bounded() {
    let server = Server::with(|config| config.limits.unfinished_per_user = 3).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        let upload = server.begin(&number.to_string(), 10).await;
        ids.push(upload.id());
        soon(upload.pause()).await;
    }
    let begin = async |server: &Server| soon(server.account().begin(new_upload("4", 10))).await;
    assert_eq!(kind(begin(&server).await), "TooMany { max: 3 }");
    assert_eq!(server.storage.areas().len(), 3, "nothing is left of the refused one");
    // It is no other user's limit, and a restart does not lift it.
    assert!(soon(server.account_of(bob()).begin(new_upload("4", 10))).await.is_ok());
    let server = server.restart().await;
    assert_eq!(kind(begin(&server).await), "TooMany { max: 3 }");
    soon(server.account().cancel(ids[0])).await.unwrap();
    assert!(begin(&server).await.is_ok());
    assert_eq!(kind(begin(&server).await), "TooMany { max: 3 }");
    // A small file that is published at once is none.
    let whole = server.put_whole(new_upload("small", 5), b"small").await;
    assert!(whole.is_ok() || kind(whole) == "TooMany { max: 3 }");
    // A completed one is none any more.
    let mut upload = server.resume(ids[1]).await;
    server.write(&mut upload, b"0123456789", 0..10).await;
    complete(upload, None).await.unwrap();
    assert!(begin(&server).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_refused_with_the_limit() {
    let server = Server::with(|config| config.max_filesize = size(1000)).await;
    let large = soon(server.account().begin(new_upload("doc", 1001))).await;
    let rejection = refused(large);
    assert_eq!(rejection.kind, RejectionKind::SizeLimit { max: Some(size(1000)) });
    assert_eq!(server.storage.areas(), []);
    server.put("doc", &file(1000, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_claimed_at_the_beginning_and_given_back_at_the_end() {
    let storage = Scripted::new(10_000, Extensions::default());
    let server = Server::over(storage, |_| {}).await;
    let free = || server.storage.memory().free_bytes().unwrap();
    let upload = server.begin("doc", 6000).await;
    assert_eq!(free(), 4000);
    let full = refused(soon(server.account().begin(new_upload("other", 4001))).await);
    assert_eq!(full.kind, RejectionKind::NoSpace { missing_bytes: Some(1) });
    assert_eq!(server.storage.areas().len(), 1);
    let huge = FileSize::MAX;
    let mut new = new_upload("huge", 1);
    new.length = towline_engine::Length::Declared(huge);
    let RejectionKind::NoSpace { missing_bytes: Some(missing) } =
        refused(soon(server.account().begin(new)).await).kind
    else {
        panic!("there is no room for it")
    };
    assert_eq!(missing, huge.get() - 4000);
    let number = upload.id();
    soon(upload.pause()).await;
    assert_eq!(free(), 4000);
    soon(server.account().cancel(number)).await.unwrap();
    assert_eq!(free(), 10_000);
    server.put("doc", &file(9_000, 1)).await;
    assert_eq!(free(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_keeps_for_the_catalog_is_not_claimed() {
    // The reserve is the store's, and a store in memory has none: the disk has one.
    let folder = tempfile::tempdir().unwrap();
    let engine = crate::kit::open_disk(folder.path(), |config| config.reserve_bytes = u64::MAX / 4);
    engine.add_user("ada").await.unwrap();
    let account = engine.account(crate::kit::ada(), towline_engine::Origin::new("a test"));
    let RejectionKind::NoSpace { missing_bytes: Some(missing) } =
        refused(soon(account.begin(new_upload("doc", 10))).await).kind
    else {
        panic!("all room is reserved")
    };
    assert!(missing > 1 << 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_of_a_session_are_bounded() {
    let server = Server::new().await;
    let mut client = server.client_with(2);
    let bytes = file(100, 1);
    let (first, _) = client.begin(1, new_upload("1", 100)).await;
    let (_, _) = client.begin(2, new_upload("2", 100)).await;
    let begin = || Command::Begin(Box::new(new_upload("3", 100)));
    let too_many = |answer: Result<bool, Rejection>| assert_eq!(kind(answer), "TooMany { max: 2 }");
    too_many(client.try_tell(3, begin()).await);
    too_many(client.try_tell(3, Command::Complete(CompleteRequest::default())).await);
    too_many(client.try_tell(3, Command::Withdraw(Vec::new())).await);
    too_many(client.try_tell(3, crate::kit::resume_command(first)).await);
    // What follows a refused request is dropped, and questions are answered all the same.
    let buffer = server.buffer(&bytes).await;
    let data = Command::Data { offset: offset(0), buffer };
    assert_eq!(client.try_tell(3, data).await, Ok(false));
    let status = client.ask(3, Command::Query(Query::Status(first))).await;
    assert!(status.starts_with("3: uploading 0/0"), "{status}");
    let rejection = Rejection::new(RejectionKind::BadName, "no");
    let reject = Command::Reject { rejection, request: RejectedRequest::Query };
    assert_eq!(client.ask(3, reject).await, "3: rejected BadName");
    // A writer whose upload is over makes room.
    client.data(1, &bytes, 0..100).await;
    assert!(client.complete(1).await.starts_with("1: completed 1 "));
    let (third, _) = client.begin(3, new_upload("3", 100)).await;
    assert_eq!(third, id(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_are_bounded_and_all_are_answered() {
    let server = Server::new().await;
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 10)).await;
    let gate = server.storage.hold(crate::kit::Moment::Before, crate::kit::Call::Write, 1);
    client.data(0, b"0123456789", 0..1).await;
    gate.reached().await;
    let mut granted = 0;
    loop {
        let query = Command::Query(Query::Status(id));
        let admitted = client.session().admit(Tag(0), query).unwrap().unwrap();
        if !admitted.is_granted() {
            client.session().give_back(admitted);
            break;
        }
        client.session().push(admitted);
        granted += 1;
        assert!(granted <= REQUESTS_MAX, "too many may wait");
    }
    assert_eq!(granted, REQUESTS_MAX);
    gate.open();
    for _ in 0..granted {
        assert!(client.hear().await.starts_with("0: uploading 1/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_that_waits_is_bounded_for_each_session() {
    let server = Server::with(|config| config.limits.buffers_per_session = 2).await;
    let mut client = server.client();
    let bytes = file(4 * BLOCK, 1);
    client.begin(0, new_upload("doc", 4 * BLOCK)).await;
    let gate = server.storage.hold(crate::kit::Moment::Before, crate::kit::Call::Write, 1);
    let mut waiting = Vec::new();
    for number in 0..3 {
        let buffer = server.buffer(&bytes[number * BLOCK..(number + 1) * BLOCK]).await;
        let data = Command::Data { offset: offset(number * BLOCK), buffer };
        let admitted = client.session().admit(Tag(0), data).unwrap().unwrap();
        assert_eq!(admitted.is_granted(), number < 2, "{number}");
        if admitted.is_granted() {
            client.session().push(admitted);
        } else {
            waiting.push(admitted);
        }
    }
    gate.reached().await;
    gate.open();
    let mut third = waiting.pop().unwrap();
    soon(third.granted()).await;
    client.session().push(third);
    client.data(0, &bytes, 3 * BLOCK..4 * BLOCK).await;
    assert!(client.complete(0).await.starts_with("0: completed doc"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_bytes_is_said_once_and_refuses_the_writer() {
    let server = Server::new().await;
    let bytes = file(2 * BLOCK, 1);
    let mut client = server.client();
    let (number, _) = client.begin(0, new_upload("doc", BLOCK + 10)).await;
    client.data(0, &bytes, 0..100).await;
    // Behind a gap, before what is here, beyond the end.
    for at in [101, 99, 0] {
        client.data_at(0, at, b"xyz").await;
        client.data_at(0, at, b"xyz").await;
        let heard = client.settle(0).await;
        assert_eq!(
            heard,
            [format!("0: rejected OffsetMismatch {{ expected: Offset(100) }} #{number}")]
        );
        let resumed = client.ask(0, crate::kit::resume_command(number)).await;
        assert_eq!(resumed, format!("0: granted Resume at 100 of {} #{number}", BLOCK + 10));
    }
    client.data(0, &bytes, 100..BLOCK).await;
    client.data_at(0, BLOCK, &bytes[..11]).await;
    let heard = client.settle(0).await;
    assert_eq!(
        heard,
        [format!("0: rejected SizeExceeded {{ filesize: FileSize({}) }} #{number}", BLOCK + 10)]
    );
    // A writer that has no upload is told so once.
    client.data_at(5, 0, b"x").await;
    client.data_at(5, 1, b"x").await;
    assert_eq!(client.settle(5).await, ["5: rejected NoActiveUpload"]);
    for command in [Command::Complete(CompleteRequest::default()), Command::Withdraw(Vec::new())] {
        let mut client = server.client();
        assert_eq!(client.ask(0, command).await, "0: rejected NoActiveUpload");
    }
}

/// Room can be reserved only for a file whose length is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_unknown_length_leaves_the_reserve_free() {
    let block_bytes = BLOCK as u64;
    let storage = Scripted::new(4 * block_bytes, Extensions::default());
    let server = Server::over(storage, move |config| config.reserve_bytes = 3 * block_bytes).await;
    let mut new = new_upload("doc", 0);
    new.length = towline_engine::Length::Open { max: FileSize::MAX };
    let mut upload = server.begin_new(new).await;
    let bytes = file(2 * BLOCK, 1);
    server.write(&mut upload, &bytes, 0..BLOCK).await;
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(BLOCK));
    server.write(&mut upload, &bytes, BLOCK..BLOCK + 1000).await;
    let full = refused(soon(upload.position()).await);
    assert_eq!(full.kind, RejectionKind::NoSpace { missing_bytes: Some(1000) });
    assert_eq!(server.storage.memory().free_bytes().unwrap(), 3 * block_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_beyond_the_limit_of_the_server_is_refused_with_that_limit() {
    let server = Server::with(|config| config.max_filesize = size(1000)).await;
    let length = Length::Open { max: FileSize::MAX };
    let mut upload = server.begin_new(NewUpload { length, ..new_upload("doc", 0) }).await;
    let bytes = file(1001, 1);
    server.write(&mut upload, &bytes, 0..1001).await;
    let rejection = soon(upload.position()).await.unwrap_err();
    assert_eq!(rejection.kind, RejectionKind::SizeLimit { max: Some(size(1000)) });
    assert!(rejection.message.contains("towlined --max-file-size"), "{}", rejection.message);
}
