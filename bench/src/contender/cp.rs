//! `cp`: no network, no hash, no promise.

use super::{Arrival, Class, Contender, Go};
use crate::ground::Room;
use crate::measure;
use crate::program;
use crate::sample::Sample;
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

    fn ready<'a>(&'a self, room: &'a Room) -> Result<Go<'a>> {
        let path = room.at("copy");
        let mut copy = Command::new("cp");
        // Some file systems would share the blocks and copy nothing.
        copy.args(["-r", "--reflink=never"]).arg(room.load.path()).arg(&path);
        Ok(Box::new(move || {
            let (wall, client) = measure::run(copy, &room.at("cp.log"), room.limit)?;
            Ok(Arrival { sample: Sample { wall, client, server: None }, path })
        }))
    }
}
