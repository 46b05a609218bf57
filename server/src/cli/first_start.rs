//! What a start prints: at the very first one a user, a token and the line to try.

use super::people::add;
use crate::Config;
use crate::token::{Tokens, write_token};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_engine::storage::DataFolder;
use towline_engine::units::Size;
use towline_engine::{Clock, shell_word};
use towline_state::catalog::{Catalog, User};
use towline_types::{FileSize, Fingerprint};

/// As long as `towlined token` gives where nothing else is said.
const TTL: Duration = Duration::from_secs(30 * 86_400);

/// What each start says of the server.
pub(super) struct About {
    pub(super) data_dir: PathBuf,
    max_filesize: FileSize,
}

impl About {
    pub(super) fn of(config: &Config) -> Self {
        let data_dir = std::path::absolute(&config.engine.data_dir);
        let data_dir = data_dir.unwrap_or_else(|_| config.engine.data_dir.clone());
        Self { data_dir, max_filesize: config.engine.max_filesize }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        write!(f, "towlined {version}, data folder {}, largest file: ", self.data_dir.display())?;
        match self.max_filesize.get() {
            // Larger files cannot be spoken of.
            bytes if bytes == i64::MAX.cast_unsigned() => f.write_str("unlimited"),
            bytes => Size(bytes).fmt(f),
        }
    }
}

/// Makes the first user where there is none, and says what to do next. Blocks.
pub(super) fn welcome(
    data_dir: &Path,
    address: SocketAddr,
    fingerprint: Fingerprint,
) -> anyhow::Result<Option<String>> {
    let folder = DataFolder::open(data_dir)?;
    let catalog = Catalog::open(folder.catalog_path())?;
    if !catalog.users().wait()?.is_empty() {
        return Ok(None);
    }
    let clock = Clock::system();
    let user = match add(&folder, &catalog, &login_name(), None, clock.now()) {
        Ok(user) => user,
        // The system's name for its user is none that we take.
        Err(_) => add(&folder, &catalog, "first", None, clock.now())?,
    };
    let tokens = Tokens::open(&folder.keys_path(), &catalog.store(), clock)?;
    let issued = tokens.issue(user.user_id, user.created_at, TTL)?;
    catalog.record_token(issued.row).wait()?;
    let path = token_path(&folder, &user);
    write_token(&path, &issued.token)?;
    catalog.close().wait()?;
    let name = user.name;
    let address = reachable(address);
    // On this machine a client needs no key.
    let known = match address.ip().is_loopback() {
        true => String::new(),
        false => format!(" --fingerprint {fingerprint}"),
    };
    let data_folder = shell_word(folder.path());
    Ok(Some(format!(
        "Created user \"{name}\" and a token valid for 30 days: {}\n\
         For another token: towlined token --user {name} --data-dir {data_folder}\n\
         try it:  towline put FILE --to {address} --token-file {}{known}\n",
        path.display(),
        shell_word(&path)
    )))
}

/// A name in the data folder that nothing has: what an earlier run left there may be a link
/// that leads elsewhere, or the token of a user whose catalog was lost.
fn token_path(folder: &DataFolder, user: &User) -> PathBuf {
    let name = |number: u32| match number {
        0 => format!("{}.token", user.name),
        number => format!("{}-{number}.token", user.name),
    };
    let paths = (0..).map(|number| folder.path().join(name(number)));
    let free = |path: &PathBuf| path.symlink_metadata().is_err();
    paths.take(1000).find(free).unwrap_or_else(|| folder.path().join(name(0)))
}

/// An address to try on this machine: one cannot connect to "everywhere".
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))
        }
        _ => address,
    }
}

fn login_name() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "first".to_owned())
}
