//! The data folders of a crash test: on volumes that can lose their power, with users, and with
//! other programs that keep the disk busy.

use crate::disks::Disks;
use crate::site::{Site, TestUser};
use crate::volume::{Unavailable, Volume};
use rusqlite::Connection;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The layout of the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In a folder of the machine: its power cannot be cut.
    Folder,
    /// On one volume.
    OneVolume,
    /// With the catalog on a volume of its own. Then a sync of the catalog does not make files
    /// durable as a side effect, as it does where both share a journal.
    TwoVolumes,
}

/// The size of the volume with the bytes: the files have a few MiB each, and are removed only with
/// the data folders.
const DATA_BYTES: u64 = 1 << 30;
const STATE_BYTES: u64 = 128 << 20;

/// See the module's description.
pub(super) struct DataDirs {
    neighbours: Vec<Neighbour>,
    footing: Footing,
    pub(super) users: Vec<TestUser>,
    /// Users whose files are moved, replaced, removed and restored as well.
    pub(super) tree_users: Vec<TestUser>,
    pub(super) layout: Layout,
}

/// What the data folder is on.
enum Footing {
    Folder(Site),
    Disks(Disks),
}

impl DataDirs {
    pub(super) async fn new(layout: Layout) -> Result<Self, Unavailable> {
        let footing = match layout {
            Layout::Folder => Footing::Folder(Site::new()),
            Layout::OneVolume => Footing::Disks(Disks::of(Volume::try_ext4(DATA_BYTES)?, None)),
            Layout::TwoVolumes => {
                let state = Some(Volume::try_ext4(STATE_BYTES)?);
                Footing::Disks(Disks::of(Volume::try_ext4(DATA_BYTES)?, state))
            }
        };
        let (neighbours, users, tree_users) = (Vec::new(), Vec::new(), Vec::new());
        let mut data_dirs = Self { neighbours, footing, users, tree_users, layout };
        for name in ["ada", "bob", "cyd", "towline"] {
            data_dirs.users.push(data_dirs.site().add_user(name).await);
        }
        data_dirs.tree_users.push(data_dirs.site().add_user("dan").await);
        Ok(data_dirs)
    }

    pub(super) fn site(&self) -> &Site {
        match &self.footing {
            Footing::Folder(site) => site,
            Footing::Disks(disks) => disks.site(),
        }
    }

    pub(super) fn has_power_to_lose(&self) -> bool {
        matches!(self.footing, Footing::Disks(_))
    }

    /// Cuts the power of all volumes.
    pub(super) fn power_off(&self) {
        if let Footing::Disks(disks) = &self.footing {
            disks.power_off();
        }
    }

    /// Brings the power back. The server must have ended.
    pub(super) fn power_on(&mut self) {
        self.neighbours.clear();
        if let Footing::Disks(disks) = &mut self.footing {
            disks.power_on();
        }
    }

    /// Starts neighbours for a round, at random. They make the disk busy, and their syncs may make
    /// bytes durable that the server has forgotten to sync. They run only beside a running server:
    /// after a crash, the server has to find the disk as the crash left it.
    pub(super) fn neighbours_come(&mut self, chance: &mut fastrand::Rng) {
        let Footing::Disks(disks) = &self.footing else { return };
        if chance.bool() {
            let file = disks.data().path().join("neighbour");
            self.neighbours.push(Neighbour::new(move |told| sync_a_file(&file, told)));
        }
        if chance.bool() {
            let catalog = disks.site().catalog_path();
            self.neighbours.push(Neighbour::new(move |told| copy_back(&catalog, told)));
        }
    }

    pub(super) fn neighbours_go(&mut self) {
        self.neighbours.clear();
    }
}

/// Work beside the server, in a thread of its own, until it is told to stop.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn new(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || work(&told)));
        Self { stop, thread }
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

/// Syncs a file of its own. Each sync commits the journal, and with it a part of the server's
/// changes. This ends when the power is cut, because every sync then fails.
fn sync_a_file(path: &Path, told: &AtomicBool) {
    let Ok(mut file) = File::create(path) else { return };
    while !told.load(Ordering::Relaxed) {
        if file.write_all(b"mine").and_then(|()| file.sync_all()).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Makes SQLite copy the catalog's write-ahead log back into the database again and again, and
/// begin the log anew. By default SQLite does so after a thousand pages; here a power cut has a
/// good chance to come during it.
fn copy_back(catalog: &Path, told: &AtomicBool) {
    let Ok(connection) = Connection::open(catalog) else { return };
    while !told.load(Ordering::Relaxed) {
        // The database may be busy, or without power: the loop tries again.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        std::thread::sleep(Duration::from_millis(7));
    }
}
