//! A server that was typed among the paths of `put`, as other tools have it.

use crate::text::{printable, shell_word, shown};
use crate::uploads;
use std::path::{Path, PathBuf};

/// The refusal where one of the paths is `HOST:FOLDER`, as `scp` and `rsync` have it among their
/// paths, and nothing here has that name. Without the refusal the other paths would be sent to
/// another place than the person means.
pub(super) fn server_among(paths: &[PathBuf]) -> Option<String> {
    let is_away = |path: &&PathBuf| {
        std::fs::symlink_metadata(path).is_err_and(|error| uploads::is_not_there(&error))
    };
    let (path, (host, place)) = paths
        .iter()
        .filter(is_away)
        .find_map(|path| Some((path, server_and_place(path.to_str()?)?)))?;
    let others: Vec<_> =
        paths.iter().filter(|other| *other != path).map(|other| shell_word(other)).collect();
    let others = if others.is_empty() { "PATH".to_owned() } else { others.join(" ") };
    let place = place.trim_start_matches(['~', '/', '.']).trim_end_matches('/');
    let port_or_folder = match place {
        "" => String::new(),
        port if port.parse::<u16>().is_ok() => format!(":{port}"),
        folder => format!(" --folder {}", shell_word(Path::new(folder))),
    };
    Some(format!(
        "{} is not here; a server is given with --to, and a folder on it with --folder: towline \
         put {others} --to {}{port_or_folder}",
        shown(path),
        printable(host)
    ))
}

/// `[USER@]HOST:PLACE`. A host of one letter would be a disk of Windows.
fn server_and_place(text: &str) -> Option<(&str, &str)> {
    let (host, place) = text.split_once(':')?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    (host.len() > 1 && host.chars().all(is_host)).then_some((host, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_among_the_paths_is_refused_with_the_option_that_names_it() {
        for (typed, ending) in [
            ("ada@127.0.0.1:/backup/", "put proj --to 127.0.0.1 --folder backup"),
            ("nas:", "put proj --to nas"),
            ("nas:~/a b", "put proj --to nas --folder 'a b'"),
            ("nas:9000", "put proj --to nas:9000"),
        ] {
            let refused = server_among(&["proj".into(), typed.into()]).unwrap();
            assert!(refused.ends_with(ending), "{refused}");
        }
        for typed in ["notes.txt", "C:\\notes", "photos/12:30", ":a"] {
            assert_eq!(server_among(&[typed.into()]), None, "{typed}");
        }
    }
}
