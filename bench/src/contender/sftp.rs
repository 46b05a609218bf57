//! OpenSSH's sftp, encrypted as it always is, to an sshd of our own.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::server::{Server, Sign, free_port};
use crate::workspace::RunDir;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where distributions put the server's half of it.
const SFTP_SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// Where sshd locks its unprivileged half in, when it is root.
const RUN: &str = "/run/sshd";

#[derive(Debug)]
pub(crate) struct Sftp;

impl Contender for Sftp {
    fn name(&self) -> &'static str {
        "sftp"
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`sftp -b` to an sshd with its defaults, encrypted"
    }

    fn version(&self) -> Option<String> {
        program::version("ssh", "-V")
    }

    fn available(&self) -> Result<(), String> {
        program::find("sftp")?;
        sshd_available()
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let into = run_dir.folder("received")?;
        let (server, port) = sshd(run_dir)?;
        let put =
            format!("put \"{}\" \"{}/\"\n", run_dir.workload.path().display(), into.display());
        let mut sftp = Command::new("sftp");
        sftp.arg("-q").arg("-b").arg(run_dir.file("batch", &put)?);
        sign_in(&mut sftp, run_dir, port);
        sftp.arg(format!("{}@127.0.0.1", user()?));
        Ok(Box::new(move || {
            let (wall, client) = measure::run(sftp, &run_dir.at("client.log"), run_dir.limit)?;
            server.be_alone()?;
            let server = Some(server.stop()?);
            let path = into.join(run_dir.load_name());
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

/// Whether an sshd of our own can run here, and clients of it.
pub(super) fn sshd_available() -> Result<(), String> {
    for name in ["ssh", "ssh-keygen", "sshd"] {
        program::find(name)?;
    }
    sftp_server().ok_or("there is no sftp-server where distributions put it")?;
    if rustix::process::getuid().is_root() && !Path::new(RUN).is_dir() {
        return Err(format!("sshd needs {RUN}; make it with: mkdir -m 755 {RUN}"));
    }
    Ok(())
}

/// An sshd with keys of its own, and its port.
pub(super) fn sshd(run_dir: &RunDir) -> Result<(Server, u16)> {
    let port = free_port()?;
    let config = run_dir.file("sshd_config", &config(run_dir, port)?)?;
    for key in ["host_key", "user_key"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(run_dir.at(key));
        measure::run(keygen, &run_dir.at("keygen.log"), run_dir.limit)?;
    }
    // It starts itself again for each connection, by its whole name.
    let mut sshd = Command::new(program::find("sshd").map_err(anyhow::Error::msg)?);
    sshd.args(["-D", "-e", "-f"]).arg(config);
    Ok((Server::start(sshd, &run_dir.at("server.log"), Sign::Opens(port))?, port))
}

/// The options by which `sftp` or `scp` gets in there.
pub(super) fn sign_in(client: &mut Command, run_dir: &RunDir, port: u16) {
    client.args(["-F", "/dev/null", "-P", &port.to_string(), "-i"]).arg(run_dir.at("user_key"));
    client.args(["-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]);
    client.arg("-o").arg(format!("UserKnownHostsFile=\"{}\"", run_dir.at("known").display()));
}

/// An sshd that lets in the user who runs this, by the key of the run folder and nothing else.
fn config(run_dir: &RunDir, port: u16) -> Result<String> {
    let run_dir = run_dir.path().display();
    let sftp_server = sftp_server().context("sftp-server is gone")?.display();
    Ok(format!(
        r#"ListenAddress 127.0.0.1:{port}
HostKey "{run_dir}/host_key"
PidFile none
AuthorizedKeysFile "{run_dir}/user_key.pub"
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
Subsystem sftp {sftp_server}
"#
    ))
}

fn sftp_server() -> Option<&'static Path> {
    SFTP_SERVERS.iter().map(Path::new).find(|path| path.is_file())
}

/// Whom we are, by name.
pub(super) fn user() -> Result<String> {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string(PathBuf::from("/etc/passwd"))?;
    let mut users = users.lines().map(|line| line.split(':'));
    users
        .find_map(|mut fields| {
            let name = fields.next()?;
            (fields.nth(1)? == id).then(|| name.to_owned())
        })
        .with_context(|| format!("user {id} has no name in /etc/passwd"))
}
