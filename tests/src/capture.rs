//! All packets that pass one end of a link, as a person in the middle has them.

use crate::netns_link::LinkEnd;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Packets of every protocol (`ETH_P_ALL`), in the byte order of the network.
const EVERY_PROTOCOL: u16 = 0x0003_u16.to_be();

/// How long the reader waits for a packet before it looks whether the capture has ended.
const LOOKS_UP_AFTER: Duration = Duration::from_millis(20);

/// More than the longest packet that the system hands over at once.
const PACKET_BYTES_MAX: usize = 128 << 10;

/// A capture that runs until it is ended.
#[derive(Debug)]
pub struct Capture {
    is_over: Arc<AtomicBool>,
    reader: JoinHandle<Vec<Vec<u8>>>,
}

/// What was captured: packets from the head of Ethernet on.
#[derive(Debug)]
pub struct Captured {
    packets: Vec<Vec<u8>>,
}

impl Capture {
    /// Begins at that end of a link. All packets after this call are in the capture.
    ///
    /// # Panics
    /// Where the system has no sockets for packets.
    #[must_use]
    pub fn begin(end: &LinkEnd) -> Self {
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL));
        let socket = end.inside(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)));
        let mut socket = socket.expect("a socket for packets");
        socket.set_recv_buffer_size(8 << 20).expect("a socket");
        socket.set_read_timeout(Some(LOOKS_UP_AFTER)).expect("a socket");
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let reader = std::thread::spawn(move || {
            let (mut packets, mut buffer) = (Vec::new(), vec![0; PACKET_BYTES_MAX]);
            loop {
                // Looked at before the read, so that everything that has come before is read.
                let is_last = ends.load(Ordering::Acquire);
                match socket.read(&mut buffer) {
                    Ok(length) => packets.push(buffer[..length].to_vec()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock && is_last => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("a packet cannot be read: {error}"),
                }
            }
            packets
        });
        Self { is_over, reader }
    }

    /// Ends it, with all packets that have passed so far.
    ///
    /// # Panics
    /// Where a packet could not be read.
    #[must_use]
    pub fn end(self) -> Captured {
        self.is_over.store(true, Ordering::Release);
        Captured { packets: self.reader.join().expect("packets") }
    }
}

impl Captured {
    /// Whether these bytes are in one of the packets.
    #[must_use]
    pub fn has(&self, bytes: &[u8]) -> bool {
        let is_in = |packet: &Vec<u8>| packet.windows(bytes.len()).any(|part| part == bytes);
        self.packets.iter().any(is_in)
    }

    /// What was sent to that address over TCP: the bytes of each connection, in their order.
    #[must_use]
    pub fn sent_to(&self, address: SocketAddr) -> Vec<Vec<u8>> {
        let mut connections: BTreeMap<u16, BTreeMap<u32, &[u8]>> = BTreeMap::new();
        for (from_port, number, bytes) in
            self.packets.iter().filter_map(|packet| segment(packet, address))
        {
            if !bytes.is_empty() {
                connections.entry(from_port).or_default().insert(number, bytes);
            }
        }
        let in_order = connections.into_values().map(BTreeMap::into_values);
        in_order.map(|segments| segments.flatten().copied().collect()).collect()
    }
}

/// The port of the sender, the sequence number and the bytes of a TCP segment to that address.
fn segment(packet: &[u8], to: SocketAddr) -> Option<(u16, u32, &[u8])> {
    let IpAddr::V4(host) = to.ip() else { return None };
    // IPv4 in Ethernet: 14 bytes, the last two say so.
    let ip = packet.get(14..).filter(|_| packet[12..14] == [0x08, 0x00])?;
    let (head, length) = (usize::from(ip.first()? & 0x0f) * 4, usize::from(be16(ip, 2)?));
    if *ip.get(9)? != 6 || ip.get(16..20)? != host.octets() {
        return None;
    }
    let tcp = ip.get(head..length)?;
    if be16(tcp, 2)? != to.port() {
        return None;
    }
    let number = u32::from(be16(tcp, 4)?) << 16 | u32::from(be16(tcp, 6)?);
    Some((be16(tcp, 0)?, number, tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
