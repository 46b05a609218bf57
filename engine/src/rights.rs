//! Who else may change the data folder of a server. Rights that are too open are only warned of;
//! nothing is refused for them.

use rustix::process::geteuid;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The bits of a mode that let others write, and those that let others do anything.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS: u32 = 0o077;

/// Warns of a data folder of another user, or one that everybody may write into, and of a key
/// that others may read.
pub(crate) fn warn(data_dir: &Path, keys: &Path) {
    for folder in [data_dir.to_owned(), data_dir.join("state"), keys.to_owned()] {
        let Ok(about) = folder.metadata() else { continue };
        let path = folder.display();
        if about.uid() != geteuid().as_raw() {
            tracing::warn!(
                "{path} belongs to user {}, and this server runs as user {}: what it makes there \
                 may be of no use to a server of that user",
                about.uid(),
                geteuid().as_raw()
            );
        }
        if about.mode() & OTHERS_WRITE != 0 {
            tracing::warn!("everybody on this machine may write into {path}; chmod o-w helps");
        }
    }
    for file in keys.read_dir().into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let is_key = name.ends_with(".pk8") || name.ends_with(".pem");
        if is_key && file.metadata().is_ok_and(|about| about.mode() & OTHERS != 0) {
            let path = file.path();
            tracing::warn!(
                "others on this machine may read {}, a key of this server; chmod 600 helps",
                path.display()
            );
        }
    }
}
