//! The highest number that a user has had, kept beside the key: tokens are signed with the key,
//! so where the catalog is lost and the key is not, the number is there too.

use crate::token::KeyError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use towline_engine::storage::PathError;
use towline_types::UserId;

/// The file with the number.
#[derive(Debug)]
pub(crate) struct UserNumbers {
    keys: PathBuf,
    path: PathBuf,
}

impl UserNumbers {
    /// The file in the folder of the keys.
    pub(crate) fn beside(keys: &Path) -> Self {
        Self { keys: keys.to_owned(), path: keys.join("highest_user") }
    }

    /// The number; nothing where none was kept.
    ///
    /// # Errors
    /// Where the file is there and holds no number: a number that was given to a user must
    /// not be given to another.
    pub(crate) fn highest(&self) -> Result<Option<UserId>, KeyError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => match text.trim().parse() {
                Ok(user) => Ok(Some(user)),
                Err(why) => Err(self.failed("read", io::Error::other(why))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Keeps the number where it is higher than the one that is kept. On return it survives
    /// a power cut.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn record(&self, user: UserId) -> Result<(), KeyError> {
        if self.highest()?.is_some_and(|highest| highest >= user) {
            return Ok(());
        }
        self.write(user).map_err(|error| self.failed("write", error))
    }

    fn write(&self, user: UserId) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".highest_user.").tempfile_in(&self.keys)?;
        writeln!(file, "{user}")?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        std::fs::File::open(&self.keys)?.sync_all()
    }

    fn failed(&self, what: &'static str, source: io::Error) -> KeyError {
        PathError::new(what, &self.path, source).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_only_grows() {
        let keys = tempfile::tempdir().unwrap();
        let numbers = UserNumbers::beside(keys.path());
        assert_eq!(numbers.highest().unwrap(), None);
        let user = |number: u64| UserId::try_from(number).unwrap();
        for (given, kept) in [(2, 2), (1, 2), (7, 7), (7, 7)] {
            numbers.record(user(given)).unwrap();
            assert_eq!(UserNumbers::beside(keys.path()).highest().unwrap(), Some(user(kept)));
        }
        std::fs::write(keys.path().join("highest_user"), "many").unwrap();
        assert!(numbers.highest().is_err() && numbers.record(user(9)).is_err());
    }
}
