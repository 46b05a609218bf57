//! Random commands against the rules of one upload, beside a model that keeps no
//! more than a set of bytes. A failing sequence shrinks, and its seed is kept in
//! `proptest-regressions`.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use towline_types::block::{self, BLOCK_SIZE_BYTES, block_count};
use towline_types::limits::WRITERS_MAX;
use towline_types::{BlockIndex, ChainingValue, DocumentPath, FileSize, Offset, Timestamp, UserId};
use towline_upload::{
    Ask, BlockOrder, Integrity, Lease, Phase, Progress, Refusal, SendingMode, Upload, Verdict,
};

const FILESIZE: u64 = 4 * BLOCK_SIZE_BYTES + 1000;
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Clone)]
enum Command {
    /// Bytes for a block: where its fill stands, shifted by so much.
    Append {
        block: u64,
        shift: i64,
        length: u64,
    },
    Announce {
        block: u64,
        honest: bool,
    },
    Withdraw {
        first: u64,
        count: u64,
    },
    Resume {
        mode: SendingMode,
        offset_is_right: bool,
    },
    /// One more connection for a lease: the one in force, one before it, or a
    /// stranger's try.
    Join {
        who: Joiner,
    },
    Release,
    Checkpoint,
    /// The process is killed and reads the catalog.
    Restart,
    Complete {
        honest: bool,
    },
    /// Whoever had the lease before tries once more.
    OldWriter,
}

#[derive(Debug, Clone, Copy)]
enum Joiner {
    Owner,
    Stranger,
    Late,
}

fn command() -> impl Strategy<Value = Command> {
    let order = prop_oneof![Just(BlockOrder::InOrder), Just(BlockOrder::AnyBlock)];
    let integrity = prop_oneof![Just(Integrity::Announced), Just(Integrity::Unannounced)];
    let mode = (order, integrity).prop_map(|(order, integrity)| SendingMode { order, integrity });
    prop_oneof![
        12 => (0u64..6, prop_oneof![4 => Just(0i64), 1 => -2000i64..2000], lengths())
            .prop_map(|(block, shift, length)| Command::Append { block, shift, length }),
        6 => (0u64..6, prop::bool::weighted(0.8))
            .prop_map(|(block, honest)| Command::Announce { block, honest }),
        1 => (0u64..5, 1u64..3).prop_map(|(first, count)| Command::Withdraw { first, count }),
        2 => (mode, prop::bool::weighted(0.8))
            .prop_map(|(mode, offset_is_right)| Command::Resume { mode, offset_is_right }),
        3 => prop_oneof![4 => Just(Joiner::Owner), 1 => Just(Joiner::Stranger), 1 => Just(Joiner::Late)]
            .prop_map(|who| Command::Join { who }),
        2 => Just(Command::Release),
        3 => Just(Command::Checkpoint),
        1 => Just(Command::Restart),
        1 => prop::bool::weighted(0.8).prop_map(|honest| Command::Complete { honest }),
        1 => Just(Command::OldWriter),
    ]
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..3000, Just(BLOCK_SIZE_BYTES / 2), Just(BLOCK_SIZE_BYTES)]
}

/// The true value of a block: any function of its place will do.
fn value(index: BlockIndex) -> ChainingValue {
    ChainingValue::from_bytes([u8::try_from(index.get()).unwrap() + 1; 32])
}

struct World {
    upload: Upload,
    lease: Option<Lease>,
    /// How many share it.
    writers: usize,
    old: Vec<Lease>,
    /// The model: how many bytes of each block are here.
    filled: BTreeMap<u64, u64>,
    /// What the catalog has been told.
    durable: Offset,
    recorded: BTreeMap<BlockIndex, ChainingValue>,
    now: Timestamp,
}

fn owner() -> UserId {
    UserId::try_from(7).unwrap()
}

fn filesize() -> FileSize {
    FileSize::try_from(FILESIZE).unwrap()
}

impl World {
    fn new() -> Self {
        let now = Timestamp::from_secs(1_000_000);
        let path = DocumentPath::parse("doc.pdf").unwrap();
        let (upload, lease) = Upload::begin(owner(), path, filesize(), SendingMode::BLOCKS, now);
        Self {
            upload,
            lease: Some(lease),
            writers: 1,
            old: Vec::new(),
            filled: BTreeMap::new(),
            durable: Offset::ZERO,
            recorded: BTreeMap::new(),
            now,
        }
    }

    fn fill(&self, block: u64) -> u64 {
        self.filled.get(&block).copied().unwrap_or(0)
    }

    /// The bytes without a gap: blocks that are held, and what is here of the
    /// first that is not. A block that awaits its announcement is not held.
    fn prefix(&self) -> u64 {
        let blocks = (0..block_count(filesize())).map(|block| BlockIndex::new(block).unwrap());
        let mut prefix = 0;
        for index in blocks {
            prefix += self.fill(index.get());
            if !self.is_held(index) {
                break;
            }
        }
        prefix
    }

    fn is_held(&self, index: BlockIndex) -> bool {
        self.upload.progress().held().any(|(held, _)| held == index)
    }

    fn take_back(&mut self, lease: Lease, first: u64, count: u64) {
        let range = BlockIndex::new(first).unwrap()..BlockIndex::new(first + count).unwrap();
        self.upload.withdraw(lease, range.clone()).unwrap();
        self.recorded.retain(|index, _| !range.contains(index));
        self.durable = self.upload.progress().durable();
        self.filled.retain(|block, _| !(first..first + count).contains(block));
    }

    fn resume(&mut self, mode: SendingMode, offset: Option<Offset>) -> Result<Lease, Refusal> {
        let ask = Ask {
            user: owner(),
            mode,
            filename: Some("doc.pdf"),
            filesize: Some(filesize()),
            grow: false,
            offset,
        };
        let first_not_held = (0..).map(|block| BlockIndex::new(block).unwrap());
        let frontier = first_not_held.take_while(|index| self.is_held(*index)).count() as u64;
        let lease = self.upload.resume(&ask, self.now, PATIENCE)?;
        assert!(self.old.iter().chain(&self.lease).all(|old| *old != lease), "a number of its own");
        self.old.extend(self.lease.replace(lease));
        self.writers = 1;
        // Begun blocks beyond the frontier were known to the old writer alone.
        let held: Vec<_> = self.upload.progress().held().map(|(index, _)| index.get()).collect();
        self.filled.retain(|block, _| held.contains(block) || *block == frontier);
        Ok(lease)
    }

    fn apply(&mut self, command: &Command) {
        let Some(lease) = self.lease else {
            // A paused upload can only be resumed; everything else needs a lease.
            if let Some(old) = self.old.last() {
                let refused = self.upload.join(owner(), old.generation());
                assert_eq!(refused, Err(Refusal::Superseded));
            }
            let offset = Some(self.upload.progress().received());
            self.resume(SendingMode::BLOCKS, offset).unwrap();
            return;
        };
        match *command {
            Command::Append { block, shift, length } => self.append(lease, block, shift, length),
            Command::Announce { block, honest } => {
                let Some(index) = BlockIndex::new(block) else { return };
                let wrong = ChainingValue::from_bytes([0; 32]);
                let announced = if honest { value(index) } else { wrong };
                let whole = self.fill(block) == index.length_bytes(filesize());
                match self.upload.announce(lease, index, announced) {
                    Ok(Verdict::Held) => assert!(honest && whole),
                    Ok(Verdict::Awaiting) => assert!(!whole),
                    Err(Refusal::NoSuchBlock { .. }) => assert!(block >= block_count(filesize())),
                    Err(Refusal::BlockMismatch { .. }) => {
                        assert!(!honest && whole);
                        self.take_back(lease, block, 1);
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            Command::Withdraw { first, count } => self.take_back(lease, first, count),
            Command::Resume { mode, offset_is_right } => {
                let expected = self.upload.progress().received();
                let offset = if offset_is_right { expected } else { expected.plus(1) };
                let granted = self.resume(mode, Some(offset));
                assert_eq!(granted.is_ok(), offset_is_right);
                if !offset_is_right {
                    assert_eq!(granted, Err(Refusal::OffsetMismatch { expected }));
                    assert_eq!(self.upload.lease(), Some(lease), "nothing was taken over");
                }
            }
            Command::Join { who } => self.join(lease, who),
            Command::Release => {
                assert!(self.upload.release(lease));
                self.writers -= 1;
                if self.writers == 0 {
                    self.old.push(lease);
                    self.lease = None;
                }
            }
            Command::Checkpoint => {
                let snapshot = self.upload.progress().snapshot();
                self.durable = snapshot.offset;
                self.recorded.extend(snapshot.blocks.iter().copied());
                self.upload.recorded(&snapshot);
            }
            Command::Restart => self.restart(),
            Command::Complete { honest } => {
                let whole = (0..block_count(filesize())).all(|block| {
                    self.fill(block) == BlockIndex::new(block).unwrap().length_bytes(filesize())
                });
                let indexes = (0..block_count(filesize())).map(|n| BlockIndex::new(n).unwrap());
                let hash = block::hash_file(filesize(), indexes.map(value));
                let wrong = towline_types::FileHash::from_bytes([9; 32]);
                match self.upload.complete(lease, Some(if honest { hash } else { wrong })) {
                    Ok(actual) => {
                        assert!(whole && honest);
                        assert_eq!(actual, hash);
                        assert_eq!(self.upload.phase(), Phase::Publishing);
                        let refused = self.upload.append(lease, Offset::ZERO, 1);
                        assert_eq!(refused, Err(Refusal::NotUploading(Phase::Publishing)));
                        self.upload.unpublish();
                    }
                    Err(Refusal::Incomplete { expected }) => {
                        assert!(!whole);
                        assert_eq!(expected.get(), self.prefix());
                    }
                    Err(Refusal::HashMismatch { .. }) => assert!(whole && !honest),
                    Err(other) => panic!("{other:?}"),
                }
            }
            Command::OldWriter => {
                for old in &self.old {
                    let refused = self.upload.append(*old, self.upload.progress().received(), 0);
                    assert_eq!(refused, Err(Refusal::Superseded));
                }
            }
        }
    }

    fn join(&mut self, lease: Lease, who: Joiner) {
        let stranger = UserId::try_from(8).unwrap();
        let (user, asked) = match who {
            Joiner::Owner => (owner(), lease),
            Joiner::Stranger => (stranger, lease),
            Joiner::Late => match self.old.last() {
                Some(old) => (owner(), *old),
                None => return,
            },
        };
        match (self.upload.join(user, asked.generation()), who) {
            (Ok(joined), Joiner::Owner) => {
                assert_eq!(joined, lease);
                assert_ne!(lease.mode().order, BlockOrder::InOrder);
                self.writers += 1;
                assert!(self.writers <= WRITERS_MAX);
            }
            (Err(Refusal::NotShared), Joiner::Owner) => {
                assert_eq!(lease.mode().order, BlockOrder::InOrder);
            }
            (Err(Refusal::TooManyWriters { max }), Joiner::Owner) => {
                assert_eq!(self.writers, max);
            }
            (Err(Refusal::NotFound), Joiner::Stranger)
            | (Err(Refusal::Superseded), Joiner::Late) => {}
            (other, _) => panic!("{who:?}: {other:?}"),
        }
        assert_eq!(self.upload.lease(), Some(lease), "nothing was taken over");
    }

    fn append(&mut self, lease: Lease, block: u64, shift: i64, length: u64) {
        let here = block * BLOCK_SIZE_BYTES + self.fill(block);
        let offset = here.saturating_add_signed(shift);
        let index = BlockIndex::new(offset / BLOCK_SIZE_BYTES).unwrap();
        let filled = self.fill(index.get());
        match self.upload.append(lease, Offset::ZERO.plus(offset), length) {
            Ok(append) => {
                // Exactly what follows: nothing over, nothing twice, no gap.
                assert_eq!(offset, index.start().get() + filled);
                assert!(offset + append.length_bytes <= index.end(filesize()).get());
                assert!(!self.is_held(index));
                if lease.mode().order == BlockOrder::InOrder {
                    assert_eq!(offset, self.next_in_order(), "every byte follows");
                }
                self.upload.appended(append, self.now);
                *self.filled.entry(index.get()).or_default() += append.length_bytes;
                assert_eq!(append.ends, self.fill(index.get()) == index.length_bytes(filesize()));
                if append.ends {
                    match self.upload.hashed(lease, index, value(index)) {
                        Ok(Verdict::Held) => assert!(self.is_held(index)),
                        Ok(Verdict::Awaiting) => {
                            assert_eq!(lease.mode().integrity, Integrity::Announced);
                        }
                        Err(Refusal::BlockMismatch { .. }) => {
                            self.take_back(lease, index.get(), 1);
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
            Err(Refusal::SizeExceeded { .. }) => assert!(offset + length > FILESIZE),
            Err(Refusal::OffsetMismatch { expected }) => match lease.mode().order {
                BlockOrder::InOrder => {
                    assert_eq!(expected.get(), self.next_in_order());
                    assert_ne!(offset, expected.get(), "what follows is never refused");
                }
                BlockOrder::AnyBlock => assert_eq!(expected.get(), self.prefix()),
            },
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The bytes without a gap, whether their blocks are held or not.
    fn next_in_order(&self) -> u64 {
        let mut next = 0;
        for block in 0..block_count(filesize()) {
            next += self.fill(block);
            if self.fill(block) < BlockIndex::new(block).unwrap().length_bytes(filesize()) {
                break;
            }
        }
        next
    }

    fn restart(&mut self) {
        let blocks = self.recorded.clone();
        let progress = Progress::restore(filesize(), self.durable, blocks);
        let path = DocumentPath::parse("doc.pdf").unwrap();
        self.upload = Upload::restore(owner(), path, Phase::Uploading, progress, self.now);
        if let Some((index, span)) = self.upload.progress().open_bytes()
            && span == index.span(filesize())
        {
            self.upload.read_back(index, value(index));
        }
        assert_eq!(self.upload.progress().received(), self.durable, "a promise is kept");
        self.lease = None;
        self.writers = 0;
        self.old.clear();
        self.filled.clear();
        for index in self.recorded.keys() {
            self.filled.insert(index.get(), index.length_bytes(filesize()));
        }
        if let Some((index, span)) = self.upload.progress().open_bytes() {
            self.filled.insert(index.get(), span.end - span.start);
        }
    }

    fn check(&self) {
        assert_eq!(self.upload.lease(), self.lease, "the lease lives as long as its writers");
        let progress = self.upload.progress();
        assert_eq!(progress.received().get(), self.prefix(), "the bytes without a gap");
        assert!(progress.durable() <= progress.received(), "only what is here is promised");
        assert_eq!(progress.durable(), self.durable, "what the catalog was told");
        for (index, held) in progress.held() {
            assert_eq!(held, value(index), "only true values are held");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_rules_agree_with_the_model(commands in prop::collection::vec(command(), 1..120)) {
        let mut world = World::new();
        for command in &commands {
            world.apply(command);
            world.check();
        }
    }
}
