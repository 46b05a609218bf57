//! Which store has answered at which address: several servers may have one key, say because they
//! share a certificate, and a token is for one store.
//!
//! Each line of the file has an address, the key of the server there, and the store that it said it has
//! when it took a token of that store. A line for an address is what was true there last. Any other line
//! is left as it is.

use super::config_folder::config_folder;
use super::known_servers::KnownServers;
use super::private_file;
use crate::address::ServerAddress;
use crate::route::other_addresses::KnownAddresses;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use towline_types::{Fingerprint, StoreId};

/// The file with these stores.
#[derive(Debug, Clone)]
pub(super) struct KnownStores {
    path: PathBuf,
}

struct Line {
    address: String,
    key: Fingerprint,
    store: StoreId,
}

impl KnownStores {
    /// The person's own file; `None` where the system names no home folder.
    pub(super) fn of_person() -> Option<Self> {
        Some(Self { path: config_folder()?.join("known_stores") })
    }

    /// Whether that store, and no other, has answered there with that key.
    pub(super) fn has(&self, server: &ServerAddress, key: Fingerprint, store: StoreId) -> bool {
        let address = server.to_string();
        let lines = self.lines().unwrap_or_default();
        lines.iter().any(|line| line.address == address && line.key == key && line.store == store)
    }

    /// The key with which that store has answered. Where two keys were seen with it there is none: a
    /// server may say of itself whatever it likes.
    pub(super) fn key_of(&self, store: StoreId) -> Option<Fingerprint> {
        let lines = self.lines().unwrap_or_default();
        let mut keys = lines.iter().filter(|line| line.store == store).map(|line| line.key);
        let key = keys.next()?;
        keys.all(|other| other == key).then_some(key)
    }

    /// Remembers which store has answered there with that key, in the place of what was known of that
    /// address; with `None`, only that no store is known there. A file that cannot be read or written
    /// stays as it is: the next command that needs to know asks.
    pub(super) fn note(&self, server: &ServerAddress, key: Fingerprint, store: Option<StoreId>) {
        // The change is small and rare: of two commands that note something at once, the later one
        // counts.
        let _ = self.noted(server, key, store);
    }

    fn noted(
        &self,
        server: &ServerAddress,
        key: Fingerprint,
        store: Option<StoreId>,
    ) -> io::Result<()> {
        let text = self.text()?;
        let address = server.to_string();
        let is_here = |line: &str| parsed(line).is_some_and(|line| line.address == address);
        let known = text.lines().filter_map(parsed).find(|line| line.address == address);
        if known.map(|line| (line.key, line.store)) == store.map(|store| (key, store)) {
            return Ok(());
        }
        // What is not understood may be a note of the person's, or of a later version.
        let others = text.lines().filter(|line| !is_here(line));
        let mut kept: String = others.map(|line| format!("{line}\n")).collect();
        if let Some(store) = store {
            kept += &format!("{address} {key} {store}\n");
        }
        private_file::write(&self.path, &kept)
    }

    fn lines(&self) -> io::Result<Vec<Line>> {
        Ok(self.text()?.lines().filter_map(parsed).collect())
    }

    fn text(&self) -> io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }
}

fn parsed(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let address = words.next()?.to_owned();
    let (key, store) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Line { address, key, store })
}

/// What a person's machine knows of the servers with one key.
pub(super) struct WithKey {
    pub(super) key: Fingerprint,
    pub(super) servers: KnownServers,
    pub(super) stores: KnownStores,
}

impl KnownAddresses for WithKey {
    fn of_store(&self, store: StoreId) -> Vec<ServerAddress> {
        let mut addresses = self.servers.addresses_of(self.key);
        addresses.retain(|address| self.stores.has(address, self.key, store));
        addresses
    }

    fn answered(&self, server: &ServerAddress, store: Option<StoreId>) {
        self.stores.note(server, self.key, store);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_store_that_answered_there_last() {
        let folder = tempfile::tempdir().unwrap();
        let stores = KnownStores { path: folder.path().join("towline/known_stores") };
        let [nas, other] = ["nas:1", "other:1"].map(|text| text.parse::<ServerAddress>().unwrap());
        let [key, stranger] = [1, 2].map(|byte| Fingerprint::from_bytes([byte; 32]));
        let [store, second]: [StoreId; 2] =
            [1, 2].map(|digit: u8| digit.to_string().repeat(32).parse().unwrap());
        assert!(!stores.has(&nas, key, store) && stores.key_of(store).is_none());
        stores.note(&nas, key, Some(store));
        stores.note(&other, key, Some(second));
        assert!(stores.has(&nas, key, store) && stores.has(&other, key, second));
        assert!(!stores.has(&other, key, store) && !stores.has(&nas, stranger, store));
        assert_eq!(stores.key_of(store), Some(key));
        // A server with another key says that it is that store as well.
        stores.note(&other, stranger, Some(store));
        assert_eq!(stores.key_of(store), None);
        assert!(stores.has(&nas, key, store) && !stores.has(&other, key, second));
        stores.note(&other, stranger, None);
        assert_eq!(stores.key_of(store), Some(key));
        stores.note(&nas, key, None);
        stores.note(&nas, key, None);
        assert!(!stores.has(&nas, key, store));
    }

    #[test]
    fn a_line_that_is_not_understood_stays() {
        let folder = tempfile::tempdir().unwrap();
        let stores = KnownStores { path: folder.path().join("known_stores") };
        let nas = "nas:1".parse::<ServerAddress>().unwrap();
        let key = Fingerprint::from_bytes([1; 32]);
        let store: StoreId = "1".repeat(32).parse().unwrap();
        let foreign = "# a note of the person's\nnas:1 SHA512:of-a-later-version\n";
        fs::write(&stores.path, foreign).unwrap();
        stores.note(&nas, key, Some(store));
        assert!(stores.has(&nas, key, store));
        stores.note(&nas, key, None);
        assert_eq!(fs::read_to_string(&stores.path).unwrap(), foreign);
    }
}
