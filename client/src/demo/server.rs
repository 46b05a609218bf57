//! The demo's server: this program in a process of its own, so that the demo can kill it as a crash
//! would.

use crate::Receipt;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A server starts within milliseconds; a busy machine gets more time.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A server that is asked to stop does so within 10 s.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

pub(super) struct DemoServer {
    data_dir: PathBuf,
    max_filesize_bytes: u64,
    address: SocketAddr,
    process: Child,
}

impl DemoServer {
    pub(super) async fn start(data_dir: &Path, max_filesize_bytes: u64) -> anyhow::Result<Self> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, address) = spawn(data_dir, max_filesize_bytes, anywhere).await?;
        Ok(Self { data_dir: data_dir.to_owned(), max_filesize_bytes, address, process })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that the first start has written.
    pub(super) fn token_file(&self) -> anyhow::Result<PathBuf> {
        let mut entries = std::fs::read_dir(&self.data_dir)?.filter_map(Result::ok);
        let token =
            entries.find(|entry| entry.path().extension().is_some_and(|end| end == "token"));
        Ok(token.context("the server has written no token")?.path())
    }

    /// The path of the published document.
    pub(super) fn published(&self, receipt: &Receipt) -> PathBuf {
        self.data_dir.join("uploads/1").join(&receipt.filename)
    }

    /// Sends SIGKILL: the server can neither write nor clean up anything.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("cannot kill the server")
    }

    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        let (process, _) = spawn(&self.data_dir, self.max_filesize_bytes, self.address).await?;
        self.process = process;
        Ok(())
    }

    /// Sends SIGTERM, and waits until the server has ended.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.process.id().and_then(|id| i32::try_from(id).ok()) {
            let pid = rustix::process::Pid::from_raw(pid).context("the server has no number")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        timeout(STOPS_WITHIN, self.process.wait()).await.context("the server does not stop")??;
        Ok(())
    }
}

async fn spawn(
    data_dir: &Path,
    max_filesize_bytes: u64,
    listen: SocketAddr,
) -> anyhow::Result<(Child, SocketAddr)> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut process = Command::new(program)
        .arg("serve")
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--listen", &listen.to_string()])
        .args(["--max-file-size", &max_filesize_bytes.to_string()])
        // After a kill the server logs warnings about it; the demo tells that in its own words.
        .env("TOWLINE_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a server")?;
    let output = process.stdout.take().context("the server has no output")?;
    let mut lines = BufReader::new(output).lines();
    let address = timeout(STARTS_WITHIN, async {
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.strip_prefix("listening on ") {
                return Ok(address.parse()?);
            }
        }
        anyhow::bail!("the server ended before it listened")
    });
    let address = address.await.context("the server does not start")??;
    Ok((process, address))
}
