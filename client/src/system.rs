//! The errors of the system in words: the only place that knows how they are told to a person. The
//! system's number of an error says nothing to a person and is left out.

use crate::text::printable;
use std::io;

/// The error in a few words.
pub(crate) fn in_words(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let text = match error.kind() {
        Kind::NotFound => "there is no such file or folder",
        Kind::PermissionDenied => "permission denied",
        Kind::ConnectionRefused => "connection refused",
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
            "the connection was reset"
        }
        // Of a file as well as of a connection: more bytes had to come.
        Kind::UnexpectedEof => "it ended too soon",
        Kind::TimedOut => "no answer",
        Kind::HostUnreachable => "no route to the host",
        Kind::NetworkUnreachable => "the network is unreachable",
        Kind::NetworkDown => "the network is down",
        Kind::StorageFull => "the disk is full",
        Kind::QuotaExceeded => "the disk quota is used up",
        Kind::ReadOnlyFilesystem => "the file system is read-only",
        _ => return without_number(error),
    };
    text.to_owned()
}

/// The system's own text for the error, without its number.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    let text = number.map_or_else(|| text.clone(), |number| text.replace(&number, ""));
    let text = printable(&text);
    // "Too many open files" becomes part of a sentence, so its first letter is made small.
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_the_system_shows_its_number() {
        for number in 1..=133 {
            let text = in_words(&io::Error::from_raw_os_error(number));
            assert!(!text.contains("os error") && !text.is_empty(), "{number}: {text}");
        }
        let too_many = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(in_words(&too_many), "too many open files");
        assert_eq!(in_words(&io::ErrorKind::NotFound.into()), "there is no such file or folder");
        let own = io::Error::other("RAID\u{1b} is broken");
        assert_eq!(in_words(&own), "RAID\\u{1b} is broken");
    }
}
