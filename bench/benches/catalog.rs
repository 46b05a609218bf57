//! What a promise costs: calls of the catalog that come together and so share one
//! transaction, with its syncs, on the disk that holds `target/`.

use divan::Bencher;
use divan::counter::ItemsCount;
use tempfile::TempDir;
use towline_state::Catalog;
use towline_state::catalog::{
    Checkpoint, Created, Description, Length, NewDocument, NodeWish, OnConflict, Unless,
};
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileSize, Offset, SecondDigest, Timestamp,
    UserId,
};

fn main() {
    divan::main();
}

const TOGETHER: [u32; 3] = [1, 16, 256];
const FILE_BYTES: u64 = 1 << 40;

#[divan::bench(args = TOGETHER, sample_count = 20, sample_size = 1)]
fn create_documents(bencher: Bencher, together: u32) {
    let mut bench = Bench::new();
    bencher.counter(ItemsCount::new(together)).bench_local(|| bench.create(together));
}

/// Each an upload that has got one block further.
#[divan::bench(args = TOGETHER, sample_count = 20, sample_size = 1)]
fn record_checkpoints(bencher: Bencher, together: u32) {
    let mut bench = Bench::new();
    let documents = bench.create(together);
    let mut block = BlockIndex::FIRST;
    bencher.counter(ItemsCount::new(together)).bench_local(|| {
        bench.record(&documents, block);
        block = block.next();
    });
}

struct Bench {
    /// Gone with the bench.
    _folder: TempDir,
    catalog: Catalog,
    user: UserId,
    made: u32,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let catalog = Catalog::open(folder.path().join("catalog.db")).expect("a new catalog");
        let user = catalog.add_user("ann", None, now()).wait().expect("a first user").user_id;
        Self { _folder: folder, catalog, user, made: 0 }
    }

    fn create(&mut self, count: u32) -> Vec<DocumentId> {
        let calls = (0..count).map(|_| {
            self.made += 1;
            let path = DocumentPath::parse(&format!("{}.bin", self.made)).expect("a path");
            let document = NewDocument {
                user_id: self.user,
                path,
                length: Length::Declared(FileSize::try_from(FILE_BYTES).expect("a legal size")),
                on_conflict: OnConflict::Rename,
                chunk_size: Some(65_536),
                description: Description::default(),
                second_digest: SecondDigest::None,
                wish: NodeWish::default(),
                started_at: now(),
            };
            self.catalog.create_document(document, Unless::default(), u32::MAX, |id| id)
        });
        let calls: Vec<_> = calls.collect();
        let number = |created| match created {
            Created::New(id) => id,
            other => panic!("not asked for: {other:?}"),
        };
        calls.into_iter().map(|call| number(call.wait().expect("a new document"))).collect()
    }

    fn record(&self, documents: &[DocumentId], block: BlockIndex) {
        let durable_offset: Offset = block.next().start();
        let calls = documents.iter().map(|&document_id| {
            self.catalog.checkpoint(vec![Checkpoint {
                document_id,
                durable_offset,
                new_blocks: vec![(block, ChainingValue::from_bytes([7; 32]))],
                last_chunk_at: now(),
            }])
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            call.wait().expect("a checkpoint of an upload that goes on");
        }
    }
}

/// Whatever the time is, it is the same.
fn now() -> Timestamp {
    Timestamp::try_from(1).expect("a legal time")
}
