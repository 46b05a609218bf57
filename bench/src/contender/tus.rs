//! The two best known servers of the tus protocol, by curl: one POST that creates, one
//! PATCH with the whole file.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::server::{Server, Sign, free_port};
use crate::workspace::RunDir;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Tus {
    Tusd,
    Rustus,
}

impl Contender for Tus {
    fn name(&self) -> &'static str {
        match self {
            Self::Tusd => "tusd",
            Self::Rustus => "rustus",
        }
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`curl`: POST, and one PATCH with the whole file"
    }

    fn version(&self) -> Option<String> {
        program::version(self.name(), "--version")
    }

    fn available(&self) -> Result<(), String> {
        program::find("curl")?;
        program::find(self.name()).map(|_| ())
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let into = run_dir.folder("received")?;
        let port = free_port()?;
        let command = self.server(run_dir, &into, port)?;
        let server = Server::start(command, &run_dir.at("server.log"), Sign::Opens(port))?;

        Ok(Box::new(move || {
            let log = run_dir.at("create.log");
            let mut create = curl();
            create
                .args(["-X", "POST", "-i", "-H"])
                .arg(format!("Upload-Length: {}", run_dir.workload.bytes()));
            create.arg(format!("http://127.0.0.1:{port}/files/"));
            let (created, create_cost) = measure::run(create, &log, run_dir.limit)?;
            let place = location(&std::fs::read_to_string(&log)?, port)
                .with_context(|| format!("{} says no Location", self.name()))?;

            let mut send = curl();
            send.args(["-X", "PATCH", "-H", "Upload-Offset: 0", "-H"]);
            send.arg("Content-Type: application/offset+octet-stream");
            send.arg("-T").arg(run_dir.workload.path()).arg(place);
            let (sent, send_cost) = measure::run(send, &run_dir.at("client.log"), run_dir.limit)?;
            let server = Some(server.stop()?);
            let path = file_of(run_dir.workload.bytes(), &into)?;
            let path = path.with_context(|| format!("{} has no such file", self.name()))?;
            let (wall, client) = (created + sent, create_cost.and(send_cost));
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

impl Tus {
    fn server(self, run_dir: &RunDir, into: &Path, port: u16) -> Result<Command> {
        let mut command = Command::new(self.name());
        let port = port.to_string();
        match self {
            Self::Tusd => {
                command.args(["-host", "127.0.0.1", "-port", &port, "-base-path", "/files/"]);
                command.arg("-upload-dir").arg(into);
            }
            Self::Rustus => {
                command.args(["--host", "127.0.0.1", "--port", &port, "--url", "/files/"]);
                command.arg("--data-dir").arg(into);
                command.arg("--info-dir").arg(run_dir.folder("info")?);
                // A request is in its memory before it is on the disk.
                command.args(["--max-body-size", &run_dir.workload.bytes().to_string()]);
            }
        }
        Ok(command)
    }
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    // Without a question first: some servers leave it waiting for a second.
    curl.args(["-q", "-sSf", "--noproxy", "*", "-H", "Expect:", "-H", "Tus-Resumable: 1.0.0"]);
    curl
}

/// Where the upload is, from the head of the reply; some say only the path.
fn location(head: &str, port: u16) -> Option<String> {
    let place = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    })?;
    let host =
        if place.starts_with('/') { format!("http://127.0.0.1:{port}") } else { String::new() };
    Some(host + &place)
}

/// The file of that length, in whatever folders the server has made for it.
fn file_of(bytes: u64, folder: &Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let found = match metadata.is_dir() {
            true => file_of(bytes, &entry.path())?,
            false => (metadata.len() == bytes).then(|| entry.path()),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_whole_address_or_a_path() {
        let head = "HTTP/1.1 201 Created\r\nlocation: /files/1\r\n\r\n";
        assert_eq!(location(head, 80).unwrap(), "http://127.0.0.1:80/files/1");
        let head = "HTTP/1.1 201 Created\r\nLocation: http://127.0.0.1:9/files/1\r\n\r\n";
        assert_eq!(location(head, 80).unwrap(), "http://127.0.0.1:9/files/1");
        assert_eq!(location("HTTP/1.1 201 Created\r\n\r\n", 80), None);
    }
}
