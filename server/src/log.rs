//! The log of a server, on standard error. Nothing that the server does waits for it: a
//! line goes into a queue in memory, and one thread writes the queue out. Where lines
//! come faster than they are read, lines are left out and counted.

mod format;
pub(crate) mod queue;
mod standard_error;

pub use format::LogFormat;

use format::{LINE_BYTES_MAX, Level};
use queue::Queue;
use standard_error::StandardError;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variable that says what is logged.
const VARIABLE: &str = "TOWLINE_LOG";
const DEFAULT: &str = "info";

/// How long a process that ends waits for its log, where no program reads that.
const LAST_LINES: Duration = Duration::from_millis(250);

/// The queue of this process and the form of its lines, once the log has begun.
static QUEUE: OnceLock<(Arc<Queue>, LogFormat)> = OnceLock::new();

/// Begins the log of this process: what the server says, and what a panic says. A second
/// call changes nothing.
pub(crate) fn begin(format: LogFormat) {
    let queue = StandardError::open(format).and_then(|sink| Queue::to(sink, "log"));
    let Ok(queue) = queue else { return };
    if QUEUE.set((Arc::clone(&queue), format)).is_err() {
        return;
    }
    let (filter, complaint) = filter(std::env::var(VARIABLE).ok());
    let is_coloured = format == LogFormat::Text
        && io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured)
        .with_writer(Lines { queue, format, is_coloured });
    let begun = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if begun.is_err() {
        return;
    }
    // The usual one writes to standard error itself, and would wait for it.
    std::panic::set_hook(Box::new(log_panic));
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// Says the last thing of a process, after all that was logged, and waits until it is
/// written, or for a quarter of a second.
pub(crate) fn finish(last: Option<&str>) {
    match (QUEUE.get(), last) {
        (Some((queue, format)), last) => {
            match (format, last) {
                (format @ LogFormat::Json, Some(last)) => {
                    push(queue, &format.line(Level::Error, last.trim_end()));
                }
                (format @ LogFormat::Text, Some(last)) => {
                    // It may have several lines; each is made printable by itself.
                    for line in last.split_inclusive('\n') {
                        push(queue, &format.printable(line.as_bytes(), false));
                    }
                }
                (_, None) => {}
            }
            queue.wait_until_written(LAST_LINES);
        }
        (None, Some(last)) => {
            let _ = io::stderr().write_all(last.as_bytes());
        }
        (None, None) => {}
    }
}

/// What is logged, and what is wrong with what was asked for.
fn filter(asked: Option<String>) -> (EnvFilter, Option<String>) {
    let default = || EnvFilter::new(DEFAULT);
    let Some(asked) = asked.filter(|asked| !asked.trim().is_empty()) else {
        return (default(), None);
    };
    let complaint = |why: &str| {
        Some(format!(
            "{VARIABLE}={asked:?} is not understood ({why}); logging at {DEFAULT:?}. Write error, \
             warn, info, debug or trace, or towline_server=debug"
        ))
    };
    // A word that is no level would be taken for the name of a module that logs nothing.
    let is_unknown = |directive: &str| {
        let directive = directive.trim();
        let is_level = directive.parse::<tracing::level_filters::LevelFilter>().is_ok();
        !(is_level || directive.contains(['=', '[', ':']) || directive.starts_with("towline"))
    };
    match EnvFilter::try_new(&asked) {
        Ok(filter) => match asked.split(',').find(|directive| is_unknown(directive)) {
            Some(directive) => {
                let why = format!("{:?} is no level", directive.trim());
                (default(), complaint(&why))
            }
            None => (filter, None),
        },
        Err(error) => (default(), complaint(&error.to_string())),
    }
}

/// Adds a line of the log, as much of it as a line may have.
fn push(queue: &Queue, line: &str) {
    let bytes = line.as_bytes();
    queue.push(&bytes[..bytes.len().min(LINE_BYTES_MAX)]);
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let Some((queue, format)) = QUEUE.get() else { return };
    let said = panic.payload_as_str().unwrap_or("a panic without a message");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let mut message = format!("thread {thread:?} panicked");
    if let Some(place) = panic.location() {
        let _ = write!(message, " at {place}");
    }
    let _ = write!(message, ": {said}");
    let trace = Backtrace::capture();
    let has_trace = trace.status() == BacktraceStatus::Captured;
    if has_trace && *format == LogFormat::Json {
        let _ = write!(message, "\n{trace}");
    }
    let mut text = format.line(Level::Error, &message);
    if has_trace && *format == LogFormat::Text {
        let _ = writeln!(text, "{trace}");
    }
    push(queue, &text);
}

/// Where the lines of the log are written to.
#[derive(Clone)]
struct Lines {
    queue: Arc<Queue>,
    format: LogFormat,
    is_coloured: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// One call is one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        push(&self.queue, &self.format.of_event(line, self.is_coloured));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_said() {
        let complaint = |asked: &str| filter(Some(asked.to_owned())).1;
        for good in ["debug", "WARN", "off", "towline_server=trace", "info,towline_state=debug", ""]
        {
            assert_eq!(complaint(good), None, "{good}");
        }
        for bad in ["verbose", "debugg", "info,loud", "=,=", "towline_server=loud"] {
            assert!(complaint(bad).is_some_and(|text| text.contains(VARIABLE)), "{bad}");
        }
    }
}
