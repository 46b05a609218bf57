//! The events that can happen to a server, and how often each is chosen.

use proptest::prelude::*;
use towline_tests::test_file::BLOCK;

/// The channel of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// A channel with an upload, if there is one; the number chooses it.
    Open(u8),
    /// This channel, with or without an upload.
    Any { line: usize, channel: u32 },
}

/// The offset of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// The right offset; with blocks, the right offset in this block of the file.
    Next { block: u8 },
    /// An offset below, where the bytes exist already.
    Duplicate,
    /// An offset that is too large by this number of bytes.
    Gap(usize),
    /// An offset from which the chunk reaches beyond the end of the file.
    PastEnd,
}

/// The hash in a `complete`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim {
    Nothing,
    OfTheFile,
    OfWhatIsThere,
    Wrong,
}

/// The offset in a `resume`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Belief {
    Unsaid,
    Right,
    Wrong,
}

/// The way in which a connection ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Break {
    /// In good order.
    Pause,
    Close,
    Reset,
}

/// What is being done when the server is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Rest,
    Chunk,
    Complete,
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Upload {
        line: usize,
        channel: u32,
        name: usize,
        size: usize,
        salt: u64,
        blocks: bool,
        rejects: bool,
        says_hash: bool,
    },
    /// An upload with a name that is not allowed.
    BadUpload {
        line: usize,
        channel: u32,
    },
    Chunk {
        target: Target,
        at: At,
        length: usize,
        is_damaged: bool,
    },
    /// All missing bytes, with all announcements.
    Fill {
        target: Target,
    },
    Announce {
        target: Target,
        block: u8,
        is_right: bool,
    },
    Withdraw {
        target: Target,
        first: usize,
        count: usize,
    },
    Complete {
        target: Target,
        claim: Claim,
        renames: bool,
    },
    CompleteByNumber {
        line: usize,
        channel: u32,
        document: u8,
    },
    Resume {
        line: usize,
        channel: u32,
        document: u8,
        belief: Belief,
        blocks: bool,
        other_size: bool,
    },
    /// Another connection resumes the upload while bytes are being sent.
    TakeOver {
        target: Target,
        length: usize,
        blocks: bool,
    },
    Status {
        line: usize,
        channel: u32,
        document: u8,
    },
    Blocks {
        line: usize,
        channel: u32,
        document: u8,
    },
    Find {
        line: usize,
        name: usize,
        size: usize,
        salt: u64,
    },
    Cancel {
        line: usize,
        channel: u32,
        document: u8,
    },
    /// The connection of the target ends after this number of bytes.
    Break {
        target: Target,
        how: Break,
        length: usize,
    },
    /// An orderly stop, and a start.
    Restart,
    /// `kill -9`, this number of milliseconds after `moment` has begun.
    Kill {
        target: Target,
        moment: Moment,
        length: usize,
        after_ms: u64,
    },
}

/// The sizes of the files.
pub(crate) const SIZES: [usize; 8] =
    [0, 1, 1000, 70_000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + BLOCK / 2];

/// Two users with two connections each, and two channels on each of them.
pub(crate) const LINES: usize = 4;
pub(crate) const CHANNELS: u32 = 2;

fn line() -> impl Strategy<Value = usize> {
    // Most commands go to the two connections of one user.
    prop_oneof![5 => Just(0usize), 3 => Just(1usize), 1 => 2..LINES]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        8 => any::<u8>().prop_map(Target::Open),
        1 => (line(), 0..CHANNELS).prop_map(|(line, channel)| Target::Any { line, channel }),
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => 1usize..3000,
        2 => Just(65_536usize),
        2 => Just(BLOCK / 2),
        3 => Just(BLOCK),
    ]
}

fn at() -> impl Strategy<Value = At> {
    prop_oneof![
        14 => any::<u8>().prop_map(|block| At::Next { block }),
        1 => Just(At::Duplicate),
        1 => (1usize..2000).prop_map(At::Gap),
        1 => Just(At::PastEnd),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![2 => 0..SIZES.len(), 3 => Just(SIZES.len() - 1)]
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![
        2 => Just(Claim::Nothing),
        3 => Just(Claim::OfTheFile),
        2 => Just(Claim::OfWhatIsThere),
        1 => Just(Claim::Wrong),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let place = || (line(), 0..CHANNELS);
    let seldom = || prop::bool::weighted(0.1);
    let usually = || prop::bool::weighted(0.75);
    prop_oneof![
        14 => (place(), 0usize..2, size(), 0u64..2, any::<bool>(), (seldom(), seldom())).prop_map(
            |((line, channel), name, size, salt, blocks, (rejects, says_hash))| {
                Command::Upload { line, channel, name, size, salt, blocks, rejects, says_hash }
            }
        ),
        1 => place().prop_map(|(line, channel)| Command::BadUpload { line, channel }),
        24 => (target(), at(), length(), prop::bool::weighted(0.2)).prop_map(|(target, at, length, is_damaged)| {
            Command::Chunk { target, at, length, is_damaged }
        }),
        5 => target().prop_map(|target| Command::Fill { target }),
        10 => (target(), 0u8..4, usually())
            .prop_map(|(target, block, is_right)| Command::Announce { target, block, is_right }),
        2 => (target(), 0usize..4, 1usize..3)
            .prop_map(|(target, first, count)| Command::Withdraw { target, first, count }),
        6 => (target(), claim(), any::<bool>())
            .prop_map(|(target, claim, renames)| Command::Complete { target, claim, renames }),
        2 => (place(), any::<u8>()).prop_map(|((line, channel), document)| {
            Command::CompleteByNumber { line, channel, document }
        }),
        12 => (place(), any::<u8>(), belief(), any::<bool>(), seldom()).prop_map(
            |((line, channel), document, belief, blocks, other_size)| {
                Command::Resume { line, channel, document, belief, blocks, other_size }
            }
        ),
        3 => (target(), length(), any::<bool>())
            .prop_map(|(target, length, blocks)| Command::TakeOver { target, length, blocks }),
        2 => (place(), any::<u8>()).prop_map(|((line, channel), document)| {
            Command::Status { line, channel, document }
        }),
        3 => (place(), any::<u8>()).prop_map(|((line, channel), document)| {
            Command::Blocks { line, channel, document }
        }),
        2 => (line(), 0usize..2, size(), 0u64..2)
            .prop_map(|(line, name, size, salt)| Command::Find { line, name, size, salt }),
        1 => (place(), any::<u8>()).prop_map(|((line, channel), document)| {
            Command::Cancel { line, channel, document }
        }),
        4 => (target(), ending(), length())
            .prop_map(|(target, how, length)| Command::Break { target, how, length }),
        1 => Just(Command::Restart),
        2 => (target(), moment(), length(), 0u64..30).prop_map(
            |(target, moment, length, after_ms)| {
                Command::Kill { target, moment, length, after_ms }
            }
        ),
    ]
}

fn belief() -> impl Strategy<Value = Belief> {
    prop_oneof![3 => Just(Belief::Unsaid), 3 => Just(Belief::Right), 1 => Just(Belief::Wrong)]
}

fn ending() -> impl Strategy<Value = Break> {
    prop_oneof![Just(Break::Pause), Just(Break::Close), Just(Break::Reset)]
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![Just(Moment::Rest), Just(Moment::Chunk), Just(Moment::Complete)]
}
