//! Bytes of requests that may still be taken back: a digest that comes with a request says
//! only at its end whether its bytes are the right ones.

use std::collections::BTreeMap;
use std::ops::Range;

/// One request of a writer whose bytes are not confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

/// The requests under way, each with the bytes that have come for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    ranges: BTreeMap<RequestId, Range<u64>>,
    /// How many there have been: no two have one number.
    count_ever: u64,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// A request whose bytes begin there.
    pub(super) fn begin(&mut self, at: u64) -> RequestId {
        self.count_ever += 1;
        let id = RequestId(self.count_ever);
        self.ranges.insert(id, at..at);
        id
    }

    /// The bytes of a request, if it is under way.
    pub(super) fn get(&self, id: RequestId) -> Option<Range<u64>> {
        self.ranges.get(&id).cloned()
    }

    /// So many bytes more have come for it.
    pub(super) fn extend(&mut self, id: RequestId, length_bytes: u64) {
        if let Some(range) = self.ranges.get_mut(&id) {
            range.end += length_bytes;
        }
    }

    /// It is over.
    pub(super) fn end(&mut self, id: RequestId) -> Option<Range<u64>> {
        self.ranges.remove(&id)
    }

    /// All of them are over, and their bytes stay.
    pub(super) fn end_all(&mut self) {
        self.ranges.clear();
    }

    /// Where the first byte lies that may still be taken back.
    pub(super) fn first_byte(&self) -> Option<u64> {
        self.with_bytes().map(|range| range.start).min()
    }

    /// Whether a byte of that range may still be taken back.
    pub(super) fn touch(&self, range: &Range<u64>) -> bool {
        self.with_bytes().any(|own| own.start < range.end && range.start < own.end)
    }

    fn with_bytes(&self) -> impl Iterator<Item = &Range<u64>> {
        self.ranges.values().filter(|range| range.start < range.end)
    }
}
