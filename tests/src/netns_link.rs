//! A link between two network namespaces, which one test has for itself. The test takes it down,
//! lets it lose packets, or makes it slow: faults below TCP, which no proxy can make.
//!
//! It needs root, `ip` and `nft`, with which it loses packets. Where they are missing,
//! [`NetnsLink::make`] prints that the test is skipped, and why. To be slow needs `tc` as well.

use crate::volume::{Unavailable, need_root, run, skipped};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::spawn_blocking;

/// One end of a link: a network namespace with a device and an address.
#[derive(Debug, Clone)]
pub struct LinkEnd {
    namespace: String,
    address: Ipv4Addr,
}

/// See the module's description. When it is dropped, it is removed with both namespaces.
#[derive(Debug)]
pub struct NetnsLink {
    /// The server's end.
    pub near: LinkEnd,
    /// The client's end.
    pub far: LinkEnd,
}

/// The name of the device at each end.
const DEVICE: &str = "link0";

impl NetnsLink {
    /// A new link. `None`, with a message, where the machine cannot have one.
    #[must_use]
    pub fn make() -> Option<Self> {
        Self::try_make().inspect_err(skipped).ok()
    }

    fn try_make() -> Result<Self, Unavailable> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        need_root()?;
        run(Command::new("nft").arg("--version"))?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let end = |side: &str, host| LinkEnd {
            namespace: format!("towline-{}-{number}-{side}", std::process::id()),
            // From the address range for tests between networks; the namespaces have no other
            // device.
            address: Ipv4Addr::new(198, 18, 0, host),
        };
        // Made first, so that it is removed where a later step fails.
        let link = Self { near: end("near", 1), far: end("far", 2) };
        for end in [&link.near, &link.far] {
            ip(&["netns", "add", &end.namespace])?;
            ip(&["-n", &end.namespace, "link", "set", "lo", "up"])?;
        }
        let (near, far) = (&link.near.namespace, &link.far.namespace);
        let add = ["link", "add", DEVICE, "netns", near, "type", "veth"];
        ip(&[&add[..], &["peer", "name", DEVICE, "netns", far]].concat())?;
        for end in [&link.near, &link.far] {
            let address = format!("{}/24", end.address);
            ip(&["-n", &end.namespace, "address", "add", &address, "dev", DEVICE])?;
            ip(&["-n", &end.namespace, "link", "set", DEVICE, "up"])?;
        }
        Ok(link)
    }

    /// From now on no packet arrives, and no end is told: both devices keep their carrier, as
    /// behind a switch.
    ///
    /// # Panics
    /// Where the system refuses the rule.
    pub fn pull(&self) {
        for end in [&self.near, &self.far] {
            end.filter("drop");
        }
    }

    /// Takes the server's device down: its own system cannot send any more, either.
    ///
    /// # Panics
    /// Where the system refuses that.
    pub fn unplug(&self) {
        ip(&["-n", &self.near.namespace, "link", "set", DEVICE, "down"]).expect("a device");
    }

    /// From now on both ends lose this percentage of packets.
    ///
    /// # Panics
    /// Where the system refuses the rule.
    pub fn lose(&self, percent: u32) {
        for end in [&self.near, &self.far] {
            end.filter(&format!("numgen random mod 100 < {percent} drop"));
        }
    }

    /// Packets of more than `bytes` bytes on their way to the near end are dropped, and no end is
    /// told: a link on the way takes smaller packets than both ends believe.
    ///
    /// # Panics
    /// Where the system refuses that.
    pub fn narrow(&self, bytes: u32) {
        let (near, far) = (&self.near.namespace, &self.far.namespace);
        let bytes = bytes.to_string();
        // A device drops packets that are larger than its own limit.
        ip(&["-n", near, "link", "set", DEVICE, "mtu", &bytes]).expect("a device");
        // The near end still announces the usual segment size.
        let (route, advertised) = ("198.18.0.0/24", "1460");
        let route = ["-n", near, "route", "change", route, "dev", DEVICE, "advmss", advertised];
        ip(&route).expect("a route");
        // Each packet is sent separately, as on a wire.
        ip(&["-n", far, "link", "set", DEVICE, "gso_max_segs", "1"]).expect("a device");
    }

    /// From now on all packets arrive again.
    ///
    /// # Panics
    /// Where the rules cannot be removed.
    pub fn mend(&self) {
        ip(&["-n", &self.near.namespace, "link", "set", DEVICE, "up"]).expect("a device");
        for end in [&self.near, &self.far] {
            end.run(&["nft", "flush", "ruleset"]).expect("nft");
        }
    }

    /// The server's machine gets another address of the network, and loses the one that it had: what
    /// is sent to that one arrives nowhere, and no end is told.
    ///
    /// # Panics
    /// Where the system refuses that.
    pub fn renumber(&mut self, host: u8) {
        let near = &mut self.near;
        let before = format!("{}/24", near.address);
        near.address = Ipv4Addr::new(198, 18, 0, host);
        let after = format!("{}/24", near.address);
        // In this order: an address goes together with those of its network that came after it.
        for (what, address) in [("delete", before), ("add", after)] {
            ip(&["-n", &near.namespace, "address", what, &address, "dev", DEVICE])
                .expect("a device");
        }
    }

    /// The server's end has no address any more, until it is [given](Self::give_address) again.
    ///
    /// # Panics
    /// Where the system refuses that.
    pub fn take_address(&self) {
        let address = format!("{}/24", self.near.address);
        ip(&["-n", &self.near.namespace, "address", "delete", &address, "dev", DEVICE])
            .expect("a device");
    }

    /// The server's end has its address again.
    ///
    /// # Panics
    /// Where the system refuses that.
    pub fn give_address(&self) {
        let address = format!("{}/24", self.near.address);
        ip(&["-n", &self.near.namespace, "address", "add", &address, "dev", DEVICE])
            .expect("a device");
    }

    /// Makes the link slow in both directions. Returns `false`, with a message, where the kernel
    /// has no shaper.
    #[must_use]
    pub fn slow(&self, kbit_per_second: u32) -> bool {
        let rate = format!("{kbit_per_second}kbit");
        let shape = ["tc", "qdisc", "add", "dev", DEVICE, "root", "tbf", "rate", &rate];
        let queue = ["burst", "3000", "latency", "500ms"];
        [&self.near, &self.far]
            .iter()
            .try_for_each(|end| end.run(&[&shape[..], &queue].concat()))
            .inspect_err(skipped)
            .is_ok()
    }
}

impl Drop for NetnsLink {
    fn drop(&mut self) {
        for end in [&self.near, &self.far] {
            // The devices are removed with their namespace.
            let _ = ip(&["netns", "delete", &end.namespace]);
        }
    }
}

impl LinkEnd {
    /// The address of this end, with that port.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        (IpAddr::V4(self.address), port).into()
    }

    /// The words before a command that make it run at this end. The process that is started becomes
    /// the command.
    #[must_use]
    pub fn under(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.namespace]
    }

    /// A connection from this end.
    ///
    /// # Errors
    /// The error of the system.
    ///
    /// # Panics
    /// Where the namespace is gone.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let end = self.clone();
        let connecting = spawn_blocking(move || end.inside(|| TcpStream::connect(address)));
        let stream = connecting.await.expect("no panic")?;
        stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(stream)
    }

    /// A listener at this end, on a free port.
    ///
    /// # Panics
    /// Where the end has no free port.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        self.inside(|| TcpListener::bind(self.address(0))).expect("a free port")
    }

    /// Runs `make` on a thread that is at this end. A socket stays at the end where it was made.
    ///
    /// # Errors
    /// The error of `make`, or that no thread can be moved to this end.
    ///
    /// # Panics
    /// Where `make` panics.
    pub fn inside<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.namespace))?;
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind)?;
                make()
            });
            inside.join().expect("no panic")
        })
    }

    /// Sets what happens to packets that arrive from now on.
    fn filter(&self, verdict: &str) {
        let rules = format!(
            "flush ruleset; table inet cable {{ chain arriving {{ \
             type filter hook input priority 0; iifname {DEVICE} {verdict}; }}; }}"
        );
        self.run(&["nft", &rules]).unwrap_or_else(|error| panic!("{rules}: {error}"));
    }

    fn run(&self, command: &[&str]) -> Result<(), Unavailable> {
        let [program, arguments @ ..] = self.under();
        run(Command::new(program).args(arguments).args(command)).map(drop)
    }
}

fn ip(arguments: &[&str]) -> Result<(), Unavailable> {
    run(Command::new("ip").args(arguments)).map(drop)
}
