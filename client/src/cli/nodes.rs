//! What the commands about files and folders on the server have in common.

use super::arguments::ConnectArgs;
use super::error::CliError;
use super::output::line;
use super::resolve;
use crate::client::Client;
use crate::failure::Failure;
use crate::text::{printable, printable_json};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_protocol::Node;
use towline_protocol::reply::NodeAnswer;
use towline_types::{ModifiedTime, NodeKind, NodePath, PermissionBits};

/// A client for one question.
pub(super) fn client(connect: &ConnectArgs, quiet: bool) -> Result<Client, CliError> {
    let server = resolve::server(connect, None)?;
    let credential = resolve::credential(connect, None)?;
    resolve::warn_of_open_token(&credential, quiet);
    Ok(Client::new(server, credential.token).token_file(credential.file))
}

/// What a server refuses is said with the place that it is about.
pub(super) fn about(path: &NodePath, failure: Failure) -> CliError {
    let is_refused = failure.code().is_some();
    let error = CliError::from(failure);
    if !is_refused {
        return error;
    }
    CliError::new(error.exit, format!("{}: {}", shown(path), error.message))
}

/// The path as a person may see it.
pub(super) fn shown(path: &NodePath) -> String {
    if path.is_root() { "your own folder".to_owned() } else { printable(&path.to_string()) }
}

/// The answer's path, as a person may see it.
pub(super) fn place_of(answer: &NodeAnswer) -> String {
    if answer.path.is_empty() {
        return printable(&answer.node.name);
    }
    printable(&answer.path.join("/"))
}

pub(super) fn print_json(answer: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(answer) {
        line(&printable_json(&json));
    }
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

/// `2026-11-28 14:30`, UTC; as wide where it is not known.
pub(super) fn minute(time: Option<SystemTime>) -> String {
    let text = time
        .filter(|time| *time >= UNIX_EPOCH)
        .map(|time| humantime::format_rfc3339_seconds(time).to_string());
    match text {
        // Without the seconds, and without the letters for machines.
        Some(text) if text.len() >= 16 => text[..16].replace('T', " "),
        _ => format!("{:16}", "-"),
    }
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
    fn modes_and_times_are_as_wide_as_each_other() {
        let bits = |bits| Some(PermissionBits::of_mode(bits));
        assert_eq!(mode(NodeKind::Folder, bits(0o755)), "drwxr-xr-x");
        assert_eq!(mode(NodeKind::File, bits(0o640)), "-rw-r-----");
        assert_eq!(mode(NodeKind::Link, None), "l?????????");
        let time = UNIX_EPOCH + Duration::from_secs(1_795_876_200);
        assert_eq!(minute(Some(time)).len(), 16);
        assert_eq!(minute(Some(UNIX_EPOCH)), "1970-01-01 00:00");
        assert_eq!(minute(None).len(), 16);
        assert_eq!(modified(Some(ModifiedTime::from_ms(-1))), None);
    }
}
