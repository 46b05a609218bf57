//! The values of the blocks of a file that is being fetched, kept in a file.
//!
//! A head of 128 bytes, then 32 bytes for each block, zeros for one that is not here. All numbers
//! are little-endian.

use super::Expected;
use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use towline_types::ChainingValue;

const MAGIC: &[u8; 16] = b"towline-fetch-1\n";
const HEAD_BYTES: usize = 128;
const VALUE_BYTES: usize = 32;
const NO_VALUE: [u8; VALUE_BYTES] = [0; VALUE_BYTES];

/// Where the number of durable blocks stands.
const DURABLE_AT: usize = 72;

/// What the values belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    blake3: [u8; 32],
    filesize: u64,
    /// Of the system: other than before, it was restarted, and what was not synced may be lost.
    boot: [u8; 16],
}

impl Head {
    pub(super) fn of(expected: &Expected) -> Self {
        let blake3 = *expected.blake3.as_bytes();
        Self { blake3, filesize: expected.filesize.get(), boot: boot_id() }
    }

    fn bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..48].copy_from_slice(&self.blake3);
        bytes[48..56].copy_from_slice(&self.filesize.to_le_bytes());
        bytes[56..72].copy_from_slice(&self.boot);
        bytes
    }
}

#[derive(Debug)]
pub(super) struct ValueFile(File);

impl ValueFile {
    /// Opens the file, or makes it anew where it is about other bytes. Returns how many blocks of
    /// the beginning count.
    pub(super) fn open(
        folder: BorrowedFd<'_>,
        name: &str,
        head: Head,
    ) -> io::Result<(Self, usize)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        let mut known = [0; HEAD_BYTES];
        let is_ours = match file.read_exact_at(&mut known, 0) {
            Ok(()) => known[..56] == head.bytes()[..56],
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error),
        };
        let is_same_boot = known[56..72] == head.boot;
        let durable =
            known[DURABLE_AT..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let durable = usize::try_from(durable).unwrap_or(0);
        let this = Self(file);
        if !is_ours {
            this.0.set_len(0)?;
            this.0.write_all_at(&head.bytes(), 0)?;
            return Ok((this, 0));
        }
        if is_same_boot {
            let length = usize::try_from(this.0.metadata()?.len()).unwrap_or(usize::MAX);
            return Ok((this, (length - HEAD_BYTES) / VALUE_BYTES));
        }
        // What was not synced may be gone, or be there without its bytes.
        this.0.set_len((HEAD_BYTES + durable * VALUE_BYTES) as u64)?;
        this.0.write_all_at(&head.boot, 56)?;
        Ok((this, durable))
    }

    /// The values of the first blocks; nothing for a block that is missing.
    pub(super) fn read(&self, count: usize) -> io::Result<Vec<Option<ChainingValue>>> {
        let mut bytes = vec![0; count * VALUE_BYTES];
        match self.0.read_exact_at(&mut bytes, HEAD_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let (values, _) = bytes.as_chunks::<VALUE_BYTES>();
        let known = |value: &[u8; VALUE_BYTES]| {
            (*value != NO_VALUE).then(|| ChainingValue::from_bytes(*value))
        };
        Ok(values.iter().map(known).collect())
    }

    pub(super) fn write(&self, place: usize, value: ChainingValue) -> io::Result<()> {
        self.0.write_all_at(value.as_bytes(), (HEAD_BYTES + place * VALUE_BYTES) as u64)
    }

    /// The bytes of that many blocks from the beginning on were synced.
    pub(super) fn blocks_are_durable(&self, blocks: u64) -> io::Result<()> {
        // Their values come first: a number without them would count what is not there.
        self.0.sync_data()?;
        self.0.write_all_at(&blocks.to_le_bytes(), DURABLE_AT as u64)?;
        self.0.sync_data()
    }
}

/// Another one after each start of the system. Where the system does not tell, all runs count as
/// runs after a restart.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hash = blake3::hash(text.trim().as_bytes());
    let mut id = [0; 16];
    if text.is_empty() {
        id = fastrand::u128(..).to_le_bytes();
    } else {
        id.copy_from_slice(&hash.as_bytes()[..16]);
    }
    id
}
