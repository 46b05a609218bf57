//! Every cap of the wire, each with its reason. A length is held against its
//! cap before anything is allocated for it.

use towline_types::block::BLOCK_SIZE_BYTES;

/// The length of the prefix that every frame begins with.
pub const LENGTH_PREFIX_BYTES: usize = 4;

/// The kind byte, the channel and the offset before a chunk's payload; a block
/// and a block list have the same shape.
pub const CHUNK_HEADER_BYTES: u32 = 1 + 4 + 8;

/// A chaining value.
pub const VALUE_BYTES: u32 = 32;

/// The largest payload of a chunk. One block: more would only delay the moment
/// at which a damaged block is noticed.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;

/// The payload a server proposes: large enough that framing costs nothing to
/// speak of, small enough that a slow link still shows progress.
pub const CHUNK_BYTES_DEFAULT: u32 = 64 << 10;

/// The least that must come of a frame in the time that a frame may take, unless it is
/// whole. A line of 9,600 baud brings 56 KiB in a minute, so the slowest real line may send
/// chunks of any length; a frame that trickles byte by byte ends with the first minute.
/// As long as the largest control message, which has to be whole in that time.
pub const FRAME_STRETCH_BYTES: u64 = 32 << 10;

/// The largest control message. The longest legal one is an `upload` with a
/// folder of [`PATH_BYTES`](towline_types::limits::PATH_BYTES) in which every character is escaped.
pub const CONTROL_BYTES_MAX: u32 = 32 << 10;

/// The largest control message before login: a token and little more.
pub const HELLO_BYTES_MAX: u32 = 8 << 10;

/// The longest sentence for people in an error. Some quote what the client
/// sent, and an answer must not outgrow its own cap by being polite.
pub const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The longest token. Ours have some 250 bytes.
pub const TOKEN_BYTES_MAX: usize = 4 << 10;

/// How deep a control message may be nested; ours are three deep.
pub const JSON_DEPTH_MAX: usize = 16;

/// Chaining values in one block list frame: the same 1 MiB cap as a chunk.
pub const BLOCK_LIST_VALUES_MAX: u32 = CHUNK_BYTES_MAX / VALUE_BYTES;

/// The length of any legal frame, without its prefix. Far below 2^24, so that
/// the first byte of a connection that speaks Towline is always zero.
pub const FRAME_BYTES_MAX: u32 = CHUNK_BYTES_MAX + CHUNK_HEADER_BYTES;

/// Ranges of blocks in one `withdraw`; a client with more sends several.
pub const WITHDRAW_RANGES_MAX: usize = 256;

/// Channels that one connection may have in use at the same time.
pub const CHANNELS_MAX: usize = 1024;

/// The bytes of a file that one `read` may ask for. A longer file takes several requests, so what
/// a client has asked for and not received yet is bounded by its own choice.
pub const READ_BYTES_MAX: u64 = 64 << 20;

/// The `read` requests of one connection that may wait for their end. A waiting one costs the
/// server some 100 bytes. With 256, some 1,000 small files a second come over a line of 200 ms
/// round trip.
pub const READS_MAX: usize = 256;

/// The entries in one answer to `list` or `versions`.
pub const LIST_ENTRIES_MAX: u32 = 10_000;

/// The entries in one answer to a `list` or `versions` that names no number.
pub const LIST_ENTRIES_DEFAULT: u32 = 1000;

/// The changes in one answer to `delta`.
pub const DELTA_ITEMS_MAX: u32 = 2000;

/// The changes in one answer to a `delta` that names no number.
pub const DELTA_ITEMS_DEFAULT: u32 = 500;

/// How long a `delta` may wait for a change, in ms: less than the 60 s after which proxies and
/// routers begin to forget silent connections.
pub const DELTA_WAIT_MS_MAX: u32 = 55_000;

/// How long a link is good where `download_url` does not say, in seconds.
pub const LINK_SECONDS_DEFAULT: u64 = 3600;

/// The longest time that `download_url` may ask for, in seconds: 30 days.
pub const LINK_SECONDS_MAX: u64 = 30 * 24 * 3600;

/// The text with which the next request continues a long answer, as it stands in JSON. A server
/// may write the whole place of the last entry into it.
pub const CURSOR_BYTES_MAX: usize = 8 << 10;

const _: () = assert!(CHUNK_BYTES_MAX as u64 == BLOCK_SIZE_BYTES);
const _: () = assert!(FRAME_BYTES_MAX < 1 << 24);
