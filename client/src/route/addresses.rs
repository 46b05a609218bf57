//! The addresses of a server, and the order in which they are tried.

use super::no_server::{NoServer, Unreached};
use crate::address::ServerAddress;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::net::{IpAddr, SocketAddr};

/// Asks the resolver for the addresses, on a thread that may block.
///
/// Cancel-safe: an answer that comes later is dropped.
pub(super) async fn look_up(server: &ServerAddress) -> Result<Vec<SocketAddr>, Unreached> {
    if let Ok(address) = server.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port())]);
    }
    let asked = server.clone();
    let answer = tokio::task::spawn_blocking(move || ask(&asked)).await;
    answer.unwrap_or_else(|error| Err(Unreached::ForNow(error.to_string())))
}

/// The resolver's answer. The system sorts the addresses by RFC 6724.
fn ask(server: &ServerAddress) -> Result<Vec<SocketAddr>, Unreached> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    match getaddrinfo(Some(server.host()), None, Some(hints)) {
        Ok(found) => {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for found in found.flatten() {
                let mut address = found.sockaddr;
                address.set_port(server.port());
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            match addresses.is_empty() {
                true => Err(Unreached::Definite(NoServer::NoAddress)),
                false => Ok(addresses),
            }
        }
        Err(error) => Err(refusal(error.kind(), server)),
    }
}

fn refusal(kind: LookupErrorKind, server: &ServerAddress) -> Unreached {
    match kind {
        // The system looks for the zone among its interfaces, and the address itself is well
        // formed.
        LookupErrorKind::NoName if server.zone().is_some() => {
            Unreached::Definite(NoServer::NoSuchInterface)
        }
        LookupErrorKind::NoName => Unreached::Definite(NoServer::NoSuchHost),
        LookupErrorKind::NoData => Unreached::Definite(NoServer::NoAddress),
        LookupErrorKind::Again => Unreached::ForNow("the name server does not answer".to_owned()),
        _ => Unreached::ForNow(format!(
            "the address of {} cannot be found out just now",
            crate::text::printable(server.host())
        )),
    }
}

/// The addresses in the order in which they are tried: first the one that worked last, then the
/// others, alternating between the two families (RFC 8305, section 4).
pub(super) fn interleaved(found: Vec<SocketAddr>, good: Option<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => break,
            (one, other) => ordered.extend(one.into_iter().chain(other)),
        }
    }
    if let Some(place) = ordered.iter().position(|address| Some(*address) == good) {
        let good = ordered.remove(place);
        ordered.insert(0, good);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn both_families_take_turns_behind_the_one_that_worked() {
        let found = parsed(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let turns = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"];
        assert_eq!(interleaved(found.clone(), None), parsed(&turns));
        let good = Some("1.1.1.2:1".parse().unwrap());
        let behind = ["1.1.1.2:1", "[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"];
        assert_eq!(interleaved(found.clone(), good), parsed(&behind));
        // An address that the name no longer has is not tried.
        let gone = Some("9.9.9.9:1".parse().unwrap());
        assert_eq!(interleaved(found, gone), parsed(&turns));
        assert_eq!(interleaved(Vec::new(), good), []);
    }

    #[test]
    fn a_resolver_that_does_not_answer_is_no_answer() {
        let server: ServerAddress = "nas.lcal".parse().unwrap();
        let no_host = Unreached::Definite(NoServer::NoSuchHost);
        assert_eq!(refusal(LookupErrorKind::NoName, &server), no_host);
        for kind in [LookupErrorKind::Again, LookupErrorKind::Fail, LookupErrorKind::System] {
            assert!(matches!(refusal(kind, &server), Unreached::ForNow(_)));
        }
    }

    #[tokio::test]
    async fn zones_are_looked_up_among_the_interfaces() {
        let found = look_up(&"[fe80::1%lo]:7".parse().unwrap()).await;
        // A machine without IPv6 may not find this address.
        if let Ok(found) = found {
            let SocketAddr::V6(address) = found[0] else { panic!("{found:?}") };
            let index = std::fs::read_to_string("/sys/class/net/lo/ifindex");
            let index: u32 = index.unwrap().trim().parse().unwrap();
            assert_eq!((address.scope_id(), address.port()), (index, 7));
        }
        let missing = look_up(&"fe80::1%nowhere9".parse().unwrap()).await;
        assert_eq!(missing, Err(Unreached::Definite(NoServer::NoSuchInterface)));
    }
}
