//! One of the addresses that a name has: they are tried as RFC 8305 says, so that one
//! that does not answer costs a quarter of a second and not ten.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long one attempt is alone before the next address is tried beside it (RFC 8305,
/// section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first address that answers. Each attempt may last `patience`; one that
/// fails gives way to the next at once.
///
/// # Errors
/// The last failure, where no address answers.
///
/// # Cancel safety
/// Attempts that are under way end with the future.
pub(crate) async fn dial(
    addresses: impl IntoIterator<Item = SocketAddr>,
    patience: Duration,
) -> io::Result<TcpStream> {
    let mut waiting = interleaved(addresses);
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match waiting.pop_front() {
            Some(address) => {
                attempts.spawn(timeout(patience, TcpStream::connect(address)));
            }
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(Ok(stream))) => return Ok(stream),
                Ok(Ok(Err(error))) => last = error,
                Ok(Err(_)) => last = io::ErrorKind::TimedOut.into(),
                Err(error) => last = io::Error::other(error),
            },
            () = sleep(ATTEMPT_DELAY), if !waiting.is_empty() => {}
        }
    }
}

/// The families in turn, the resolver's first one first: where all of one do not answer,
/// the other is not behind them.
fn interleaved(addresses: impl IntoIterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    let is_first = addresses.first().map(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv6()) == is_first);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut order = VecDeque::new();
    loop {
        let pair = [first.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::Instant;

    /// A listener that answers nothing: its queue is full.
    async fn silent() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            held.push(stream.unwrap());
        }
        (listener, held)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_costs_a_moment() {
        let (mute, _held) = silent().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let [mute, good] = [mute, good].map(|it| (it.local_addr().unwrap(), it));
        let began = Instant::now();
        let patience = Duration::from_secs(30);
        let stream = dial([mute.0, refusing, good.0], patience).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good.0);
        assert!(began.elapsed() >= ATTEMPT_DELAY, "the first one had its time alone");
        assert!(began.elapsed() < patience / 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn where_none_answers_the_failure_is_the_last_ones() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = dial([gone, gone], Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = dial([], Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let (mute, _held) = silent().await;
        let mute = mute.local_addr().unwrap();
        let error = dial([mute], Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn families_take_turns_and_the_resolvers_first_one_begins() {
        let addresses = ["[::1]:1", "[::1]:2", "[::1]:3", "1.1.1.1:4", "1.1.1.1:5"];
        let addresses = addresses.map(|text| text.parse::<SocketAddr>().unwrap());
        let ports: Vec<u16> = interleaved(addresses).iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 4, 2, 5, 3]);
    }
}
