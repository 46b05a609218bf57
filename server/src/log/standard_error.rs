//! Standard error, as the log writes to it.

use super::format::{Level, LogFormat};
use super::queue::LineSink;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

/// See the module's description.
pub(super) struct StandardError {
    file: File,
    format: LogFormat,
}

impl StandardError {
    /// # Errors
    /// Where standard error is closed.
    pub(super) fn open(format: LogFormat) -> io::Result<Self> {
        // Not by way of `io::stderr`: its lock would be held for as long as a pipe that
        // is full is not read.
        Ok(Self::over(File::from(io::stderr().as_fd().try_clone_to_owned()?), format))
    }

    pub(super) fn over(file: File, format: LogFormat) -> Self {
        Self { file, format }
    }
}

impl LineSink for StandardError {
    fn write(&mut self, lines: &[u8], count: u64) -> Result<(), u64> {
        write(&mut self.file, lines).map_err(|_| count)
    }

    fn gap(&self, count: u64) -> String {
        let message = format!(
            "{count} lines of the log are missing here: they came faster than the log was read"
        );
        self.format.line(Level::Warn, &message)
    }
}

/// Writes all of it, however long that takes.
fn write(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another program has told the terminal or the pipe not to let writers wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
