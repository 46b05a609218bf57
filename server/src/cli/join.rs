//! `towlined join`: one line with which another machine joins as a user. It works whether or not the
//! server is running, and the line is good at once.

use super::operator_log::OperatorLog;
use super::output::NOT_WRITTEN;
use super::people::{find, open};
use super::store::StoreArgs;
use super::token::ttl;
use super::usage_error::UsageError;
use crate::listening::Listening;
use crate::own_addresses::own_addresses;
use crate::tls::TlsIdentity;
use crate::token::{Tokens, new_invitation};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;
use towline_engine::Clock;
use towline_protocol::{JOIN_ADDRESSES_MAX, JoinAddress, JoinLine};

/// `towlined join …`
#[derive(Debug, Args)]
#[command(after_help = "\
The line is printed on standard output, and what it is good for on standard error. On the other \
machine: towline login LINE")]
pub struct JoinArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The user whose files the other machine may use
    #[arg(long, value_name = "NAME_OR_ID")]
    user: String,
    /// How long the line is good; it is good for one login
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = ttl)]
    ttl: Duration,
    /// How long the token is valid that the other machine gets
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = ttl)]
    token_ttl: Duration,
    /// The address under which others reach the server; may be given several times [default: where
    /// the server listens; if that is every address of this machine, up to four of them]
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Vec<String>,
}

pub(super) fn run(arguments: &JoinArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(store)?;
    let user = find(&catalog, &arguments.user)?;
    // A line is of no use where no token can be issued.
    Tokens::find(&folder.keys_path(), &catalog.store(), Clock::system())?;
    let recorded = Listening::of(folder.path());
    let (address, tls) = store.address_and_tls()?;
    let (host, port) = match &recorded {
        Some(Listening { listen, .. }) => (Some(listen.ip().to_string()), listen.port()),
        None => (address.host().map(str::to_owned), address.port()),
    };
    let addresses = match arguments.address.as_slice() {
        [] => usual_addresses(host.as_deref(), port)?,
        typed => typed.iter().map(|text| typed_address(text, port)).collect::<Result<_, _>>()?,
    };
    if addresses.len() > JOIN_ADDRESSES_MAX {
        bail!(UsageError(format!("a line has at most {JOIN_ADDRESSES_MAX} addresses")));
    }
    let fingerprint = match recorded {
        Some(Listening { key, .. }) => key,
        None => TlsIdentity::open(folder.keys_path(), tls)?.fingerprint(),
    };
    let now = Clock::system().now();
    let (secret, row) = new_invitation(&user, arguments.ttl, arguments.token_ttl, now)?;
    catalog.invite(row).wait()?;
    OperatorLog::of(&folder).record_of("invite", &user, json!({}));
    catalog.close().wait()?;
    let is_for_this_machine = addresses.iter().all(is_loopback);
    let line = JoinLine { addresses, fingerprint, secret }.reveal();
    writeln!(io::stdout(), "{line}").context(NOT_WRITTEN)?;
    tell(&user.name, arguments.ttl, is_for_this_machine, folder.path());
    Ok(())
}

/// What the line is good for, beside the line itself.
fn tell(user: &str, ttl: Duration, is_for_this_machine: bool, data_dir: &Path) {
    let ttl = humantime::format_duration(ttl);
    let mut text = format!(
        "good for {ttl} and for one login as {user}; whoever has the line can use it. On the other \
         machine: towline login LINE\n"
    );
    if is_for_this_machine {
        text += &format!(
            "the server of {} listens on this machine alone, so the line is for this machine; start \
             it with --listen 0.0.0.0, or say --address HOST\n",
            data_dir.display()
        );
    }
    // What standard output has matters more.
    let _ = write!(io::stderr(), "{text}");
}

fn is_loopback(address: &JoinAddress) -> bool {
    let host = address.host();
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The addresses where the server listens, as others see them.
pub(super) fn usual_addresses(host: Option<&str>, port: u16) -> anyhow::Result<Vec<JoinAddress>> {
    let everywhere = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let ip = host.map_or(Some(everywhere), |host| host.parse().ok());
    let hosts = match (ip, host) {
        (Some(ip), _) if ip.is_unspecified() => {
            own_addresses(ip).iter().map(ToString::to_string).collect()
        }
        (_, Some(host)) => vec![host.to_owned()],
        (_, None) => Vec::new(),
    };
    let addresses: Vec<_> = hosts.iter().filter_map(|host| JoinAddress::new(host, port)).collect();
    if addresses.is_empty() {
        bail!("this machine has no address that others could use; say one with --address HOST");
    }
    Ok(addresses)
}

/// `HOST`, `HOST:PORT`, `::1`, `[::1]` or `[::1]:PORT`.
fn typed_address(text: &str, port: u16) -> Result<JoinAddress, UsageError> {
    let parsed = if let Some(rest) = text.strip_prefix('[') {
        let split = rest.split_once(']');
        split.and_then(|(host, rest)| match rest {
            "" => JoinAddress::new(host, port),
            rest => format!("{host}{rest}").parse().ok(),
        })
    } else if text.parse::<Ipv6Addr>().is_ok() || !text.contains(':') {
        JoinAddress::new(text, port)
    } else {
        text.parse().ok()
    };
    parsed.ok_or_else(|| {
        UsageError(format!(
            "--address {text:?} is not HOST or HOST:PORT, as others reach the server"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_type_them() {
        for (typed, meant) in [
            ("nas", "nas:7"),
            ("nas.example:9000", "nas.example:9000"),
            ("192.0.2.7", "192.0.2.7:7"),
            ("fd00::7", "fd00::7:7"),
            ("[fd00::7]", "fd00::7:7"),
            ("[fd00::7]:9000", "fd00::7:9000"),
        ] {
            assert_eq!(typed_address(typed, 7).unwrap().to_string(), meant, "{typed}");
        }
        for typed in ["", "nas:", "nas:x", "[fd00::7", "a b", "http://nas", "nas:0", "me@nas"] {
            assert!(typed_address(typed, 7).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_under_the_addresses_of_its_machine() {
        let shown = |host, port| usual_addresses(host, port).map(|all| all[0].to_string());
        assert_eq!(shown(Some("192.0.2.7"), 7).unwrap(), "192.0.2.7:7");
        assert_eq!(shown(Some("nas.lan"), 7).unwrap(), "nas.lan:7");
        for host in [Some("0.0.0.0"), Some("::"), None] {
            if let Ok(address) = shown(host, 7) {
                assert!(!address.starts_with("0.0.0.0") && !address.starts_with("::"), "{address}");
                assert!(!address.starts_with("127."), "{address}");
            }
        }
    }
}
