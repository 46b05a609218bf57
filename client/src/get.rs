//! Fetching files, folders and links from a server.
//!
//! Names and lengths come from a server and are not trusted; what is written stays below the
//! folder that was chosen ([`local_folder`]). A thread decides about each thing ahead of its
//! bytes ([`prepare`]), one task asks for the bytes and checks what comes ([`receive`]), and
//! threads hash and write them ([`writer`]) into a file beside the one that it is to become
//! ([`staging`]).

mod download;
pub(crate) mod local_folder;
pub(crate) mod prepare;
pub(crate) mod receive;
pub(crate) mod staging;
mod writer;

use download::{Download, Sink};
use local_folder::LocalFolder;
use prepare::{Choices, FolderList, Preparing};
use receive::Receiver;
use rustix::fs::Mode;
use staging::{Durability, Expected};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use towline_types::DocumentId;
use writer::Writer;

/// The threads that fetch into a folder.
pub(crate) struct Fetching {
    pub(crate) wanted: mpsc::Sender<prepare::Wanted>,
    pub(crate) receiver: Receiver,
    pub(crate) modes: FolderModes,
}

/// The permission bits of folders, which are set when everything is in them: a folder may be
/// read-only.
pub(crate) struct FolderModes {
    base: LocalFolder,
    folders: Arc<Mutex<FolderList>>,
}

/// Starts to fetch into a folder.
///
/// # Errors
/// Where the system has no threads for that.
pub(crate) fn into_folder(
    base: LocalFolder,
    choices: Choices,
    umask: Mode,
) -> io::Result<Fetching> {
    let writer = Writer::start(choices.durability, umask)?;
    let Preparing { wanted, prepared, folders } = prepare::start(base.clone(), choices)?;
    let modes = FolderModes { base, folders };
    Ok(Fetching { wanted, receiver: Receiver::new(prepared, writer), modes })
}

/// Starts to write one document to standard output.
///
/// # Errors
/// Where the system has no threads for that.
pub(crate) fn to_output(document_id: DocumentId, expected: Expected) -> io::Result<Receiver> {
    let writer = Writer::start(Durability::Unsynced, Mode::empty())?;
    let (tell, prepared) = mpsc::channel(1);
    let download = Download {
        number: 0,
        document_id,
        expected,
        path: PathBuf::from("-"),
        target: None,
        sink: Mutex::new(Sink::Output(Vec::new())),
    };
    // The channel has room for it.
    let _ = tell.try_send(prepare::Prepared::Fetch(Arc::new(download)));
    Ok(Receiver::new(prepared, writer))
}

impl FolderModes {
    /// Sets the modes, the innermost folder first; blocks. Returns the folders whose mode cannot be
    /// set, and why.
    pub(crate) fn set(self) -> Vec<(PathBuf, io::Error)> {
        let Self { base, folders } = self;
        let folders = std::mem::take(&mut *folders.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failed = Vec::new();
        for (names, mode) in folders.into_iter().rev() {
            let folder = names.iter().try_fold(base.clone(), |folder, name| folder.subfolder(name));
            if let Err(error) = folder.and_then(|folder| folder.set_mode(mode)) {
                let path = names
                    .iter()
                    .fold(base.path().to_owned(), |path, name| path.join(name.as_str()));
                failed.push((path, error));
            }
        }
        failed
    }
}
