//! Three uploads, sent while something goes wrong with the server, by somebody who
//! writes down every promise and later comes back to see each of them kept.
//!
//! [`Journey::travel`] passes every kind of step that the server has: new folders,
//! blocks in any order, a withdrawal, a cancellation, a pause, a resume, `complete`.
//! It takes what comes, a dead connection included. [`Journey::arrive`] wants a
//! server without faults and holds it to P1 to P5.

mod leg;

use crate::corpus::{BLOCK, Corpus};
use crate::site::{Person, Site};
use crate::speaker::{Heard, Speaker, offset, upload};
use leg::Leg;
use std::net::SocketAddr;
use towline_protocol::request::{Complete, Withdraw};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_types::BlockIndex;

/// See the module's description.
#[derive(Debug)]
pub struct Journey {
    person: Person,
    legs: Vec<Leg>,
}

/// What happened to the server, and with it which uploads may have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// Nothing that touches bytes: every upload that was granted can go on.
    None,
    /// The power was cut: an upload of which nothing was promised may be gone.
    PowerCut,
    /// The sync of an upload's data failed: it may have failed, and says so.
    FailedSync,
}

/// Which upload is which.
const LARGE: usize = 0;
const SMALL: usize = 1;
const DROPPED: usize = 2;

/// A connection of a journey.
struct Ride<'a> {
    speaker: Speaker,
    legs: &'a mut [Leg],
}

impl Journey {
    /// Three uploads of a user, of whom two are to become documents.
    #[must_use]
    pub fn new(person: &Person) -> Self {
        let folders = ["new", "deep"].map(str::to_owned).to_vec();
        let large = Leg::new(1, "large.bin", folders, Corpus::new(2 * BLOCK + BLOCK / 2, 900));
        let small = Leg::new(2, "small.bin", Vec::new(), Corpus::new(60_000, 901));
        let dropped = Leg::new(3, "dropped.bin", Vec::new(), Corpus::new(90_000, 902));
        Self { person: person.clone(), legs: vec![large.in_blocks(), small, dropped] }
    }

    /// The whole way, as far as the server lets.
    pub async fn travel(&mut self, address: SocketAddr) {
        self.set_out(address).await;
        self.go_on(address).await;
    }

    /// The first half: everything is begun, one upload is given up, the others pause.
    pub async fn set_out(&mut self, address: SocketAddr) {
        let Some(mut ride) = self.ride(address).await else { return };
        if ride.begin_all().await.is_some() {
            ride.pause().await;
        }
    }

    /// The second half: the others go on to their end.
    pub async fn go_on(&mut self, address: SocketAddr) {
        if let Some(mut ride) = self.ride(address).await {
            ride.finish_all().await;
        }
    }

    /// Whether both documents have their receipts.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.legs[LARGE].has_receipt() && self.legs[SMALL].has_receipt()
    }

    /// What the server said besides yes, in short: for the one who reads the test's output.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.legs.iter().flat_map(Leg::errors).collect()
    }

    /// Holds the server, which has no fault any more, to all that was said; then
    /// brings everything to its end.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub async fn arrive(&mut self, address: SocketAddr, site: &Site, excuse: Excuse) {
        self.assert_only_whole_files(site);
        let mut speaker = Speaker::login(address, &self.person.token).await;
        for leg in &mut self.legs {
            leg.arrive(&mut speaker, site, &self.person, excuse).await;
        }
        self.assert_only_whole_files(site);
        let left: Vec<_> = site.on_disk().into_keys().filter(|path| is_left(site, path)).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// A sync has failed on this server, which still runs (P5): it takes no changes any
    /// more, the last document has no receipt, and an upload whose own bytes were not
    /// synced (`hit` has its staging file's name) is given up. The error was made up, and
    /// the bytes are there: nothing that comes later would tell.
    ///
    /// # Panics
    /// Where it believes a sync that failed.
    pub async fn assert_closed(&self, address: SocketAddr, hit: &[String]) {
        let mut speaker = Speaker::login(address, &self.person.token).await;
        let probe = upload("probe.bin", &Corpus::new(1000, 903));
        speaker.upload_refused(probe, Code::StorageReadOnly).await;
        assert!(!self.legs[SMALL].has_receipt(), "a receipt behind a failed sync: {self:?}");
        for leg in &self.legs {
            leg.assert_given_up_if_hit(&mut speaker, hit).await;
        }
    }

    /// P2: whatever has a name is whole. True at any moment, server or not.
    ///
    /// # Panics
    /// Where it is not.
    pub fn assert_only_whole_files(&self, site: &Site) {
        let documents = site.documents(&self.person);
        for path in site.on_disk().into_keys() {
            if path.is_dir() || !path.starts_with(&documents) {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a published file");
            let is_whole = self.legs.iter().any(|leg| leg.is_whole(&bytes));
            assert!(is_whole, "{} with {} bytes is not whole", path.display(), bytes.len());
        }
    }

    async fn ride(&mut self, address: SocketAddr) -> Option<Ride<'_>> {
        let speaker = Speaker::try_login(address, &self.person.token).await?;
        self.legs.iter_mut().for_each(Leg::is_on_a_new_connection);
        Some(Ride { speaker, legs: &mut self.legs })
    }
}

/// Bytes on their way that nobody will come back for. What was set aside is kept
/// for people and counts as no litter.
fn is_left(site: &Site, path: &std::path::Path) -> bool {
    path.parent() == Some(&site.staging_folder()) && path.is_file()
}

/// Everything here is nothing as soon as the connection has ended.
impl Ride<'_> {
    async fn begin_all(&mut self) -> Option<()> {
        self.begin(LARGE).await?;
        self.send(LARGE, 0..BLOCK + BLOCK / 2).await?;
        self.announce(LARGE, 0).await?;
        self.begin(SMALL).await?;
        self.send(SMALL, 0..30_000).await?;
        self.begin(DROPPED).await?;
        self.send(DROPPED, 0..1000).await?;
        if let Some(request) = self.legs[DROPPED].cancel() {
            self.ask(DROPPED, request).await?;
        }
        Some(())
    }

    async fn finish_all(&mut self) -> Option<()> {
        if let Some(from) = self.resume(LARGE).await? {
            let size = self.legs[LARGE].corpus.size();
            for index in 0..from / BLOCK {
                self.announce(LARGE, index).await?;
            }
            let mut rest = from;
            if from > BLOCK && self.withdraw_second(LARGE).await? {
                self.send(LARGE, BLOCK..2 * BLOCK).await?;
                self.announce(LARGE, 1).await?;
                rest = from.max(2 * BLOCK);
            }
            self.send(LARGE, rest..size).await?;
            for index in from / BLOCK..size.div_ceil(BLOCK) {
                self.announce(LARGE, index).await?;
            }
        }
        if let Some(from) = self.resume(SMALL).await? {
            let size = self.legs[SMALL].corpus.size();
            self.send(SMALL, from..size).await?;
        }
        for which in [LARGE, SMALL] {
            if self.legs[which].is_sending {
                let channel = self.legs[which].channel;
                let complete = Complete { channel, ..Complete::default() };
                self.ask(which, Request::Complete(complete)).await?;
            }
        }
        Some(())
    }

    async fn begin(&mut self, which: usize) -> Option<()> {
        let request = self.legs[which].upload();
        let granted = self.ask(which, request).await?;
        self.legs[which].is_sending = matches!(granted, Reply::Upload(_));
        Some(())
    }

    /// Where to go on; nothing where the server says no, or is done already.
    async fn resume(&mut self, which: usize) -> Option<Option<usize>> {
        let Some(request) = self.legs[which].resume() else { return Some(None) };
        let granted = self.ask(which, request).await?;
        let leg = &mut self.legs[which];
        leg.is_sending = matches!(granted, Reply::Resume(_));
        let Reply::Resume(granted) = granted else { return Some(None) };
        Some(Some(leg.goes_on_at(granted.offset)))
    }

    /// Takes the second block back, if the server lets.
    async fn withdraw_second(&mut self, which: usize) -> Option<bool> {
        let leg = &mut self.legs[which];
        leg.takes_promises_back(offset(BLOCK));
        let ranges = vec![(BlockIndex::new(1).expect("a block"), 1)];
        let request = Request::Withdraw(Withdraw { channel: leg.channel, ranges });
        let answer = self.ask(which, request).await?;
        Some(matches!(answer, Reply::Withdraw(_)))
    }

    async fn send(&mut self, which: usize, range: std::ops::Range<usize>) -> Option<()> {
        if !self.legs[which].is_sending {
            return Some(());
        }
        for frame in self.legs[which].chunks(range) {
            self.speaker.try_send_raw(&frame).await.ok()?;
        }
        Some(())
    }

    async fn announce(&mut self, which: usize, index: usize) -> Option<()> {
        if !self.legs[which].is_sending {
            return Some(());
        }
        let frame = self.legs[which].announcement(index);
        self.speaker.try_send_raw(&frame).await.ok()
    }

    /// Asks, and waits for the answer: an error about what was sent before is one too.
    async fn ask(&mut self, which: usize, request: Request) -> Option<Reply> {
        self.speaker.try_send(&request).await.ok()?;
        loop {
            if let Some(answer) = self.legs[which].answer.take() {
                return Some(answer);
            }
            self.hear().await?;
        }
    }

    async fn pause(&mut self) {
        self.speaker.try_finish_sending().await;
        while self.hear().await.is_some() {}
    }

    async fn hear(&mut self) -> Option<()> {
        if let Heard::Reply(reply) = self.speaker.next().await? {
            let channel: Channel = reply.channel();
            if let Some(leg) = self.legs.iter_mut().find(|leg| leg.channel == channel) {
                leg.hear(reply);
            }
        }
        Some(())
    }
}
