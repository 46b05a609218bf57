//! How a document stands in each phase of its life.

use crate::kit::{
    BLOCK, Server, complete, file, hash_of, index, kind, new_upload, offset, size, soon, value_of,
    without_timed_checkpoints,
};
use std::time::Duration;
use towline_engine::{Clock, Command, Phase, Query, SendingMode};
use towline_types::Timestamp;

#[tokio::test(flavor = "multi_thread")]
async fn each_phase_says_what_it_has_to() {
    let now = Timestamp::try_from(1_700_000_000_000).unwrap();
    let server = Server::with(move |config| {
        without_timed_checkpoints(config);
        config.clock = Clock::new(move || now);
        config.expire_after = Duration::from_secs(3600);
    })
    .await;
    let bytes = file(1000, 1);
    let mut upload = server.begin("a/doc", 1000).await;
    server.write(&mut upload, &bytes, 0..400).await;
    let position = soon(upload.position()).await.unwrap();
    assert_eq!((position.received, position.durable.get()), (offset(400), offset(0)));
    let id = upload.id();
    let status = server.status(id).await;
    assert_eq!((status.phase, status.is_active), (Phase::Uploading, true));
    assert_eq!(status.path.to_string(), "a/doc");
    assert_eq!(status.position, position);
    assert_eq!((status.hash, status.created_at, status.reason), (None, None, None));
    let expires_at = Timestamp::try_from(1_700_000_000_000 + 3_600_000).unwrap();
    assert_eq!(status.expires_at, Some(expires_at));

    soon(upload.pause()).await;
    let status = server.status(id).await;
    assert_eq!((status.phase, status.is_active), (Phase::Uploading, false));
    assert_eq!(status.position.durable.get(), offset(400));
    let server = server.restart().await;
    let status = server.status(id).await;
    assert_eq!((status.phase, status.is_active), (Phase::Uploading, false));
    assert_eq!(
        (status.position.received, status.position.durable.get()),
        (offset(400), offset(400))
    );
    assert_eq!(status.expires_at, Some(expires_at));

    server.put("a/doc", b"x").await;
    let mut upload = server.resume(id).await;
    server.write(&mut upload, &bytes, 400..1000).await;
    complete(upload, None).await.unwrap();
    let check = async |server: &Server| {
        let status = server.status(id).await;
        assert_eq!((status.phase, status.is_active), (Phase::Completed, false));
        assert_eq!(status.path.to_string(), "a/doc (1)");
        assert_eq!(status.position.received, offset(1000));
        assert_eq!(status.position.durable.get(), offset(1000));
        assert_eq!(status.position.length, crate::kit::length(1000));
        assert_eq!((status.hash, status.created_at), (Some(hash_of(&bytes)), Some(now)));
        assert_eq!((status.expires_at, status.reason), (None, None));
    };
    check(&server).await;
    let server = server.restart().await;
    check(&server).await;

    let upload = server.begin("b", 5).await;
    let cancelled = upload.id();
    soon(server.account().cancel(cancelled)).await.unwrap();
    for _ in 0..2 {
        let status = server.status(cancelled).await;
        assert_eq!((status.phase, status.is_active), (Phase::Cancelled, false));
        assert!(status.reason.is_some() && status.expires_at.is_none() && status.hash.is_none());
    }
    assert_eq!(kind(soon(server.account().status(crate::kit::id(77))).await), "NotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocks_that_are_held_are_told_in_order() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(3 * BLOCK + 5, 1);
    let mut new = new_upload("doc", bytes.len());
    new.mode = SendingMode::BLOCKS;
    let mut upload = server.begin_new(new).await;
    let id = upload.id();
    let held = async |server: &Server| server.held(id).await;
    assert_eq!(held(&server).await, []);
    for number in [3, 0] {
        let end = bytes.len().min((number + 1) * BLOCK);
        server.write_announced(&mut upload, &bytes, number * BLOCK..end).await;
    }
    soon(upload.position()).await.unwrap();
    let expected = [0, 3].map(|number| (index(number), value_of(&bytes, number)));
    assert_eq!(held(&server).await, expected);
    soon(upload.pause()).await;
    let server = server.kill().await;
    assert_eq!(held(&server).await, expected);
    assert_eq!(
        kind(
            soon(server.account().held_blocks(
                crate::kit::id(9),
                towline_types::BlockIndex::FIRST,
                1
            ))
            .await
        ),
        "NotFound"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_leaves_the_writers_own_upload_as_it_is() {
    let server = Server::new().await;
    let bytes = file(1000, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", 1000)).await;
    client.data(0, &bytes, 0..500).await;
    let nothing = crate::kit::id(99);
    for command in [
        Command::Query(Query::Status(nothing)),
        Command::Query(Query::HeldBlocks { id: nothing, pages: towline_engine::BlockPages::All }),
        Command::Cancel(nothing),
    ] {
        assert_eq!(client.ask(0, command).await, "0: rejected NotFound #99");
    }
    let found = client
        .ask(
            0,
            Command::Query(Query::Find {
                path: crate::kit::path("doc"),
                filesize: size(1000),
                hash: None,
            }),
        )
        .await;
    assert!(found.starts_with("0: found same_size=false"), "{found}");
    let status = client.ask(0, Command::Query(Query::Status(id))).await;
    assert!(
        status.starts_with("0: uploading 500/")
            && status.ends_with(&format!(" of 1000, active #{id}")),
        "{status}"
    );
    client.data(0, &bytes, 500..1000).await;
    assert_eq!(client.complete(0).await, format!("0: completed doc (1000) #{id}"));
    let status = client.ask(0, Command::Query(Query::Status(id))).await;
    assert_eq!(status, format!("0: completed 1000/1000 of 1000 #{id}"));
}
