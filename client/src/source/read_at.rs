//! Opening a file without waiting for it, and reading at a position.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use towline_types::FileSize;

/// Whether the file ends at this size: its last byte can be read, and no byte follows.
pub(super) fn ends_at(file: &File, filesize: FileSize) -> io::Result<bool> {
    let mut buffer = [0; 2];
    let (expected, position) = match filesize.get().checked_sub(1) {
        Some(last) => (1, last),
        None => (0, 0),
    };
    let into = &mut buffer[..=expected];
    loop {
        match read_at(file, into, position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            count => return Ok(count? == expected),
        }
    }
}

/// Opens a file so that no read of it waits for further bytes: some files of the kernel, for
/// example `/proc/kmsg`, count as regular files and have no end. For other files this makes no
/// difference.
#[cfg(unix)]
pub(crate) fn open_without_waiting(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    match File::options().read(true).custom_flags(flags).open(path) {
        // Another program holds a lease on the file (fcntl(2), `F_SETLEASE`), and gives it up only
        // for an opener that waits.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => File::open(path),
        opened => opened,
    }
}

#[cfg(not(unix))]
pub(crate) fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// All bytes up to the end; nothing where they are more than `max_bytes`.
pub(super) fn read_up_to(from: impl Read, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max_bytes).then_some(bytes))
}

pub(super) fn copy_exact_at(bytes: &[u8], buffer: &mut [u8], position: u64) -> io::Result<()> {
    let start = usize::try_from(position).ok();
    let found = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
    buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

pub(super) fn read_exact_at(
    file: &File,
    mut buffer: &mut [u8],
    mut position: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
