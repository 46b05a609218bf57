//! What a server keeps of a file besides its bytes: the time of its last modification and its
//! permission bits.

use std::fs::Metadata;
use towline_protocol::reply::Welcome;
use towline_types::{ModifiedTime, PermissionBits};

/// See the module's description. A part that the system does not tell is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mtime: Option<ModifiedTime>,
    pub(crate) mode: Option<PermissionBits>,
}

impl Attributes {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let ms = metadata.mtime().checked_mul(1000);
        let ms = ms.and_then(|ms| ms.checked_add(metadata.mtime_nsec() / 1_000_000));
        Self {
            mtime: ms.map(ModifiedTime::from_ms),
            mode: Some(PermissionBits::of_mode(metadata.mode())),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_metadata: &Metadata) -> Self {
        Self::default()
    }

    /// What of it may be said to that server: one that does not keep it refuses the request.
    pub(crate) fn for_server(self, welcome: &Welcome) -> Self {
        if welcome.features.iter().any(|word| word == "tree") { self } else { Self::default() }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn milliseconds_before_1970_and_nine_bits() {
        let home = tempfile::tempdir().unwrap();
        let file = File::create(home.path().join("a")).unwrap();
        file.set_modified(UNIX_EPOCH - Duration::from_micros(1_500_700)).unwrap();
        file.set_permissions(Permissions::from_mode(0o4751)).unwrap();
        let found = Attributes::of(&file.metadata().unwrap());
        // The millisecond in which it lies.
        assert_eq!(found.mtime, Some(ModifiedTime::from_ms(-1501)));
        assert_eq!(found.mode.map(PermissionBits::bits), Some(0o751));
    }
}
