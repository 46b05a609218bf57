//! The files that the operator has named: the rights of the key of TLS and of those of an identity
//! provider; and where a link leads that stands in the place of such a file.

use crate::Config;
use std::path::{Path, PathBuf};
use towline_engine::storage::{OutsideFile, RightsFault};

/// What is wrong with the rights of these files. A file that cannot be looked at is a matter of the
/// step that reads it.
pub(crate) fn faults(config: &Config) -> Vec<RightsFault> {
    let tls = config.tls.as_ref();
    let key = tls.map(|files| (OutsideFile::PrivateKey, files.key.as_path()));
    let certificate = tls.map(|files| (OutsideFile::Public, files.certificate.as_path()));
    let provider = config.provider.as_ref();
    let provider = provider.map(|provider| (OutsideFile::Public, provider.keys.as_path()));
    let files = [key, certificate, provider].into_iter().flatten();
    files.flat_map(|(file, path)| of_file(file, path)).collect()
}

fn of_file(file: OutsideFile, path: &Path) -> Vec<RightsFault> {
    path.metadata().map(|metadata| file.faults(path, &metadata)).unwrap_or_default()
}

/// How many symbolic links may lead one to the next, as in most systems.
const LINKS_MAX: usize = 40;

/// The file that a symbolic link leads to, over as many links as there are; the path itself where it is
/// no link. The file need not be there.
pub(crate) fn target_of(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&target) {
            // What the link says is seen from its folder.
            Ok(to) => target = target.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return target,
        }
    }
    path.to_owned()
}

/// The path for a message, and what it leads to where it is a link.
pub(crate) fn shown(path: &Path) -> String {
    match target_of(path) {
        target if target == path => path.display().to_string(),
        target => format!("{} (a link to {})", path.display(), target.display()),
    }
}
