//! The rights of the files that the operator has named: the key of TLS and those of an identity
//! provider.

use crate::Config;
use std::path::Path;
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
