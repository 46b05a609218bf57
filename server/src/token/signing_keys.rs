//! The server's own keys, which sign tokens: files in the folder of the keys.
//!
//! The first one is `ed25519.pk8`, further ones are `ed25519-2.pk8`, `ed25519-3.pk8` and so on. The
//! one with the highest number signs; all of them check. So a key is replaced in two steps: another
//! one is added, and the old one is retired when the tokens that it has signed have ended.

use super::error::{KeyError, io_error};
use crate::secret_file;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{DecodingKey, EncodingKey};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use towline_types::KeyId;

/// The number of the first key, which has none in its name.
const FIRST: u32 = 1;

/// A key that signs tokens or has signed them.
pub struct SigningKey {
    id: KeyId,
    number: u32,
    path: PathBuf,
    pub(super) signing: EncodingKey,
    pub(super) checking: DecodingKey,
}

impl SigningKey {
    /// The id by which tokens name the key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The file of the key.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(number: u32, path: PathBuf) -> Result<Self, KeyError> {
        let pkcs8 = secret_file::read(&path).map_err(io_error("read", &path))?;
        let Ok(pair) = Ed25519KeyPair::from_pkcs8(&pkcs8) else {
            return Err(KeyError::Damaged { path });
        };
        let public = pair.public_key().as_ref();
        let hash = digest(&SHA256, public);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_ref()[..8]);
        Ok(Self {
            id: KeyId::from_bytes(id),
            number,
            path,
            signing: EncodingKey::from_ed_der(&pkcs8),
            checking: DecodingKey::from_ed_der(public),
        })
    }
}

/// All keys that sign tokens or have signed them; at least one.
pub struct SigningKeys {
    /// The newest one last: it signs.
    keys: Vec<SigningKey>,
}

impl SigningKeys {
    /// Reads the keys in that folder; `None` where there is none.
    ///
    /// # Errors
    /// Where one of them cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, KeyError> {
        let mut keys = numbers(folder)?
            .into_iter()
            .map(|number| SigningKey::read(number, path(folder, number)))
            .collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|key| key.number);
        Ok((!keys.is_empty()).then_some(Self { keys }))
    }

    /// The keys in that folder.
    ///
    /// # Errors
    /// Where there is none, or one of them cannot be read.
    pub fn find(folder: &Path) -> Result<Self, KeyError> {
        let missing = || {
            let error = io::Error::from(io::ErrorKind::NotFound);
            io_error("read", &path(folder, FIRST))(error)
        };
        Self::read(folder)?.ok_or_else(missing)
    }

    /// The file of the first key.
    pub(super) fn first_path(folder: &Path) -> PathBuf {
        path(folder, FIRST)
    }

    /// Makes the first key. Where two processes make it at the same time, the first one wins and
    /// the other reads its key.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn make_first(folder: &Path) -> Result<Self, KeyError> {
        make(folder, FIRST)?;
        Self::find(folder)
    }

    /// Makes another key, which signs from then on. A running server knows the key once it has read
    /// its keys again.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn add(folder: &Path) -> Result<Self, KeyError> {
        let highest = Self::find(folder)?.signer().number;
        make(folder, highest.saturating_add(1))?;
        Self::find(folder)
    }

    /// Deletes a key. Its tokens are not valid any more, once a running server has read its keys
    /// again.
    ///
    /// # Errors
    /// Where no key has that id, the key is the one that signs, or the file cannot be deleted.
    pub fn retire(self, folder: &Path, id: KeyId) -> Result<(), KeyError> {
        let key = self.get(id).ok_or(KeyError::NoSuchKey { id })?;
        if key.number == self.signer().number {
            return Err(KeyError::Signs { id });
        }
        std::fs::remove_file(&key.path).map_err(io_error("delete", &key.path))?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(io_error("sync", folder))
    }

    /// The key that signs.
    #[must_use]
    pub fn signer(&self) -> &SigningKey {
        // There is always at least one key.
        &self.keys[self.keys.len() - 1]
    }

    /// The key of that id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The key of tokens that name no key: they are from versions that had one key only.
    pub(super) fn first(&self) -> Option<&SigningKey> {
        self.keys.first().filter(|key| key.number == FIRST)
    }

    /// All keys, the oldest one first.
    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter()
    }
}

/// The file of that key.
fn path(folder: &Path, number: u32) -> PathBuf {
    match number {
        FIRST => folder.join("ed25519.pk8"),
        number => folder.join(format!("ed25519-{number}.pk8")),
    }
}

/// The numbers of the keys that are there.
fn numbers(folder: &Path) -> Result<Vec<u32>, KeyError> {
    let mut numbers = Vec::new();
    for entry in folder.read_dir().map_err(io_error("read", folder))? {
        let name = entry.map_err(io_error("read", folder))?.file_name();
        let name = name.to_string_lossy();
        let Some(number) = name.strip_prefix("ed25519").and_then(|name| name.strip_suffix(".pk8"))
        else {
            continue;
        };
        let number = match number.strip_prefix('-') {
            None if number.is_empty() => Some(FIRST),
            None => None,
            Some(digits) => digits.parse().ok().filter(|number| *number > FIRST),
        };
        // The name has to be the one that this number gives: `-02` and `-2` are one number.
        numbers.extend(number.filter(|number| path(folder, *number).ends_with(&*name)));
    }
    Ok(numbers)
}

fn make(folder: &Path, number: u32) -> Result<(), KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NotMade)?;
    let pkcs8 = pair.to_pkcs8().map_err(|_| KeyError::NotMade)?;
    secret_file::make(folder, &path(folder, number), pkcs8.as_ref())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn ids(folder: &Path) -> Vec<KeyId> {
        SigningKeys::find(folder).unwrap().iter().map(SigningKey::id).collect()
    }

    #[test]
    fn a_key_is_nobody_elses_to_read_and_one_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        SigningKeys::make_first(folder.path()).unwrap();
        SigningKeys::add(folder.path()).unwrap();
        for name in ["ed25519.pk8", "ed25519-2.pk8"] {
            let metadata = std::fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(folder.path().join("ed25519-2.pk8"), b"no key").unwrap();
        let read = SigningKeys::read(folder.path()).map(drop);
        assert!(matches!(read, Err(KeyError::Damaged { path }) if path.ends_with("ed25519-2.pk8")));
    }

    #[test]
    fn the_newest_signs_and_cannot_be_retired() {
        let folder = tempfile::tempdir().unwrap();
        assert!(SigningKeys::read(folder.path()).unwrap().is_none());
        assert!(SigningKeys::add(folder.path()).is_err(), "the server makes the first one");
        let first = SigningKeys::make_first(folder.path()).unwrap().signer().id();
        let again = SigningKeys::make_first(folder.path()).unwrap();
        assert_eq!(again.signer().id(), first);
        let retired = again.retire(folder.path(), first);
        assert!(matches!(retired, Err(KeyError::Signs { id }) if id == first));
        let second = SigningKeys::add(folder.path()).unwrap().signer().id();
        assert_eq!(ids(folder.path()), [first, second]);
        let keys = SigningKeys::find(folder.path()).unwrap();
        assert_eq!(keys.first().map(SigningKey::id), Some(first));
        keys.retire(folder.path(), first).unwrap();
        let keys = SigningKeys::find(folder.path()).unwrap();
        assert!(keys.first().is_none());
        assert!(matches!(keys.retire(folder.path(), first), Err(KeyError::NoSuchKey { .. })));
        let third = SigningKeys::add(folder.path()).unwrap().signer().id();
        assert_eq!(ids(folder.path()), [second, third]);
    }

    #[test]
    fn ten_keys_are_in_the_order_of_their_numbers_and_other_files_are_none() {
        let folder = tempfile::tempdir().unwrap();
        SigningKeys::make_first(folder.path()).unwrap();
        let mut made = ids(folder.path());
        for name in ["ed25519-02.pk8", "ed25519-1.pk8", "ed25519-.pk8", "ed25519-x.pk8", "a.pk8"] {
            std::fs::write(folder.path().join(name), b"no key").unwrap();
        }
        for _ in 0..10 {
            made.push(SigningKeys::add(folder.path()).unwrap().signer().id());
        }
        assert_eq!(ids(folder.path()), made);
    }
}
