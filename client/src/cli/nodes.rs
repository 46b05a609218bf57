//! What the commands about files and folders on the server have in common.

use super::arguments::ConnectArgs;
use super::error::CliError;
use super::resolve;
use crate::client::Client;
use crate::failure::Failure;
use crate::moment;
use crate::text::{printable, shell_word};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_protocol::reply::NodeAnswer;
use towline_protocol::{Code, Node};
use towline_types::{ModifiedTime, NodeKind, NodePath, PermissionBits, Timestamp};

/// A client for one question.
pub(super) fn client(connect: &ConnectArgs, quiet: bool) -> Result<Client, CliError> {
    let server = resolve::server(connect, None)?;
    let credential = resolve::credential(connect, None)?;
    resolve::warn_of_open_token(&credential, quiet);
    let security = resolve::security(connect, &server, &credential)?;
    let client = Client::new(server, credential.token).token_file(credential.file);
    Ok(resolve::secured(client, security))
}

/// What a server refuses is said with the place that it is about.
pub(super) fn about(path: &NodePath, failure: Failure) -> CliError {
    let is_taken = failure.code() == Some(Code::Exists);
    let error = CliError::about(&shown(path), failure);
    // The usual advice names options of `put`, which these commands do not have.
    if is_taken { error.advising(NAME_TAKEN) } else { error }
}

const NAME_TAKEN: &str = "nothing was changed; choose another name, or give the other one another \
                          name first (towline mv OLD NEW)";

/// A file, folder or link on the server, for a program.
#[derive(Serialize)]
pub(super) struct Placed<'a> {
    /// Its place, seen from the person's own folder.
    pub(super) path: String,
    /// Nothing had to be changed for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) existing: bool,
    #[serde(flatten)]
    pub(super) node: &'a Node,
}

impl<'a> Placed<'a> {
    /// What the answer of a server says.
    pub(super) fn of(answer: &'a NodeAnswer) -> Self {
        Self { path: answer.path.join("/"), existing: answer.existing, node: &answer.node }
    }
}

/// The path as a person may see it.
pub(super) fn shown(path: &NodePath) -> String {
    if path.is_root() { "your own folder".to_owned() } else { printable(&path.to_string()) }
}

/// The path as one word of a command line.
pub(super) fn typed(path: &NodePath) -> String {
    let text = path.to_string();
    // Otherwise the text would be read as an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    shell_word(Path::new(&text))
}

/// The answer's path, as a person may see it.
pub(super) fn place_of(answer: &NodeAnswer) -> String {
    if answer.path.is_empty() {
        return printable(&answer.node.name);
    }
    printable(&answer.path.join("/"))
}

/// `drwxr-xr-x`; question marks where the server does not know.
pub(super) fn mode(kind: NodeKind, mode: Option<PermissionBits>) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        NodeKind::File => '-',
        NodeKind::Folder => 'd',
        NodeKind::Link => 'l',
    });
    match mode {
        None => text.push_str("?????????"),
        Some(mode) => {
            for (place, letter) in "rwxrwxrwx".chars().enumerate() {
                text.push(if mode.bits() & (0o400 >> place) == 0 { '-' } else { letter });
            }
        }
    }
    text
}

/// `2026-11-28 14:30 UTC`; as wide where it is not known.
pub(super) fn minute(time: Option<SystemTime>) -> String {
    match time.and_then(moment::in_seconds) {
        // Without the seconds, and without the letters for machines.
        Some(text) if text.len() >= 16 => text[..16].replace('T', " ") + " UTC",
        _ => format!("{:20}", "-"),
    }
}

/// A moment that the server says.
pub(super) fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.get())
}

pub(super) fn modified(time: Option<ModifiedTime>) -> Option<SystemTime> {
    let ms = u64::try_from(time?.as_ms()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

/// The name with what a person needs to tell a folder and a link from a file.
pub(super) fn marked(name: &str, node: &Node) -> String {
    let name = printable(name);
    match (node.kind, &node.target) {
        (NodeKind::Folder, _) => format!("{name}/"),
        (NodeKind::Link, Some(target)) => format!("{name} -> {}", printable(target.as_str())),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_typed_so_that_a_shell_and_towline_read_it() {
        for (path, word) in [("proj/a.txt", "proj/a.txt"), ("my file", "'my file'"), ("-x", "./-x")]
        {
            assert_eq!(typed(&NodePath::typed(path).unwrap()), word);
        }
    }

    #[test]
    fn modes_and_times_are_as_wide_as_each_other() {
        let bits = |bits| Some(PermissionBits::of_mode(bits));
        assert_eq!(mode(NodeKind::Folder, bits(0o755)), "drwxr-xr-x");
        assert_eq!(mode(NodeKind::File, bits(0o640)), "-rw-r-----");
        assert_eq!(mode(NodeKind::Link, None), "l?????????");
        let time = UNIX_EPOCH + Duration::from_secs(1_795_876_200);
        assert_eq!(minute(Some(time)).len(), 20);
        assert_eq!(minute(Some(UNIX_EPOCH)), "1970-01-01 00:00 UTC");
        assert_eq!(minute(None).len(), 20);
        assert_eq!(modified(Some(ModifiedTime::from_ms(-1))), None);
    }
}
