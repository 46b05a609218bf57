//! The space that is reserved for a staging file, ahead of its bytes.
//!
//! A full disk is told at a write of which nothing was promised, and not in the middle of a block.
//! But a client that only says how long its file is must not take the disk from others (P6). So as
//! much is reserved ahead as was written before, and at most 64 MiB: an upload of a byte takes two
//! bytes, and a large one asks the system once for each 64 MiB.

use super::directory::Directory;
use super::error::StorageError;
use super::space;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{FileSize, Offset};

/// The most that is reserved ahead of one write, in bytes.
const AHEAD_MAX_BYTES: u64 = 64 << 20;

/// How many separate ranges are known at a time: at least as many as an upload has connections as a
/// rule. Of a range that is forgotten the space stays reserved, and is asked for again.
const RANGES_MAX: usize = 64;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct ReservedSpace {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long the file will be, in bytes. Nothing is reserved behind.
    filesize: u64,
    /// How many bytes were written.
    written: u64,
    /// Where each range begins, and where it ends. They do not overlap.
    ranges: BTreeMap<u64, u64>,
    /// The file may have space behind its bytes of which no range knows: an earlier run reserved it,
    /// or a call that was refused did so in part.
    may_have_more: bool,
}

impl ReservedSpace {
    /// From now on the file is expected to be of that size.
    pub(super) fn expect(&self, filesize: FileSize) {
        self.state().filesize = filesize.get();
    }

    /// The file is one of an earlier run.
    pub(super) fn of_earlier_run() -> Self {
        Self { state: Mutex::new(State { may_have_more: true, ..State::default() }) }
    }

    /// Sees to it that there is space for a write, and for some more behind it. For a file of a
    /// block or less nothing is reserved: it is mostly published before that would help. For a file
    /// of unknown size nothing is done.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] where the disk, less `keep_free_bytes`, has no room for the write.
    pub(super) fn cover(
        &self,
        file: &OwnedFd,
        (volume, keep_free_bytes): (&Directory, u64),
        at: Offset,
        length_bytes: u64,
    ) -> Result<(), StorageError> {
        let mut state = self.state();
        let Some(missing) = state.missing(at.get(), length_bytes) else { return Ok(()) };
        let is_small = state.filesize <= BLOCK_SIZE_BYTES;
        if is_small && keep_free_bytes == 0 {
            // The system says by itself what finds no room.
            return Ok(());
        }
        let free_bytes = space::free_bytes(volume)?.saturating_sub(keep_free_bytes);
        let write_bytes = missing.write_end - missing.start;
        if free_bytes < write_bytes {
            // The space of the whole file may be its own already.
            let stat = rustix::fs::fstat(file).map_err(|errno| StorageError::new(WHAT, errno))?;
            if space::held_bytes(&stat) >= state.filesize {
                return Ok(());
            }
            return Err(StorageError::no_room(write_bytes - free_bytes));
        }
        if is_small {
            return Ok(());
        }
        // Where there is no room to reserve more, there is room for this write.
        let end = missing.end.min(missing.start.saturating_add(free_bytes)).max(missing.write_end);
        match reserve(file, missing.start, end - missing.start) {
            Ok(true) => state.add(missing.start, end),
            // Without a range the room is looked at again with the next write.
            Ok(false) => {}
            // Another file took the space just now, or there is a quota of the disk. The write may
            // find room all the same.
            Err(Errno::NOSPC | Errno::DQUOT) => state.may_have_more = true,
            Err(errno) => return Err(StorageError::new(WHAT, errno)),
        }
        Ok(())
    }

    /// The file was cut there, and its space behind is free.
    pub(super) fn cut(&self, end: Offset) {
        let mut state = self.state();
        state.may_have_more = false;
        state.ranges.split_off(&end.get());
        if let Some(mut last) = state.ranges.last_entry() {
            *last.get_mut() = (*last.get()).min(end.get());
        }
    }

    /// Whether space may be reserved that lies behind that position.
    pub(super) fn may_reach_beyond(&self, end: Offset) -> bool {
        let state = self.state();
        state.may_have_more
            || state.ranges.last_key_value().is_some_and(|(_, last)| *last > end.get())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is not reserved of a write and of what comes behind it.
struct Missing {
    start: u64,
    write_end: u64,
    /// Up to where to reserve.
    end: u64,
}

impl State {
    /// What is to be reserved for a write; nothing where there is a reserved range around it.
    fn missing(&mut self, at: u64, length_bytes: u64) -> Option<Missing> {
        self.written = self.written.saturating_add(length_bytes);
        if self.filesize == 0 {
            return None;
        }
        let write_end = at.saturating_add(length_bytes);
        let around = self.ranges.range(..=at).next_back().map(|(_, end)| *end);
        let start = around.filter(|end| *end > at).unwrap_or(at);
        if start >= write_end {
            return None;
        }
        let ahead = self.written.min(AHEAD_MAX_BYTES);
        let end = write_end.saturating_add(ahead).min(self.filesize).max(write_end);
        Some(Missing { start, write_end, end })
    }

    /// Adds a range, and joins it with those that it touches.
    fn add(&mut self, mut start: u64, mut end: u64) {
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back()
            && other_end >= start
        {
            self.ranges.remove(&other_start);
            (start, end) = (start.min(other_start), end.max(other_end));
        }
        if self.ranges.len() >= RANGES_MAX {
            self.ranges.pop_first();
        }
        self.ranges.insert(start, end);
    }
}

/// Reserves the space of a whole file of that size, for bytes that are copied into it at once.
///
/// # Errors
/// [`StorageError::NoSpace`] where there is no room for it.
pub(super) fn reserve_whole(file: &OwnedFd, filesize: FileSize) -> Result<(), StorageError> {
    if filesize.get() <= BLOCK_SIZE_BYTES {
        return Ok(());
    }
    reserve(file, 0, filesize.get()).map(drop).map_err(|errno| StorageError::new(WHAT, errno))
}

const WHAT: &str = "reserve space";

/// Reserves space, and leaves the length of the file alone: a length says nothing here but how far
/// bytes were written. Returns whether the file system can reserve at all.
fn reserve(file: &OwnedFd, start: u64, length_bytes: u64) -> Result<bool, Errno> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, start, length_bytes) {
            Ok(()) => return Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn state(filesize: u64) -> State {
        State { filesize, ..State::default() }
    }

    /// Reserves for a write; says what.
    fn write(state: &mut State, at: u64, length_bytes: u64) -> Option<(u64, u64)> {
        let missing = state.missing(at, length_bytes)?;
        state.add(missing.start, missing.end);
        Some((missing.start, missing.end))
    }

    #[test]
    fn as_much_is_reserved_ahead_as_was_written_and_never_more_than_64_mib() {
        let mut state = state(1024 * MIB);
        assert_eq!(write(&mut state, 0, 1), Some((0, 2)));
        assert_eq!(write(&mut state, 1, 1), None);
        assert_eq!(write(&mut state, 2, MIB), Some((2, 2 * MIB + 4)));
        let (mut at, mut calls) = (MIB + 2, 0);
        while at < 1024 * MIB {
            let length_bytes = MIB.min(1024 * MIB - at);
            if let Some((_, end)) = write(&mut state, at, length_bytes) {
                calls += 1;
                assert!(end <= at + length_bytes + AHEAD_MAX_BYTES && end <= 1024 * MIB);
            }
            at += length_bytes;
        }
        assert!((16..26).contains(&calls), "{calls}");
        assert_eq!(state.ranges, BTreeMap::from([(0, 1024 * MIB)]));
    }

    #[test]
    fn writers_at_several_places_have_ranges_of_their_own() {
        let mut state = state(1024 * MIB);
        assert_eq!(write(&mut state, 512 * MIB, MIB), Some((512 * MIB, 514 * MIB)));
        assert_eq!(write(&mut state, 0, MIB), Some((0, 3 * MIB)));
        assert_eq!(write(&mut state, 511 * MIB, MIB), Some((511 * MIB, 515 * MIB)));
        assert_eq!(state.ranges, BTreeMap::from([(0, 3 * MIB), (511 * MIB, 515 * MIB)]));
        for place in 10..500 {
            write(&mut state, place * 2 * MIB, 1);
        }
        assert!(state.ranges.len() <= RANGES_MAX);
    }

    #[test]
    fn of_a_file_of_unknown_size_nothing_is_asked() {
        assert_eq!(write(&mut state(0), 0, 100 * MIB), None);
    }

    #[test]
    fn what_is_cut_off_is_reserved_anew() {
        let space = ReservedSpace::default();
        space.expect(FileSize::try_from(9 * MIB).unwrap());
        write(&mut space.state(), 0, 2 * MIB);
        let offset = |bytes| Offset::try_from(bytes).unwrap();
        assert!(
            space.may_reach_beyond(offset(3 * MIB)) && !space.may_reach_beyond(offset(4 * MIB))
        );
        space.cut(offset(MIB));
        assert_eq!(space.state().ranges, BTreeMap::from([(0, MIB)]));
        assert_eq!(write(&mut space.state(), MIB, 1), Some((MIB, 3 * MIB + 2)));
    }
}
