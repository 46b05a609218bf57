//! A client that closes its sending half asks nothing more, and still gets every answer.

use towline_protocol::request::DocumentRef;
use towline_protocol::{Reply, Request};
use towline_state::Catalog;
use towline_state::catalog::Checkpoint;
use towline_tests::raw_client::{Heard, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileSize, Offset};

/// More than two pages of a list: a page has 32,768 blocks.
const HELD: u64 = 70_000;

fn value(index: u64) -> ChainingValue {
    let mut value = [7; 32];
    value[..8].copy_from_slice(&index.to_le_bytes());
    ChainingValue::from_bytes(value)
}

/// An upload of 70 GiB whose blocks the catalog knows; its file has holes instead of bytes.
async fn large_upload(server: &mut TestServer) -> DocumentId {
    let test_file = TestFile::new(BLOCK, 140);
    let mut client = server.client().await;
    let document_id = client.upload(upload("large.bin", &test_file)).await.document_id;
    client.pause().await;
    server.stop().await;
    let bytes = HELD << 20;
    let staging = server.site.uploads().join(format!(".staging/{document_id}.tmp"));
    std::fs::File::options().write(true).open(staging).unwrap().set_len(bytes).unwrap();
    let catalog = Catalog::open(server.site.catalog_path()).unwrap();
    let filesize = FileSize::try_from(bytes).unwrap();
    catalog.grow(document_id, filesize, 0, Offset::ZERO).await.unwrap();
    let checkpoint = Checkpoint {
        document_id,
        durable_offset: Offset::ZERO,
        new_blocks: (0..HELD)
            .map(|index| (BlockIndex::new(index).unwrap(), value(index)))
            .collect(),
        last_chunk_at: server.clock.now(),
    };
    assert_eq!(catalog.checkpoint(vec![checkpoint]).await.unwrap().len(), 1);
    catalog.close().await.unwrap();
    server.start_again().await;
    document_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_blocks_of_several_pages_comes_whole() {
    let mut server = TestServer::start().await;
    let document_id = large_upload(&mut server).await;
    let mut client = server.client().await;
    client.send(&Request::Blocks(DocumentRef { channel: ZERO, document_id })).await;
    client.finish_sending().await;
    let mut count = 0;
    for heard in client.closed().await {
        match heard {
            Heard::BlockList(_, first, values) => {
                assert_eq!(first.get(), count);
                for found in values {
                    assert_eq!(found, value(count));
                    count += 1;
                }
            }
            Heard::Reply(Reply::Blocks(blocks)) => {
                assert_eq!((blocks.document_id, blocks.count), (document_id, HELD));
            }
            other => panic!("the list of blocks goes on with {other:?}"),
        }
    }
    assert_eq!(count, HELD);
}
