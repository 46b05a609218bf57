//! The thread that draws the bar.

use super::lock;
use super::screen::{Screen, Viewer};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Lets a thread show the present state again and again, until the sender is dropped.
pub(super) fn ticks(viewer: Viewer, screen: &Arc<Mutex<Screen>>) -> Sender<()> {
    let (ticks, ended) = channel();
    if viewer != Viewer::None {
        let screen = Arc::clone(screen);
        // Where the system has no thread, the bar stands still, and the work goes on.
        let _ = std::thread::Builder::new().name("towline-screen".to_owned()).spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                lock(&screen).tick(Instant::now());
            }
        });
    }
    ticks
}
