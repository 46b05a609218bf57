//! Fetching files, folders and links from a server.
//!
//! Names and lengths come from a server and are not trusted; what is written stays below the
//! folder that was chosen ([`local_folder`]). A thread decides about each thing ahead of its
//! bytes ([`prepare`]). Connections, one or several, take from what has yet to be asked for
//! ([`queue`]), ask for it and check what comes ([`receive`]), and threads hash and write it
//! ([`writer`]) into a file beside the one that it is to become ([`staging`]). The [`receiver`]
//! brings them together. Folders get their permissions after what lies in them ([`folder_modes`]).

mod attributes;
mod download;
mod folder_modes;
#[cfg(feature = "serve")]
pub(crate) mod held_path;
#[cfg(feature = "serve")]
pub(crate) mod landing;
pub(crate) mod local_folder;
mod numbered_names;
pub(crate) mod prepare;
mod queue;
pub(crate) mod receive;
pub(crate) mod receiver;
pub(crate) mod staging;
mod under_way;
pub(crate) mod unfinished;
mod writer;

use download::{Download, Sink};
pub(crate) use folder_modes::FolderModes;
use local_folder::LocalFolder;
use prepare::{Choices, Preparing};
use receiver::Receiver;
use rustix::fs::Mode;
use staging::{Durability, Expected};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use towline_types::DocumentId;
use writer::Writer;

/// The threads that fetch into a folder.
pub(crate) struct Fetching {
    pub(crate) wanted: mpsc::Sender<prepare::Wanted>,
    pub(crate) receiver: Receiver,
    pub(crate) modes: FolderModes,
}

/// Starts to fetch into a folder, over that number of connections.
///
/// # Errors
/// Where the system has no threads for that.
pub(crate) fn into_folder(
    base: LocalFolder,
    choices: Choices,
    umask: Mode,
    connections: usize,
) -> io::Result<Fetching> {
    let writer = Writer::start(choices.durability, umask, connections)?;
    let Preparing { wanted, prepared, modes } = prepare::start(base, choices)?;
    let receiver = Receiver::new(prepared, writer, connections);
    Ok(Fetching { wanted, receiver, modes })
}

/// Starts to write one document to standard output.
///
/// # Errors
/// Where the system has no threads for that.
pub(crate) fn to_output(document_id: DocumentId, expected: Expected) -> io::Result<Receiver> {
    // The bytes come in their order, over one connection.
    let writer = Writer::start(Durability::Unsynced, Mode::empty(), 1)?;
    let (tell, prepared) = mpsc::channel(1);
    let download = Download {
        number: 0,
        document_id,
        expected,
        path: PathBuf::from("-"),
        target: None,
        sink: Mutex::new(Sink::Output(Vec::new())),
        _promised: None,
        _around: None,
    };
    // The channel has room for it.
    let _ = tell.try_send(prepare::Prepared::Fetch(Arc::new(download)));
    Ok(Receiver::new(prepared, writer, 1))
}
