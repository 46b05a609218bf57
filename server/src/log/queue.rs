//! The lines that wait to be written, and the thread that writes them: those of the log, and those
//! of the audit log.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most that waits. As much again may be in the hands of the thread.
const BYTES_MAX: usize = 1 << 20;

/// How long the thread rests after it has written: lines gather meanwhile, and a line that comes
/// alone does not wait. A server that takes thousands of small files a second has a line for each,
/// and to wake the thread for each of them cost a sixth of what the files themselves cost.
const REST: Duration = Duration::from_millis(2);

/// Where lines are written to.
pub(crate) trait LineSink: Send + 'static {
    /// Writes whole lines, however long that takes. There are `count` of them.
    ///
    /// # Errors
    /// How many of them were not written.
    fn write(&mut self, lines: &[u8], count: u64) -> Result<(), u64>;

    /// The line that says that so many are missing.
    fn gap(&self, count: u64) -> String;
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Queue {
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
    /// Lines that were left out behind those that wait, for which there was no room.
    left_out: u64,
    /// Lines before those that wait, which could not be written, and are not named as missing yet.
    missing: u64,
    /// All lines that were ever left out or could not be written.
    lost: u64,
    /// The thread has lines, which still gather or are being written. While this is so, another
    /// line does not wake the thread.
    is_writing: bool,
    /// The thread writes at once and does not rest for [`REST`].
    is_urgent: bool,
    /// The thread ends when it has written what waits.
    is_closed: bool,
}

impl Queue {
    /// A queue whose thread, of that name, writes to `sink` until the queue is closed.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub(crate) fn to(sink: impl LineSink, thread: &str) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::default());
        let here = Arc::clone(&queue);
        std::thread::Builder::new().name(thread.to_owned()).spawn(move || here.write_to(sink))?;
        Ok(queue)
    }

    /// Adds a line, or counts it where there is no room. Does not wait for the writing.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        // Behind a gap nothing is taken before the gap is named.
        let is_behind_gap = state.left_out > 0 && !state.bytes.is_empty();
        if is_behind_gap || state.bytes.len() + line.len() > BYTES_MAX {
            state.left_out += 1;
            state.lost += 1;
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

    /// How many lines were left out, or could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Ends the thread when it has written what waits.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_one();
    }

    /// Waits until nothing waits to be written, but not for longer than that. Returns how many
    /// lines are missing by then without a line that says so.
    pub(crate) fn wait_until_written(&self, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.is_writing || !state.bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return state.missing + state.left_out + state.lines;
            }
            state.is_urgent = true;
            self.filled.notify_one();
            let waited = self.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.missing + state.left_out
    }

    fn write_to(&self, mut sink: impl LineSink) {
        let mut batch = Vec::new();
        let mut state = self.state();
        loop {
            while state.bytes.is_empty() {
                state.is_writing = false;
                self.written.notify_all();
                if state.is_closed {
                    return;
                }
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            batch.clear();
            std::mem::swap(&mut batch, &mut state.bytes);
            let lines = std::mem::take(&mut state.lines);
            let left_out = std::mem::take(&mut state.left_out);
            let missing = std::mem::take(&mut state.missing);
            drop(state);
            // What cannot be written now is lost: the next line tries to say so.
            let (missing, lost) = write_batch(&mut sink, missing, (&batch, lines), left_out);
            state = self.state();
            state.missing += missing;
            state.lost += lost;
            if batch.capacity() > BYTES_MAX / 4 {
                batch = Vec::new();
            }
            let rests = |state: &mut State| !state.is_urgent && !state.is_closed;
            let rested = self.filled.wait_timeout_while(state, REST, rests);
            state = rested.unwrap_or_else(PoisonError::into_inner).0;
            state.is_urgent = false;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the lines of a batch, with a line before them that names those that are missing, and one
/// behind them that names those that were left out. Returns how many are missing then without a line
/// that says so, and how many of the batch were not written.
fn write_batch(
    sink: &mut impl LineSink,
    missing: u64,
    (batch, lines): (&[u8], u64),
    left_out: u64,
) -> (u64, u64) {
    if missing > 0 && sink.write(sink.gap(missing).as_bytes(), 1).is_err() {
        return (missing + lines + left_out, lines);
    }
    if let Err(unwritten) = sink.write(batch, lines) {
        return (unwritten + left_out, unwritten);
    }
    if left_out > 0 && sink.write(sink.gap(left_out).as_bytes(), 1).is_err() {
        return (left_out, 0);
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogFormat;
    use crate::log::standard_error::StandardError;
    use std::fs::File;
    use std::io::{BufRead as _, BufReader, PipeWriter};
    use std::os::fd::OwnedFd;

    fn to(pipe: PipeWriter) -> Arc<Queue> {
        let file = File::from(OwnedFd::from(pipe));
        Queue::to(StandardError::over(file, LogFormat::Text), "log").unwrap()
    }

    #[test]
    fn a_pipe_that_is_not_read_costs_lines_and_no_time() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = to(writer);
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
        let queue = to(writer);
        drop(reader);
        for _ in 0..3 {
            queue.push(b"a line");
            queue.wait_until_written(Duration::from_secs(10));
        }
        assert!(queue.state().missing > 0);
    }

    /// Writes to memory, and takes so many bytes before it is full.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl LineSink for Disk {
        fn write(&mut self, lines: &[u8], count: u64) -> Result<(), u64> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let lines = lines.split_inclusive(|byte| *byte == b'\n');
            for (number, line) in lines.enumerate() {
                if written.len() + line.len() > *room {
                    return Err(count - number as u64);
                }
                written.extend_from_slice(line);
            }
            Ok(())
        }

        fn gap(&self, count: u64) -> String {
            format!("{count} missing\n")
        }
    }

    #[test]
    fn what_could_not_be_written_is_named_before_the_lines_that_follow_and_costs_none_of_them() {
        let disk = Disk::default();
        disk.0.lock().unwrap().1 = 8;
        let queue = Queue::to(disk.clone(), "a test").unwrap();
        for line in ["one", "two", "three", "four"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(queue.wait_until_written(Duration::from_secs(10)), 2);
        disk.0.lock().unwrap().1 = 1000;
        for line in ["five", "six", "seven"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(queue.wait_until_written(Duration::from_secs(10)), 0);
        assert_eq!(queue.lost(), 2);
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        assert_eq!(text, "one\ntwo\n2 missing\nfive\nsix\nseven\n");
        queue.close();
    }
}
