//! What is shown while `verify` compares: how many files and bytes so far, and a large file that is
//! being read.

use super::screen::checking::Deed;
use super::screen::{Screen, Viewer};
use super::{OutputStyle, lock, ticks};
use crate::cli::json;
use crate::events::Event;
use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a program hears how far a file was read. Where a file takes less time, a program hears
/// only what became of it.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// See the module's description.
#[derive(Debug)]
pub(in crate::cli) struct Comparing {
    viewer: Viewer,
    screen: Arc<Mutex<Screen>>,
    /// Dropped at the end: then the thread that draws ends.
    _ticks: Sender<()>,
    files: u64,
    bytes: u64,
}

/// A file that is being read.
pub(in crate::cli) struct Reading<'a> {
    comparing: &'a Comparing,
    path: &'a Path,
    bytes: u64,
    told: Cell<Instant>,
}

impl Comparing {
    pub(in crate::cli) fn new(style: OutputStyle) -> Self {
        let now = Instant::now();
        let viewer = Viewer::of(style);
        let mut screen = Screen::new(viewer, now);
        screen.compare(0, 0);
        let screen = Arc::new(Mutex::new(screen));
        let ticks = ticks(viewer, &screen);
        Self { viewer, screen, _ticks: ticks, files: 0, bytes: 0 }
    }

    /// A file of that length is read from now on.
    pub(in crate::cli) fn reading<'a>(&'a self, path: &'a Path, bytes: u64) -> Reading<'a> {
        Reading { comparing: self, path, bytes, told: Cell::new(Instant::now()) }
    }

    /// One more file was compared, of which that number of bytes were read.
    pub(in crate::cli) fn has_compared(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        let mut screen = lock(&self.screen);
        screen.end(None, Instant::now());
        screen.compare(self.files, self.bytes);
    }

    /// Calls `print` while nothing is drawn.
    pub(in crate::cli) fn suspend(&self, print: impl FnOnce()) {
        lock(&self.screen).suspend(print);
    }

    /// Nothing is drawn after this.
    pub(in crate::cli) fn close(self) {
        lock(&self.screen).close();
    }
}

impl Reading<'_> {
    /// Sets how many bytes of it were read.
    pub(in crate::cli) fn is_at(&self, checked_bytes: u64) {
        let Self { comparing, path, bytes, told } = self;
        let now = Instant::now();
        lock(&comparing.screen).check(Deed::Compares, path, *bytes, checked_bytes, now);
        if comparing.viewer == Viewer::Program && now.duration_since(told.get()) >= TOLD_EVERY {
            told.set(now);
            let (path, bytes) = (path.to_path_buf(), *bytes);
            json::print(&Event::Checking { path, bytes, checked_bytes });
        }
    }
}
