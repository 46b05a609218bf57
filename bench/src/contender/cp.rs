//! `cp`: no network, no hash, no promise.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::workspace::RunDir;
use anyhow::Result;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Cp;

impl Contender for Cp {
    fn name(&self) -> &'static str {
        "cp"
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`cp -r`, from the page cache into it"
    }

    fn version(&self) -> Option<String> {
        program::version("cp", "--version")
    }

    fn available(&self) -> Result<(), String> {
        program::find("cp").map(|_| ())
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let path = run_dir.at("copy");
        let mut copy = Command::new("cp");
        // Some file systems would share the blocks and copy nothing.
        copy.args(["-r", "--reflink=never"]).arg(run_dir.workload.path()).arg(&path);
        Ok(Box::new(move || {
            let (wall, client) = measure::run(copy, &run_dir.at("cp.log"), run_dir.limit)?;
            Ok(Arrival { sample: Sample { wall, client, server: None }, path })
        }))
    }
}
