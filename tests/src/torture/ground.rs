//! Where a torture takes place: a data folder, on volumes that can lose their
//! power, with users, and with a neighbour who syncs files of their own.

use crate::site::{Person, Site};
use crate::volume::{Unavailable, Volume};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How the data folder lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In a folder: nothing can lose its power.
    Folder,
    /// On one volume.
    OneVolume,
    /// The catalog on a volume of its own. A sync of the catalog then makes nothing
    /// of the files durable by the way, as it does on a journal that both share.
    TwoVolumes,
}

/// Files are up to 3 MiB and are never removed before the ground is.
const DATA_BYTES: u64 = 1 << 30;
const STATE_BYTES: u64 = 128 << 20;

/// See the module's description.
pub(super) struct Ground {
    neighbour: Option<Neighbour>,
    /// Unmounted in this order.
    state: Option<Volume>,
    data: Option<Volume>,
    pub(super) site: Site,
    pub(super) people: Vec<Person>,
    pub(super) layout: Layout,
}

impl Ground {
    pub(super) async fn new(layout: Layout) -> Result<Self, Unavailable> {
        let data = match layout {
            Layout::Folder => None,
            Layout::OneVolume | Layout::TwoVolumes => Some(Volume::try_ext4(DATA_BYTES)?),
        };
        let site = data.as_ref().map_or_else(Site::new, Site::on);
        let state = match layout {
            Layout::TwoVolumes => {
                Some(Volume::try_ext4_at(STATE_BYTES, site.path().join("state"))?)
            }
            Layout::Folder | Layout::OneVolume => None,
        };
        let mut people = Vec::new();
        for name in ["ada", "bob", "cyd", "towline"] {
            people.push(site.add_user(name).await);
        }
        let mut ground = Self { neighbour: None, state, data, site, people, layout };
        ground.settle_neighbour();
        Ok(ground)
    }

    pub(super) fn has_power_to_lose(&self) -> bool {
        self.data.is_some()
    }

    /// The power goes, everywhere. The catalog first: what fails on the way down
    /// must not be taken for a failed disk and be written down.
    pub(super) fn power_off(&self) {
        for volume in [&self.state, &self.data].into_iter().flatten() {
            volume.power_off();
        }
    }

    /// The power comes back. The server must have ended.
    pub(super) fn power_on(&mut self) {
        self.neighbour = None;
        // One lies inside the other.
        for volume in [&self.state, &self.data].into_iter().flatten() {
            volume.unmount_now();
        }
        for volume in [&self.data, &self.state].into_iter().flatten() {
            volume.mount_again();
        }
        self.settle_neighbour();
    }

    fn settle_neighbour(&mut self) {
        let path = self.data.as_ref().map(|data| data.path().join("neighbour"));
        self.neighbour = path.map(Neighbour::new);
    }
}

/// A process beside the server that syncs a file of its own: each sync commits the
/// journal, and with it half of what the server is about.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn new(path: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let Ok(mut file) = File::create(path) else { return };
            // Ends by itself when the power goes: every sync then fails.
            while !told.load(Ordering::Relaxed) {
                if file.write_all(b"mine").and_then(|()| file.sync_all()).is_err() {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
