//! What may happen to an upload, and how often.

use proptest::prelude::*;
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_upload::{BlockOrder, Integrity, SendingMode};

#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Bytes for a block: behind those that are there without a gap, moved by `shift` bytes.
    /// For a request that is under way, if `request` names one, they are the next of it.
    Append {
        block: u64,
        shift: i64,
        length: u64,
        request: Option<u8>,
    },
    Announce {
        block: u64,
        is_right: bool,
    },
    Withdraw {
        first: u64,
        count: u64,
    },
    /// A request begins in a block, at the same place as `Append`.
    BeginRequest {
        block: u64,
        shift: i64,
    },
    ConfirmRequest {
        request: u8,
    },
    TakeBackRequest {
        request: u8,
    },
    /// The length of the file: the bytes that are there reach so far, and this much further.
    Declare {
        further: i64,
    },
    Resume {
        mode: SendingMode,
        offset_is_right: bool,
    },
    /// One more writer for a lease.
    Join {
        who: Joiner,
    },
    Release,
    Checkpoint,
    /// The process is killed and reads the catalog.
    Restart,
    Complete {
        is_right: bool,
    },
    /// The writers of all earlier leases try once more.
    OldWriters,
}

/// Whose lease is joined: the one in force, one before it, or that of another user.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Joiner {
    Owner,
    Stranger,
    Late,
}

pub(crate) fn mode() -> impl Strategy<Value = SendingMode> {
    let order = prop_oneof![
        1 => Just(BlockOrder::InOrder),
        1 => Just(BlockOrder::AnyBlock),
        2 => Just(BlockOrder::AnyRange),
    ];
    let integrity = prop_oneof![Just(Integrity::Announced), Just(Integrity::Unannounced)];
    (order, integrity).prop_map(|(order, integrity)| SendingMode { order, integrity })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let request = || any::<u8>();
    let maybe = || prop_oneof![2 => Just(None), 1 => any::<u8>().prop_map(Some)];
    let seldom_wrong = || prop::bool::weighted(0.8);
    prop_oneof![
        16 => (0u64..6, shift(), lengths(), maybe()).prop_map(|(block, shift, length, request)| {
            Command::Append { block, shift, length, request }
        }),
        6 => (0u64..6, seldom_wrong())
            .prop_map(|(block, is_right)| Command::Announce { block, is_right }),
        1 => (0u64..5, 1u64..3).prop_map(|(first, count)| Command::Withdraw { first, count }),
        2 => (0u64..6, shift()).prop_map(|(block, shift)| Command::BeginRequest { block, shift }),
        1 => request().prop_map(|request| Command::ConfirmRequest { request }),
        2 => request().prop_map(|request| Command::TakeBackRequest { request }),
        1 => prop_oneof![4 => Just(0i64), 1 => -1500i64..0, 1 => 1i64..1500, 1 => Just(i64::MAX)]
            .prop_map(|further| Command::Declare { further }),
        2 => (mode(), seldom_wrong())
            .prop_map(|(mode, offset_is_right)| Command::Resume { mode, offset_is_right }),
        3 => prop_oneof![4 => Just(Joiner::Owner), 1 => Just(Joiner::Stranger), 1 => Just(Joiner::Late)]
            .prop_map(|who| Command::Join { who }),
        2 => Just(Command::Release),
        3 => Just(Command::Checkpoint),
        1 => Just(Command::Restart),
        1 => seldom_wrong().prop_map(|is_right| Command::Complete { is_right }),
        1 => Just(Command::OldWriters),
    ]
}

fn shift() -> impl Strategy<Value = i64> {
    let block = BLOCK_SIZE_BYTES.cast_signed();
    prop_oneof![6 => Just(0i64), 1 => -2000i64..2000, 3 => 0..block, 1 => Just(block / 2)]
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => 1u64..3000,
        2 => Just(BLOCK_SIZE_BYTES / 2),
        2 => Just(BLOCK_SIZE_BYTES),
        1 => 1..2 * BLOCK_SIZE_BYTES,
    ]
}
