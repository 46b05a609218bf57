//! OpenSSH's scp, encrypted as it always is, to an sshd of our own.

use super::sftp::{sign_in, sshd, sshd_available, user};
use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::workspace::RunDir;
use anyhow::Result;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Scp;

impl Contender for Scp {
    fn name(&self) -> &'static str {
        "scp"
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`scp -r` to an sshd with its defaults, encrypted"
    }

    fn version(&self) -> Option<String> {
        program::version("ssh", "-V")
    }

    fn available(&self) -> Result<(), String> {
        program::find("scp")?;
        sshd_available()
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let into = run_dir.folder("received")?;
        let (server, port) = sshd(run_dir)?;
        let mut scp = Command::new("scp");
        scp.args(["-q", "-r"]);
        sign_in(&mut scp, run_dir, port);
        scp.arg(run_dir.workload.path());
        scp.arg(format!("{}@127.0.0.1:{}", user()?, into.display()));
        Ok(Box::new(move || {
            let (wall, client) = measure::run(scp, &run_dir.at("client.log"), run_dir.limit)?;
            server.be_alone()?;
            let server = Some(server.stop()?);
            let path = into.join(run_dir.load_name());
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}
