//! The servers that have names, in a file that a person may edit as well: `config.toml`.
//!
//! ```toml
//! default_server = "nas"
//!
//! [servers.nas]
//! address = "nas.example:8695"
//! token_file = "nas.token"
//! ```
//!
//! A change adds or removes lines and leaves all others as they are, so that comments stay.

use super::config_folder::config_folder;
use super::error::CliError;
use super::private_file;
use crate::address::ServerAddress;
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::{printable, shown};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The longest name of a server.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// A server that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedServer {
    pub(super) name: String,
    pub(super) address: ServerAddress,
    /// The file with the token.
    pub(super) token_file: PathBuf,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct NamedServers {
    path: PathBuf,
    text: String,
    servers: Vec<NamedServer>,
    default: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default_server: Option<String>,
    #[serde(default)]
    servers: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: String,
    token_file: PathBuf,
}

impl NamedServers {
    /// The servers of this person. `None` where the system names no home folder.
    ///
    /// # Errors
    /// Where the file cannot be read, or has something that is not known. The message shows the line.
    pub(super) fn of_person() -> Result<Option<Self>, CliError> {
        config_folder().map(|folder| Self::read(folder.join("config.toml"))).transpose()
    }

    fn read(path: PathBuf) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                let message = format!("{} cannot be read: {}", shown(&path), in_words(&error));
                return Err(CliError::new(Exit::Refused, message));
            }
        };
        Self::parse(path, text)
    }

    fn parse(path: PathBuf, text: String) -> Result<Self, CliError> {
        let bad = |why: &str| {
            let lines: Vec<_> = why.trim_end().lines().map(printable).collect();
            CliError::usage(format!("{}: {}", shown(&path), lines.join("\n")))
        };
        let file: File = toml::from_str(&text).map_err(|error| bad(&error.to_string()))?;
        let folder = path.parent().unwrap_or(&path);
        let mut servers = Vec::new();
        for (name, Entry { address, token_file }) in file.servers {
            if !is_name(&name) {
                return Err(bad(&format!("[servers.{name}]: {BAD_NAME}")));
            }
            let address =
                address.parse().map_err(|why| bad(&format!("[servers.{name}]: {why}")))?;
            servers.push(NamedServer { name, address, token_file: folder.join(token_file) });
        }
        if let Some(default) = &file.default_server
            && !servers.iter().any(|server| server.name == *default)
        {
            return Err(bad(&format!("default_server: there is no [servers.{default}]")));
        }
        Ok(Self { text, servers, default: file.default_server, path })
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> &[NamedServer] {
        &self.servers
    }

    pub(super) fn named(&self, name: &str) -> Option<&NamedServer> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The server that a typed address means: the one of that name, else the one of that address.
    pub(super) fn meant_by(&self, typed: &ServerAddress) -> Option<&NamedServer> {
        let is_name = typed.port() == crate::address::DEFAULT_PORT;
        let named = self.named(typed.host()).filter(|_| is_name);
        named.or_else(|| self.servers.iter().find(|server| server.address == *typed))
    }

    /// The one that is used where no server is named.
    pub(super) fn default(&self) -> Option<&NamedServer> {
        self.default.as_deref().and_then(|name| self.named(name))
    }

    /// Where the token of a server of that name goes.
    pub(super) fn token_file(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.token"))
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Adds a server, in the place of an earlier one of that name. The first one is the default.
    pub(super) fn add(&self, name: &str, address: &ServerAddress) -> Result<(), CliError> {
        let mut text = without(&self.text, name);
        if self.default.is_none() {
            // Above all tables: below one, it would belong to that table.
            text = format!("default_server = \"{name}\"\n{text}");
        }
        if !text.ends_with("\n\n") {
            text += "\n";
        }
        text += &format!(
            "[servers.{}]\naddress = \"{address}\"\ntoken_file = \"{name}.token\"\n",
            key(name)
        );
        self.write(text)
    }

    /// Removes a server. Where it was the default, no server is it any more.
    pub(super) fn remove(&self, name: &str) -> Result<(), CliError> {
        let mut text = without(&self.text, name);
        if self.default.as_deref() == Some(name) {
            let is_default = |line: &&str| line.trim_start().starts_with("default_server");
            text =
                text.lines().filter(|line| !is_default(line)).map(|l| format!("{l}\n")).collect();
        }
        self.write(text)
    }

    /// Writes the file, if the text reads.
    fn write(&self, text: String) -> Result<(), CliError> {
        let checked = Self::parse(self.path.clone(), text)?;
        private_file::write(&self.path, &checked.text).map_err(|error| {
            let message = format!("{} cannot be written: {}", shown(&self.path), in_words(&error));
            CliError::new(Exit::Refused, message)
        })
    }
}

/// What a name must be.
pub(super) const BAD_NAME: &str = "a name has at least two letters, digits and . _ -, and begins with a \
                                   letter or digit";

/// Whether a server may have that name. A name of one letter would look like a disk of Windows.
pub(super) fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(legal)
        && (2..=NAME_CHARS_MAX).contains(&text.len())
}

/// The name as a key of TOML: with quotes where it has a dot.
fn key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

/// The text without the table of that server.
fn without(text: &str, name: &str) -> String {
    let heads = [format!("[servers.{}]", key(name)), format!("[servers.\"{name}\"]")];
    let mut is_inside = false;
    let mut rest = String::new();
    for line in text.lines() {
        let line_text = line.trim();
        if line_text.starts_with('[') {
            is_inside = heads.iter().any(|head| line_text.starts_with(head.as_str()));
        }
        if !is_inside {
            rest += line;
            rest.push('\n');
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NamedServers, CliError> {
        NamedServers::parse("/home/ada/.config/towline/config.toml".into(), text.to_owned())
    }

    #[test]
    fn servers_come_and_go_and_other_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("towline/config.toml");
        let read = || NamedServers::read(path.clone()).unwrap();
        let [nas, lab] = ["nas.example:9000", "[fd00::7]:8695"].map(|text| text.parse().unwrap());
        read().add("nas", &nas).unwrap();
        read().add("lab.x", &lab).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("[servers.nas]", "# mine\n[servers.nas]")).unwrap();
        assert_eq!(read().default().unwrap().name, "nas");
        read().add("nas", &lab).unwrap();
        let servers = read();
        assert_eq!(servers.all().len(), 2);
        assert_eq!(servers.named("nas").unwrap().address, lab);
        let token_file = folder.path().join("towline/nas.token");
        assert_eq!(servers.named("nas").unwrap().token_file, token_file);
        assert_eq!(servers.meant_by(&"lab.x".parse().unwrap()).unwrap().name, "lab.x");
        assert!(servers.meant_by(&"nas:9000".parse().unwrap()).is_none());
        read().remove("nas").unwrap();
        assert!(read().default().is_none() && read().named("lab.x").is_some());
        assert!(std::fs::read_to_string(&path).unwrap().contains("# mine"));
        read().remove("lab.x").unwrap();
        assert!(read().all().is_empty());
    }

    #[test]
    fn what_is_not_known_is_an_error_with_its_line() {
        let server = "[servers.nas]\naddress = \"nas\"\ntoken_file = \"t\"\n";
        assert!(parse(server).is_ok());
        for (text, part) in [
            (format!("{server}port = 7\n"), "line 4"),
            (format!("colour = 1\n{server}"), "line 1"),
            (server.replace("\"nas\"", "\"http://nas\""), "[servers.nas]"),
            (server.replace("nas]", "a]"), "at least two"),
            (format!("default_server = \"other\"\n{server}"), "no [servers.other]"),
            ("[servers.nas\n".to_owned(), "line 1"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(part), "{part}: {}", error.message);
            assert!(error.message.contains("config.toml"), "{}", error.message);
        }
    }
}
