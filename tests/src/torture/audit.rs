//! After a disaster: what the server says and what lies on disk, held against the
//! ledger.

use super::ground::Ground;
use super::ledger::{Entry, Ledger};
use super::talk::{Gone, Lines, Talk};
use crate::site::Person;
use crate::speaker::about;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use towline_protocol::reply::Status;
use towline_protocol::request::{About, Complete};
use towline_protocol::{Reply, Request};
use towline_state::state_file::StateFile;
use towline_types::DocumentId;

/// What has been looked at on this ground, with its hash, so that no file is read every time.
#[derive(Debug, Default)]
pub(super) struct Audit {
    verified: BTreeMap<PathBuf, String>,
}

impl Audit {
    /// Everything again, also what was verified before.
    pub(super) async fn whole(
        &mut self,
        ground: &Ground,
        ledger: &Ledger,
        address: SocketAddr,
    ) -> Result<(), Gone> {
        self.verified.clear();
        for person in &ground.people {
            for id in ledger.of(person.id, |entry| entry.is_settled) {
                ledger.change(id, |entry| entry.is_settled = false);
            }
        }
        self.run(ground, ledger, address).await
    }

    /// What may have changed since the last time.
    pub(super) async fn run(
        &mut self,
        ground: &Ground,
        ledger: &Ledger,
        address: SocketAddr,
    ) -> Result<(), Gone> {
        let lines = Lines::default();
        for person in &ground.people {
            let mut talk = Talk::open(address, &person.token, ledger, &lines).await?;
            for id in ledger.of(person.id, |entry| !entry.is_settled) {
                let Some(known) = ledger.entry(id) else { continue };
                match ask(&mut talk, id).await? {
                    Some(status) => {
                        ledger.status(id, &known, &status);
                        self.look(ground, ledger, person, id, &known, &status);
                        if known.receipt.is_some() && status.status == "completed" {
                            repeat(&mut talk, id).await?;
                        }
                    }
                    None => ledger.unknown(id, &known),
                }
            }
            self.no_others(ground, ledger, person);
        }
        if let Err(error) = integrity(&ground.site().catalog_path()) {
            ledger.breach(format!("the catalog is damaged: {error}"));
        }
        if let Err(error) = StateFile::at(ground.site().state_path()).read() {
            ledger.breach(format!("the state file does not read: {error}"));
        }
        Ok(())
    }

    /// A completed document is in its place, whole (P2, P3).
    fn look(
        &mut self,
        ground: &Ground,
        ledger: &Ledger,
        person: &Person,
        id: DocumentId,
        known: &Entry,
        status: &Status,
    ) {
        match status.status.as_str() {
            "completed" => {
                let mut path = ground.site().documents(person);
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

    /// Every file in a final folder is whole, somebody asked for it, and it is there
    /// once (P2).
    fn no_others(&mut self, ground: &Ground, ledger: &Ledger, person: &Person) {
        let mut files = Vec::new();
        list(&ground.site().documents(person), &mut files);
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for path in files {
            let hash = match self.verified.get(&path) {
                Some(hash) => Some(hash.clone()),
                None => hash(&path),
            };
            let Some(hash) = hash else { continue };
            let count = found.entry(hash.clone()).or_default();
            *count += 1;
            if *count > ledger.may_lie_there(person.id, &hash) {
                ledger.breach(format!("{} is nothing that was uploaded (P2)", path.display()));
            }
        }
    }
}

async fn ask(talk: &mut Talk, id: DocumentId) -> Result<Option<Status>, Gone> {
    let channel = talk.channel();
    talk.ask(&Request::Status(About { channel, ..about(id) })).await?;
    match talk.reply_on(channel).await? {
        Reply::Status(status) => Ok(Some(status)),
        Reply::Error(_) => Ok(None),
        other => panic!("a status is answered by {other:?}"),
    }
}

/// `complete` again; the ledger compares the receipts.
async fn repeat(talk: &mut Talk, id: DocumentId) -> Result<(), Gone> {
    let channel = talk.channel();
    let complete = Complete { channel, document_id: Some(id), ..Complete::default() };
    talk.ask(&Request::Complete(complete)).await?;
    match talk.reply_on(channel).await? {
        Reply::Success(_) => Ok(()),
        other => panic!("a second complete is answered by {other:?}"),
    }
}

/// Asks SQLite whether the catalog is whole.
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
