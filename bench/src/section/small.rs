//! A folder of many small files.

use super::{Section, Unit};
use crate::contender::{Contender, Cp, Rsync, Towline};
use crate::workload::Workload;
use anyhow::Result;
use fastrand::Rng;
use std::path::Path;

/// What a small file costs on a disk at the most: blocks, entry, row.
const SPACE_BYTES: u64 = 8 << 10;

#[derive(Debug)]
pub(crate) struct Small {
    pub(crate) files: u32,
}

impl Section for Small {
    fn name(&self) -> &'static str {
        "small"
    }

    fn title(&self) -> String {
        format!("a folder of {} files of 4 KiB", self.files)
    }

    fn space_bytes(&self, runs: u64) -> u64 {
        // The source, and what every run of every contender leaves.
        u64::from(self.files) * SPACE_BYTES * (1 + runs * self.contenders().len() as u64)
    }

    fn workload(&self, folder: &Path, random: &mut Rng) -> Result<Workload> {
        Workload::folder(folder, self.files, random)
    }

    fn contenders(&self) -> Vec<Box<dyn Contender>> {
        vec![
            Box::new(Cp),
            Box::new(Towline::Durable),
            Box::new(Towline::Relaxed),
            Box::new(Rsync::Plain),
            Box::new(Rsync::Fsync),
        ]
    }

    fn reference(&self) -> &'static str {
        "cp"
    }

    fn unit(&self) -> Unit {
        Unit { name: "10,000 files", count: f64::from(self.files) / 10_000.0 }
    }
}
