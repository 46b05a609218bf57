//! One big file.

use super::{Section, Unit};
use crate::contender::{Contender, Cp, FloorProgram, Nginx, Rsync, Scp, Sftp, Towline, Tus};
use crate::metric::plain;
use crate::workload::Workload;
use anyhow::Result;
use fastrand::Rng;
use std::path::Path;

#[derive(Debug)]
pub(crate) struct Big {
    pub(crate) bytes: u64,
}

impl Section for Big {
    fn name(&self) -> &'static str {
        "big"
    }

    fn title(&self) -> String {
        format!("one file of {}", plain(self.bytes))
    }

    fn space_bytes(&self, _runs: u64) -> u64 {
        // The source, what arrives, and what a server may keep beside it meanwhile.
        self.bytes.saturating_mul(3)
    }

    fn workload(&self, folder: &Path, random: &mut Rng) -> Result<Workload> {
        Workload::file(folder, self.bytes, random)
    }

    fn contenders(&self) -> Vec<Box<dyn Contender>> {
        vec![
            Box::new(FloorProgram::Plain),
            Box::new(FloorProgram::Sync),
            Box::new(FloorProgram::Paced),
            Box::new(Cp),
            Box::new(Towline::Durable),
            Box::new(Towline::Encrypted),
            Box::new(Towline::Relaxed),
            Box::new(Rsync::Plain),
            Box::new(Rsync::Fsync),
            Box::new(Nginx),
            Box::new(Sftp),
            Box::new(Scp),
            Box::new(Tus::Tusd),
            Box::new(Tus::Rustus),
        ]
    }

    fn reference(&self) -> &'static str {
        "floor"
    }

    fn unit(&self) -> Unit {
        Unit { name: "GiB", count: self.bytes as f64 / (1u64 << 30) as f64 }
    }
}
