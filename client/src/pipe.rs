//! A pipe whose bytes are sent. Its length is known only at its end, and nothing of it can be read
//! again: a thread reads it and hashes it, and what the server may still lose stays in memory.

mod window;

use crate::failure::Failure;
use std::io::{self, Read};
use std::path::PathBuf;
use tokio::sync::mpsc;
use towline_types::{FileHash, FileSize};
pub(crate) use window::Window;

/// The number of bytes that are read at a time: as many as a pipe of Linux holds.
const READ_BYTES: usize = 64 << 10;

/// The number of reads that wait to be taken.
const READS: usize = 16;

/// The most bytes that are kept in memory. A server makes what it receives durable within a second,
/// and a pipe that brings more in that time waits.
const KEPT_BYTES: u64 = 64 << 20;

/// The name of standard input on a command line.
pub(crate) const STANDARD_INPUT: &str = "-";

/// What the thread has read.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End(Whole),
    Failed(io::Error),
}

/// The length and the hash of all that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) filesize: FileSize,
    pub(crate) blake3: FileHash,
}

/// See the module's description. The thread ends when this is dropped and the pipe brings
/// something more, or its end.
#[derive(Debug)]
pub(crate) struct Pipe {
    pieces: mpsc::Receiver<Piece>,
    pub(crate) window: Window,
    whole: Option<Whole>,
}

impl Pipe {
    /// # Errors
    /// Where the system has no thread.
    pub(crate) fn start(from: impl Read + Send + 'static) -> io::Result<Self> {
        let (tell, pieces) = mpsc::channel(READS);
        let reading = std::thread::Builder::new().name("towline-pipe".to_owned());
        reading.spawn(move || read(from, &tell))?;
        Ok(Self { pieces, window: Window::default(), whole: None })
    }

    /// The length and the hash of all of it, once its end has come.
    pub(crate) fn whole(&self) -> Option<Whole> {
        self.whole
    }

    /// Whether [`read`](Self::read) is to be called: the end has not come, and there is room.
    pub(crate) fn wants_more(&self) -> bool {
        self.whole.is_none() && self.window.kept_bytes() < KEPT_BYTES
    }

    /// Waits for the next bytes, or the end, and takes them in.
    ///
    /// # Errors
    /// Where the pipe cannot be read.
    ///
    /// # Cancel safety
    /// Cancel-safe: what was read is in the window or in the channel.
    pub(crate) async fn read(&mut self) -> Result<(), Failure> {
        match self.pieces.recv().await {
            Some(Piece::Bytes(bytes)) => self.window.push(&bytes),
            Some(Piece::End(whole)) => self.whole = Some(whole),
            Some(Piece::Failed(error)) => return Err(unreadable(error)),
            None => return Err(unreadable(io::Error::other("its reader has ended"))),
        }
        Ok(())
    }
}

fn unreadable(source: io::Error) -> Failure {
    let path = PathBuf::from(STANDARD_INPUT);
    Failure::File { action: "read", path, source, kept: None }
}

/// The work of the thread.
fn read(mut from: impl Read, tell: &mpsc::Sender<Piece>) {
    let mut hasher = blake3::Hasher::new();
    let mut length = 0u64;
    loop {
        let mut bytes = vec![0; READ_BYTES];
        let piece = match from.read(&mut bytes) {
            Ok(0) => match FileSize::try_from(length) {
                Ok(filesize) => {
                    let blake3 = FileHash::from_bytes(*hasher.finalize().as_bytes());
                    Piece::End(Whole { filesize, blake3 })
                }
                Err(error) => Piece::Failed(io::Error::other(error)),
            },
            Ok(count) => {
                bytes.truncate(count);
                hasher.update(&bytes);
                length += count as u64;
                Piece::Bytes(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Piece::Failed(error),
        };
        let is_last = !matches!(piece, Piece::Bytes(_));
        if tell.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_of_it_is_read_and_no_more_is_kept_than_there_is_room_for() {
        let bytes: Vec<u8> = (0..KEPT_BYTES + 100_000).map(|n| n.to_le_bytes()[1]).collect();
        let hash = blake3::hash(&bytes).to_string();
        let length = bytes.len() as u64;
        let mut pipe = Pipe::start(io::Cursor::new(bytes.clone())).unwrap();
        let mut place = 0usize;
        while pipe.whole().is_none() {
            while pipe.wants_more() {
                pipe.read().await.unwrap();
            }
            assert!(pipe.window.kept_bytes() < KEPT_BYTES + READ_BYTES as u64);
            while let Some(some) = pipe.window.bytes_from(place as u64, 1 << 20) {
                assert!(bytes[place..].starts_with(some), "at {place}");
                place += some.len();
            }
            pipe.window.forget_before(place as u64);
        }
        let whole = pipe.whole().unwrap();
        assert_eq!((whole.filesize.get(), whole.blake3.to_string()), (length, hash));
        assert_eq!(pipe.window.end(), length);
    }

    #[tokio::test]
    async fn a_pipe_that_breaks_is_no_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let mut pipe = Pipe::start(Broken).unwrap();
        assert!(matches!(pipe.read().await, Err(Failure::File { action: "read", .. })));
        assert!(pipe.whole().is_none());
    }
}
