//! The folder of what a person has set up: named servers, their tokens and keys.

use std::path::PathBuf;

/// `~/.config/towline`, or where `XDG_CONFIG_HOME` says; `None` where the system names no home
/// folder.
pub(super) fn config_folder() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).and_then(absolute);
    let folder = config.or_else(|| Some(std::env::home_dir()?.join(".config")))?;
    Some(folder.join("towline"))
}
