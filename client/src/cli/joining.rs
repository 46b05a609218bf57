//! A join line is used: for `towline login LINE`, and for `towline put FILE --to LINE`, which gives the
//! server no name.

use super::config_folder::config_folder;
use super::error::CliError;
use super::known_servers::KnownServers;
use super::named_servers::NamedServers;
use super::private_file;
use super::runtime::block_on;
use crate::address::ServerAddress;
use crate::client::Client;
use crate::client::joining::Joined;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::security::Security;
use crate::system::in_words;
use crate::text::shown;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use towline_protocol::{Code, JoinAddress, JoinLine};
use towline_types::Fingerprint;

/// How long the token of a line is kept that gave its server no name.
const KEPT: Duration = Duration::from_secs(31 * 86_400);

/// The folder of tokens whose lines gave their servers no names.
const FOLDER: &str = "joined";

/// What stands before each key, and not in the name of a file: some systems allow no colon there.
const SCHEME: &str = "SHA256:";

/// A server that was joined by a line and has no name.
pub(super) struct JoinedServer {
    pub(super) address: ServerAddress,
    pub(super) token_file: PathBuf,
}

/// Joins by the line. The token is kept in a file that belongs to this line, so that the same command
/// works again after an interruption, although the secret of the line is used up. Blocks.
pub(super) fn join(line: &JoinLine) -> Result<JoinedServer, CliError> {
    let Some(folder) = config_folder() else {
        return Err(CliError::new(Exit::Refused, "there is no home folder for the token"));
    };
    let folder = folder.join(FOLDER);
    let addresses = free_addresses(line)?;
    let token_file = folder.join(file_name(line));
    remove_old(&folder);
    if std::fs::metadata(&token_file).is_ok_and(|about| about.len() > 0) {
        let address = match answering(line, addresses)? {
            Answering::Proven(address) => {
                remember(&address, line)?;
                address
            }
            // No key is remembered for an address that has not shown it.
            Answering::Nobody(first) => first,
        };
        return Ok(JoinedServer { address, token_file });
    }
    // The secret is good once: it is not used where the token could not be kept.
    private_file::write(&token_file, "")
        .map_err(|error| not_kept(&token_file, &error).advising(STILL_GOOD))?;
    let (address, joined) = joined(line, addresses).inspect_err(|_| {
        let _ = std::fs::remove_file(&token_file);
    })?;
    private_file::write(&token_file, &format!("{}\n", joined.token.reveal()))
        .map_err(|error| not_kept(&token_file, &error).advising(NEW_LINE))?;
    remember(&address, line)?;
    Ok(JoinedServer { address, token_file })
}

/// The first address at which the server of the line is, with its key. Nothing but the beginning of TLS
/// is sent; the secret stays good. Blocks.
pub(super) fn found(line: &JoinLine) -> Result<ServerAddress, CliError> {
    let mut errors = Vec::new();
    for address in free_addresses(line)? {
        let client = Client::without_token(address.clone());
        let asked = block_on(client.security(Security::UnknownKey).key_of_server())?;
        match asked {
            Ok(key) if key == line.fingerprint => return Ok(address),
            Ok(found) => {
                let (server, expected) = (address.clone(), line.fingerprint);
                errors.push((address, Failure::KeyChanged { server, expected, found }));
            }
            Err(failure) => errors.push((address, failure)),
        }
    }
    Err(none_answered(errors))
}

/// The advice where the secret was used and the token is lost.
pub(super) const NEW_LINE: &str =
    "the line was used up: ask for a new one (towlined join) once that is mended";

const STILL_GOOD: &str = "nothing was sent, and the line can still be used: free space or change the \
                          rights there, and run the same command again";

fn not_kept(path: &Path, error: &std::io::Error) -> CliError {
    let message = format!("{} cannot be written: {}", shown(path), in_words(error));
    CliError::new(Exit::Refused, message)
}

/// By what a line is recognised.
fn mark(line: &JoinLine) -> String {
    let text = format!("{} {}", line.fingerprint, line.secret.reveal());
    let hash = blake3::hash(text.as_bytes()).to_hex();
    hash[..32].to_owned()
}

/// The name of the file with the token of a line: by what the line is recognised, which does not give
/// its secret away, and the key of its server, to which alone the token goes.
fn file_name(line: &JoinLine) -> String {
    let key = line.fingerprint.to_string();
    format!("{}.{}.token", mark(line), key.trim_start_matches(SCHEME))
}

/// The key of the server that the token in this file is for, where the token came by a line that gave
/// its server no name. Such a token goes to no other server, whatever is known of its address.
pub(super) fn key_of_token(token_file: &Path) -> Option<Fingerprint> {
    if token_file.parent()? != config_folder()?.join(FOLDER) {
        return None;
    }
    let name = token_file.file_name()?.to_str()?.strip_suffix(".token")?;
    let (_, key) = name.rsplit_once('.')?;
    format!("{SCHEME}{key}").parse().ok()
}

/// Later connections recognise the server by its key. Where another key is known for the address, that
/// one stays: the line may be anybody's.
fn remember(address: &ServerAddress, line: &JoinLine) -> Result<(), CliError> {
    let Some(known_servers) = KnownServers::of_person() else { return Ok(()) };
    if known_servers.key_of(address).is_ok_and(|known| known.is_some()) {
        return Ok(());
    }
    known_servers.remember(address, line.fingerprint).map_err(|error| {
        let path = shown(known_servers.path());
        CliError::new(Exit::Refused, format!("{path} cannot be written: {}", in_words(&error)))
    })
}

/// Where the server of a line is looked for.
enum Answering {
    /// A server there has proved that it has the key of the line.
    Proven(ServerAddress),
    /// No address has proved that. The first one is where the command waits for the server.
    Nobody(ServerAddress),
}

/// The first address at which the server of the line answers. Nothing but the beginning of TLS is sent.
fn answering(line: &JoinLine, addresses: Vec<ServerAddress>) -> Result<Answering, CliError> {
    let mut addresses = addresses.into_iter();
    let Some(first) = addresses.next() else {
        return Err(CliError::usage("the line has no address"));
    };
    for address in std::iter::once(first.clone()).chain(addresses) {
        let client = Client::without_token(address.clone());
        let mut client = client.security(Security::UnknownKey);
        if block_on(client.key_of_server())?.is_ok_and(|key| key == line.fingerprint) {
            return Ok(Answering::Proven(address));
        }
    }
    Ok(Answering::Nobody(first))
}

/// Tokens of lines that were used long ago have expired.
fn remove_old(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let modified = entry.metadata().and_then(|about| about.modified());
        let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The addresses of a line, the one to be tried first in front.
fn addresses(line: &JoinLine) -> Result<Vec<ServerAddress>, CliError> {
    line.addresses.iter().map(address).collect()
}

/// The addresses of a line, without those at which a named server has another key. The token of a
/// named server goes to whoever has the key that is known for its address: a line does not change
/// that key.
fn free_addresses(line: &JoinLine) -> Result<Vec<ServerAddress>, CliError> {
    let named = NamedServers::of_person()?;
    let is_named =
        |server: &_| named.as_ref().is_some_and(|named| named.meant_by(server).is_some());
    without_other_keys(line, is_named)
}

/// The addresses of a line at which no other key than that of the line is known. A server that gets a
/// name is known by its address from then on, so that its key has to be the only one there.
pub(super) fn addresses_to_name(line: &JoinLine) -> Result<Vec<ServerAddress>, CliError> {
    without_other_keys(line, |_| true)
}

/// The addresses of a line, without those that `matters` says and at which another key is known. It is
/// an error where none is left.
fn without_other_keys(
    line: &JoinLine,
    matters: impl Fn(&ServerAddress) -> bool,
) -> Result<Vec<ServerAddress>, CliError> {
    let known = KnownServers::of_person();
    let (mut free, mut taken) = (Vec::new(), None);
    for server in addresses(line)? {
        let key = known.as_ref().and_then(|known| known.key_of(&server).ok().flatten());
        match key.filter(|key| *key != line.fingerprint && matters(&server)) {
            Some(expected) => {
                taken.get_or_insert((server, expected));
            }
            None => free.push(server),
        }
    }
    match (taken, known) {
        (Some((server, expected)), Some(known)) if free.is_empty() => {
            Err(other_key(&server, expected, line, &known))
        }
        _ => Ok(free),
    }
}

/// The address of the line is known with another key, which stays until the person removes it.
fn other_key(
    server: &ServerAddress,
    expected: Fingerprint,
    line: &JoinLine,
    known: &KnownServers,
) -> CliError {
    let message = format!(
        "the server at {server} has the key {expected}, as far as it is known here, and the line is \
         for one with the key {}; nothing was sent, and the line can still be used",
        line.fingerprint
    );
    let named = NamedServers::of_person().ok().flatten();
    let name = named.as_ref().and_then(|named| Some(named.meant_by(server)?.name.clone()));
    let logout = name.map_or_else(String::new, |name| format!("run towline logout {name}, "));
    CliError::new(Exit::Refused, message).advising(&format!(
        "another machine may answer in its place, or the line was changed on the way: ask its \
         operator. If the server was set up anew, {logout}delete the line of {server} in {}, and use \
         the line again",
        shown(known.path())
    ))
}

fn address(typed: &JoinAddress) -> Result<ServerAddress, CliError> {
    let host = typed.host();
    let text = match host.contains(':') {
        true => format!("[{host}]:{}", typed.port()),
        false => typed.to_string(),
    };
    text.parse().map_err(|error| CliError::usage(format!("{error}")))
}

/// Tries the addresses in their order. An address that leads to another server, or to none, has been
/// sent nothing, so that the next one is tried.
pub(super) fn joined(
    line: &JoinLine,
    addresses: Vec<ServerAddress>,
) -> Result<(ServerAddress, Joined), CliError> {
    let mut errors = Vec::new();
    for address in addresses {
        let client = Client::without_token(address.clone());
        let mut client = client.security(Security::Key(line.fingerprint));
        match block_on(client.join(&line.secret))? {
            Ok(joined) => return Ok((address, joined)),
            Err(failure) if is_answer(&failure) => return Err(refused(failure)),
            Err(failure) => errors.push((address, failure)),
        }
    }
    Err(none_answered(errors))
}

/// Whether the failure is the answer of the right server.
fn is_answer(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { .. } | Failure::Protocol(_))
}

fn refused(failure: Failure) -> CliError {
    match &failure {
        Failure::Refused { reply, .. } if reply.code == Code::Unauthorized => CliError::new(
            Exit::Refused,
            "the server does not take this line: it was used, its time has passed, or it was damaged",
        )
        .advising("ask for a new one (towlined join --user NAME, or towline receive)"),
        Failure::Refused { reply, .. } if reply.code == Code::BadRequest => {
            CliError::from(failure).advising("ask the server's operator to update towlined")
        }
        _ => failure.into(),
    }
}

fn none_answered(errors: Vec<(ServerAddress, Failure)>) -> CliError {
    let is_other =
        |(_, failure): &&(ServerAddress, Failure)| matches!(failure, Failure::KeyChanged { .. });
    if let Some((address, Failure::KeyChanged { expected, found, .. })) =
        errors.iter().find(is_other)
    {
        let message = format!(
            "the server at {address} has the key {found}, and the line is for one with the key \
             {expected}; nothing was sent, and the line can still be used"
        );
        return CliError::new(Exit::Refused, message).advising(
            "another machine may answer in its place, or the line was changed on the way: ask the \
             person who sent it",
        );
    }
    let reasons: Vec<_> = errors.iter().map(|(_, failure)| failure.to_string()).collect();
    CliError::new(Exit::Refused, reasons.join("; ")).advising(
        "is the server running, and this machine in the same network? The line says where it is; \
         towline receive --listen HOST:PORT prints one for an address that this machine reaches",
    )
}
