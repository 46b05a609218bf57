//! The socket, from both ends. Only the server's own user and root are answered.

use super::answer::Said;
use super::answer_maker::AnswerMaker;
use crate::shared::Shared;
use rustix::process::geteuid;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

/// The name of the socket below the data folder.
const FOLDER: &str = "state";
const NAME: &str = "status.sock";

/// How long a client may take to read its answer. Others wait for it meanwhile.
const READING_MAX: Duration = Duration::from_secs(2);

/// How long the server rests after a connection that could not be taken.
const REST: Duration = Duration::from_millis(250);

/// How long a client waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that a client reads, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The listening end. Its name is removed when it is dropped.
pub(crate) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Listens, in the place of a socket that a killed server has left: the caller has the lock of
    /// the data folder. Blocks, inside of a runtime.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub(crate) fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FOLDER).join(NAME);
        match path.symlink_metadata() {
            Ok(there) if there.file_type().is_socket() => std::fs::remove_file(&path)?,
            _ => {}
        }
        // Nobody else can connect in between: the umask takes the right to write away from others.
        let listener = at_short_path(data_dir, |path| StdListener::bind(path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, path })
    }

    /// Answers one connection after another until the task is dropped.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let mut maker = AnswerMaker::new(shared);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => answer(stream, &mut maker).await,
                Err(error) => {
                    tracing::debug!(%error, "a question for the status could not be taken");
                    sleep(REST).await;
                }
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, maker: &mut AnswerMaker) {
    let is_own = |uid: u32| uid == 0 || uid == geteuid().as_raw();
    if !stream.peer_cred().is_ok_and(|peer| is_own(peer.uid())) {
        return;
    }
    let Some(said) = maker.make().await else { return };
    let Ok(mut text) = serde_json::to_vec(&said) else { return };
    text.push(b'\n');
    let _ = timeout(READING_MAX, stream.write_all(&text)).await;
}

/// Asks the server that runs over this data folder; `None` where none runs. Blocks.
///
/// # Errors
/// Where there is a server that does not answer.
pub(crate) fn ask(data_dir: &Path) -> io::Result<Option<Said>> {
    let owner = match data_dir.join(FOLDER).join(NAME).symlink_metadata() {
        Ok(about) => about.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if owner != 0 && owner != geteuid().as_raw() {
        let message = format!("the socket belongs to user {owner}; run the command as that user");
        return Err(io::Error::other(message));
    }
    let stream = match at_short_path(data_dir, |path| StdStream::connect(path)) {
        Ok(stream) => stream,
        // The server was killed and has left its socket.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Calls `work` with a path of the socket that the system takes: an address has 108 bytes at the
/// most, and a data folder may have a longer path. So the folder is opened, and named by its number.
fn at_short_path<T>(data_dir: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = data_dir.join(FOLDER);
    let path = folder.join(NAME);
    if path.as_os_str().len() < ADDRESS_BYTES_MAX {
        return work(&path);
    }
    let folder = File::open(&folder)?;
    work(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(NAME))
}

/// The bytes of the shortest address of a socket among the systems, without its end.
const ADDRESS_BYTES_MAX: usize = 100;
