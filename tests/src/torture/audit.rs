//! After a disaster: compares the server's answers and the files on disk with the ledger.

use super::crash_client::{Connections, CrashClient, Gone};
use super::data_dirs::DataDirs;
use super::http_look;
use super::ledger::{Entry, Ledger};
use crate::http_client::HttpClient;
use crate::raw_client::about;
use crate::site::TestUser;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use towline_protocol::reply::Status;
use towline_protocol::request::{Complete, DocumentRef};
use towline_protocol::{Reply, Request};
use towline_state::state_file::StateFile;
use towline_types::DocumentId;

/// The files of these data folders that were checked, with their hashes, so that no file is read
/// every time.
#[derive(Debug, Default)]
pub(super) struct Audit {
    verified: BTreeMap<PathBuf, String>,
}

impl Audit {
    /// Checks everything again, also what was checked before.
    pub(super) async fn whole(
        &mut self,
        data_dirs: &DataDirs,
        ledger: &Ledger,
        address: SocketAddr,
    ) -> Result<(), Gone> {
        self.verified.clear();
        for user in &data_dirs.users {
            for id in ledger.of(user.id, |entry| entry.is_settled) {
                ledger.change(id, |entry| entry.is_settled = false);
            }
        }
        self.run(data_dirs, ledger, address).await
    }

    /// Checks what may have changed since the last audit.
    pub(super) async fn run(
        &mut self,
        data_dirs: &DataDirs,
        ledger: &Ledger,
        address: SocketAddr,
    ) -> Result<(), Gone> {
        let connections = Connections::default();
        for user in &data_dirs.users {
            let mut client = CrashClient::open(address, user, ledger, &connections).await?;
            let http = HttpClient::new(address, &user.token);
            for id in ledger.of(user.id, |entry| !entry.is_settled) {
                let Some(known) = ledger.entry(id) else { continue };
                both_doors(&mut client, &http, ledger, (id, &known)).await?;
                match ask(&mut client, id).await? {
                    Some(status) => {
                        ledger.status(id, &known, &status);
                        self.look(data_dirs, ledger, user, id, &known, &status);
                        if known.receipt.is_some() && status.status == "completed" {
                            repeat(&mut client, id).await?;
                        }
                    }
                    None => ledger.unknown(id, &known),
                }
            }
            self.no_others(data_dirs, ledger, user);
        }
        if let Err(error) = integrity(&data_dirs.site().catalog_path()) {
            ledger.breach(format!("the catalog is damaged: {error}"));
        }
        if let Err(error) = StateFile::at(data_dirs.site().state_path()).read() {
            ledger.breach(format!("the state file does not read: {error}"));
        }
        Ok(())
    }

    /// A completed document is in its place, with all of its bytes (P2, P3).
    fn look(
        &mut self,
        data_dirs: &DataDirs,
        ledger: &Ledger,
        user: &TestUser,
        id: DocumentId,
        known: &Entry,
        status: &Status,
    ) {
        match status.status.as_str() {
            "completed" => {
                let mut path = data_dirs.site().documents(user);
                path.extend(&status.folder);
                path.push(&status.filename);
                let wanted = known.hash.to_string();
                if hash(&path).as_ref() == Some(&wanted) {
                    self.verified.insert(path, wanted);
                } else {
                    let path = path.display();
                    ledger.breach(format!("{id}: completed, and {path} is not it (P3)"));
                }
            }
            "cancelled" | "failed" => {}
            _ => return,
        }
        ledger.change(id, |entry| entry.is_settled = true);
    }

    /// Every file in a final folder is complete, a client asked for it, and it is there once (P2).
    fn no_others(&mut self, data_dirs: &DataDirs, ledger: &Ledger, user: &TestUser) {
        let mut files = Vec::new();
        list(&data_dirs.site().documents(user), &mut files);
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for path in files {
            let hash = match self.verified.get(&path) {
                Some(hash) => Some(hash.clone()),
                None => hash(&path),
            };
            let Some(hash) = hash else { continue };
            let count = found.entry(hash.clone()).or_default();
            *count += 1;
            if *count > ledger.may_lie_there(user.id, &hash) {
                ledger.breach(format!("{} is nothing that was uploaded (P2)", path.display()));
            }
        }
    }
}

/// No document is in two states: each door shows the same.
async fn both_doors(
    client: &mut CrashClient,
    http: &HttpClient,
    ledger: &Ledger,
    (id, known): (DocumentId, &Entry),
) -> Result<(), Gone> {
    let mut last = None;
    // A state may change between two questions, a few times in the life of an upload.
    for _ in 0..CHANGES {
        let Some(status) = ask(client, id).await? else { return Ok(()) };
        if http_look::agrees(http, ledger, (id, known), &status).await? {
            return Ok(());
        }
        last = Some(status);
    }
    ledger.breach(format!("{id}: the doors show two states; at the one: {last:?}"));
    Ok(())
}

/// How often the state of an upload changes at most while nobody sends it.
const CHANGES: usize = 4;

async fn ask(client: &mut CrashClient, id: DocumentId) -> Result<Option<Status>, Gone> {
    let channel = client.channel();
    client.ask(&Request::Status(DocumentRef { channel, ..about(id) })).await?;
    match client.reply_on(channel).await? {
        Reply::Status(status) => Ok(Some(status)),
        Reply::Error(_) => Ok(None),
        other => panic!("a status is answered by {other:?}"),
    }
}

/// `complete` again; the ledger compares the two receipts.
async fn repeat(client: &mut CrashClient, id: DocumentId) -> Result<(), Gone> {
    let channel = client.channel();
    let complete = Complete { channel, document_id: Some(id), ..Complete::default() };
    client.ask(&Request::Complete(complete)).await?;
    match client.reply_on(channel).await? {
        Reply::Success(_) => Ok(()),
        other => panic!("a second complete is answered by {other:?}"),
    }
}

/// SQLite checks that the catalog is intact.
fn integrity(catalog: &Path) -> Result<(), String> {
    let whole = || {
        let connection = Connection::open(catalog)?;
        connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    };
    match whole() {
        Ok(word) if word == "ok" => Ok(()),
        Ok(word) => Err(word),
        Err(error) => Err(error.to_string()),
    }
}

fn hash(path: &Path) -> Option<String> {
    std::fs::read(path).ok().map(|bytes| blake3::hash(&bytes).to_string())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
