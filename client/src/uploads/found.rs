//! Reading the state file at the beginning of a command.

use towline_state::{StateFile, StateFileError, UploadsState, clock};

/// The state file as it was at the beginning of a command.
#[derive(Debug)]
pub struct Found {
    /// The content of the file.
    pub state: UploadsState,
    /// What a person should know about it.
    pub notices: Vec<String>,
}

/// Reads the state file. A damaged one is moved aside, never deleted; a notice says so. Blocks.
///
/// # Errors
///
/// Where a later version of Towline wrote it, or where it can be neither read nor moved.
pub fn read(file: &StateFile) -> Result<Found, StateFileError> {
    let now = clock::now();
    let mut notices = Vec::new();
    let state = match file.read() {
        Ok(state) => state,
        Err(StateFileError::Corrupt { path, source }) => {
            let aside = file.set_aside(now)?;
            let aside = aside.map_or_else(String::new, |aside| format!(" to {}", aside.display()));
            notices.push(format!(
                "{} is damaged ({source}); it was moved{aside}. Unfinished uploads are found again \
                 by putting the same files",
                path.display(),
            ));
            UploadsState::default()
        }
        Err(error) => return Err(error),
    };
    Ok(Found { state, notices })
}
