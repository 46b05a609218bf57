//! Names that are taken already, or by something that is none.

use crate::kit::{
    Server, ada, bob, complete, file, kind, new_upload, soon, stored, without_timed_checkpoints,
};
use towline_engine::{Begun, Command, NewUpload, Rejection};
use towline_types::OnConflict;

fn rejecting(place: &str, length: usize) -> NewUpload {
    let mut new = new_upload(place, length);
    new.on_conflict = OnConflict::Reject;
    new
}

async fn begin(server: &Server, new: NewUpload) -> Result<Begun, Rejection> {
    soon(server.account().begin(new)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_document_gets_the_next_number_and_none_is_overwritten() {
    let server = Server::new().await;
    let names = ["doc.pdf", "doc (1).pdf", "doc (2).pdf", "doc (3).pdf"];
    for (seed, name) in (0..).zip(names) {
        let bytes = file(100, seed);
        // By turns with chunks and in one step.
        let receipt = if seed % 2 == 0 {
            server.put("a/doc.pdf", &bytes).await.receipt
        } else {
            server.put_whole(new_upload("a/doc.pdf", 100), &bytes).await.unwrap().receipt
        };
        assert_eq!(receipt.path().to_string(), format!("a/{name}"));
    }
    let server = server.restart().await;
    for (seed, name) in (0..).zip(names) {
        assert_eq!(server.storage.bytes(ada(), &format!("a/{name}")).unwrap(), file(100, seed));
    }
    let receipt = server.put("a/doc.pdf", b"x").await.receipt;
    assert_eq!(receipt.path().to_string(), "a/doc (4).pdf");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_are_the_same_name() {
    let server = Server::new().await;
    server.put("a/Straße.txt", b"x").await;
    let receipt = server.put("a/STRASSE.TXT", b"y").await.receipt;
    assert_eq!(receipt.path().to_string(), "a/STRASSE (1).TXT");
    assert_eq!(kind(begin(&server, rejecting("a/strasse.txt", 1)).await), "NameTaken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_refused_at_once_where_no_other_is_wanted() {
    let server = Server::new().await;
    server.put("a/doc", b"x").await;
    let mut client = server.client();
    client.tell(0, Command::Begin(Box::new(rejecting("a/doc", 1)))).await;
    assert_eq!(client.hear().await, "0: rejected NameTaken");
    assert_eq!(kind(server.put_whole(rejecting("a/doc", 1), b"y").await), "NameTaken");
    assert_eq!(server.storage.areas(), [], "nothing unfinished is left");
    let found =
        soon(server.account().find(crate::kit::path("a/doc"), crate::kit::size(1), None)).await;
    assert_eq!(found.unwrap().unfinished, None);
    // Of documents in a folder of that name too.
    assert_eq!(kind(begin(&server, rejecting("a", 1)).await), "NameTaken");
    assert_eq!(kind(server.put_whole(rejecting("a", 1), b"y").await), "NameTaken");
    assert_eq!(server.put("a", b"z").await.receipt.path().to_string(), "a (1)");
}

/// The bytes of a refused upload may be on their way already: they are dropped, and said nothing of.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_upload_is_dropped() {
    let server = Server::new().await;
    server.put("a/doc", b"x").await;
    let mut client = server.client();
    for turn in 0..2 {
        client.tell(0, Command::Begin(Box::new(rejecting("a/doc", 10)))).await;
        assert_eq!(client.hear().await, "0: rejected NameTaken", "{turn}");
        client.data(0, b"0123456789", 0..10).await;
        client.tell(0, Command::Complete(Default::default())).await;
        assert_eq!(client.settle(0).await, [""; 0], "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_the_name_of_a_folder_is_in_the_way() {
    let server = Server::new().await;
    server.put("a", b"x").await;
    for new in [new_upload("a/doc", 1), rejecting("a/doc", 1), new_upload("A/b/doc", 1)] {
        assert_eq!(kind(begin(&server, new.clone()).await), "FolderTaken");
        assert_eq!(kind(server.put_whole(new, b"y").await), "FolderTaken");
    }
    // It is no other user's business.
    let theirs = soon(server.account_of(bob()).begin(new_upload("a/doc", 1))).await;
    assert!(matches!(theirs, Ok(Begun::Uploading(_))));
    assert_eq!(server.storage.areas().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_a_document_took_meanwhile_keeps_the_bytes() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(1000, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("a/doc", 1000)).await;
    client.data(0, &bytes, 0..1000).await;
    client.settle(0).await;
    server.put("a", b"x").await;
    assert_eq!(client.complete(0).await, format!("0: rejected FolderTaken #{id}"));
    assert_eq!(server.status(id).await.phase.as_str(), "uploading");
    assert_eq!(client.complete(0).await, format!("0: rejected FolderTaken #{id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_do_not_share_names() {
    let server = Server::new().await;
    server.put("doc", b"ada's").await;
    let buffer = server.buffer(b"bob's").await;
    let theirs = soon(server.account_of(bob()).put_whole(new_upload("doc", 5), buffer, None)).await;
    assert_eq!(theirs.unwrap().receipt.path().to_string(), "doc");
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), b"ada's");
    assert_eq!(server.storage.bytes(bob(), "doc").unwrap(), b"bob's");
}

/// A file that no row knows has the name: it is not overwritten, and the next number is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_catalog_does_not_know_is_not_overwritten() {
    use towline_engine::storage::Storage as _;
    let server = Server::new().await;
    let stray = |name: &str, number| {
        let (memory, id) = (server.storage.memory(), crate::kit::id(number));
        memory.create_whole(id, b"stray").unwrap().sync_data().unwrap();
        let hash = crate::kit::hash_of(b"stray");
        memory.publish(id, ada(), &crate::kit::path(name), hash, &mut |_| true).unwrap();
    };
    stray("doc", 900);
    stray("doc (1)", 901);
    assert_eq!(server.put("doc", b"x").await.receipt.path().to_string(), "doc (2)");
    stray("small", 902);
    let small = server.put_whole(new_upload("small", 1), b"y").await.unwrap();
    assert_eq!(small.receipt.path().to_string(), "small (1)");
    stray("rejected", 903);
    let bytes = file(10, 1);
    let mut upload = match begin(&server, rejecting("rejected", 10)).await {
        Ok(begun) => crate::kit::uploading(begun),
        Err(rejection) => {
            assert_eq!(rejection.kind, towline_engine::RejectionKind::NameTaken);
            return;
        }
    };
    server.write(&mut upload, &bytes, 0..10).await;
    assert_eq!(kind(complete(upload, None).await), "NameTaken");
    assert_eq!(kind(server.put_whole(rejecting("rejected", 1), b"y").await), "NameTaken");
    for name in ["doc", "doc (1)", "small", "rejected"] {
        assert_eq!(server.storage.bytes(ada(), name).unwrap(), b"stray");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_uploads_to_one_name_get_two_names() {
    let server = Server::new().await;
    let (one, two) = (file(500, 1), file(500, 2));
    let mut first = server.begin("doc", 500).await;
    let mut second = server.begin("doc", 500).await;
    assert_ne!(first.id(), second.id());
    server.write(&mut first, &one, 0..500).await;
    server.write(&mut second, &two, 0..500).await;
    assert_eq!(complete(second, None).await.unwrap().receipt.path().to_string(), "doc");
    assert_eq!(complete(first, None).await.unwrap().receipt.path().to_string(), "doc (1)");
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), two);
    assert_eq!(server.storage.bytes(ada(), "doc (1)").unwrap(), one);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_where_there_is_no_unfinished_one_a_new_one_is_begun() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("a/doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..300).await;
    let id = upload.id();
    soon(upload.pause()).await;
    let only_new = |place: &str, length| {
        let mut new = new_upload(place, length);
        new.new_only = true;
        new
    };
    let Begun::Unfinished(found) = begin(&server, only_new("a/doc", 1000)).await.unwrap() else {
        panic!("there is one")
    };
    let (there, durable) = found.unfinished.unwrap();
    assert_eq!((there, durable.get().get()), (id, 300));
    // What follows is dropped, and a whole file is no new one either.
    let mut client = server.client();
    let answer = client.whole(0, only_new("a/doc", 1000), &file(1000, 1)).await;
    assert_eq!(
        answer,
        [format!(
            "0: found same_size=false same_place=None known=false unfinished=Some(({id}, 300))"
        )]
    );
    client.data(0, &file(1000, 1), 300..1000).await;
    client.tell(0, Command::Complete(Default::default())).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    assert_eq!(server.storage.areas().len(), 1);
    for (place, length) in [("a/doc", 999), ("a/dob", 1000), ("doc", 1000)] {
        let begun = begin(&server, only_new(place, length)).await.unwrap();
        assert!(matches!(begun, Begun::Uploading(_)), "{place} {length}");
    }
    soon(server.account().cancel(id)).await.unwrap();
    assert!(matches!(begin(&server, only_new("a/doc", 1000)).await, Ok(Begun::Uploading(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_twice_store_a_file_once() {
    let server = Server::new().await;
    let bytes = file(2000, 1);
    let mut new = new_upload("a/doc", 2000);
    new.hash = Some(crate::kit::hash_of(&bytes));
    new.new_only = true;
    let first = server.put_whole(new.clone(), &bytes).await.unwrap();
    assert!(!first.existing);
    let second = server.put_whole(new.clone(), &bytes).await.unwrap();
    assert!(second.existing && !second.receipt.is_copy());
    assert_eq!(second.receipt.document_id(), first.receipt.document_id());
    let third = stored(begin(&server, new).await.unwrap());
    assert!(third.existing);
    assert_eq!(third.receipt.document_id(), first.receipt.document_id());
    assert_eq!(server.storage.bytes(ada(), "a/doc (1)"), None);
}
