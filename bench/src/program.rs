//! Where programs are, and which they are.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Servers are often where only root looks for programs.
const ALSO: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where that program is.
///
/// # Errors
/// Where it is nowhere; fit for a person.
pub(crate) fn find(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(ALSO.map(PathBuf::from));
    let mut places = folders.map(|folder| folder.join(name));
    places.find(|place| place.is_file()).ok_or_else(|| format!("{name} is not on PATH"))
}

/// What a program says of itself, both streams together.
pub(crate) fn says(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// That up to the number of its version; nothing where it is not there.
pub(crate) fn version(name: &str, argument: &str) -> Option<String> {
    let said = says(&find(name).ok()?, argument)?;
    let line = said.lines().find(|line| !line.trim().is_empty())?;
    Some(up_to_a_number(line))
}

/// This very program in another part: `towline`, `towlined` or `floor`. Its
/// surroundings are ours, without what could stand in for arguments.
pub(crate) fn own(part: &str) -> Result<Command> {
    let mut command =
        Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.arg(part);
    for variable in ["TOWLINE_SERVER", "TOWLINE_TOKEN", "TOWLINE_LOG", "TOWLINE_FAILPOINTS"] {
        command.env_remove(variable);
    }
    Ok(command)
}

fn up_to_a_number(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = words.iter().position(|word| word.contains(|c: char| c.is_ascii_digit()));
    let words = &words[..number.map_or(words.len(), |number| number + 1)];
    words.join(" ").trim_end_matches([',', ';']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_ends_with_its_number() {
        for (line, version) in [
            ("rsync  version 3.2.7  protocol version 31", "rsync version 3.2.7"),
            ("OpenSSH_9.2p1, OpenSSL 3.0.19", "OpenSSH_9.2p1"),
            ("a version", "a version"),
        ] {
            assert_eq!(up_to_a_number(line), version);
        }
    }
}
