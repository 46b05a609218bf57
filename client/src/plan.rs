//! Which blocks still have to be sent, given the blocks that the server has.

use std::collections::BTreeMap;
use std::ops::Range;
use towline_protocol::limits::WITHDRAW_RANGES_MAX;
use towline_types::block::block_count;
use towline_types::{BlockIndex, ChainingValue, FileSize, Offset};

/// Consecutive blocks to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockRange {
    /// The blocks, by number.
    pub(crate) blocks: Range<u64>,
    /// How many bytes of the first block the server has already. Where that is the whole block,
    /// only its value is sent.
    pub(crate) skip_bytes: u64,
}

impl BlockRange {
    /// One block, from its first byte.
    pub(crate) fn whole(index: BlockIndex) -> Self {
        Self { blocks: index.get()..index.get() + 1, skip_bytes: 0 }
    }
}

/// The blocks to withdraw and the blocks to send, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// Held blocks whose content has changed: the first block and the number of blocks.
    pub(crate) withdraw: Vec<(BlockIndex, u64)>,
    pub(crate) ranges: Vec<BlockRange>,
}

impl Plan {
    /// The plan for a server that has no byte of the file.
    pub(crate) fn whole_file(filesize: FileSize) -> Self {
        let mut plan = Self::default();
        for index in 0..block_count(filesize) {
            plan.send(index, 0);
        }
        plan
    }

    /// The plan for continuing at `offset`, the first byte that the server lacks, where it holds
    /// the blocks of `held`.
    ///
    /// `values` are the values of the local file, as far as they are known. A held block whose
    /// local value is not known counts as unchanged: where the file may have changed, the caller
    /// hashes the held blocks first. `fills` says how many bytes the server has of a block that it
    /// has begun above the offset.
    ///
    /// The bytes of a begun block cannot be compared, because a value covers a whole block. Where a
    /// held block has changed, the bytes of begun blocks are not relied on: these blocks are sent
    /// whole.
    pub(crate) fn resume(
        filesize: FileSize,
        offset: Offset,
        held: &BTreeMap<u64, ChainingValue>,
        values: &[Option<ChainingValue>],
        fills: &BTreeMap<u64, u64>,
    ) -> Self {
        let mut plan = Self::default();
        let is_changed = |(number, held): (&u64, &ChainingValue)| {
            let here = usize::try_from(*number).ok().and_then(|number| values.get(number));
            here.copied().flatten().is_some_and(|here| here != *held)
        };
        let has_changed = held.iter().any(is_changed);
        for (number, value) in (0..block_count(filesize)).zip(values) {
            match (held.get(&number), value) {
                (Some(held), Some(value)) if held != value => {
                    plan.take_back(number);
                    plan.send(number, 0);
                }
                (Some(_), _) => {}
                (None, _) => {
                    let Some(block) = BlockIndex::new(number) else { break };
                    let below = offset.get().saturating_sub(block.start().get());
                    let fill = if below > 0 { Some(&below) } else { fills.get(&number) };
                    let there = fill.map_or(0, |fill| block.length_bytes(filesize).min(*fill));
                    if has_changed && there > 0 {
                        plan.take_back(number);
                        plan.send(number, 0);
                    } else {
                        plan.send(number, there);
                    }
                }
            }
        }
        plan
    }

    /// The plan for sending blocks again of which the server may have a part.
    pub(crate) fn anew(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut plan = Self::default();
        for number in numbers {
            plan.take_back(number);
            plan.send(number, 0);
        }
        plan
    }

    /// The ranges to withdraw, in groups of as many as one message may have.
    pub(crate) fn withdrawals(&self) -> impl Iterator<Item = &[(BlockIndex, u64)]> {
        self.withdraw.chunks(WITHDRAW_RANGES_MAX)
    }

    /// The bytes of the file that will be sent, as ranges in ascending order.
    pub(crate) fn missing(&self, filesize: FileSize) -> Vec<Range<u64>> {
        let starts_at = |number| {
            let block = BlockIndex::new(number);
            block.map_or(filesize.get(), |block| block.start().get().min(filesize.get()))
        };
        let of_range = |range: &BlockRange| {
            starts_at(range.blocks.start) + range.skip_bytes..starts_at(range.blocks.end)
        };
        self.ranges.iter().map(of_range).collect()
    }

    /// The number of bytes that will be sent.
    pub(crate) fn bytes(&self, filesize: FileSize) -> u64 {
        self.missing(filesize).into_iter().map(|range| range.end - range.start).sum()
    }

    fn send(&mut self, number: u64, skip_bytes: u64) {
        match self.ranges.last_mut() {
            Some(last) if skip_bytes == 0 && last.blocks.end == number => last.blocks.end += 1,
            _ => self.ranges.push(BlockRange { blocks: number..number + 1, skip_bytes }),
        }
    }

    fn take_back(&mut self, number: u64) {
        let Some(index) = BlockIndex::new(number) else { return };
        match self.withdraw.last_mut() {
            Some((first, count)) if first.get() + *count == number => *count += 1,
            _ => self.withdraw.push((index, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_testkit::{size, value};

    const MIB: u64 = 1 << 20;

    fn at(offset: u64) -> Offset {
        Offset::try_from(offset).unwrap()
    }

    fn range(blocks: Range<u64>, skip_bytes: u64) -> BlockRange {
        BlockRange { blocks, skip_bytes }
    }

    fn resume(filesize: u64, offset: u64, held: &[(u64, u8)], values: &[Option<u8>]) -> Plan {
        let held = held.iter().map(|(number, byte)| (*number, value(*byte))).collect();
        let values: Vec<_> = values.iter().map(|byte| byte.map(value)).collect();
        Plan::resume(size(filesize), at(offset), &held, &values, &BTreeMap::new())
    }

    #[test]
    fn a_new_file_is_sent_from_end_to_end() {
        assert_eq!(Plan::whole_file(size(0)), Plan::default());
        assert_eq!(Plan::whole_file(size(1)).ranges, [range(0..1, 0)]);
        assert_eq!(Plan::whole_file(size(3 * MIB + 7)).ranges, [range(0..4, 0)]);
        assert_eq!(Plan::whole_file(size(3 * MIB + 7)).bytes(size(3 * MIB + 7)), 3 * MIB + 7);
    }

    #[test]
    fn a_block_cut_in_the_middle_is_sent_from_the_cut() {
        let plan = resume(4 * MIB, 2 * MIB + 9, &[(0, 1), (1, 2)], &[None; 4]);
        assert_eq!(plan.ranges, [range(2..4, 9)]);
        assert_eq!(plan.missing(size(4 * MIB)).first(), Some(&(2 * MIB + 9..4 * MIB)));
        assert_eq!(plan.bytes(size(4 * MIB)), 2 * MIB - 9);
    }

    #[test]
    fn a_whole_block_without_its_value_is_only_announced() {
        let plan = resume(3 * MIB, 2 * MIB, &[(0, 1)], &[None; 3]);
        assert_eq!(plan.ranges, [range(1..3, MIB)]);
        assert_eq!(plan.bytes(size(3 * MIB)), MIB);
        let plan = resume(MIB + 5, MIB + 5, &[(0, 1)], &[None; 2]);
        assert_eq!(plan.ranges, [range(1..2, 5)]);
        assert_eq!(plan.bytes(size(MIB + 5)), 0);
    }

    #[test]
    fn blocks_above_the_offset_are_not_sent_twice() {
        let plan = resume(5 * MIB, MIB, &[(0, 1), (2, 3), (3, 4)], &[None; 5]);
        assert_eq!(plan.ranges, [range(1..2, 0), range(4..5, 0)]);
    }

    #[test]
    fn changed_blocks_are_taken_back_and_sent() {
        let held = [(0, 1), (1, 2), (2, 3), (3, 4)];
        let plan = resume(5 * MIB, 4 * MIB + 3, &held, &[Some(1), Some(9), Some(9), Some(4), None]);
        // The three bytes of the last block may have changed, too.
        let of = |first: u64, count| (BlockIndex::new(first).unwrap(), count);
        assert_eq!(plan.withdraw, [of(1, 2), of(4, 1)]);
        assert_eq!(plan.ranges, [range(1..3, 0), range(4..5, 0)]);
        assert_eq!(plan.missing(size(5 * MIB)), [MIB..3 * MIB, 4 * MIB..5 * MIB]);
    }

    #[test]
    fn a_held_file_needs_nothing() {
        assert_eq!(resume(2 * MIB, 2 * MIB, &[(0, 1), (1, 2)], &[None; 2]), Plan::default());
    }

    #[test]
    fn a_begun_block_above_the_offset_goes_on_where_it_stands() {
        let fills = BTreeMap::from([(2, 70)]);
        let plan = Plan::resume(size(4 * MIB), at(0), &BTreeMap::new(), &[None; 4], &fills);
        assert_eq!(plan.ranges, [range(0..2, 0), range(2..4, 70)]);
    }

    #[test]
    fn what_is_sent_anew_is_taken_back_first() {
        let plan = Plan::anew([1, 2, 5]);
        assert_eq!(plan.ranges, [range(1..3, 0), range(5..6, 0)]);
        let withdraw: Vec<_> = plan.withdraw.iter().map(|(first, n)| (first.get(), *n)).collect();
        assert_eq!(withdraw, [(1, 2), (5, 1)]);
    }

    #[test]
    fn many_ranges_take_several_messages() {
        let plan = Plan {
            withdraw: (0..600).map(|n| (BlockIndex::new(2 * n).unwrap(), 1)).collect(),
            ranges: Vec::new(),
        };
        assert_eq!(plan.withdrawals().map(<[_]>::len).collect::<Vec<_>>(), [256, 256, 88]);
    }
}
