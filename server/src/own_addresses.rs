//! The addresses of this machine under which other machines may reach it.

use if_addrs::{IfAddr, Interface, get_if_addrs};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The most addresses that are told: a line for people has to have an end.
const ADDRESSES_MAX: usize = 4;

/// Names with which the interfaces of containers and virtual machines begin. Other machines do not
/// reach their addresses.
const VIRTUAL: [&str; 9] =
    ["docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "podman", "cni", "lxc"];

/// Addresses to which a route is looked for: of documentation networks, so that nothing is there.
const ELSEWHERE: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// The addresses of this machine, without those that only it itself can use, at most four: first the
/// one from which the machine reaches other networks, IPv4 before IPv6. `listens` is an unspecified
/// address, `0.0.0.0` for IPv4 alone.
#[must_use]
pub fn own_addresses(listens: IpAddr) -> Vec<IpAddr> {
    let found = get_if_addrs().unwrap_or_default();
    let routed: Vec<IpAddr> = ELSEWHERE.into_iter().filter_map(source_towards).collect();
    chosen(found, &routed, listens)
}

/// The address from which packets leave for that destination. Connecting a UDP socket sends nothing.
fn source_towards(destination: &str) -> Option<IpAddr> {
    let destination: SocketAddr = destination.parse().ok()?;
    let any = if destination.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(destination).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn chosen(found: Vec<Interface>, routed: &[IpAddr], listens: IpAddr) -> Vec<IpAddr> {
    let is_virtual = |interface: &Interface| {
        VIRTUAL.iter().any(|beginning| interface.name.starts_with(beginning))
    };
    let is_for_others = |interface: &Interface| match &interface.addr {
        IfAddr::V4(v4) => !v4.ip.is_loopback() && !v4.ip.is_link_local(),
        IfAddr::V6(v6) => {
            listens.is_ipv6() && !v6.ip.is_loopback() && !v6.ip.is_unicast_link_local()
        }
    };
    let usable: Vec<Interface> = found.into_iter().filter(is_for_others).collect();
    let is_every_virtual = usable.iter().all(is_virtual);
    let mut addresses: Vec<IpAddr> = usable
        .iter()
        .filter(|interface| is_every_virtual || !is_virtual(interface))
        .map(Interface::ip)
        .collect();
    // Stable: beside that, in the order of the system.
    addresses.sort_by_key(|ip| (ip.is_ipv6(), !routed.contains(ip)));
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};

    fn interface(name: &str, ip: &str) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr {
                ip,
                netmask: [255, 255, 255, 0].into(),
                prefixlen: 24,
                broadcast: None,
            }),
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: ip, prefixlen: 64, broadcast: None })
            }
        };
        let oper_status = IfOperStatus::Up;
        Interface { name: name.to_owned(), addr, index: None, oper_status, is_p2p: false }
    }

    fn shown(found: &[(&str, &str)], routed: &str, listens: &str) -> Vec<String> {
        let found = found.iter().map(|(name, ip)| interface(name, ip)).collect();
        let routed = [routed.parse().unwrap()];
        let chosen = chosen(found, &routed, listens.parse().unwrap());
        chosen.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn others_are_told_what_they_can_use() {
        let found = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("docker0", "172.17.0.1"),
            ("eth0", "fd00::7"),
            ("eth0", "fe80::7"),
            ("eth0", "10.1.1.1"),
            ("wlan0", "192.168.1.7"),
            ("eth1", "169.254.3.4"),
        ];
        let all = ["192.168.1.7", "10.1.1.1", "fd00::7"];
        assert_eq!(shown(&found, "192.168.1.7", "::"), all);
        assert_eq!(shown(&found, "192.168.1.7", "0.0.0.0"), all[..2]);
        // A machine that is itself one of these.
        assert_eq!(shown(&[("docker0", "172.17.0.2")], "10.0.0.1", "::"), ["172.17.0.2"]);
        let many: Vec<_> = (1..9).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<_> = many.iter().map(|ip| ("eth0", ip.as_str())).collect();
        assert_eq!(shown(&many, "10.0.0.8", "::").len(), ADDRESSES_MAX);
        assert_eq!(shown(&many, "10.0.0.8", "::")[0], "10.0.0.8");
    }
}
