//! One big file, fetched from the server that has it.

use super::{Section, Unit};
use crate::contender::{Contender, Cp, CurlGet, RsyncGet, ScpGet, TowlineGet};
use crate::metric::plain;
use crate::workload::Workload;
use anyhow::Result;
use fastrand::Rng;
use std::path::Path;

#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) bytes: u64,
}

impl Section for Get {
    fn name(&self) -> &'static str {
        "get"
    }

    fn title(&self) -> String {
        format!("one file of {}, fetched", plain(self.bytes))
    }

    fn space_bytes(&self, _runs: u64) -> u64 {
        // The source, what a server keeps, and what arrives; two rounds are ready at a time.
        self.bytes.saturating_mul(5)
    }

    fn workload(&self, folder: &Path, random: &mut Rng) -> Result<Workload> {
        Workload::file(folder, self.bytes, random)
    }

    fn contenders(&self) -> Vec<Box<dyn Contender>> {
        vec![
            Box::new(Cp),
            Box::new(TowlineGet::Synced),
            Box::new(TowlineGet::Encrypted),
            Box::new(TowlineGet::Unsynced),
            Box::new(RsyncGet::Plain),
            Box::new(RsyncGet::Fsync),
            Box::new(CurlGet),
            Box::new(ScpGet),
        ]
    }

    fn reference(&self) -> &'static str {
        "cp"
    }

    fn unit(&self) -> Unit {
        Unit { name: "GiB", count: self.bytes as f64 / (1u64 << 30) as f64 }
    }
}
