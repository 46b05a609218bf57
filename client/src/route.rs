//! How a client gets from the name of a server to a connection.

mod addresses;
pub(crate) mod greeting;
pub(crate) mod no_server;
pub(crate) mod other_addresses;

use crate::address::ServerAddress;
use crate::rate_limit::RateLimit;
use crate::security::Security;
use crate::system::in_words;
use addresses::{interleaved, look_up};
use no_server::{NoServer, Unreached};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How long one address may take before the next is tried beside it (RFC 8305, section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The payload of a TCP segment that every link of IPv4 carries (RFC 879). IPv6 carries it too.
const SMALL_SEGMENT_BYTES: u32 = 536;

/// How a client reaches its server, for all connections of the client. Clones share what they have
/// learned.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    server: ServerAddress,
    security: Security,
    learned: Arc<Mutex<Learned>>,
    /// What all connections together may send.
    limit: Option<Arc<RateLimit>>,
}

#[derive(Debug, Default)]
struct Learned {
    /// The address that worked last, which is tried first.
    good: Option<SocketAddr>,
    /// Large packets are lost on the way to the server.
    small_segments: bool,
}

impl Route {
    pub(crate) fn to(server: ServerAddress) -> Self {
        let security = Security::usual(&server);
        Self { server, security, learned: Arc::default(), limit: None }
    }

    /// The way to the same server at another address. What was learned of the network on this way
    /// says nothing of that one.
    pub(crate) fn leading_to(&self, server: ServerAddress) -> Self {
        Self { server, learned: Arc::default(), ..self.clone() }
    }

    /// How all later connections are protected.
    pub(crate) fn secure(&mut self, security: Security) {
        self.security = security;
    }

    /// How connections are protected.
    pub(crate) fn security(&self) -> Security {
        self.security
    }

    /// Limits what all later connections together send.
    pub(crate) fn limit_rate(&mut self, bytes_per_second: Option<u64>) {
        let limit = |bytes| Arc::new(RateLimit::new(bytes, Instant::now()));
        self.limit = bytes_per_second.map(limit);
    }

    /// What all connections together may send, where that is limited.
    pub(crate) fn limit(&self) -> Option<Arc<RateLimit>> {
        self.limit.clone()
    }

    pub(crate) fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Limits the size of the packets of all later connections, in both directions.
    pub(crate) fn use_small_segments(&self) {
        self.learned().small_segments = true;
    }

    /// Connects to the address of the server that answers first.
    ///
    /// Cancel-safe: connections that are not open yet are dropped.
    pub(crate) async fn connect(&self, longest: Duration) -> Result<TcpStream, Unreached> {
        let found = look_up(&self.server).await?;
        let (good, small_segments) = {
            let learned = self.learned();
            (learned.good, learned.small_segments)
        };
        let addresses = interleaved(found, good);
        match race(addresses, longest, small_segments).await {
            Ok((address, stream)) => {
                self.learned().good = Some(address);
                Ok(stream)
            }
            Err(errors) => Err(verdict(&errors)),
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries the addresses one after another. The next one begins [`NEXT_ADDRESS_AFTER`] after the one
/// before, which goes on, or at once where the one before has failed. The first connection is used.
async fn race(
    addresses: Vec<SocketAddr>,
    longest: Duration,
    small_segments: bool,
) -> Result<(SocketAddr, TcpStream), Vec<io::Error>> {
    let mut waiting = addresses.into_iter();
    let mut tries = JoinSet::new();
    let mut errors = Vec::new();
    let mut next_try = Instant::now();
    loop {
        let more = waiting.len() > 0;
        if tries.is_empty() && !more {
            return Err(errors);
        }
        tokio::select! {
            biased;
            // Both are cancel-safe.
            Some(ended) = tries.join_next(), if !tries.is_empty() => match ended {
                Ok((address, Ok(stream))) => return Ok((address, stream)),
                Ok((_, Err(error))) => {
                    errors.push(error);
                    next_try = Instant::now();
                }
                Err(error) => errors.push(io::Error::other(error)),
            },
            () = sleep_until(next_try), if more => {
                next_try = Instant::now() + NEXT_ADDRESS_AFTER;
                if let Some(address) = waiting.next() {
                    tries.spawn(async move {
                        let connecting = timeout(longest, try_one(address, small_segments));
                        let ended = connecting.await;
                        (address, ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
                    });
                }
            }
        }
    }
}

async fn try_one(address: SocketAddr, small_segments: bool) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if small_segments {
        #[cfg(unix)]
        SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT_BYTES)?;
    }
    socket.connect(address).await
}

/// What the failures of all addresses mean together.
fn verdict(errors: &[io::Error]) -> Unreached {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    // An error about an address family for which this machine has no network says nothing about the
    // server, as long as there is another error.
    let says_nothing = |error: &&io::Error| {
        matches!(error.kind(), NetworkDown | NetworkUnreachable | AddrNotAvailable)
    };
    let telling: Vec<_> = errors.iter().filter(|error| !says_nothing(error)).collect();
    let is_every =
        |kinds: &[io::ErrorKind]| telling.iter().all(|error| kinds.contains(&error.kind()));
    let is_any = |kind| telling.iter().any(|error| error.kind() == kind);
    if telling.is_empty() {
        Unreached::ForNow(match errors.first() {
            Some(error) => in_words(error),
            None => "the name has no address".to_owned(),
        })
    } else if !is_every(&[ConnectionRefused, HostUnreachable]) {
        let other = telling
            .iter()
            .find(|error| ![ConnectionRefused, HostUnreachable].contains(&error.kind()));
        Unreached::ForNow(other.map_or_else(String::new, |error| in_words(error)))
    } else if is_any(ConnectionRefused) {
        Unreached::Definite(NoServer::Refused)
    } else {
        Unreached::Definite(NoServer::HostUnreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    const LONGEST: Duration = Duration::from_secs(5);

    fn errors(kinds: &[io::ErrorKind]) -> Vec<io::Error> {
        kinds.iter().map(|kind| (*kind).into()).collect()
    }

    #[test]
    fn what_all_addresses_say_together() {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
        for (kinds, no_server) in [
            (&[ConnectionRefused][..], NoServer::Refused),
            (&[ConnectionRefused, ConnectionRefused], NoServer::Refused),
            // This machine has no IPv6.
            (&[NetworkUnreachable, ConnectionRefused], NoServer::Refused),
            (&[HostUnreachable, ConnectionRefused], NoServer::Refused),
            (&[HostUnreachable], NoServer::HostUnreachable),
        ] {
            assert_eq!(verdict(&errors(kinds)), Unreached::Definite(no_server), "{kinds:?}");
        }
        for kinds in [
            &[NetworkUnreachable][..],
            &[TimedOut],
            // The address that does not answer may be the right one.
            &[ConnectionRefused, TimedOut],
        ] {
            assert!(matches!(verdict(&errors(kinds)), Unreached::ForNow(_)), "{kinds:?}");
        }
    }

    #[tokio::test]
    async fn an_address_that_fails_costs_no_time_and_the_one_that_works_is_remembered() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let works = listener.local_addr().unwrap();
        let fails = {
            let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            gone.local_addr().unwrap()
        };
        let began = std::time::Instant::now();
        let (address, _stream) = race(vec![fails, works], LONGEST, false).await.unwrap();
        assert_eq!(address, works);
        assert!(began.elapsed() < NEXT_ADDRESS_AFTER, "{:?}", began.elapsed());
        assert_eq!(race(vec![fails, fails], LONGEST, false).await.unwrap_err().len(), 2);

        let route = Route::to(works.to_string().parse().unwrap());
        route.connect(LONGEST).await.unwrap();
        assert_eq!(route.clone().learned().good, Some(works));
    }

    #[tokio::test]
    async fn a_silent_address_is_overtaken_by_the_next() {
        // A listener with a full backlog: connections to it wait without end.
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let silent = silent.unwrap();
        silent.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let address = silent.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            held.push(stream);
            assert!(held.len() < 16, "a backlog of nothing holds all of these");
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let works = listener.local_addr().unwrap();
        let began = std::time::Instant::now();
        let (found, _stream) = race(vec![address, works], LONGEST, false).await.unwrap();
        assert_eq!(found, works);
        let took = began.elapsed();
        assert!(took >= NEXT_ADDRESS_AFTER && took < LONGEST, "{took:?}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn small_segments_are_asked_for() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let route = Route::to(listener.local_addr().unwrap().to_string().parse().unwrap());
        let mss = |stream: &TcpStream| SockRef::from(stream).tcp_mss().unwrap();
        assert!(mss(&route.connect(LONGEST).await.unwrap()) > SMALL_SEGMENT_BYTES);
        route.use_small_segments();
        assert!(mss(&route.connect(LONGEST).await.unwrap()) <= SMALL_SEGMENT_BYTES);
    }
}
