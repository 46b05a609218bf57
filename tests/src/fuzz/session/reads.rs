//! The bytes of documents that a server sends, compared with what was announced.

use super::content::CONTENT;
use towline_protocol::Channel;
use towline_protocol::limits::READ_BYTES_MAX;
use towline_protocol::reply::{ReadBegin, ReadEnd};
use towline_types::{BlockHasher, BlockIndex, ChainingValue, FileHash, Offset};

const BLOCK: u64 = 1 << 20;

/// The read of a connection that is being answered: there is one at a time.
#[derive(Debug, Default)]
pub(super) struct Reads {
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    begin: ReadBegin,
    bytes: Vec<u8>,
    /// The value that came last, before the bytes of its block.
    value: Option<(BlockIndex, ChainingValue)>,
    /// Whether values come with the blocks that are wholly in the range; not known before the
    /// first of them.
    has_values: Option<bool>,
}

impl Reads {
    /// `has_values`: what the request said, where that is known.
    pub(super) fn begins(&mut self, begin: &ReadBegin, has_values: Option<bool>) {
        assert!(self.active.is_none(), "two at a time: {begin:?} and {:?}", self.active);
        let end = begin.offset.get() + begin.length;
        assert!(end <= begin.filesize.get(), "{begin:?}");
        assert!(begin.length <= READ_BYTES_MAX, "{begin:?}");
        let bytes = Vec::new();
        self.active = Some(Active { begin: begin.clone(), bytes, value: None, has_values });
    }

    pub(super) fn block(&mut self, channel: Channel, index: BlockIndex, value: ChainingValue) {
        let active = self.on(channel);
        assert_eq!(index.get() * BLOCK, active.position(), "before the bytes of its block");
        assert!(active.holds_block(index), "{index:?} is not wholly in the range");
        assert!(*active.has_values.get_or_insert(true), "values, or none of them");
        assert_eq!(active.value.replace((index, value)).map(|(index, _)| index), None);
    }

    /// `is_content`: the bytes must be those that every file of the session has.
    pub(super) fn chunk(
        &mut self,
        channel: Channel,
        offset: Offset,
        bytes: &[u8],
        is_content: bool,
    ) {
        let active = self.on(channel);
        let at = active.position();
        assert_eq!(offset.get(), at, "without a gap");
        let end = at + bytes.len() as u64;
        assert!(at % BLOCK + bytes.len() as u64 <= BLOCK, "within a block");
        assert!(end <= active.end(), "no more than was announced");
        let index = BlockIndex::new(at / BLOCK).expect("a small number");
        if at.is_multiple_of(BLOCK) && active.holds_block(index) {
            let came = active.value.is_some();
            assert_eq!(*active.has_values.get_or_insert(came), came, "values, or none of them");
        }
        if is_content {
            let [from, to] = [at, end].map(|place| usize::try_from(place).expect("a small file"));
            assert_eq!(CONTENT.get(from..to), Some(bytes), "what was sent is what is read");
        }
        active.bytes.extend_from_slice(bytes);
        if end.is_multiple_of(BLOCK) || end == active.begin.filesize.get() {
            active.compare();
        }
    }

    pub(super) fn ends(&mut self, end: &ReadEnd) {
        let active = self.on(end.channel);
        assert_eq!(active.begin.document_id, end.document_id);
        assert_eq!(active.position(), active.end(), "all that was announced");
        assert_eq!(active.value, None, "a value without its block");
        if active.begin.length == active.begin.filesize.get() {
            let hash = FileHash::from_bytes(blake3::hash(&active.bytes).into());
            assert_eq!(hash, active.begin.blake3);
        }
        self.active = None;
    }

    /// The server has closed in good order.
    pub(super) fn assert_none(&self) {
        assert!(self.active.is_none(), "without an end: {:?}", self.active);
    }

    fn on(&mut self, channel: Channel) -> &mut Active {
        let active = self.active.as_mut().filter(|active| active.begin.channel == channel);
        active.unwrap_or_else(|| panic!("nothing is read on {channel}"))
    }
}

impl Active {
    fn position(&self) -> u64 {
        self.begin.offset.get() + self.bytes.len() as u64
    }

    fn end(&self) -> u64 {
        self.begin.offset.get() + self.begin.length
    }

    fn holds_block(&self, index: BlockIndex) -> bool {
        let span = index.span(self.begin.filesize);
        !span.is_empty() && self.begin.offset.get() <= span.start && span.end <= self.end()
    }

    /// Compares the block that has just ended with its value.
    fn compare(&mut self) {
        let Some((index, value)) = self.value.take() else { return };
        let span = index.span(self.begin.filesize);
        let start = usize::try_from(span.start - self.begin.offset.get()).expect("a small file");
        let mut hasher = BlockHasher::new(index, self.begin.filesize);
        hasher.update(&self.bytes[start..]);
        assert_eq!(hasher.finish(), value, "block {index:?}");
    }
}
