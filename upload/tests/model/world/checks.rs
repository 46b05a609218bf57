//! What the model says about the state of the rules, and about their answers.

use super::*;

impl World {
    pub(crate) fn check(&self) {
        assert_eq!(self.upload.lease(), self.lease, "the lease lives as long as its writers");
        let progress = self.upload.progress();
        assert_eq!(progress.length(), self.length());
        assert_eq!(progress.received().get(), self.prefix(), "the bytes without a gap");
        assert!(progress.durable() <= progress.received(), "only what is here is promised");
        assert_eq!(progress.durable().get(), self.durable, "what the catalog was told");
        assert_eq!(progress.reach().get(), self.here.end());
        assert!(progress.received_ranges(Offset::ZERO).eq(self.here.iter().cloned()));
        let behind: Vec<_> = progress.received_ranges(offset(1000)).collect();
        let mut expected = self.here.clone();
        expected.remove(&(0..1000));
        assert!(behind.iter().eq(expected.iter()), "from any byte on");
        for (index, held) in progress.held() {
            assert_eq!(held, self.value(index), "only true values are held");
            assert!(self.is_whole(index));
        }
        for (index, recorded) in &self.recorded {
            assert!(self.is_held(*index), "what was recorded stays");
            assert_eq!(*recorded, self.value(*index));
        }
        assert!(progress.unhashed().is_empty());
        assert!(self.hashers.len() <= OPEN_BLOCKS_MAX);
    }

    pub(super) fn check_refusal(&self, lease: Lease, at: u64, length: u64, refusal: Refusal) {
        let index = BlockIndex::at(offset(at));
        match refusal {
            Refusal::SizeExceeded { filesize } => {
                assert_eq!(self.declared, Some(filesize.get()));
                assert!(at + length > filesize.get());
            }
            Refusal::OwnLimit { filesize, max } => {
                assert_eq!((self.declared, max.get()), (None, FILESIZE));
                assert_eq!(filesize.get(), at + length);
                assert!(at + length > FILESIZE);
            }
            Refusal::OffsetMismatch { expected } => match lease.mode().order {
                BlockOrder::InOrder => {
                    assert_eq!(expected.get(), self.next_in_order());
                    assert_ne!(at, expected.get(), "what follows is never refused");
                }
                BlockOrder::AnyBlock => {
                    assert_eq!(expected.get(), self.prefix());
                    assert!(at != self.place(index.get(), 0) || self.is_whole(index));
                }
                BlockOrder::AnyRange => {
                    assert_eq!(expected.get(), self.prefix());
                    assert!(self.here.touch(&(at..at + 1)), "only what is here is refused");
                }
            },
            Refusal::TooManyRanges { max } => {
                assert_eq!(max, RANGES_PER_BLOCK_MAX);
                let span = self.span(index);
                let behind = self
                    .here
                    .iter()
                    .filter(|range| range.start > span.start && range.start < span.end);
                assert!(behind.count() >= max);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Exactly what is wanted: nothing over, nothing twice.
    pub(super) fn check_leave(&self, lease: Lease, at: u64, append: Append) {
        let Append { index, length_bytes, .. } = append;
        let bytes = at..at + length_bytes;
        assert_eq!(append.offset, offset(at));
        assert!(!bytes.is_empty() && !self.here.touch(&bytes));
        assert!(self.span(index).start <= at && bytes.end <= self.span(index).end);
        match lease.mode().order {
            BlockOrder::InOrder => assert_eq!(at, self.next_in_order(), "every byte follows"),
            BlockOrder::AnyBlock => assert_eq!(at, self.place(index.get(), 0)),
            BlockOrder::AnyRange => {}
        }
    }

    /// A block that is whole is hashed by its hasher, where there is one, else by reading it.
    pub(super) fn check_hasher(&mut self, index: BlockIndex) {
        if let Some(hashed) = self.hashers.remove(&index) {
            let bytes = index.length_bytes(self.bound());
            assert_eq!(hashed, bytes, "a hasher that is there has taken in all");
        }
    }

    /// A block that was held was announced, and is held again when its bytes come again.
    pub(super) fn check_announcement_stays(&self, lease: Lease, index: BlockIndex) {
        let mut upload = self.upload.clone();
        let verdict = upload.hashed(lease, index, self.hash_of(index));
        assert_eq!(verdict, Ok(Verdict::Held));
    }
}
