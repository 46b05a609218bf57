//! The server and the model side by side: sends each command to both, and checks that the model
//! allows the server's answers.

mod asking;
mod disasters;
mod finishing;
mod lines;
mod looking;
mod uploading;

use crate::command::{CHANNELS, Command, LINES, SIZES};
use crate::document::{Document, No, Order};
use crate::host::Host;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;
use towline_protocol::request::Upload;
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_tests::raw_client::{Heard, RawClient, offset, upload};
use towline_tests::site::TestUser;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::OnConflict;

const NAMES: [&str; 2] = ["a.bin", "b.bin"];

/// The largest number of bytes of a chunk.
const CHUNK_MAX: usize = BLOCK;

/// What a channel is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Empty,
    Open {
        document: usize,
        order: Order,
    },
    Refused,
    Done {
        document: usize,
    },
    /// Free or refused: the specification does not say which.
    Vague,
}

/// One connection.
struct Line {
    client: RawClient,
    slots: [Slot; CHANNELS as usize],
    /// Messages on other channels than the one that was asked about.
    pending: Vec<Heard>,
    /// The durable offset that was last reported for the upload of each channel.
    durable: [usize; CHANNELS as usize],
}

pub(crate) struct World {
    host: Host,
    users: Vec<TestUser>,
    lines: [Option<Line>; LINES],
    documents: Vec<Document>,
    counts: BTreeMap<&'static str, u64>,
}

/// The connection and the channel of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    channel: u32,
}

impl Place {
    fn channel(self) -> Channel {
        Channel(self.channel)
    }

    fn user(self) -> usize {
        self.line / 2
    }
}

fn test_file(size: usize, salt: u64) -> TestFile {
    TestFile::new(SIZES[size], salt)
}

/// The error in a reply, whose number and retry must be those of the table.
fn error(heard: &Heard) -> Option<&ErrorReply> {
    match heard {
        Heard::Reply(Reply::Error(error)) => {
            assert_eq!((error.number, error.retry), (error.code.number(), error.code.can_retry()));
            Some(error)
        }
        _ => None,
    }
}

fn code(heard: &Heard) -> Option<Code> {
    error(heard).map(|error| error.code)
}

/// Checks that the answers are these errors, in this order.
#[track_caller]
fn assert_errors(heard: &[Heard], expected: &[Code]) {
    let codes: Vec<_> = heard.iter().map(code).collect();
    let expected: Vec<_> = expected.iter().copied().map(Some).collect();
    assert_eq!(codes, expected, "{heard:#?}");
}

#[track_caller]
fn assert_nos(heard: &[Heard], nos: &[No]) {
    let codes: Vec<_> = nos.iter().map(|no| no.code()).collect();
    assert_errors(heard, &codes);
    for (heard, no) in heard.iter().zip(nos) {
        let error = error(heard).unwrap();
        match *no {
            No::OffsetMismatch(expected) | No::Incomplete(expected) => {
                assert_eq!(error.expected, Some(offset(expected)), "{error:?}");
            }
            No::BlockMismatch(index) | No::UnknownBlock(index) => {
                assert_eq!(error.index.unwrap().get(), index as u64, "{error:?}");
            }
            No::SizeExceeded | No::HashMismatch => {}
        }
    }
}

/// The only reply in the list.
#[track_caller]
fn only(heard: &[Heard]) -> &Reply {
    match heard {
        [Heard::Reply(reply)] => reply,
        other => panic!("one reply was expected: {other:#?}"),
    }
}

#[track_caller]
fn assert_within(what: &str, found: usize, allowed: &RangeInclusive<usize>) {
    assert!(allowed.contains(&found), "{what}: {found} is not in {allowed:?}");
}

impl World {
    pub(crate) fn new(host: Host, users: Vec<TestUser>) -> Self {
        let lines = std::array::from_fn(|_| None);
        Self { host, users, lines, documents: Vec::new(), counts: BTreeMap::new() }
    }

    /// The events of the run, and how often each happened.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, count)| (*what, *count))
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) async fn apply(&mut self, command: &Command) {
        self.carry_out(command).await;
        for line in self.lines.iter().flatten() {
            assert!(line.pending.is_empty(), "nobody asked for {:?}", line.pending);
        }
    }

    async fn carry_out(&mut self, command: &Command) {
        match *command {
            Command::Upload { line, channel, name, size, salt, blocks, rejects, says_hash } => {
                let test_file = test_file(size, salt);
                let hash = says_hash.then(|| test_file.hash());
                let on_conflict = if rejects { OnConflict::Reject } else { OnConflict::Rename };
                let base = upload(NAMES[name], &test_file);
                let channel_of = Channel(channel);
                let request =
                    Upload { channel: channel_of, blake3: hash, on_conflict, blocks, ..base };
                self.upload(Place { line, channel }, request, NAMES[name], test_file).await;
            }
            Command::BadUpload { line, channel } => {
                let place = Place { line, channel };
                let base = upload("../a.bin", &TestFile::new(10, 0));
                let heard = self
                    .ask(place, &[Request::Upload(Upload { channel: place.channel(), ..base })])
                    .await;
                self.leave(place);
                assert_errors(&heard, &[Code::BadName]);
                self.set(place, Slot::Refused);
            }
            Command::Chunk { target, at, length, is_damaged } => {
                self.chunk(target, at, length, is_damaged).await;
            }
            Command::Fill { target } => self.fill(target).await,
            Command::Announce { target, block, is_right } => {
                self.announce(target, usize::from(block), is_right).await;
            }
            Command::Withdraw { target, first, count } => self.withdraw(target, first, count).await,
            Command::Complete { target, claim, renames } => {
                self.complete(target, claim, renames).await;
            }
            Command::CompleteByNumber { line, channel, document } => {
                self.complete_by_number(Place { line, channel }, document).await;
            }
            Command::Resume { line, channel, document, belief, blocks, other_size } => {
                let place = Place { line, channel };
                if let Some(document) = self.pick(document) {
                    let order = if blocks { Order::Blocks } else { Order::Sequence };
                    self.resume(place, document, belief, order, other_size).await;
                }
            }
            Command::TakeOver { target, length, blocks } => {
                let order = if blocks { Order::Blocks } else { Order::Sequence };
                self.take_over(target, length, order).await;
            }
            Command::Status { line, channel, document } => {
                self.status(Place { line, channel }, document).await;
            }
            Command::Blocks { line, channel, document } => {
                self.blocks(Place { line, channel }, document).await;
            }
            Command::Find { line, name, size, salt } => {
                self.find(line, NAMES[name], &test_file(size, salt)).await;
            }
            Command::Cancel { line, channel, document } => {
                self.cancel(Place { line, channel }, document).await;
            }
            Command::Break { target, how, length } => self.end_line(target, how, length).await,
            Command::Restart => self.restart().await,
            Command::Kill { target, moment, length, after_ms } => {
                if self.host.can_be_killed() {
                    self.kill(target, moment, length, Duration::from_millis(after_ms)).await;
                }
            }
        }
    }
}
