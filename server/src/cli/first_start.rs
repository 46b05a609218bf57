//! The very first start: a user, a token and the line to try.

use super::people::number;
use crate::Clock;
use crate::storage::DataFolder;
use crate::token::{Tokens, write_token};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use towline_state::catalog::Catalog;

/// As long as `towlined token` gives where nothing else is said.
const TTL: Duration = Duration::from_secs(30 * 86_400);

/// Makes the first user where there is none, and says what to do next. Blocks.
pub(super) fn welcome(data_dir: &Path, address: SocketAddr) -> anyhow::Result<Option<String>> {
    let folder = DataFolder::open(data_dir)?;
    let catalog = Catalog::open(folder.catalog_path())?;
    if !catalog.users().wait()?.is_empty() {
        return Ok(None);
    }
    let clock = Clock::system();
    let id = number(&folder, &catalog)?;
    let user = match catalog.add_user(login_name(), id, clock.now()).wait() {
        Ok(user) => user,
        // The system's name for its user is none that we take.
        Err(_) => catalog.add_user("first", id, clock.now()).wait()?,
    };
    let token = Tokens::open(&folder.keys_path(), clock)?.issue(user.user_id, TTL)?;
    let path = folder.path().join(format!("{}.token", user.name));
    write_token(&path, &token)?;
    catalog.close().wait()?;
    let (name, id) = (user.name, user.user_id);
    Ok(Some(format!(
        "made the first user, {name} (user {id}), with a token that is good for 30 days\n\
         try it:  towline put FILE --to {} --token-file {}\n",
        reachable(address),
        for_a_shell(&path)
    )))
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

/// The path as a shell takes it for one word.
fn for_a_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn login_name() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "first".to_owned())
}
