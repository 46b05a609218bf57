//! An upload that goes on after it was let go of.

use crate::kit::{
    BLOCK, Server, complete, file, hash_of, id, kind, new_upload, offset, refused, size, soon,
    stored, uploading, value_of, without_timed_checkpoints,
};
use towline_engine::{Begun, ReadRequest, RejectionKind, ResumeRequest, SendingMode};
use towline_types::DocumentId;

const LENGTH: usize = 2 * BLOCK + 5;

/// A paused upload of the file with seed 1, of which that many bytes came.
async fn paused(server: &Server, sent: usize) -> DocumentId {
    let mut upload = server.begin("a/doc", LENGTH).await;
    server.write(&mut upload, &file(LENGTH, 1), 0..sent).await;
    let id = upload.id();
    let position = soon(upload.pause()).await.unwrap();
    assert_eq!((position.received, position.durable.get()), (offset(sent), offset(sent)));
    id
}

fn request(id: DocumentId) -> ResumeRequest {
    ResumeRequest::of(id, SendingMode::PLAIN)
}

async fn ask(server: &Server, request: ResumeRequest) -> Result<Begun, towline_engine::Rejection> {
    soon(server.account().resume(request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_was_in_the_same_run_and_after_each_kind_of_end() {
    let mut server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let mut at = BLOCK + 100;
    let id = paused(&server, at).await;
    for end in 0..4 {
        server = match end {
            0 => server,
            1 => server.restart().await,
            2 => server.kill().await,
            _ => server.cut_power().await,
        };
        let mut upload = server.resume(id).await;
        assert_eq!(upload.offset(), offset(at), "end {end}");
        assert_eq!(upload.length(), crate::kit::length(LENGTH));
        server.write(&mut upload, &bytes, at..at + 1000).await;
        at += 1000;
        assert_eq!(soon(upload.pause()).await.unwrap().durable.get(), offset(at));
    }
    let mut upload = server.resume(id).await;
    server.write(&mut upload, &bytes, at..LENGTH).await;
    assert_eq!(
        complete(upload, Some(hash_of(&bytes))).await.unwrap().receipt.filesize(),
        size(LENGTH)
    );
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_resume_has_a_lease_of_its_own() {
    let server = Server::new().await;
    let id = paused(&server, 10).await;
    let first = server.resume(id).await.lease().unwrap();
    let second = server.resume(id).await.lease().unwrap();
    assert!(second > first, "{second:?} {first:?}");
    let server = server.restart().await;
    assert!(server.resume(id).await.lease().unwrap() > second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_the_file_has_to_be_true_of_the_upload() {
    let server = Server::new().await;
    let id = paused(&server, 1000).await;
    let with = |change: fn(&mut ResumeRequest)| {
        let mut request = request(id);
        change(&mut request);
        request
    };
    for _ in 0..2 {
        let wrong_offset = with(|request| request.offset = Some(offset(999)));
        let expected = RejectionKind::OffsetMismatch { expected: offset(1000) };
        assert_eq!(refused(ask(&server, wrong_offset).await).kind, expected);
        let wrong_name = with(|request| request.filename = Some("other".to_owned()));
        assert_eq!(kind(ask(&server, wrong_name).await), "FileChanged");
        let wrong_size = with(|request| request.filesize = Some(size(LENGTH + 1)));
        assert_eq!(kind(ask(&server, wrong_size).await), "FileChanged");
        let smaller = with(|request| {
            request.filesize = Some(size(LENGTH - 1));
            request.grow = true;
        });
        assert_eq!(kind(ask(&server, smaller).await), "FileChanged");
    }
    // A refusal has changed nothing, and the truth is granted.
    assert!(!server.status(id).await.is_active);
    let all_true = with(|request| {
        request.filename = Some("doc".to_owned());
        request.filesize = Some(size(LENGTH));
        request.offset = Some(offset(1000));
    });
    assert_eq!(uploading(ask(&server, all_true).await.unwrap()).offset(), offset(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_anothers_is_not_found() {
    let server = Server::new().await;
    let id_of_ada = paused(&server, 10).await;
    let bob = server.account_of(crate::kit::bob());
    assert_eq!(kind(soon(bob.resume(request(id_of_ada))).await), "NotFound");
    assert_eq!(kind(soon(bob.resume(request(id(77)))).await), "NotFound");
    let of_ada = refused(soon(bob.resume(request(id_of_ada))).await);
    let absent = refused(soon(bob.resume(request(id(77)))).await);
    assert_eq!(of_ada.message, absent.message, "a stranger learns nothing");
    assert_eq!(kind(soon(bob.status(id_of_ada)).await), "NotFound");
    assert_eq!(kind(soon(bob.cancel(id_of_ada)).await), "NotFound");
    assert_eq!(kind(soon(bob.read(ReadRequest::whole(id_of_ada))).await), "NotFound");
    assert_eq!(kind(soon(bob.receipt(id_of_ada)).await), "NotFound");
    assert_eq!(
        kind(soon(bob.held_blocks(id_of_ada, towline_types::BlockIndex::FIRST, 1)).await),
        "NotFound"
    );
    let lease = server.resume(id_of_ada).await.lease().unwrap();
    assert_eq!(kind(soon(bob.join(id_of_ada, lease)).await), "NotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_document_answers_with_its_receipt() {
    let server = Server::new().await;
    server.put("a/doc", b"first").await;
    let bytes = file(300, 3);
    let receipt = server.put("a/doc", &bytes).await.receipt;
    assert_eq!(receipt.path().to_string(), "a/doc (1)");
    let id = receipt.document_id();
    // The name that was asked for and the one that it got.
    for name in [None, Some("doc"), Some("doc (1)")] {
        let mut request = request(id);
        request.filename = name.map(str::to_owned);
        request.filesize = Some(size(300));
        let again = stored(ask(&server, request).await.unwrap());
        assert_eq!(again.receipt.hash(), hash_of(&bytes));
        assert_eq!(again.receipt.created_at(), receipt.created_at());
    }
    let mut other_name = request(id);
    other_name.filename = Some("doc (2)".to_owned());
    assert_eq!(kind(ask(&server, other_name).await), "FileChanged");
    let mut other_size = request(id);
    other_size.filesize = Some(size(301));
    assert_eq!(kind(ask(&server, other_size).await), "FileChanged");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_gone_fail_the_upload_for_good() {
    let server = Server::with(without_timed_checkpoints).await;
    let id = paused(&server, 5000).await;
    let (folder, storage) = server.stop().await;
    let left = storage.after_kill();
    towline_engine::storage::Storage::discard(left.memory(), id).unwrap();
    drop(storage);
    let server = Server::over_folder(folder, left).await;
    assert_eq!(kind(ask(&server, request(id)).await), "Failed");
    let status = server.status(id).await;
    assert_eq!(status.phase.as_str(), "failed");
    assert!(status.reason.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_grown_keeps_its_whole_blocks() {
    for is_restarted in [false, true] {
        let mut server = Server::with(without_timed_checkpoints).await;
        let id = paused(&server, LENGTH).await;
        if is_restarted {
            server = server.restart().await;
        }
        let longer = file(4 * BLOCK + 9, 1);
        let mut grow = request(id);
        grow.grow = true;
        grow.filesize = Some(size(longer.len()));
        // The position that counts is the one behind the growth.
        grow.offset = Some(offset(LENGTH));
        let expected = RejectionKind::OffsetMismatch { expected: offset(2 * BLOCK) };
        assert_eq!(refused(ask(&server, grow.clone()).await).kind, expected);
        assert_eq!(server.status(id).await.position.length, crate::kit::length(LENGTH));
        grow.offset = Some(offset(2 * BLOCK));
        let mut upload = uploading(ask(&server, grow).await.unwrap());
        assert_eq!(
            (upload.offset(), upload.length()),
            (offset(2 * BLOCK), crate::kit::length(longer.len()))
        );
        let status = server.status(id).await;
        assert_eq!(status.position.durable.get(), offset(2 * BLOCK));
        assert_eq!(status.position.length, crate::kit::length(longer.len()));
        server.write(&mut upload, &longer, 2 * BLOCK..longer.len()).await;
        complete(upload, Some(hash_of(&longer))).await.unwrap();
        assert!(server.read(id).await == longer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_block_that_has_grown_starts_again() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..900).await;
    let id = upload.id();
    soon(upload.pause()).await;
    let longer = file(BLOCK + 1, 1);
    let mut grow = request(id);
    (grow.grow, grow.filesize) = (true, Some(size(longer.len())));
    let mut upload = uploading(ask(&server, grow).await.unwrap());
    assert_eq!(upload.offset(), offset(0));
    server.write(&mut upload, &longer, 0..longer.len()).await;
    complete(upload, Some(hash_of(&longer))).await.unwrap();
    assert!(server.read(id).await == longer);
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_survives_a_power_cut_and_is_checked_as_a_new_file_is() {
    let server = Server::with(|config| {
        without_timed_checkpoints(config);
        config.max_filesize = size(4 * BLOCK);
    })
    .await;
    let id = paused(&server, BLOCK + 7).await;
    let mut grow = request(id);
    (grow.grow, grow.filesize) = (true, Some(size(4 * BLOCK + 1)));
    let expected = RejectionKind::SizeLimit { max: Some(size(4 * BLOCK)) };
    assert_eq!(refused(ask(&server, grow.clone()).await).kind, expected);
    assert_eq!(server.status(id).await.position.length, crate::kit::length(LENGTH));
    grow.filesize = Some(size(4 * BLOCK));
    drop(uploading(ask(&server, grow).await.unwrap()));
    let server = server.cut_power().await;
    let status = server.status(id).await;
    assert_eq!(status.position.length, crate::kit::length(4 * BLOCK));
    // The last block of the shorter file was not begun, so nothing had to be forgotten.
    assert_eq!(status.position.durable.get(), offset(BLOCK + 7));
    let longer = file(4 * BLOCK, 1);
    let mut upload = server.resume(id).await;
    server.write(&mut upload, &longer, BLOCK + 7..4 * BLOCK).await;
    complete(upload, Some(hash_of(&longer))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_needs_room() {
    let server = Server::over(crate::kit::Scripted::new(4 << 20, Default::default()), |_| {}).await;
    let id = paused(&server, 100).await;
    let mut grow = request(id);
    (grow.grow, grow.filesize) = (true, Some(size(5 * BLOCK)));
    let missing_bytes = Some((BLOCK) as u64);
    assert_eq!(refused(ask(&server, grow).await).kind, RejectionKind::NoSpace { missing_bytes });
    assert_eq!(server.status(id).await.position.length, crate::kit::length(LENGTH));
    assert_eq!(server.resume(id).await.offset(), offset(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_blocks_are_held_over_a_restart_and_the_begun_one_goes_on() {
    let bytes = file(LENGTH + BLOCK, 1);
    for is_cut in [false, true] {
        let mut server = Server::with(without_timed_checkpoints).await;
        let mut new = new_upload("doc", bytes.len());
        new.mode = SendingMode::BLOCKS;
        let mut upload = server.begin_new(new).await;
        let id = upload.id();
        // Block 2 is held, block 0 is begun, block 1 is whole and not announced.
        server.write_announced(&mut upload, &bytes, 2 * BLOCK..3 * BLOCK).await;
        server.write(&mut upload, &bytes, BLOCK..2 * BLOCK).await;
        server.write(&mut upload, &bytes, 0..777).await;
        let position = soon(upload.position()).await.unwrap();
        assert_eq!(position.received, offset(777));
        soon(upload.pause()).await.unwrap();
        if is_cut {
            server = server.cut_power().await;
        }
        let held = server.held(id).await;
        assert_eq!(held, [(crate::kit::index(2), value_of(&bytes, 2))]);
        let mut upload = server.resume_in(id, SendingMode::BLOCKS).await;
        assert_eq!(upload.offset(), offset(777));
        server.write_announced(&mut upload, &bytes, 777..BLOCK).await;
        assert_eq!(soon(upload.position()).await.unwrap().received, offset(BLOCK));
        server.write_announced(&mut upload, &bytes, BLOCK..2 * BLOCK).await;
        assert_eq!(soon(upload.position()).await.unwrap().received, offset(3 * BLOCK));
        server.write_announced(&mut upload, &bytes, 3 * BLOCK..bytes.len()).await;
        complete(upload, None).await.unwrap();
        assert!(server.read(id).await == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_bytes_pass_over_blocks_that_are_held_further_on() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::BLOCKS;
    let mut upload = server.begin_new(new).await;
    let id = upload.id();
    server.write_announced(&mut upload, &bytes, BLOCK..2 * BLOCK).await;
    soon(upload.pause()).await.unwrap();
    let mut upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(0));
    server.write(&mut upload, &bytes, 0..BLOCK).await;
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(2 * BLOCK));
    server.write(&mut upload, &bytes, 2 * BLOCK..LENGTH).await;
    complete(upload, Some(hash_of(&bytes))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_came_without_a_gap_go_on_after_a_pause() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::RANGES;
    let mut upload = server.begin_new(new).await;
    let id = upload.id();
    server.write(&mut upload, &bytes, 500..1000).await;
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(0));
    server.write(&mut upload, &bytes, 0..500).await;
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(1000));
    server.write(&mut upload, &bytes, 2 * BLOCK..LENGTH).await;
    server.write(&mut upload, &bytes, BLOCK + 5..2 * BLOCK).await;
    server.write(&mut upload, &bytes, 1000..BLOCK + 5).await;
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(LENGTH));
    complete(upload, Some(hash_of(&bytes))).await.unwrap();
    assert!(server.read(id).await == bytes);
}
