//! `towlined` over a data folder of its own.

use crate::program;
use crate::sample::Cost;
use crate::server::{Server, Sign};
use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its data folder.
const DATA: &str = "data";

/// More than anything that is sent, and more connections than any section has for its one user.
const SETTINGS: &str = "max_file_size = \"100GB\"\nmax_connections_per_user = 16384\n\
                        max_logins_per_address = 16384\n";

/// One that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Towlined {
    server: Server,
    /// Where its data folder is, and what belongs to it.
    folder: PathBuf,
}

/// The command that starts it in that folder.
pub(crate) fn command(folder: &Path) -> Result<Command> {
    let mut towlined = program::own("towlined")?;
    towlined.arg("--data-dir").arg(folder.join(DATA)).args(["--listen", "127.0.0.1:0"]);
    let settings = folder.join("towlined.toml");
    std::fs::write(&settings, SETTINGS).context("cannot write the settings of towlined")?;
    towlined.arg("--config").arg(settings);
    Ok(towlined)
}

impl Towlined {
    /// Starts it in that folder, where its data may lie already.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        Self::start_as(command(folder)?, folder)
    }

    /// The same by a command that ends in the one to start it.
    pub(crate) fn start_as(command: Command, folder: &Path) -> Result<Self> {
        let server = Server::start(command, &folder.join("server.log"), Sign::Says)?;
        Ok(Self { server, folder: folder.to_owned() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// The command that puts a file or a folder to it, over that address of it.
    pub(crate) fn put(&self, path: &Path, to: SocketAddr) -> Result<Command> {
        let mut towline = program::own("towline")?;
        towline.args(["put", "--quiet"]).arg(path).args(["--to", &to.to_string()]);
        towline.arg("--token-file").arg(self.token_file()?);
        towline.arg("--state-file").arg(self.folder.join("uploads_state.json"));
        Ok(towline)
    }

    /// The command that fetches a file or a folder from it as that path, which is new.
    pub(crate) fn get(&self, name: impl AsRef<Path>, path: &Path) -> Result<Command> {
        let mut towline = program::own("towline")?;
        towline.args(["get", "--quiet"]).arg(name.as_ref()).arg("-o").arg(path);
        towline.args(["--to", &self.address().to_string()]);
        towline.arg("--token-file").arg(self.token_file()?);
        Ok(towline)
    }

    /// Has a command encrypt its connections, as between two machines: at the first contact it takes
    /// the key that the server shows.
    pub(crate) fn encrypt(&self, towline: &mut Command) {
        towline.args(["--tls", "--trust-new"]);
        // Known servers are kept there.
        towline.env("XDG_CONFIG_HOME", &self.folder);
    }

    /// What the first start has written for its first user.
    pub(crate) fn token(&self) -> Result<String> {
        let token = std::fs::read_to_string(self.token_file()?).context("cannot read the token")?;
        Ok(token.trim().to_owned())
    }

    /// Adds a user, and returns a token of theirs.
    pub(crate) fn add_user(&self, name: &str) -> Result<String> {
        self.operate(&["user", "add", name])?;
        Ok(self.operate(&["token", "--user", name])?.trim().to_owned())
    }

    /// What a command of the operator prints.
    fn operate(&self, arguments: &[&str]) -> Result<String> {
        let mut towlined = program::own("towlined")?;
        towlined.args(arguments).arg("--data-dir").arg(self.folder.join(DATA));
        let output = towlined.output().context("cannot start towlined")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "towlined {arguments:?} says {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn token_file(&self) -> Result<PathBuf> {
        let entries = std::fs::read_dir(self.folder.join(DATA))?;
        let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let token = paths.find(|path| path.extension().is_some_and(|end| end == "token"));
        token.context("towlined has written no token")
    }

    /// Where a document lies.
    pub(crate) fn document(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(DATA).join("uploads/1").join(name)
    }

    /// Removes a document behind its back, so that the disk and the memory are free for
    /// the next.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let document = self.document(name);
        std::fs::remove_file(&document)
            .with_context(|| format!("cannot remove {}", document.display()))?;
        rustix::fs::sync();
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(self) -> Result<Cost> {
        self.server.stop()
    }
}
