//! OpenSSH's scp, encrypted as it always is, from an sshd of our own.

use crate::contender::sftp::{sign_in, sshd, sshd_available, user};
use crate::contender::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::workspace::RunDir;
use anyhow::Result;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct ScpGet;

impl Contender for ScpGet {
    fn name(&self) -> &'static str {
        "scp"
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`scp -r` from an sshd with its defaults, encrypted"
    }

    fn version(&self) -> Option<String> {
        program::version("ssh", "-V")
    }

    fn available(&self) -> Result<(), String> {
        program::find("scp")?;
        sshd_available()
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let (server, port) = sshd(run_dir)?;
        let path = run_dir.at("fetched");
        let mut scp = Command::new("scp");
        scp.args(["-q", "-r"]);
        sign_in(&mut scp, run_dir, port);
        scp.arg(format!("{}@127.0.0.1:{}", user()?, run_dir.workload.path().display())).arg(&path);
        Ok(Box::new(move || {
            let (wall, client) = measure::run(scp, &run_dir.at("client.log"), run_dir.limit)?;
            server.be_alone()?;
            let server = Some(server.stop()?);
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}
