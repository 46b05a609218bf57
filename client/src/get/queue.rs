//! What has yet to be asked for of the files that are being fetched. All connections take from it,
//! and what a connection has not got when it is lost goes back.

use super::download::Download;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, ChainingValue};

/// How often blocks of one file may arrive damaged before the file is given up.
pub(super) const BAD_BLOCKS_MAX: u32 = 8;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Files of which something has yet to be asked for or to arrive, in their order.
    files: BTreeMap<usize, Active>,
}

/// A file that is being fetched.
#[derive(Debug)]
struct Active {
    download: Arc<Download>,
    /// The bytes that nobody has asked for, in their order. Each range begins where a block begins.
    unasked: Vec<Range<u64>>,
    /// Blocks that arrived damaged, to be asked for again, with what is known of each.
    again: Vec<(BlockIndex, Vec<ChainingValue>)>,
    /// Bytes that are not written yet.
    left_bytes: u64,
    bad_blocks: u32,
    /// A number that grows when nothing of what was asked for so far is wanted any more.
    era: u32,
}

/// A range of a file that a connection asks for.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) download: Arc<Download>,
    pub(super) range: Range<u64>,
    pub(super) proof: Proof,
    era: u32,
}

/// How blocks are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// The server sends the value of each.
    Values,
    /// For a block that arrived damaged: the server compares it before it sends it, and sends no
    /// value. The first time the block may have been damaged on its way, or its value. So the block
    /// is good where its value is one of these: the value that came, and the value of the bytes
    /// that came.
    OneOf(Vec<ChainingValue>),
}

/// What became of a damaged block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damaged {
    /// It is asked for again.
    Again,
    /// Too many were damaged.
    TooOften,
    /// The file is not fetched any more.
    Unwanted,
}

impl Queue {
    pub(super) fn add(&mut self, download: Arc<Download>, missing: Vec<Range<u64>>) {
        let left_bytes = missing.iter().map(|range| range.end - range.start).sum();
        let number = download.number;
        let (again, bad_blocks, era) = (Vec::new(), 0, 0);
        let active = Active { download, unasked: missing, again, left_bytes, bad_blocks, era };
        self.files.insert(number, active);
    }

    pub(super) fn remove(&mut self, download: &Download) -> bool {
        self.files.remove(&download.number).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The first file that is being fetched.
    pub(super) fn first(&self) -> Option<&Arc<Download>> {
        self.files.values().next().map(|active| &active.download)
    }

    /// The bytes that nobody has asked for.
    pub(super) fn unasked_bytes(&self) -> u64 {
        let again = |active: &Active| active.again.len() as u64 * BLOCK_SIZE_BYTES;
        let ranges = |active: &Active| {
            active.unasked.iter().map(|range| range.end - range.start).sum::<u64>()
        };
        self.files.values().map(|active| again(active) + ranges(active)).sum()
    }

    /// The next bytes to ask for, at most that many.
    pub(super) fn take(&mut self, most_bytes: u64) -> Option<Piece> {
        self.files.values_mut().find_map(|active| {
            let (download, era) = (Arc::clone(&active.download), active.era);
            if let Some((index, values)) = active.again.pop() {
                let range = index.span(download.expected.filesize);
                return Some(Piece { download, range, proof: Proof::OneOf(values), era });
            }
            let first = active.unasked.first_mut()?;
            let end = first.end.min(first.start + most_bytes);
            let range = first.start..end;
            first.start = end;
            if first.is_empty() {
                active.unasked.remove(0);
            }
            Some(Piece { download, range, proof: Proof::Values, era })
        })
    }

    /// Whether what was asked for is still of use.
    pub(super) fn wants(&self, piece: &Piece) -> bool {
        self.files.get(&piece.download.number).is_some_and(|active| active.era == piece.era)
    }

    /// A connection was lost that had everything of the piece up to `at`. A block that has arrived
    /// in part is asked for again.
    pub(super) fn give_back(&mut self, piece: &Piece, at: u64) {
        if !self.wants(piece) {
            return;
        }
        let Some(active) = self.files.get_mut(&piece.download.number) else { return };
        if at >= piece.range.end {
            return;
        }
        let start = at - at % BLOCK_SIZE_BYTES;
        if let Proof::OneOf(values) = &piece.proof {
            let index = BlockIndex::try_from(start / BLOCK_SIZE_BYTES);
            active.again.extend(index.map(|index| (index, values.clone())));
            return;
        }
        let place = active.unasked.partition_point(|range| range.start < start);
        active.unasked.insert(place, start..piece.range.end);
    }

    /// Takes note that this many bytes of the file were written.
    pub(super) fn written(&mut self, download: &Download, bytes: u64) -> Option<u64> {
        let active = self.files.get_mut(&download.number)?;
        active.left_bytes -= bytes.min(active.left_bytes);
        if active.left_bytes == 0 {
            self.files.remove(&download.number);
            return Some(0);
        }
        Some(active.left_bytes)
    }

    /// A block has arrived damaged. One of the values may be its value.
    pub(super) fn damaged(
        &mut self,
        download: &Download,
        index: BlockIndex,
        values: Vec<ChainingValue>,
    ) -> Damaged {
        let Some(active) = self.files.get_mut(&download.number) else { return Damaged::Unwanted };
        active.bad_blocks += 1;
        if active.bad_blocks > BAD_BLOCKS_MAX {
            return Damaged::TooOften;
        }
        active.again.push((index, values));
        if download.is_for_output() {
            // What follows the block has to come after it.
            let filesize = download.expected.filesize;
            let (end, all) = (index.span(filesize).end, filesize.get());
            active.unasked = std::iter::once(end..all).filter(|rest| !rest.is_empty()).collect();
            active.era += 1;
        }
        Damaged::Again
    }
}

#[cfg(test)]
mod tests {
    use super::super::download::Sink;
    use super::super::staging::Expected;
    use super::*;
    use std::sync::Mutex;
    use towline_types::{FileHash, FileSize};

    const MIB: u64 = 1 << 20;

    fn file(number: usize, filesize: u64) -> Arc<Download> {
        let filesize = FileSize::try_from(filesize).unwrap();
        let blake3 = FileHash::from_bytes([0; 32]);
        Arc::new(Download {
            number,
            document_id: 7.try_into().unwrap(),
            expected: Expected { filesize, blake3, mtime: None, mode: None },
            path: "a".into(),
            target: None,
            sink: Mutex::new(Sink::Output(Vec::new())),
            _promised: None,
            _around: None,
        })
    }

    fn values() -> Vec<ChainingValue> {
        vec![ChainingValue::from_bytes([7; 32])]
    }

    fn all(filesize: u64) -> Vec<Range<u64>> {
        std::iter::once(0..filesize).collect()
    }

    fn ranges(queue: &mut Queue) -> Vec<Range<u64>> {
        std::iter::from_fn(|| queue.take(4 * MIB)).map(|piece| piece.range).collect()
    }

    #[test]
    fn a_lost_connection_gives_back_what_has_not_come_and_a_part_of_a_block() {
        let mut queue = Queue::default();
        queue.add(file(1, 10 * MIB + 7), vec![0..MIB, 2 * MIB..10 * MIB + 7]);
        let first = queue.take(4 * MIB).unwrap();
        assert_eq!(first.range, 0..MIB);
        let second = queue.take(4 * MIB).unwrap();
        assert_eq!(second.range, 2 * MIB..6 * MIB);
        // Nothing of the first has come; of the second two blocks, and a part of the third.
        queue.give_back(&second, 4 * MIB + 5);
        queue.give_back(&first, 0);
        let expected = [0..MIB, 4 * MIB..6 * MIB, 6 * MIB..10 * MIB, 10 * MIB..10 * MIB + 7];
        assert_eq!(ranges(&mut queue), expected);
        assert_eq!(queue.unasked_bytes(), 0);
        // What has come as a whole does not go back.
        queue.give_back(&first, MIB);
        assert_eq!(ranges(&mut queue), []);
    }

    #[test]
    fn what_comes_behind_a_damaged_block_of_the_output_is_not_wanted() {
        let (mut queue, download) = (Queue::default(), file(1, 3 * MIB));
        queue.add(Arc::clone(&download), all(3 * MIB));
        let piece = queue.take(16 * MIB).unwrap();
        assert!(queue.wants(&piece));
        assert_eq!(queue.damaged(&download, 1.try_into().unwrap(), values()), Damaged::Again);
        assert!(!queue.wants(&piece));
        queue.give_back(&piece, 0);
        let again = queue.take(16 * MIB).unwrap();
        assert_eq!((again.range, again.proof), (MIB..2 * MIB, Proof::OneOf(values())));
        assert_eq!(queue.take(16 * MIB).unwrap().range, 2 * MIB..3 * MIB);
        assert_eq!(ranges(&mut queue), []);
    }

    #[test]
    fn a_file_that_stays_damaged_is_given_up() {
        let (mut queue, download) = (Queue::default(), file(1, MIB));
        queue.add(Arc::clone(&download), all(MIB));
        for _ in 0..BAD_BLOCKS_MAX {
            assert_eq!(queue.damaged(&download, BlockIndex::FIRST, values()), Damaged::Again);
        }
        assert_eq!(queue.damaged(&download, BlockIndex::FIRST, values()), Damaged::TooOften);
        assert!(queue.remove(&download) && !queue.remove(&download));
        assert_eq!(queue.damaged(&download, BlockIndex::FIRST, values()), Damaged::Unwanted);
        assert_eq!(queue.written(&download, 1), None);
    }
}
