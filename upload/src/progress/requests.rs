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
    requests: BTreeMap<RequestId, Request>,
    /// How many there have been: no two have one number.
    count_ever: u64,
}

#[derive(Debug, Clone)]
struct Request {
    /// Its bytes that are here: ascending, and with a gap where bytes were taken back.
    ranges: Vec<Range<u64>>,
    /// Where its next byte belongs, whatever was taken back before it.
    next: u64,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// A request whose bytes begin there.
    pub(super) fn begin(&mut self, at: u64) -> RequestId {
        self.count_ever += 1;
        let id = RequestId(self.count_ever);
        self.requests.insert(id, Request { ranges: Vec::new(), next: at });
        id
    }

    /// Where the next byte of a request belongs, if it is under way.
    pub(super) fn next_byte(&self, id: RequestId) -> Option<u64> {
        Some(self.requests.get(&id)?.next)
    }

    /// That number of further bytes has come for it.
    pub(super) fn extend(&mut self, id: RequestId, length_bytes: u64) {
        if let Some(request) = self.requests.get_mut(&id) {
            let end = request.next + length_bytes;
            match request.ranges.last_mut() {
                Some(last) if last.end == request.next => last.end = end,
                _ => request.ranges.push(request.next..end),
            }
            request.next = end;
        }
    }

    /// It is over; returns where its bytes are.
    pub(super) fn end(&mut self, id: RequestId) -> Option<Vec<Range<u64>>> {
        Some(self.requests.remove(&id)?.ranges)
    }

    /// All of them are over, and their bytes stay.
    pub(super) fn end_all(&mut self) {
        self.requests.clear();
    }

    /// Bytes of that range are here no longer: they belong to no request from now on. Returns
    /// those that belonged to one.
    pub(super) fn forget(&mut self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut forgotten = Vec::new();
        for request in self.requests.values_mut() {
            for own in std::mem::take(&mut request.ranges) {
                let shared = own.start.max(range.start)..own.end.min(range.end);
                if shared.is_empty() {
                    request.ranges.push(own);
                    continue;
                }
                let left = [own.start..shared.start, shared.end..own.end];
                request.ranges.extend(left.into_iter().filter(|left| !left.is_empty()));
                forgotten.push(shared);
            }
        }
        forgotten
    }

    /// Where the first byte lies that may still be taken back.
    pub(super) fn first_byte(&self) -> Option<u64> {
        self.ranges().map(|range| range.start).min()
    }

    /// Whether a byte of that range may still be taken back.
    pub(super) fn touch(&self, range: &Range<u64>) -> bool {
        self.ranges().any(|own| own.start < range.end && range.start < own.end)
    }

    fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.requests.values().flat_map(|request| &request.ranges)
    }
}
