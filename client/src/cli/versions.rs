//! `towline versions`: what a file was before.

use super::arguments::Versions;
use super::error::CliError;
use super::json;
use super::nodes::{self, minute, time};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::units;
use std::time::SystemTime;
use towline_protocol::reply::Version;
use towline_types::{DocumentId, NodeKind, NodePath};

pub(super) fn run(versions: &Versions) -> Result<Exit, CliError> {
    let path = resolve::place(&versions.path)?;
    let mut client = nodes::client(&versions.connect, versions.answer.quiet)?;
    block_on(async {
        let (mut after, mut last) = (None, None);
        loop {
            let page = client.versions(&path, after).await;
            let page = page.map_err(|failure| nodes::about(&path, failure))?;
            for version in &page.entries {
                // A server that lists the same again and again would never come to an end.
                if last.replace(version.version).is_some_and(|last| last <= version.version) {
                    return Err(out_of_order(version.version).into());
                }
                if versions.answer.json {
                    json::event("version", version);
                } else {
                    line(&described(version, SystemTime::now()));
                }
            }
            after = page.next;
            if after.is_none() {
                let is_file = page.node.is_none_or(|node| node.kind == NodeKind::File);
                return match last {
                    None if !is_file => Err(CliError::new(Exit::Refused, no_file(&path))),
                    _ => Ok(Exit::Done),
                };
            }
        }
    })?
}

fn no_file(path: &NodePath) -> String {
    format!(
        "{} is no file, and only files have older versions; towline ls {} lists what is in a folder",
        nodes::shown(path),
        nodes::typed(path)
    )
}

fn out_of_order(version: DocumentId) -> Failure {
    Failure::Protocol(format!("it lists version {version} twice or out of order"))
}

/// After `keep_until` a server may delete a version. No answer says which ones it deletes.
fn described(version: &Version, now: SystemTime) -> String {
    let Version { version: number, size, created_at, current, keep_until, .. } = version;
    let size = units::size(size.get());
    let state = match (current, keep_until) {
        (true, _) => "the file as it is now".to_owned(),
        (false, Some(until)) if time(*until) > now => {
            format!("kept until {} at least", minute(Some(time(*until))))
        }
        (false, Some(_)) => "kept for now: the server thins out old versions".to_owned(),
        (false, None) => "kept".to_owned(),
    };
    format!("{:>10}  {size:>10}  {}  {state}", number.get(), minute(Some(time(*created_at))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_types::{FileHash, FileSize, Timestamp};

    #[test]
    fn a_version_that_may_be_thinned_out_is_not_said_to_be_kept_until_a_day_that_is_past() {
        let at = |ms: u64| Timestamp::try_from(ms).unwrap();
        let version = |keep_until| Version {
            version: DocumentId::MIN,
            size: FileSize::try_from(5).unwrap(),
            blake3: FileHash::from_bytes([0; 32]),
            created_at: at(1_000),
            held: None,
            mtime_ms: None,
            current: false,
            keep_until,
        };
        let text = |until| described(&version(until), time(at(1_795_876_200_000)));
        assert!(text(Some(at(1_795_876_300_000))).contains("kept until 2026-11-28 "));
        let past = text(Some(at(1_795_876_100_000)));
        assert!(past.contains("thins out") && !past.contains("2026"), "{past}");
    }
}
