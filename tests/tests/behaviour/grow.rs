//! A file that has become longer keeps the blocks that are still its own.

use towline_protocol::Code;
use towline_protocol::request::Resume;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, offset, resume, upload};
use towline_types::{DocumentId, FileSize};

/// The same bytes, and more behind them.
fn longer(corpus: &Corpus, by: usize) -> Corpus {
    let mut longer = Corpus::new(corpus.size() + by, 90);
    longer.bytes[..corpus.size()].copy_from_slice(&corpus.bytes);
    longer
}

/// An upload of which that many bytes are there and durable.
async fn paused(server: &TestServer, corpus: &Corpus, sent: usize) -> DocumentId {
    let mut speaker = server.speaker().await;
    let document_id = speaker.upload(upload("log.txt", corpus)).await.document_id;
    speaker.chunks(ZERO, corpus, 0..sent).await;
    let last = speaker.pause().await;
    assert_eq!(last[0].durable, offset(sent));
    document_id
}

fn grown(document_id: DocumentId, filesize: FileSize) -> Resume {
    Resume { filesize: Some(filesize), grow: true, ..resume(document_id) }
}

async fn finish(speaker: &mut Speaker, corpus: &Corpus, from: usize) {
    speaker.chunks(ZERO, corpus, from..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_blocks_stay_and_the_last_one_of_the_shorter_file_goes() {
    // Where the shorter file ends; what of it was sent; where the longer one goes on.
    for (size, sent, from) in [
        (3 * BLOCK + 700, 3 * BLOCK + 700, 3 * BLOCK),
        (3 * BLOCK + 700, 2 * BLOCK, 2 * BLOCK),
        (3 * BLOCK + 700, BLOCK + 9, BLOCK + 9),
        (3 * BLOCK, 3 * BLOCK, 3 * BLOCK),
        // The value of an only block is another one as soon as there are more.
        (BLOCK, BLOCK, 0),
        (700, 700, 0),
    ] {
        let mut server = TestServer::start().await;
        let corpus = Corpus::new(size, 91);
        let document_id = paused(&server, &corpus, sent).await;
        let longer = longer(&corpus, 2 * BLOCK + 5);
        for restarted in [false, true] {
            let mut speaker = server.speaker().await;
            let granted = speaker.resume(grown(document_id, longer.filesize())).await;
            assert_eq!(granted.document_id, document_id);
            assert_eq!(
                (granted.offset, granted.filesize),
                (offset(from), longer.filesize()),
                "{size} of which {sent} were sent, restarted: {restarted}"
            );
            let status = speaker.status(document_id).await;
            assert_eq!((status.durable, status.filesize), (offset(from), longer.filesize()));
            drop(speaker);
            if !restarted {
                server.restart().await;
            }
        }
        let mut speaker = server.speaker().await;
        let granted = speaker.resume(resume(document_id)).await;
        assert_eq!(granted.offset, offset(from));
        finish(&mut speaker, &longer, from).await;
        server.site.assert_published(&server.person, "log.txt", &longer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_changes_nothing() {
    let server = TestServer::start_with(|config| {
        config.engine.max_filesize = FileSize::try_from(5 * BLOCK as u64).unwrap();
    })
    .await;
    let corpus = Corpus::new(2 * BLOCK, 92);
    let document_id = paused(&server, &corpus, BLOCK + 9).await;
    let mut speaker = server.speaker().await;
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
        speaker.resume_refused(wish, code).await;
    }
    let bob = server.site.add_user("bob").await;
    let mut bob = Speaker::login(server.address(), &bob.token).await;
    bob.resume_refused(grown(document_id, size(3 * BLOCK)), Code::NotFound).await;

    // The size that it has is no growth, and as good as any other resume.
    let granted = speaker.resume(grown(document_id, size(2 * BLOCK))).await;
    assert_eq!((granted.offset, granted.filesize), (offset(BLOCK + 9), size(2 * BLOCK)));
    finish(&mut speaker, &corpus, BLOCK + 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_of_the_shorter_file_is_superseded() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK, 93);
    let mut old = server.speaker().await;
    let document_id = old.upload(upload("log.txt", &corpus)).await.document_id;
    old.chunks(ZERO, &corpus, 0..BLOCK + 5).await;
    old.has_received(document_id, BLOCK + 5).await;
    let longer = longer(&corpus, BLOCK);
    let mut new = server.speaker().await;
    let granted = new.resume(grown(document_id, longer.filesize())).await;
    assert_eq!(granted.offset, offset(BLOCK + 5));
    old.error(Code::Superseded).await;
    finish(&mut new, &longer, BLOCK + 5).await;
    server.site.assert_published(&server.person, "log.txt", &longer);
}
