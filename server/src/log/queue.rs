//! The lines that wait to be written, and the thread that writes them.

use super::format::{LINE_BYTES_MAX, Level, LogFormat};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most that waits. As much again may be in the hands of the thread.
const BYTES_MAX: usize = 1 << 20;

/// How long the thread rests after it has written: lines gather meanwhile, and a line that comes
/// alone does not wait. A server that takes thousands of small files a second has a line for each,
/// and to wake the thread for each of them cost a sixth of what the files themselves cost.
const REST: Duration = Duration::from_millis(2);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Queue {
    format: LogFormat,
    state: Mutex<State>,
    /// Wakes the thread.
    filled: Condvar,
    /// Wakes the threads in [`wait_until_written`](Self::wait_until_written).
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, one after the other.
    bytes: Vec<u8>,
    lines: u64,
    /// Lines that were left out since that was last written.
    left_out: u64,
    /// The thread has lines, which still gather or are being written. While this is so, another
    /// line does not wake the thread.
    is_writing: bool,
    /// The thread writes at once and does not wait for [`GATHERING`].
    is_urgent: bool,
}

impl Queue {
    /// A queue whose thread writes to standard error, until the process ends.
    ///
    /// # Errors
    /// Where standard error is closed, or there is no thread to be had.
    pub(super) fn to_standard_error(format: LogFormat) -> io::Result<Arc<Self>> {
        // Not by way of `io::stderr`: its lock would be held for as long as a pipe that
        // is full is not read.
        Self::to(File::from(io::stderr().as_fd().try_clone_to_owned()?), format)
    }

    fn to(file: File, format: LogFormat) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self { format, ..Self::default() });
        let here = Arc::clone(&queue);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || here.write_to(file))?;
        Ok(queue)
    }

    /// The form of the lines.
    pub(super) fn format(&self) -> LogFormat {
        self.format
    }

    /// Adds a line, or counts it where there is no room. Does not wait for the writing.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        let cut = line.len() > LINE_BYTES_MAX;
        let line = if cut { &line[..LINE_BYTES_MAX] } else { line };
        // Behind a gap nothing is taken before the gap is named.
        let is_behind_gap = state.left_out > 0 && !state.bytes.is_empty();
        if is_behind_gap || state.bytes.len() + line.len() > BYTES_MAX {
            state.left_out += 1;
            return;
        }
        state.bytes.extend_from_slice(line);
        if line.last() != Some(&b'\n') {
            state.bytes.push(b'\n');
        }
        state.lines += 1;
        let is_half_full = state.bytes.len() >= BYTES_MAX / 2;
        if !state.is_writing || is_half_full && !std::mem::replace(&mut state.is_urgent, true) {
            state.is_writing = true;
            self.filled.notify_one();
        }
    }

    /// Waits until nothing waits to be written, but not for longer than that.
    pub(super) fn wait_until_written(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.is_writing || !state.bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state.is_urgent = true;
            self.filled.notify_one();
            let waited = self.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_to(&self, mut file: File) {
        let mut batch = Vec::new();
        let mut state = self.state();
        loop {
            while state.bytes.is_empty() {
                state.is_writing = false;
                self.written.notify_all();
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            batch.clear();
            std::mem::swap(&mut batch, &mut state.bytes);
            let mut lines = std::mem::take(&mut state.lines);
            let left_out = std::mem::take(&mut state.left_out);
            drop(state);
            if left_out > 0 {
                lines += left_out;
                let message = format!(
                    "{left_out} lines of the log are missing here: they came faster than the log was read"
                );
                batch.extend_from_slice(self.format.line(Level::Warn, &message).as_bytes());
            }
            let written = write(&mut file, &batch);
            state = self.state();
            if written.is_err() {
                // The loss cannot be written now: the next line tries it again.
                state.left_out += lines;
            }
            if batch.capacity() > BYTES_MAX / 4 {
                batch = Vec::new();
            }
            let rests = |state: &mut State| !state.is_urgent;
            let rested = self.filled.wait_timeout_while(state, REST, rests);
            state = rested.unwrap_or_else(PoisonError::into_inner).0;
            state.is_urgent = false;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::os::fd::OwnedFd;

    #[test]
    fn a_pipe_that_is_not_read_costs_lines_and_no_time() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::to(File::from(OwnedFd::from(writer)), LogFormat::Text).unwrap();
        let line = [b'x'; 99];
        let pushed = 100_000_u64;
        let start = Instant::now();
        for _ in 0..pushed {
            queue.push(&line);
        }
        queue.wait_until_written(Duration::from_millis(50));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(queue.state().bytes.len() <= BYTES_MAX);

        // What was read, and what was said to be missing, is all there was.
        let mut lines = BufReader::new(reader).lines();
        let (mut read, mut missing) = (0_u64, 0_u64);
        while read + missing < pushed {
            let text = lines.next().unwrap().unwrap();
            match text.split_once(" lines of the log are missing") {
                Some((before, _)) => {
                    let count = before.rsplit(' ').next().unwrap();
                    missing += count.parse::<u64>().unwrap();
                }
                None => read += 1,
            }
        }
        assert_eq!(read + missing, pushed);
        assert!(missing > 0 && read > 0);
        queue.wait_until_written(Duration::from_secs(10));
        queue.push(b"and goes on");
        assert_eq!(lines.next().unwrap().unwrap(), "and goes on");
    }

    #[test]
    fn an_end_that_nobody_holds_is_no_panic() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::to(File::from(OwnedFd::from(writer)), LogFormat::Text).unwrap();
        drop(reader);
        for _ in 0..3 {
            queue.push(b"a line");
            queue.wait_until_written(Duration::from_secs(10));
        }
        assert!(queue.state().left_out > 0);
    }
}
