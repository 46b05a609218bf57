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
            "it is {size}, which is {} more than this server takes ({limit})",
            units::size(over)
        )
    } else {
        format!("it is {size}, and this server takes files up to {limit}")
    }
}

pub(super) fn shorter(is_shorter: bool) -> &'static str {
    if is_shorter { " and is shorter now" } else { "" }
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

/// What has the name that a file is to get here.
pub(super) fn taken_here(is_file: bool) -> &'static str {
    if is_file {
        "another file of that name is here"
    } else {
        "something else than a file has that name here"
    }
}
