//! Parts of the sentences of failures.

use crate::system::in_words;
use crate::text::printable;
use crate::units;
use towline_state::StateFileError;
use towline_types::FileSize;

pub(super) fn too_large(filesize: FileSize, max_bytes: u64) -> String {
    let (size, limit) = (units::size(filesize.get()), units::limit(max_bytes));
    let over = filesize.get().saturating_sub(max_bytes);
    // Where the two sizes look alike, the difference helps more.
    if over < max_bytes / 10 {
        format!(
            "its size is {size}, which is {} more than this server accepts ({limit})",
            units::size(over)
        )
    } else {
        format!("its size is {size}, and this server accepts files up to {limit}")
    }
}

/// What could not be done with a file or folder.
pub(super) fn cannot(action: &str) -> String {
    match action {
        "open" => "it cannot be opened".to_owned(),
        "read" => "it cannot be read".to_owned(),
        "write" => "it cannot be written".to_owned(),
        "make" => "it cannot be made".to_owned(),
        "look at" => "it cannot be looked at".to_owned(),
        "open the folder around" => "the folder that it lies in cannot be opened".to_owned(),
        "restore" => {
            "its bytes are there already, and its time and permissions cannot be set".to_owned()
        }
        "set the mode of" => "its permissions cannot be set".to_owned(),
        other => format!("cannot {other} it"),
    }
}

pub(super) fn shorter(is_shorter: bool) -> &'static str {
    if is_shorter { ", and it is shorter now" } else { "" }
}

pub(super) fn with_all_in_it(is_folder: bool) -> &'static str {
    if is_folder { "; all that lies in this folder is left out with it" } else { "" }
}

pub(super) fn tried(attempts: u32) -> String {
    if attempts > 1 { format!(" (tried {attempts} times)") } else { String::new() }
}

pub(super) fn state_file(error: &StateFileError) -> String {
    use std::error::Error as _;
    let text = match error {
        StateFileError::Io { source, .. } => format!("{error}: {}", in_words(source)),
        _ => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    };
    printable(&text)
}
