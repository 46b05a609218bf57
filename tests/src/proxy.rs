//! A network that breaks where a test says: a TCP proxy on loopback between a client and a server.
//!
//! The place of a fault is a position in the stream from client to server, or where that is said
//! from server to client, so a test says "after 300,000 bytes" and not "after a while". A plan has the [`Faults`] of each connection, in the
//! order in which the connections come; a test can also change them, and cut or stall a connection
//! while it is open.

use crate::PATIENCE;
use socket2::SockRef;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The faults of one connection. Positions count the bytes from client to server. By default there
/// is no fault.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// After this number of bytes both directions end.
    pub cut_after: Option<u64>,
    /// After this number of bytes both directions are reset.
    pub reset_after: Option<u64>,
    /// After this number of bytes no byte passes any more, in either direction, and no end is told:
    /// a link that is down.
    pub stall_after: Option<u64>,
    /// This byte arrives with one bit turned.
    pub flip_at: Option<u64>,
    /// After this number of bytes from the server both directions end.
    pub cut_after_replies: Option<u64>,
    /// This byte from the server arrives with one bit turned.
    pub flip_reply_at: Option<u64>,
    /// Bytes pass in pieces of at most this number of bytes, each sent separately.
    pub segment: Option<usize>,
    /// From now on the bytes of the server are lost.
    pub drop_replies: bool,
    /// From now on the bytes of the client are lost, although its system was told that they
    /// arrived.
    pub drop_requests: bool,
    /// Each piece arrives later by this time.
    pub delay: Duration,
    /// At most this number of bytes pass per second in each direction.
    pub bytes_per_second: Option<u64>,
}

impl Faults {
    /// No fault.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Both directions end after this number of bytes.
    #[must_use]
    pub fn cut_after(bytes: u64) -> Self {
        Self { cut_after: Some(bytes), ..Self::default() }
    }

    /// Both directions are reset after this number of bytes.
    #[must_use]
    pub fn reset_after(bytes: u64) -> Self {
        Self { reset_after: Some(bytes), ..Self::default() }
    }

    /// No byte passes any more after this number of bytes.
    #[must_use]
    pub fn stall_after(bytes: u64) -> Self {
        Self { stall_after: Some(bytes), ..Self::default() }
    }

    /// One bit of this byte is turned.
    #[must_use]
    pub fn flip_at(place: u64) -> Self {
        Self { flip_at: Some(place), ..Self::default() }
    }

    /// A slow link.
    #[must_use]
    pub fn slow(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..Self::default() }
    }

    /// How many bytes a piece has at most, and how long it takes. A slow link lets few bytes pass
    /// at a time.
    fn pace(&self, bytes: usize) -> (usize, Duration) {
        let Some(rate) = self.bytes_per_second else { return (bytes, self.delay) };
        let most = usize::try_from(rate / 50).unwrap_or(usize::MAX).max(1);
        let piece = bytes.min(most);
        let travels = Duration::from_secs(1).mul_f64(piece as f64 / rate.max(1) as f64);
        (piece, self.delay + travels)
    }

    /// How many bytes may pass from `place` on before a fault has to happen.
    fn room(&self, place: u64) -> u64 {
        let ends = [self.cut_after, self.reset_after, self.stall_after];
        ends.into_iter().flatten().min().map_or(u64::MAX, |end| end.saturating_sub(place))
    }
}

/// The proxy. When it is dropped, it ends with all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    links: watch::Receiver<Vec<Arc<Link>>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    plan: Mutex<VecDeque<Faults>>,
    otherwise: Mutex<Faults>,
    arrivals: Mutex<Vec<Instant>>,
}

/// One connection through the proxy.
#[derive(Debug)]
pub struct Link {
    faults: Mutex<Faults>,
    passed: watch::Sender<u64>,
    delivered: watch::Sender<u64>,
    order: watch::Sender<Order>,
    is_over: watch::Sender<bool>,
}

/// What a test wants a link to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    Stall,
    Cut,
    Reset,
}

/// Bytes that leave together, by how much they are delayed, and whether they arrive.
struct Piece {
    length: usize,
    delay: Duration,
    is_lost: bool,
}

/// The ways in which a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InGoodOrder,
    Cut,
    Reset,
}

impl FaultProxy {
    /// A proxy in front of that server. The first connections get the faults of the plan, one after
    /// another; later ones get none.
    ///
    /// # Panics
    /// Where there is no free port.
    pub async fn start(upstream: SocketAddr, plan: impl IntoIterator<Item = Faults>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            plan: Mutex::new(plan.into_iter().collect()),
            otherwise: Mutex::default(),
            arrivals: Mutex::default(),
        });
        let (opened, links) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared), opened));
        Self { address, shared, links, _tasks: tasks }
    }

    /// The address that the proxy listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends later connections to another server.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// Adds faults for later connections.
    pub fn plan(&self, more: impl IntoIterator<Item = Faults>) {
        lock(&self.shared.plan).extend(more);
    }

    /// Sets the faults of all connections after those of the plan.
    pub fn otherwise(&self, faults: Faults) {
        *lock(&self.shared.otherwise) = faults;
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.links.borrow().len()
    }

    /// When clients connected, including those that found no server behind the proxy.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Instant> {
        lock(&self.shared.arrivals).clone()
    }

    /// The connection of that number, counted from 0; waits until it exists.
    ///
    /// # Panics
    /// Where no such connection comes in time.
    pub async fn link(&self, number: usize) -> Arc<Link> {
        let mut links = self.links.clone();
        let found =
            tokio::time::timeout(crate::PATIENCE, links.wait_for(|links| links.len() > number));
        let found = found.await.expect("the connection comes").expect("the proxy lives");
        Arc::clone(&found[number])
    }
}

async fn reaches(count: &watch::Sender<u64>, bytes: u64) {
    let mut count = count.subscribe();
    let reached = tokio::time::timeout(crate::PATIENCE, count.wait_for(|now| *now >= bytes));
    let _ = reached.await.expect("the bytes pass in time");
}

impl Link {
    /// How many bytes have passed from client to server.
    #[must_use]
    pub fn passed(&self) -> u64 {
        *self.passed.borrow()
    }

    /// How many bytes have passed from server to client.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        *self.delivered.borrow()
    }

    /// Waits until that number of bytes have passed.
    ///
    /// # Panics
    /// Where they do not pass in time.
    pub async fn has_passed(&self, bytes: u64) {
        reaches(&self.passed, bytes).await;
    }

    /// Waits until that number of bytes have passed from server to client.
    ///
    /// # Panics
    /// Where they do not pass in time.
    pub async fn has_delivered(&self, bytes: u64) {
        reaches(&self.delivered, bytes).await;
    }

    /// Waits until the link has ended.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub async fn ended(&self) {
        let mut over = self.is_over.subscribe();
        let ended = tokio::time::timeout(crate::PATIENCE, over.wait_for(|over| *over)).await;
        let _ = ended.expect("the link ends in time");
    }

    /// Changes the faults from now on.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
        // So that tasks which wait for bytes look at the faults again.
        self.order.send_modify(|_| {});
    }

    /// Ends both directions now.
    pub fn cut(&self) {
        self.order.send_replace(Order::Cut);
    }

    /// Resets both directions now.
    pub fn reset(&self) {
        self.order.send_replace(Order::Reset);
    }

    /// Lets no byte pass any more.
    pub fn stall(&self) {
        self.order.send_replace(Order::Stall);
    }

    /// Lets all bytes pass again after [`stall`](Self::stall) or [`Faults::stall_after`].
    pub fn go_on(&self) {
        lock(&self.faults).stall_after = None;
        self.order.send_replace(Order::Run);
    }

    /// How these bytes pass. The byte that has to be turned is turned here, once.
    fn next_piece(&self, bytes: &mut [u8]) -> Piece {
        let place = self.passed();
        let mut faults = lock(&self.faults);
        let room = usize::try_from(faults.room(place)).unwrap_or(usize::MAX);
        let piece = bytes.len().min(room).min(faults.segment.unwrap_or(usize::MAX));
        let (piece, delay) = faults.pace(piece);
        let flip = faults.flip_at.and_then(|flip| flip.checked_sub(place));
        if let Some(index) = flip.and_then(|index| usize::try_from(index).ok())
            && index < piece
        {
            bytes[index] ^= 0x10;
            faults.flip_at = None;
        }
        Piece { length: piece, delay, is_lost: faults.drop_requests }
    }

    /// The same for bytes of the server. A piece of no byte: the link has to end.
    fn next_reply(&self, bytes: &mut [u8]) -> Piece {
        let place = self.delivered();
        let mut faults = lock(&self.faults);
        let room = faults.cut_after_replies.map_or(u64::MAX, |end| end.saturating_sub(place));
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let piece = bytes.len().min(room).min(faults.segment.unwrap_or(usize::MAX));
        let (piece, delay) = faults.pace(piece);
        let flip = faults.flip_reply_at.and_then(|flip| flip.checked_sub(place));
        if let Some(index) = flip.and_then(|index| usize::try_from(index).ok())
            && index < piece
        {
            bytes[index] ^= 0x10;
            faults.flip_reply_at = None;
        }
        Piece { length: piece, delay, is_lost: faults.drop_replies }
    }

    /// Waits while no byte may pass. Fails when the link has to end.
    async fn may_pass(&self, orders: &mut watch::Receiver<Order>) -> Result<(), End> {
        loop {
            let stalled = {
                let faults = lock(&self.faults);
                let place = self.passed();
                if faults.cut_after.is_some_and(|end| place >= end) {
                    return Err(End::Cut);
                }
                if faults.reset_after.is_some_and(|end| place >= end) {
                    return Err(End::Reset);
                }
                faults.stall_after.is_some_and(|end| place >= end)
            };
            match *orders.borrow_and_update() {
                Order::Cut => return Err(End::Cut),
                Order::Reset => return Err(End::Reset),
                Order::Run if !stalled => return Ok(()),
                Order::Run | Order::Stall => {}
            }
            let _ = orders.changed().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, opened: watch::Sender<Vec<Arc<Link>>>) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        lock(&shared.arrivals).push(Instant::now());
        let upstream = *lock(&shared.upstream);
        // The server does not accept: the client sees that its connection ends.
        let Ok(server) = TcpStream::connect(upstream).await else { continue };
        let planned = lock(&shared.plan).pop_front();
        let faults = planned.unwrap_or_else(|| lock(&shared.otherwise).clone());
        let link = Arc::new(Link {
            faults: Mutex::new(faults),
            passed: watch::Sender::new(0),
            delivered: watch::Sender::new(0),
            order: watch::Sender::new(Order::Run),
            is_over: watch::Sender::new(false),
        });
        opened.send_modify(|links| links.push(Arc::clone(&link)));
        links.spawn(carry(client, server, link));
        while links.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, link: Arc<Link>) {
    for socket in [&client, &server] {
        // Each segment has to leave separately. For a socket that has ended, the option does not
        // matter.
        let _ = socket.set_nodelay(true);
    }
    let end = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let up = carry_up(client_reads, server_writes, &link);
        let down = carry_down(server_reads, client_writes, &link);
        tokio::pin!(up, down);
        // The server may still send after the client has ended its half. Where the direction to the
        // server ends with a fault, both end, and also where the direction from the server ends.
        tokio::select! {
            end = &mut up => match end {
                End::InGoodOrder => down.await,
                end => end,
            },
            end = &mut down => end,
        }
    };
    if end == End::Reset {
        for socket in [&client, &server] {
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
    drop(client);
    link.is_over.send_replace(true);
    if end == End::Cut {
        // To close a socket with unread bytes resets it. That would also drop bytes that were
        // forwarded and that the server has not read yet.
        let _ = server.shutdown().await;
        let _ = timeout(PATIENCE, tokio::io::copy(&mut server, &mut tokio::io::sink())).await;
    }
}

/// Forwards from client to server, with all faults.
async fn carry_up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, link: &Link) -> End {
    let mut orders = link.order.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if let Err(end) = link.may_pass(&mut orders).await {
            return end;
        }
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count) => count,
                Err(_) => return End::Reset,
            },
            // The faults have changed; no byte was read.
            _ = orders.changed() => continue,
        };
        if count == 0 {
            let _ = to.shutdown().await;
            return End::InGoodOrder;
        }
        // Positions are checked when bytes leave: a fault that a test set before it sent a byte
        // applies to that byte.
        let mut rest = &mut buffer[..count];
        while !rest.is_empty() {
            if let Err(end) = link.may_pass(&mut orders).await {
                return end;
            }
            let Piece { length, delay, is_lost } = link.next_piece(rest);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if is_lost {
                rest = &mut rest[length..];
                continue;
            }
            tokio::select! {
                wrote = to.write(&rest[..length]) => match wrote {
                    Ok(wrote) => {
                        rest = &mut rest[wrote..];
                        link.passed.send_modify(|passed| *passed += wrote as u64);
                    }
                    Err(_) => return End::Reset,
                },
                // A change of the faults counts also while the server does not read.
                _ = orders.changed() => {}
            }
        }
    }
}

/// Forwards from server to client.
async fn carry_down(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, link: &Link) -> End {
    let mut orders = link.order.subscribe();
    let mut passed = link.passed.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if let Err(end) = link.may_pass(&mut orders).await {
            return end;
        }
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count) => count,
                Err(_) => return End::Reset,
            },
            _ = orders.changed() => continue,
            // The position of a fault may have been reached.
            _ = passed.changed() => continue,
        };
        if count == 0 {
            let _ = to.shutdown().await;
            return End::InGoodOrder;
        }
        let mut rest = &mut buffer[..count];
        while !rest.is_empty() {
            let Piece { length, delay, is_lost } = link.next_reply(rest);
            if length == 0 {
                return End::Cut;
            }
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let (now, later) = rest.split_at_mut(length);
            if !is_lost && to.write_all(now).await.is_err() {
                return End::Reset;
            }
            link.delivered.send_modify(|delivered| *delivered += length as u64);
            rest = later;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under this lock")
}
