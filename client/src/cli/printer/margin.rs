//! A terminal on which some columns at the right edge stay free.
//!
//! On Ctrl-C a terminal writes `^C` where the cursor stands. The progress bar's library ends each
//! line by filling it with spaces up to the edge. There `^C` would begin a new line, and the
//! library could no longer erase the old bar. So this terminal replaces the spaces by a line break,
//! and drops the spaces of the last line.

use console::Term;
use indicatif::TermLike;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// The two columns of `^C`, and one for the cursor.
const FREE_COLUMNS: usize = 3;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Margin {
    terminal: Term,
    /// A line was written, and the spaces after it were left out.
    is_line_full: AtomicBool,
}

impl Margin {
    pub(super) fn of(terminal: Term) -> Self {
        Self { terminal, is_line_full: AtomicBool::new(false) }
    }

    /// The number of columns that a line may have.
    pub(super) fn columns(&self) -> usize {
        usize::from(self.width()).saturating_sub(FREE_COLUMNS)
    }
}

#[cfg(unix)]
impl Margin {
    /// The number of lines of the terminal.
    pub(super) fn rows(&self) -> usize {
        usize::from(self.height())
    }
}

impl TermLike for Margin {
    fn width(&self) -> u16 {
        self.terminal.size().1
    }

    fn height(&self) -> u16 {
        self.terminal.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.terminal.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') {
            self.is_line_full.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.is_line_full.swap(false, Ordering::Relaxed) {
            self.terminal.write_str("\n")?;
        }
        self.terminal.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.terminal.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        // All lines are written, and the next ones are written over them.
        self.is_line_full.store(false, Ordering::Relaxed);
        self.terminal.flush()
    }
}
