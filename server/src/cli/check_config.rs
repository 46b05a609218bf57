//! `towlined check-config`: what a start would find wrong, all of it, without a start.

use super::http_args::{HttpListeners, MoreDoors as _};
use super::output::many;
use super::settings::{ServeArgs, Settings};
use super::usage_error::UsageError;
use crate::operators_files;
use crate::tls::TlsIdentity;
use crate::token::SigningKeys;
use clap::Args;
use rustix::io::Errno;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use towline_engine::storage::{DataFolder, FolderError, RightsFault};
use towline_engine::{identity, strict_modes};

/// The options of a server, as they would be typed for a start.
#[derive(Debug, Clone, Args)]
pub struct CheckConfigArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Says all that is wrong. Returns whether nothing is. Nothing is made or changed.
///
/// # Errors
/// Where a mistake in the arguments or in the configuration file is among it.
pub(super) fn run(arguments: &CheckConfigArgs, before: &ServeArgs) -> anyhow::Result<bool> {
    let serve = ServeArgs {
        data_dir: arguments.serve.data_dir.clone().or_else(|| before.data_dir.clone()),
        config: arguments.serve.config.clone().or_else(|| before.config.clone()),
        ..arguments.serve.clone()
    };
    let mut report = Report::default();
    let (settings, mistakes) = serve.settings_and_mistakes();
    for mistake in mistakes {
        report.mistake(&mistake);
    }
    let address = report.listening(&settings);
    report.files(&settings);
    report.end(&settings, address)
}

/// What was found so far. Each fault is printed as soon as it is found.
#[derive(Default)]
struct Report {
    faults: u64,
    mistakes: u64,
    /// The key by which clients would recognise the server, where there is one.
    key: Option<String>,
}

impl Report {
    fn wrong(&mut self, fault: &dyn Display) {
        self.faults += 1;
        print("wrong", fault);
    }

    /// Something in the arguments or in the configuration file.
    fn mistake(&mut self, fault: &dyn Display) {
        self.mistakes += 1;
        self.wrong(fault);
    }

    fn error(&mut self, error: &anyhow::Error) {
        self.mistakes += u64::from(super::is_usage(error));
        self.wrong(&format!("{error:#}"));
    }

    /// The address, and the user that the server would run as. From then on this process has the
    /// rights of that user, as the server would have them.
    fn listening(&mut self, settings: &Settings) -> Option<SocketAddr> {
        let bound = settings.listen.bind().and_then(|listener| Ok(listener.local_addr()?));
        let address = match bound {
            Ok(address) => Some(address),
            Err(error) if is_in_use(&error) && is_served(&settings.config.engine.data_dir) => {
                let listen = &settings.listen;
                print(
                    "note",
                    &format!("{listen} is in use, and so is the data folder: a server runs"),
                );
                None
            }
            Err(error) => {
                self.error(&error);
                None
            }
        };
        let mut addresses: Vec<_> = address.into_iter().collect();
        match HttpListeners::bind(&settings.http_ports).and_then(|http| http.addresses()) {
            Ok(more) => addresses.extend(more.iter().map(|(_, address)| *address)),
            // A server that runs has them.
            Err(error) if is_in_use(&error) && address.is_none() => {}
            Err(error) => self.error(&error),
        }
        // Without an address there is only the user to be looked at.
        match settings.run_as.apply(&addresses) {
            Ok(()) => {
                if let Some(warning) = settings.run_as.warning() {
                    print("note", &warning);
                }
            }
            Err(error) => self.error(&error),
        }
        address
    }

    fn files(&mut self, settings: &Settings) {
        let engine = &settings.config.engine;
        let mut rights = operators_files::faults(&settings.config);
        match strict_modes::look(&engine.data_dir) {
            Ok(faults) => rights.extend(faults),
            Err(error) => self.wrong(&error),
        }
        match settings.config.audit.as_ref().map(|audit| audit.look(&engine.data_dir)) {
            Some(Ok(faults)) => rights.extend(faults),
            Some(Err(error)) => self.wrong(&error),
            None => {}
        }
        for fault in rights {
            self.right(&fault, engine.strict_modes);
        }
        if let Err(error) = identity::check_for_server(engine) {
            self.wrong(&error);
        }
        let keys = engine.data_dir.join("keys");
        if keys.is_dir()
            && let Err(error) = SigningKeys::read(&keys)
        {
            self.wrong(&error);
        }
        match TlsIdentity::look(&keys, settings.config.tls.as_ref()) {
            Ok(key) => self.key = key.map(|key| key.to_string()),
            Err(error) => self.wrong(&error),
        }
        if let Some(provider) = &settings.config.provider
            && let Err(error) = provider.check()
        {
            self.wrong(&error);
        }
    }

    fn right(&mut self, fault: &RightsFault, is_strict: bool) {
        if is_strict && !fault.is_only_a_warning() {
            self.wrong(fault);
        } else {
            print("note", fault);
        }
    }

    fn end(self, settings: &Settings, address: Option<SocketAddr>) -> anyhow::Result<bool> {
        let faults = many(self.faults, "thing is wrong", "things are wrong");
        if self.mistakes > 0 {
            return Err(UsageError(faults).into());
        }
        if self.faults > 0 {
            let _ = writeln!(io::stderr(), "towlined: {faults}");
            return Ok(false);
        }
        let data_dir = &settings.config.engine.data_dir;
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.clone());
        let listen = address.map_or_else(|| settings.listen.to_string(), |to| to.to_string());
        let key = self.key.as_deref().unwrap_or("the first start makes one");
        let about = format!("data folder {}\naddress {listen}\nkey {key}", data_dir.display());
        print("good", &about);
        Ok(true)
    }
}

/// Prints a finding. Further lines of it are set in.
fn print(word: &str, finding: &dyn Display) {
    let text = format!("{word}: {finding}").trim_end().replace('\n', "\n  ");
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    // A reader that has left needs no more findings; the exit code says the rest.
    let _ = writeln!(io::stdout(), "{text}");
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    system.and_then(Errno::from_io_error) == Some(Errno::ADDRINUSE)
}

/// Whether a server has the data folder.
fn is_served(data_dir: &Path) -> bool {
    let lock = DataFolder::find(data_dir).and_then(|folder| folder.lock());
    matches!(lock, Err(FolderError::InUse { .. }))
}
