//! A token in a file of its own.

use super::error::{KeyError, io_error};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a token into a new file that only its owner can read. An existing file of that name stays
/// as it is: it may be a link that leads elsewhere, or a file that others can read.
///
/// # Errors
/// Where the file cannot be written, or something has the name.
pub fn write_token(path: &Path, token: &str) -> Result<(), KeyError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| {
        writeln!(file, "{token}")?;
        file.sync_all()
    });
    written.map_err(io_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_into_a_new_file_and_through_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("ada.token"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write_token(&link, "secret").is_err());
        assert!(write_token(&target, "secret").is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
    }
}
