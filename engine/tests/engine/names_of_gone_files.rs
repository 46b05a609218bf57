//! Names that a row keeps though no file has them, or that a file has of which no row knows: the
//! disk decides.

use crate::kit::{
    Call, Extensions, Moment, Scripted, Server, ada, complete, file, id, kind, new_upload, offset,
    path, soon, without_timed_checkpoints,
};
use towline_engine::{
    Command, CompleteRequest, NewUpload, Phase, ResumeRequest, SendingMode, UploadHandle,
};
use towline_types::OnConflict;

const LENGTH: usize = 3000;

fn rejecting(place: &str) -> NewUpload {
    let mut new = new_upload(place, LENGTH);
    new.on_conflict = OnConflict::Reject;
    new
}

/// An upload that is whole and not completed.
async fn sent(server: &Server, new: NewUpload, bytes: &[u8]) -> UploadHandle {
    let mut upload = server.begin_new(new).await;
    server.write(&mut upload, bytes, 0..LENGTH).await;
    soon(upload.position()).await.unwrap();
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_file_that_was_removed_goes_to_the_next_one() {
    for is_whole in [false, true] {
        let server = Server::new().await;
        server.put("doc", b"first").await;
        server.put("doc", b"second").await;
        server.storage.take_away(ada(), "doc");
        let bytes = file(LENGTH, 1);
        let receipt = if is_whole {
            server.put_whole(new_upload("doc", LENGTH), &bytes).await.unwrap().receipt
        } else {
            server.put("doc", &bytes).await.receipt
        };
        assert_eq!(receipt.path().to_string(), "doc", "{is_whole}");
        assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
        assert_eq!(server.storage.bytes(ada(), "doc (1)").unwrap(), b"second");
        let status = server.status(id(1)).await;
        assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
        assert_eq!(server.status(id(2)).await.phase, Phase::Completed);
        let next = server.put("doc", b"next").await.receipt;
        assert_eq!(next.path().to_string(), "doc (2)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_wants_no_other_name_gets_it_when_the_other_file_is_gone() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (number, _) = client.begin(0, rejecting("doc")).await;
    client.data(0, &bytes, 0..LENGTH).await;
    let other = server.put("doc", b"first").await.receipt.document_id();
    assert_eq!(client.complete(0).await, format!("0: rejected NameTaken #{number}"));
    assert_eq!(server.status(other).await.phase, Phase::Completed);
    server.storage.take_away(ada(), "doc");
    assert_eq!(client.complete(0).await, format!("0: completed doc ({LENGTH}) #{number}"));
    assert_eq!(server.status(other).await.phase, Phase::Failed);
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_way_of_a_folder_is_in_the_way_until_it_is_gone() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (number, _) = client.begin(0, new_upload("a/doc", LENGTH)).await;
    client.data(0, &bytes, 0..LENGTH).await;
    client.settle(0).await;
    server.put("a", b"first").await;
    assert_eq!(client.complete(0).await, format!("0: rejected FolderTaken #{number}"));
    server.storage.take_away(ada(), "a");
    assert_eq!(client.complete(0).await, format!("0: completed a/doc ({LENGTH}) #{number}"));
    assert_eq!(server.storage.bytes(ada(), "a/doc").unwrap(), bytes);
}

/// No row knows the file, so the catalog gave its name away, and the disk refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_keeps_its_name_and_the_upload_its_bytes() {
    for renames in [false, true] {
        let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::NONE });
        let server = Server::over(storage, |_| {}).await;
        let bytes = file(LENGTH, 1);
        let mut client = server.client();
        let (number, _) = client.begin(0, rejecting("doc")).await;
        client.data(0, &bytes, 0..LENGTH).await;
        server.storage.put_stranger(ada(), "doc", b"stray");
        for _ in 0..2 {
            assert_eq!(client.complete(0).await, format!("0: rejected NameTaken #{number}"));
            let status = server.status(number).await;
            assert_eq!(status.phase, Phase::Uploading, "it can be completed in another way");
            assert_eq!(status.path, path("doc"));
        }
        let on_conflict = Some(OnConflict::Rename);
        let request = CompleteRequest { on_conflict, ..CompleteRequest::default() };
        let done = client.ask(0, Command::Complete(request)).await;
        assert_eq!(done, format!("0: completed doc (1) ({LENGTH}) #{number}"));
        assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), b"stray");
        assert_eq!(server.storage.bytes(ada(), "doc (1)").unwrap(), bytes);
    }
}

/// Nothing was renamed: the row says so, and the upload takes bytes and its end again.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_failed_leaves_the_upload_as_it_was() {
    use crate::kit::scripted::{damage, full, passing};
    for renames in [false, true] {
        let step = if renames { Call::Rename } else { Call::Publish };
        for (call, error) in
            [(Call::SyncData, passing as fn() -> _), (step, passing), (step, full), (step, damage)]
        {
            let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::NONE });
            let server = Server::over(storage, without_timed_checkpoints).await;
            let bytes = file(LENGTH, 1);
            let upload = sent(&server, new_upload("doc", LENGTH), &bytes).await;
            let number = upload.id();
            server.storage.fail(call, 1, error);
            complete(upload, None).await.unwrap_err();
            assert_eq!(server.status(number).await.phase, Phase::Uploading, "{call:?}");
            assert_eq!(server.storage.bytes(ada(), "doc"), None);
            let upload = server.resume(number).await;
            assert_eq!(upload.offset(), offset(LENGTH));
            let receipt = complete(upload, None).await.unwrap().receipt;
            assert_eq!(receipt.path().to_string(), "doc");
            assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
        }
    }
}

/// It could not even be found out whether the file was renamed. The next question finds out that
/// it was not, and fails as well: from then on the upload takes bytes again.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_nothing_was_known_can_be_completed_again() {
    use crate::kit::scripted::passing;
    let storage = Scripted::new(64 << 20, Extensions { renames: true, ..Extensions::NONE });
    let server = Server::over(storage, without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let upload = sent(&server, new_upload("doc", LENGTH), &bytes).await;
    let number = upload.id();
    server.storage.fail(Call::Rename, 1, passing);
    server.storage.fail(Call::Open, 1, passing);
    assert_eq!(kind(complete(upload, None).await), "Internal");
    assert_eq!(server.status(number).await.phase, Phase::Publishing);
    server.storage.fail(Call::Publish, 1, passing);
    assert_eq!(kind(soon(server.account().receipt(number)).await), "Internal");
    assert_eq!(server.status(number).await.phase, Phase::Uploading);
    let upload = server.resume(number).await;
    assert_eq!(upload.offset(), offset(LENGTH));
    complete(upload, None).await.unwrap();
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
}

/// The disk says that it is damaged when the name is there already. The client of a file that came
/// whole asks again, and the file is not sent and not stored once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_file_whose_name_may_be_there_stays_until_that_is_known() {
    use crate::kit::scripted::damage;
    let storage = Scripted::new(64 << 20, Extensions { renames: true, ..Extensions::NONE });
    let server = Server::over(storage, |_| {}).await;
    let bytes = file(LENGTH, 1);
    server.storage.on(Moment::After, Call::Rename, 1, || Err(damage()));
    assert_eq!(kind(server.put_whole(new_upload("doc", LENGTH), &bytes).await), "Internal");
    assert_eq!(server.status(id(1)).await.phase, Phase::Publishing);
    let completion = soon(server.account().receipt(id(1))).await.unwrap();
    assert_eq!(completion.receipt.path().to_string(), "doc");
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
    assert_eq!(server.storage.bytes(ada(), "doc (1)"), None);
    let resume = ResumeRequest::of(id(1), SendingMode::PLAIN);
    crate::kit::stored(soon(server.account().resume(resume)).await.unwrap());
}

/// What is over is let go of: its file is closed, whoever has put the document in its place.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_an_upload_that_is_over_is_closed() {
    use crate::kit::scripted::passing;
    let closed = async |server: &Server| {
        soon(async {
            while server.storage.open_areas() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    let bytes = file(LENGTH, 1);
    let server = Server::with(without_timed_checkpoints).await;
    complete(sent(&server, new_upload("doc", LENGTH), &bytes).await, None).await.unwrap();
    closed(&server).await;

    let storage = Scripted::new(64 << 20, Extensions { renames: true, ..Extensions::NONE });
    let server = Server::over(storage, |_| {}).await;
    let upload = sent(&server, new_upload("doc", LENGTH), &bytes).await;
    let number = upload.id();
    server.storage.fail(Call::SyncName, 1, passing);
    assert_eq!(kind(complete(upload, None).await), "Internal");
    soon(server.account().receipt(number)).await.unwrap();
    closed(&server).await;
}
