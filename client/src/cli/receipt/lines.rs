//! The lines of a file of receipts.

use crate::cli::error::CliError;
use crate::exit::Exit;
use crate::receipts::{BadLine, SignedReceipt};
use crate::system::in_words;
use crate::text::shown;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

/// The longest line that is read: the names in a receipt are shorter, and so are key and signature.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Why a line is no receipt.
#[derive(Debug)]
pub(super) enum NoReceipt {
    /// The line is another text.
    Bad(BadLine),
    /// The file ends in the middle of the line.
    Torn,
    /// The line is longer than any receipt.
    TooLong,
}

/// See the module's description. Each line has its number; empty ones are left out.
pub(super) struct Lines {
    file: BufReader<File>,
    number: u64,
}

impl Lines {
    pub(super) fn of(path: &Path) -> Result<Self, CliError> {
        let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
        Ok(Self { file: BufReader::new(file), number: 0 })
    }

    /// The next line, with its end; `None` at the end of the file.
    fn next_line(&mut self) -> io::Result<Option<Result<Vec<u8>, NoReceipt>>> {
        let mut line = Vec::new();
        let read = (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.ends_with(b"\n") || (read as u64) < LINE_BYTES_MAX {
            return Ok(Some(Ok(line)));
        }
        self.file.skip_until(b'\n')?;
        Ok(Some(Err(NoReceipt::TooLong)))
    }
}

impl Iterator for Lines {
    type Item = io::Result<(u64, Result<SignedReceipt, NoReceipt>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.next_line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            self.number += 1;
            let receipt = match line {
                Ok(line) if line.trim_ascii().is_empty() => continue,
                Ok(line) => SignedReceipt::parse(&line).map_err(|bad| {
                    let is_torn = !line.ends_with(b"\n") && matches!(bad, BadLine::Unreadable(_));
                    if is_torn { NoReceipt::Torn } else { NoReceipt::Bad(bad) }
                }),
                Err(too_long) => Err(too_long),
            };
            return Some(Ok((self.number, receipt)));
        }
    }
}

/// The file of receipts cannot be read.
pub(super) fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    let message = format!("{}: it cannot be read: {}", shown(path), in_words(error));
    CliError::new(Exit::Refused, message)
}
