//! A set of bytes, as the ranges that it has.

use std::ops::Range;

/// Ascending, and with a gap between each two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub(crate) fn add(&mut self, range: Range<u64>) {
        let mut all = std::mem::take(&mut self.0);
        all.push(range);
        all.sort_by_key(|range| range.start);
        for range in all.into_iter().filter(|range| range.start < range.end) {
            match self.0.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => self.0.push(range),
            }
        }
    }

    pub(crate) fn remove(&mut self, gone: &Range<u64>) {
        for range in std::mem::take(&mut self.0) {
            self.add(range.start..range.end.min(gone.start));
            self.add(range.start.max(gone.end)..range.end);
        }
    }

    pub(crate) fn keep(&mut self, kept: &[Range<u64>]) {
        for range in std::mem::take(&mut self.0) {
            for kept in kept {
                self.add(range.start.max(kept.start)..range.end.min(kept.end));
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    pub(crate) fn touch(&self, other: &Range<u64>) -> bool {
        self.0.iter().any(|range| range.start < other.end && other.start < range.end)
    }

    pub(crate) fn cover(&self, other: &Range<u64>) -> bool {
        other.is_empty()
            || self.0.iter().any(|range| range.start <= other.start && other.end <= range.end)
    }

    /// How far it reaches from there without a gap.
    pub(crate) fn end_from(&self, at: u64) -> u64 {
        self.0.iter().find(|range| range.contains(&at)).map_or(at, |range| range.end)
    }

    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }
}
