//! Which user a server runs as that was started by root.
//!
//! The socket is bound first, because only root may listen on a port below 1024. Then the process
//! becomes the other user, before the first thread is started and before a file of the store is
//! touched: threads have the rights of the one that starts them.

use super::usage_error::UsageError;
use anyhow::{Context as _, bail};
use nix::unistd::{User, getgrouplist};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid, set_thread_uid};
use std::ffi::CString;
use std::net::SocketAddr;

/// What was said about the user that the server runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RunAs {
    /// The name or the number of the user.
    pub(super) user: Option<String>,
    /// Whether root may listen on addresses that other machines reach.
    pub(super) allow_root: bool,
}

impl RunAs {
    /// Becomes that user where root has started the process. Else looks whether this is all right.
    ///
    /// # Errors
    /// A user who is not known; a user that this process cannot become; and root, where other
    /// machines reach one of the addresses.
    pub(super) fn apply(&self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let reachable = addresses.iter().find(|address| !is_local(**address));
        match (&self.user, reachable) {
            (Some(name), _) => become_user(&find(name)?),
            (None, Some(address)) if geteuid().is_root() && !self.allow_root => {
                Err(UsageError(format!(
                    "the server was started as root, and {address} can be reached by other \
                     machines. Name a user for it to run as: --user NAME. In a container that has \
                     no other user, write --allow-root"
                ))
                .into())
            }
            (None, _) => Ok(()),
        }
    }

    /// The line for the log where the server runs as root, and was not told to.
    pub(super) fn warning(&self) -> Option<&'static str> {
        let is_warned = geteuid().is_root() && !self.allow_root;
        is_warned
            .then_some("the server runs as root; --user NAME has it run as a user that can do less")
    }
}

/// Whether only programs of this machine reach the address.
fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The user of that name or number.
fn find(name: &str) -> anyhow::Result<User> {
    let failed = || format!("cannot look up the user {name}");
    let by_name = User::from_name(name).with_context(failed)?;
    let found = match (by_name, name.parse()) {
        (Some(user), _) => Some(user),
        (None, Ok(number)) => {
            User::from_uid(nix::unistd::Uid::from_raw(number)).with_context(failed)?
        }
        (None, Err(_)) => None,
    };
    let user =
        found.ok_or_else(|| UsageError(format!("this machine has no user {name:?} (--user)")))?;
    if user.uid.is_root() {
        let message =
            format!("{name} is root; name another user (--user), or write --allow-root alone");
        return Err(UsageError(message).into());
    }
    Ok(user)
}

/// Gives up the rights of root for ever, with those of all its groups.
fn become_user(user: &User) -> anyhow::Result<()> {
    let (name, uid) = (&user.name, Uid::from_raw(user.uid.as_raw()));
    if geteuid() == uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(UsageError(format!(
            "only root can have the server run as {name} (--user). Start it as root or as {name}"
        ))
        .into());
    }
    let failed = || format!("cannot run as {name}");
    let groups = getgrouplist(&CString::new(name.as_str())?, user.gid).with_context(failed)?;
    let groups: Vec<_> = groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect();
    let gid = Gid::from_raw(user.gid.as_raw());
    set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .with_context(failed)?;
    // A process that still has the right to become another user has not given up much.
    if set_thread_uid(Uid::ROOT).is_ok() {
        bail!("{}: this process could become root again", failed());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        for (address, is) in [
            ("127.0.0.1:1", true),
            ("127.1.2.3:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(is_local(address.parse().unwrap()), is, "{address}");
        }
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number_and_root_is_refused() {
        let nobody = find("nobody").unwrap();
        assert_eq!(find(&nobody.uid.to_string()).unwrap().name, "nobody");
        for name in ["root", "0", "no such user", "4000000000"] {
            assert!(find(name).is_err(), "{name}");
        }
    }
}
