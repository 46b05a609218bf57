//! The keys by which a receipt may be signed.

use crate::cli::arguments::VerifyReceipts;
use crate::cli::error::CliError;
use crate::cli::known_servers::KnownServers;
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::shown;
use std::collections::BTreeMap;
use std::io;
use towline_types::Fingerprint;

/// Each key with a name for people: the address of its server, or the fingerprint that was typed.
pub(super) struct TrustedKeys(BTreeMap<Fingerprint, String>);

impl TrustedKeys {
    /// The keys that were typed; where there are none, those of all servers that this person has met.
    pub(super) fn chosen(verify: &VerifyReceipts) -> Result<Self, CliError> {
        let known_servers = KnownServers::of_person();
        let known = match &known_servers {
            Some(known_servers) => {
                let cannot = |error: io::Error| {
                    let path = shown(known_servers.path());
                    let message =
                        format!("{path}, which has the keys of servers: {}", in_words(&error));
                    CliError::new(Exit::Refused, message)
                };
                known_servers.all().map_err(cannot)
            }
            None => Ok(Vec::new()),
        };
        let is_typed = !verify.fingerprint.is_empty() || !verify.to.is_empty();
        // Where only fingerprints were typed, that file is not needed, and its error does not
        // count.
        let known =
            if verify.to.is_empty() && is_typed { known.unwrap_or_default() } else { known? };
        if !is_typed {
            return Ok(Self(known.into_iter().map(|(address, key)| (key, address)).collect()));
        }
        let name_of = |key| known.iter().find(|(_, known)| *known == key);
        let mut keys = BTreeMap::new();
        for key in &verify.fingerprint {
            let name =
                name_of(*key).map_or_else(|| key.to_string(), |(address, _)| address.clone());
            keys.insert(*key, name);
        }
        for server in &verify.to {
            let address = server.to_string();
            let found = known.iter().rfind(|(known, _)| *known == address);
            let Some((_, key)) = found else {
                let error = CliError::new(
                    Exit::Refused,
                    format!("the key of {address} is not known on this machine"),
                );
                return Err(error.advising(
                    "the server prints its key when it starts: add --fingerprint and the key \
                     instead of --to",
                ));
            };
            keys.insert(*key, address);
        }
        Ok(Self(keys))
    }

    pub(super) fn has(&self, key: Fingerprint) -> bool {
        self.0.contains_key(&key)
    }

    /// The name that people know the key by.
    pub(super) fn name_of(&self, key: Fingerprint) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }
}
