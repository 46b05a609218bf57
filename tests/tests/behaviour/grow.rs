//! A file that has become longer: the upload keeps the blocks that have not changed.

use towline_protocol::Code;
use towline_protocol::request::Resume;
use towline_tests::raw_client::{RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{DocumentId, FileSize};

/// The same bytes, followed by others.
fn longer(test_file: &TestFile, by: usize) -> TestFile {
    let mut longer = TestFile::new(test_file.size() + by, 90);
    longer.bytes[..test_file.size()].copy_from_slice(&test_file.bytes);
    longer
}

/// An upload of which this number of bytes is there and durable.
async fn paused(server: &TestServer, test_file: &TestFile, sent: usize) -> DocumentId {
    let mut client = server.client().await;
    let document_id = client.upload(upload("log.txt", test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..sent).await;
    let last = client.pause().await;
    assert_eq!(last[0].durable, offset(sent));
    document_id
}

fn grown(document_id: DocumentId, filesize: FileSize) -> Resume {
    Resume { filesize: Some(filesize), grow: true, ..resume(document_id) }
}

async fn finish(client: &mut RawClient, test_file: &TestFile, from: usize) {
    client.chunks(ZERO, test_file, from..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_keeps_whole_blocks_and_drops_the_last_of_the_shorter_file() {
    // The size of the shorter file; how many of its bytes were sent; the offset at which the longer
    // one continues.
    for (size, sent, from) in [
        (3 * BLOCK + 700, 3 * BLOCK + 700, 3 * BLOCK),
        (3 * BLOCK + 700, 2 * BLOCK, 2 * BLOCK),
        (3 * BLOCK + 700, BLOCK + 9, BLOCK + 9),
        (3 * BLOCK, 3 * BLOCK, 3 * BLOCK),
        // A file of one block has a special value for that block, which changes as soon as there
        // are more blocks.
        (BLOCK, BLOCK, 0),
        (700, 700, 0),
    ] {
        let mut server = TestServer::start().await;
        let test_file = TestFile::new(size, 91);
        let document_id = paused(&server, &test_file, sent).await;
        let longer = longer(&test_file, 2 * BLOCK + 5);
        for restarted in [false, true] {
            let mut client = server.client().await;
            let granted = client.resume(grown(document_id, longer.filesize())).await;
            assert_eq!(granted.document_id, document_id);
            assert_eq!(
                (granted.offset, granted.filesize),
                (offset(from), longer.filesize()),
                "{size} of which {sent} were sent, restarted: {restarted}"
            );
            let status = client.status(document_id).await;
            assert_eq!((status.durable, status.filesize), (offset(from), longer.filesize()));
            drop(client);
            if !restarted {
                server.restart().await;
            }
        }
        let mut client = server.client().await;
        let granted = client.resume(resume(document_id)).await;
        assert_eq!(granted.offset, offset(from));
        finish(&mut client, &longer, from).await;
        server.site.assert_published(&server.user, "log.txt", &longer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growth_that_is_refused_changes_nothing() {
    let server = TestServer::start_with(|config| {
        config.engine.max_filesize = FileSize::try_from(5 * BLOCK as u64).unwrap();
    })
    .await;
    let test_file = TestFile::new(2 * BLOCK, 92);
    let document_id = paused(&server, &test_file, BLOCK + 9).await;
    let mut client = server.client().await;
    let size = |bytes: usize| FileSize::try_from(bytes as u64).unwrap();
    let refused = [
        (grown(document_id, size(BLOCK)), Code::FileChanged),
        (grown(document_id, size(5 * BLOCK + 1)), Code::SizeLimit),
        (Resume { grow: false, ..grown(document_id, size(3 * BLOCK)) }, Code::FileChanged),
        (
            Resume { offset: Some(offset(7)), ..grown(document_id, size(3 * BLOCK)) },
            Code::OffsetMismatch,
        ),
        (
            Resume { filename: Some("x".to_owned()), ..grown(document_id, size(3 * BLOCK)) },
            Code::FileChanged,
        ),
    ];
    for (wish, code) in refused {
        client.resume_refused(wish, code).await;
    }
    let bob = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &bob.token).await;
    bob.resume_refused(grown(document_id, size(3 * BLOCK)), Code::NotFound).await;

    // A `resume` with the present size is no growth and is granted like any other.
    let granted = client.resume(grown(document_id, size(2 * BLOCK))).await;
    assert_eq!((granted.offset, granted.filesize), (offset(BLOCK + 9), size(2 * BLOCK)));
    finish(&mut client, &test_file, BLOCK + 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_supersedes_the_sender_of_the_shorter_file() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 93);
    let mut old = server.client().await;
    let document_id = old.upload(upload("log.txt", &test_file)).await.document_id;
    old.chunks(ZERO, &test_file, 0..BLOCK + 5).await;
    old.has_received(document_id, BLOCK + 5).await;
    let longer = longer(&test_file, BLOCK);
    let mut new = server.client().await;
    let granted = new.resume(grown(document_id, longer.filesize())).await;
    assert_eq!(granted.offset, offset(BLOCK + 5));
    old.error(Code::Superseded).await;
    finish(&mut new, &longer, BLOCK + 5).await;
    server.site.assert_published(&server.user, "log.txt", &longer);
}
