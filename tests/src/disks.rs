//! The disks under a data folder: one for all of it, or one for the bytes and one
//! for the catalog, which then lose their power at the same moment but need not
//! have kept the same past.

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

/// Room for a scenario, and small enough to be made anew a hundred times.
const SIZE_BYTES: u64 = 48 << 20;

impl Disks {
    /// One for everything; or nothing, said aloud.
    #[must_use]
    pub fn one() -> Option<Self> {
        Some(Self::of(Volume::ext4(SIZE_BYTES)?, None))
    }

    /// A second one for the catalog.
    #[must_use]
    pub fn two() -> Option<Self> {
        let state = Volume::ext4(SIZE_BYTES)?;
        Some(Self::of(Volume::ext4(SIZE_BYTES)?, Some(state)))
    }

    /// These, the second one for the catalog.
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

    /// Cuts the power of all of them and brings it back. No server may run.
    pub fn lose_power(&mut self) {
        self.power_off();
        self.power_on();
    }

    /// The power goes, everywhere. The catalog first: what fails on the way down must
    /// not be taken for a failed disk, and be written down.
    pub fn power_off(&self) {
        if let Some(state) = &self.state {
            state.power_off();
        }
        self.data.power_off();
    }

    /// The power comes back. No server may run any more.
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

    /// Takes the disk with the bytes out and puts it in again. No server may run.
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
