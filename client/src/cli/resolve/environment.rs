//! What the command line reads from the environment.

use std::path::PathBuf;

/// The environment variable for `--to`.
pub(super) const SERVER_VARIABLE: &str = "TOWLINE_SERVER";
/// The environment variable for the token itself.
pub(super) const TOKEN_VARIABLE: &str = "TOWLINE_TOKEN";

/// The path of the state file, unless a person names another one.
pub(super) fn usual_place() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let folder = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(folder.join("towline/uploads_state.json"))
}

/// The value of a variable that is set and not blank.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
