//! The disks under a data folder: one for everything, or one for the bytes and one for the catalog.
//! Two disks lose their power at the same moment, but each may have kept a different state.

use crate::site::Site;
use crate::volume::{Shown, Volume};

/// See the module's description.
#[derive(Debug)]
pub struct Disks {
    site: Site,
    shown: Option<Shown>,
    state: Option<Volume>,
    data: Volume,
}

/// Enough room for a scenario, and small enough to be formatted a hundred times.
const SIZE_BYTES: u64 = 48 << 20;

impl Disks {
    /// One disk for everything; nothing where the machine cannot have one, which is printed.
    #[must_use]
    pub fn one() -> Option<Self> {
        Some(Self::of(Volume::ext4(SIZE_BYTES)?, None))
    }

    /// The same with a second disk for the catalog.
    #[must_use]
    pub fn two() -> Option<Self> {
        let state = Volume::ext4(SIZE_BYTES)?;
        Some(Self::of(Volume::ext4(SIZE_BYTES)?, Some(state)))
    }

    /// Disks that the caller has made, the second one for the catalog.
    #[must_use]
    pub fn of(data: Volume, state: Option<Volume>) -> Self {
        let mut disks = Self { site: Site::on(&data), shown: None, state, data };
        disks.show();
        disks
    }

    /// The data folder.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Cuts the power of all disks and brings it back. No server may run.
    pub fn lose_power(&mut self) {
        self.power_off();
        self.power_on();
    }

    /// Cuts the power of all disks. The catalog's disk goes first: otherwise the server could take
    /// an error of the other disk for a failed disk, and write that down.
    pub fn power_off(&self) {
        if let Some(state) = &self.state {
            state.power_off();
        }
        self.data.power_off();
    }

    /// Brings the power back. No server may run any more.
    pub fn power_on(&mut self) {
        if let Some(shown) = self.shown.take() {
            shown.hide();
        }
        self.data.power_on();
        if let Some(state) = &self.state {
            state.power_on();
        }
        self.show();
    }

    /// Unmounts the disk with the bytes and mounts it again. No server may run.
    pub fn mount_data_again(&mut self) {
        if let Some(shown) = self.shown.take() {
            shown.hide();
        }
        self.data.mount_again();
        self.show();
    }

    /// The disk with the bytes.
    #[must_use]
    pub fn data(&self) -> &Volume {
        &self.data
    }

    /// The disk with the catalog.
    #[must_use]
    pub fn state(&self) -> &Volume {
        self.state.as_ref().unwrap_or(&self.data)
    }

    fn show(&mut self) {
        self.shown =
            self.state.as_ref().map(|state| state.show_at(&self.site.path().join("state")));
    }
}
