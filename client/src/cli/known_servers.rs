//! The keys of the servers that a person has used, as `known_hosts` of SSH has them.
//!
//! Each line has an address and a fingerprint. Any other line is left as it is.

use super::config_folder::config_folder;
use crate::address::ServerAddress;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use towline_types::Fingerprint;

/// The file with these keys.
#[derive(Debug, Clone)]
pub(super) struct KnownServers {
    path: PathBuf,
}

impl KnownServers {
    /// The person's own file; `None` where the system names no home folder.
    pub(super) fn of_person() -> Option<Self> {
        Some(Self { path: config_folder()?.join("known_servers") })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key that the server at that address had when it was used last.
    pub(super) fn key_of(&self, server: &ServerAddress) -> io::Result<Option<Fingerprint>> {
        let address = server.to_string();
        let is_it = |line: &(String, Fingerprint)| line.0 == address;
        Ok(self.lines()?.into_iter().rfind(is_it).map(|(_, key)| key))
    }

    /// Where the server with that key was used, the latest address first. Where the file cannot be
    /// read there is none: the caller has an address already.
    pub(super) fn addresses_of(&self, key: Fingerprint) -> Vec<ServerAddress> {
        let lines = self.lines().unwrap_or_default().into_iter().rev();
        let with_key = lines.filter(|(_, known)| *known == key);
        with_key.filter_map(|(address, _)| address.parse().ok()).collect()
    }

    /// The address and the key of each server.
    pub(super) fn all(&self) -> io::Result<Vec<(String, Fingerprint)>> {
        self.lines()
    }

    /// Remembers the key, in the place of an earlier one of that address.
    pub(super) fn remember(&self, server: &ServerAddress, key: Fingerprint) -> io::Result<()> {
        let line = format!("{server} {key}\n");
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        if self.key_of(server)?.is_none() {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            return file.write_all(line.as_bytes());
        }
        let address = format!("{server} ");
        let text = self.text()?;
        let others = text.lines().filter(|other| !other.starts_with(&address));
        let kept: String = others.map(|other| format!("{other}\n")).collect();
        let beside = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = File::create(&beside)?;
        file.write_all((kept + &line).as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }

    fn lines(&self) -> io::Result<Vec<(String, Fingerprint)>> {
        let parsed = |line: &str| {
            let (address, key) = line.split_once(' ')?;
            Some((address.to_owned(), key.trim().parse().ok()?))
        };
        Ok(self.text()?.lines().filter_map(parsed).collect())
    }

    fn text(&self) -> io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_by_its_address_and_replaced_there() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownServers { path: folder.path().join("towline/known_servers") };
        let [nas, other] = ["nas:1", "other:1"].map(|text| text.parse::<ServerAddress>().unwrap());
        let [old, new] = [1, 2].map(|byte| Fingerprint::from_bytes([byte; 32]));
        assert_eq!(known.key_of(&nas).unwrap(), None);
        known.remember(&nas, old).unwrap();
        known.remember(&other, old).unwrap();
        let comment = "# a note of the person's\n";
        let text = comment.to_owned() + &fs::read_to_string(known.path()).unwrap();
        fs::write(known.path(), text).unwrap();
        known.remember(&nas, new).unwrap();
        assert_eq!(known.key_of(&nas).unwrap(), Some(new));
        assert_eq!(known.key_of(&other).unwrap(), Some(old));
        known.remember(&nas, old).unwrap();
        assert_eq!(known.addresses_of(old), [nas.clone(), other]);
        known.remember(&nas, new).unwrap();
        assert!(fs::read_to_string(known.path()).unwrap().starts_with(comment));
    }
}
