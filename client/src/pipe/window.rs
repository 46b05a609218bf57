//! The bytes of a pipe that are kept: from the first one that the server may still lose, to the
//! last one that was read. Pure.

use std::collections::VecDeque;

/// The size of one buffer. A buffer is dropped as a whole.
const BUFFER_BYTES: usize = 1 << 20;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Each with the place of its first byte; they follow each other without a gap.
    buffers: VecDeque<(u64, Vec<u8>)>,
    end: u64,
}

impl Window {
    /// Takes in the bytes that come next.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.buffers.back().map_or(0, |(_, last)| BUFFER_BYTES - last.len());
            if room == 0 {
                self.buffers.push_back((self.end, Vec::with_capacity(BUFFER_BYTES)));
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            if let Some((_, last)) = self.buffers.back_mut() {
                last.extend_from_slice(now);
            }
            self.end += now.len() as u64;
            bytes = later;
        }
    }

    /// The place after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The place of the first byte that is kept.
    pub(crate) fn start(&self) -> u64 {
        self.buffers.front().map_or(self.end, |(start, _)| *start)
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        self.end - self.start()
    }

    /// Bytes from that place on, at most `max` of them; nothing where none is kept.
    pub(crate) fn bytes_from(&self, place: u64, max: usize) -> Option<&[u8]> {
        let behind = self.buffers.partition_point(|(start, _)| *start <= place);
        let (start, bytes) = self.buffers.get(behind.checked_sub(1)?)?;
        let skipped = usize::try_from(place - start).ok()?;
        let found = bytes.get(skipped..).filter(|found| !found.is_empty())?;
        Some(&found[..found.len().min(max)])
    }

    /// Drops the bytes before that place, which the server does not lose any more.
    pub(crate) fn forget_before(&mut self, place: u64) {
        while self.buffers.front().is_some_and(|(start, bytes)| start + bytes.len() as u64 <= place)
        {
            self.buffers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_place() {
        let bytes: Vec<u8> = (0..3 * BUFFER_BYTES + 5).map(|n| n.to_le_bytes()[2]).collect();
        let mut window = Window::default();
        assert_eq!((window.start(), window.end(), window.bytes_from(0, 9)), (0, 0, None));
        for piece in bytes.chunks(77_777) {
            window.push(piece);
        }
        let mib = BUFFER_BYTES as u64;
        assert_eq!((window.start(), window.end()), (0, 3 * mib + 5));
        for place in [0, 1, mib - 1, mib, 2 * mib + 9, 3 * mib, 3 * mib + 4] {
            let found = window.bytes_from(place, 100).unwrap();
            let at = usize::try_from(place).unwrap();
            assert_eq!(found, &bytes[at..at + found.len()]);
            let in_buffer = (BUFFER_BYTES - at % BUFFER_BYTES).min(bytes.len() - at);
            assert_eq!(found.len(), in_buffer.min(100), "at {place}");
        }
        assert_eq!(window.bytes_from(3 * mib + 5, 100), None);
        // A buffer goes when all of it is safe.
        window.forget_before(2 * mib - 1);
        assert_eq!((window.start(), window.bytes_from(mib - 1, 9)), (mib, None));
        assert!(window.bytes_from(mib, 9).is_some());
        window.forget_before(3 * mib + 5);
        assert_eq!((window.start(), window.kept_bytes()), (3 * mib + 5, 0));
        window.push(b"more");
        assert_eq!(window.bytes_from(3 * mib + 5, 9), Some(&b"more"[..]));
    }
}
