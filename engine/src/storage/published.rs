//! A published file that is held open for reading.

use super::StorageError;
use super::file::DiskFile;
use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use towline_state::catalog::FileStamp;
use towline_types::{FileSize, Offset};

/// Bytes that can be read at any position. The store that opened them says what they are.
pub trait ReadAt: Any + fmt::Debug + Send + Sync {
    /// Reads bytes from that position into the buffer, and says how many: fewer than fit at
    /// the end of the file, and 0 after it.
    ///
    /// # Errors
    /// [`StorageError::Io`] where the bytes cannot be read.
    fn read_at(&self, buffer: &mut [u8], at: Offset) -> Result<usize, StorageError>;

    /// How long the file is now in bytes, and what it is known by now: the inode and the time of
    /// modification alone, since the place of the mount cannot change while the file is open.
    ///
    /// # Errors
    /// [`StorageError::Io`] where the file cannot be looked at.
    fn look(&self) -> Result<FileLook, StorageError>;

    /// As [`Staging::drop_cached`](super::Staging::drop_cached).
    fn drop_cached(&self) {}
}

/// What a look at an open file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLook {
    /// The length in bytes.
    pub length_bytes: u64,
    /// The inode number.
    pub inode: u64,
    /// When it was last written to, in nanoseconds since 1970-01-01 UTC.
    pub modified_ns: i64,
}

/// A published file, held open for reading. What is read is this very file, also where another
/// one gets its name meanwhile.
#[derive(Debug)]
pub struct Published {
    /// How long it was when it was opened.
    pub filesize: FileSize,
    /// What it is known by.
    pub stamp: FileStamp,
    content: Box<dyn ReadAt>,
}

impl Published {
    /// For a store that has opened a file.
    #[must_use]
    pub fn new(filesize: FileSize, stamp: FileStamp, content: Box<dyn ReadAt>) -> Self {
        Self { filesize, stamp, content }
    }

    /// The same number as [`Publishable::file_number`](super::Publishable::file_number) had.
    #[must_use]
    pub const fn file_number(&self) -> u64 {
        self.stamp.inode
    }

    /// Whether the file is as it was when it was opened: no program has written to it since, as
    /// far as its length and its time of modification tell.
    ///
    /// # Errors
    /// [`StorageError::Io`] where the file cannot be looked at.
    pub fn is_unchanged(&self) -> Result<bool, StorageError> {
        let FileStamp { inode, modified_ns, .. } = self.stamp;
        let opened = FileLook { length_bytes: self.filesize.get(), inode, modified_ns };
        Ok(self.look()? == opened)
    }

    /// See [`ReadAt::look`].
    ///
    /// # Errors
    /// As that.
    pub fn look(&self) -> Result<FileLook, StorageError> {
        self.content.look()
    }

    /// The same file, read from the device: what memory holds of it is dropped, as far as it is
    /// on the device. For bytes in which only the device can be believed (P5).
    #[must_use]
    pub fn from_device(self) -> Self {
        self.content.drop_cached();
        self
    }

    /// Fills the buffer from that position.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where the file ends before, [`StorageError::Io`] where it cannot
    /// be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError> {
        let expected_bytes = at.get() + buffer.len() as u64;
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.content.read_at(rest, at.plus(filled as u64))? {
                0 => {
                    let found_bytes = at.get() + filled as u64;
                    let loss = super::Loss::Length { expected_bytes, found_bytes };
                    return Err(StorageError::Lost(loss));
                }
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Another descriptor of the same file; none where the store has no files.
    ///
    /// # Errors
    /// Where the system has no more descriptors.
    pub(crate) fn file(&self) -> io::Result<Option<File>> {
        let Some(DiskFile(file)) = self.content::<DiskFile>() else { return Ok(None) };
        file.try_clone().map(Some)
    }

    /// The bytes from the beginning of `range` to its end, or to the end of the file where that
    /// comes first.
    #[must_use]
    pub fn into_reader(self, range: Range<Offset>) -> RangeReader {
        RangeReader { content: self.content, next: range.start, end: range.end }
    }

    /// What the store holds open, where it is a `T`.
    pub(super) fn content<T: ReadAt>(&self) -> Option<&T> {
        (&*self.content as &dyn Any).downcast_ref()
    }
}

/// Reads a range of a published file, with as many bytes at a time as the caller's buffer has.
#[derive(Debug)]
pub struct RangeReader {
    content: Box<dyn ReadAt>,
    next: Offset,
    end: Offset,
}

impl io::Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left_bytes = self.end.get().saturating_sub(self.next.get());
        let most = usize::try_from(left_bytes).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = self.content.read_at(buffer, self.next).map_err(io::Error::other)?;
        self.next = self.next.plus(read as u64);
        Ok(read)
    }
}
