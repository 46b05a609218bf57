//! curl from nginx, which hands the file to the kernel with `sendfile`.

use super::source;
use crate::contender::nginx::serve;
use crate::contender::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::workspace::RunDir;
use anyhow::Result;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct CurlGet;

impl Contender for CurlGet {
    fn name(&self) -> &'static str {
        "curl from nginx"
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`curl -o` from nginx with `sendfile`; nothing is checked"
    }

    fn version(&self) -> Option<String> {
        let nginx = program::version("nginx", "-v")?;
        Some(format!("{nginx}; {}", program::version("curl", "--version")?))
    }

    fn available(&self) -> Result<(), String> {
        program::find("nginx")?;
        program::find("curl").map(|_| ())
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let (server, url) = serve(run_dir, source(run_dir), "sendfile on;")?;
        let path = run_dir.at("fetched");
        let mut curl = Command::new("curl");
        curl.args(["-q", "-sSf", "--noproxy", "*", "-o"]).arg(&path);
        curl.arg(format!("{url}{}", run_dir.load_name().to_string_lossy()));
        Ok(Box::new(move || {
            let (wall, client) = measure::run(curl, &run_dir.at("client.log"), run_dir.limit)?;
            let server = Some(server.stop()?);
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}
