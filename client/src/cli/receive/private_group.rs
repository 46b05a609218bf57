//! Whether a group is one user's alone: with a umask of 002 the folders of many systems may be written by
//! such a group, which gives no other user a right.
//!
//! Only the files of this machine are asked. A group or a user that another service knows (LDAP, NIS, sssd)
//! is not in them: where the machine asks such a service, no group is known to be private.

#[cfg(target_os = "linux")]
use crate::get::held_path::held_path;
use rustix::fd::BorrowedFd;
use std::fs;
use std::io::ErrorKind;

/// What a folder has where other users have rights of their own, which its mode does not tell.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// Where the system says which services know users and groups.
const SERVICES: &str = "/etc/nsswitch.conf";

/// The services that know nobody besides those two files, as far as members of a person's group go:
/// `systemd` has users that the system makes for its own services.
const OF_FILES: [&str; 3] = ["files", "compat", "systemd"];

/// Whether that group gives nobody but that user a right to the open folder.
pub(super) fn is_private(folder: BorrowedFd<'_>, group: u32, user: u32) -> bool {
    let read = fs::read_to_string;
    match read(SERVICES) {
        Ok(services) if asks_files_alone(&services) => {}
        // The system has no such services, or its usual ones.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        _ => return false,
    }
    let (Ok(users), Ok(groups)) = (read("/etc/passwd"), read("/etc/group")) else { return false };
    has_one_member(&users, &groups, group, user) && !has_access_list(folder)
}

fn has_access_list(folder: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        // A folder that was opened to be passed through tells nothing of itself, but its path does.
        let Some(path) = held_path(folder) else { return true };
        let mut nothing: [u8; 0] = [];
        let found = rustix::fs::getxattr(path, ACCESS_LIST, &mut nothing);
        !matches!(found, Err(Errno::NODATA | Errno::NOTSUP))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (folder, ACCESS_LIST);
        false
    }
}

/// Whether users, groups and the groups of a user come from the files of this machine alone.
fn asks_files_alone(services: &str) -> bool {
    let lines = services.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter_map(|line| line.split_once(':')).all(|(database, services)| {
        // `[NOTFOUND=return]` between two services says when the next one is asked.
        let services = services.replace('[', " [").replace(']', "] ");
        let mut is_action = false;
        let mut named = services.split_whitespace().filter(|word| {
            let is_service = !is_action && !word.starts_with('[');
            is_action = !is_service && !word.ends_with(']');
            is_service
        });
        !matches!(database.trim(), "passwd" | "group" | "initgroups")
            || named.all(|service| OF_FILES.contains(&service))
    })
}

/// Whether `user` is in the group, and no other user is: neither by the user's own line nor by that of the
/// group.
fn has_one_member(users: &str, groups: &str, group: u32, user: u32) -> bool {
    // A line that begins so stands for the users of another service.
    if users.lines().chain(groups.lines()).any(|line| line.starts_with(['+', '-'])) {
        return false;
    }
    let accounts = || users.lines().filter_map(account);
    let by_user = accounts().filter(|account| account.group == group).map(|account| account.number);
    let lines = || groups.lines().filter_map(members).filter(|(number, _)| *number == group);
    let by_group = lines().flat_map(|(_, names)| names).map(|name| {
        // A name without an account may get one.
        accounts().find(|account| account.name == name).map_or(u32::MAX, |account| account.number)
    });
    let mut all = by_user.chain(by_group).peekable();
    lines().next().is_some() && all.peek().is_some() && all.all(|member| member == user)
}

struct Account<'a> {
    name: &'a str,
    number: u32,
    group: u32,
}

/// `name:password:number:group:…`
fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let mut number = || fields.nth(1)?.parse().ok();
    let user = number()?;
    let group = fields.next()?.parse().ok()?;
    Some(Account { name, number: user, group })
}

/// `name:password:number:names`, with commas between the names.
fn members(line: &str) -> Option<(u32, impl Iterator<Item = &str>)> {
    let mut fields = line.split(':').skip(2);
    let number = fields.next()?.parse().ok()?;
    let names = fields.next().unwrap_or_default();
    Some((number, names.split(',').filter(|name| !name.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n\
                         bob:x:1001:1001::/home/bob:/bin/sh\neve:x:1002:100::/home/eve:/bin/sh\n\
                         dan:x:1003:100::/home/dan:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nusers:x:100:\nada:x:1000:\nbob:x:1001:bob\nteam:x:50:ada,bob\n\
                          mine:x:51:ada\ngone:x:52:ada,nobody-any-more\nempty:x:53:\n";

    #[test]
    fn a_group_is_private_where_the_user_alone_is_in_it() {
        for (group, user, private) in [
            (1000, 1000, true),
            (1001, 1001, true),
            (51, 1000, true),
            (0, 0, true),
            // Of another user, of two, of those whose own group it is, of a name without an account.
            (1001, 1000, false),
            (50, 1000, false),
            (100, 1002, false),
            (52, 1000, false),
            // No member is known, or no such group.
            (53, 1000, false),
            (54, 1000, false),
        ] {
            assert_eq!(has_one_member(USERS, GROUPS, group, user), private, "{group} {user}");
        }
        // A second line of the group, and users that are not in the file.
        let more = format!("{GROUPS}also:x:1000:bob\n");
        assert!(!has_one_member(USERS, &more, 1000, 1000));
        assert!(!has_one_member(&format!("{USERS}+::::::\n"), GROUPS, 1000, 1000));
        assert!(!has_one_member("", "", 0, 0));
    }

    #[test]
    fn no_group_is_private_where_another_service_knows_users() {
        for (services, alone) in [
            ("", true),
            ("passwd: files\ngroup:\tfiles systemd\nhosts: files dns\n", true),
            ("passwd: compat [NOTFOUND=return] files\n", true),
            ("group: files [SUCCESS=merge  NOTFOUND=continue] systemd # sss\n", true),
            ("# passwd: sss\n", true),
            ("passwd: files sss\ngroup: files\n", false),
            ("passwd: files\ngroup: files[SUCCESS=merge]sss\n", false),
            ("passwd:files ldap\n", false),
            (" group : nis files\n", false),
            ("initgroups: winbind\n", false),
        ] {
            assert_eq!(asks_files_alone(services), alone, "{services:?}");
        }
    }
}
