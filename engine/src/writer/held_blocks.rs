//! The list of held blocks, a page at a time: its memory does not grow with the file (P6).

use super::state::OrderedWriter;
use crate::command::{BlockPages, PAGE_BLOCKS};
use crate::error::Error;
use crate::event::Answer;
use crate::may_block::MayBlock;
use crate::page_hold::PageHold;
use crate::uploads;
use tokio::sync::oneshot;
use towline_types::{BlockIndex, ChainingValue, DocumentId};

/// The pages that are still to be made.
pub(super) struct MorePages {
    id: DocumentId,
    from: BlockIndex,
    /// How many blocks the earlier pages had together.
    count: u64,
    /// Ready when the door has dropped the page before.
    dropped: oneshot::Receiver<()>,
}

impl OrderedWriter {
    /// Answers with the first page, or the only one.
    pub(super) fn held_blocks(
        &mut self,
        id: DocumentId,
        pages: BlockPages,
        may_block: MayBlock,
    ) -> Result<Option<MorePages>, Error> {
        uploads::document_of(&self.shared, self.user, id, may_block)?;
        match pages {
            BlockPages::All => self.page(id, BlockIndex::FIRST, 0),
            BlockPages::One { from, max } => {
                let blocks = self.blocks_from(id, from, max.min(PAGE_BLOCKS))?;
                self.last_page(id, blocks, 0);
                Ok(None)
            }
        }
    }

    /// Answers with the next page. If the session receives no events any more, or has ended and its
    /// client does not wait for its answers, the list ends here.
    pub(super) fn next_page(&mut self, more: MorePages) -> Result<Option<MorePages>, Error> {
        if self.events.is_closed() {
            return Ok(None);
        }
        if self.answers_end.is_cancelled() {
            self.reject_query(&Error::CutShort, Some(more.id));
            return Ok(None);
        }
        match self.page(more.id, more.from, more.count) {
            Err(error) => {
                self.reject_query(&error, Some(more.id));
                Ok(None)
            }
            page => page,
        }
    }

    /// Waits until the door has dropped the page before, or no further page is made.
    pub(super) fn page_dropped(
        &self,
        mut more: MorePages,
    ) -> impl Future<Output = MorePages> + Send + use<> {
        let answers_end = self.answers_end.clone();
        async move {
            tokio::select! {
                _ = &mut more.dropped => {}
                () = answers_end.cancelled() => {}
            }
            more
        }
    }

    fn page(
        &mut self,
        id: DocumentId,
        from: BlockIndex,
        count: u64,
    ) -> Result<Option<MorePages>, Error> {
        let blocks = self.blocks_from(id, from, PAGE_BLOCKS)?;
        let Some((last, _)) = blocks.last().filter(|_| blocks.len() == PAGE_BLOCKS as usize) else {
            self.last_page(id, blocks, count);
            return Ok(None);
        };
        let (from, count) = (last.next(), count + blocks.len() as u64);
        let (next, dropped) = oneshot::channel();
        let hold = PageHold { _permit: None, _next: Some(next) };
        self.answer(Some(id), Answer::HeldBlocks { blocks, count: None, hold });
        Ok(Some(MorePages { id, from, count, dropped }))
    }

    fn last_page(&mut self, id: DocumentId, blocks: Vec<(BlockIndex, ChainingValue)>, count: u64) {
        let count = Some(count + blocks.len() as u64);
        let hold = PageHold { _permit: self.permits.requests.take(), _next: None };
        self.answer(Some(id), Answer::HeldBlocks { blocks, count, hold });
    }

    fn blocks_from(
        &self,
        id: DocumentId,
        from: BlockIndex,
        max: u32,
    ) -> Result<Vec<(BlockIndex, ChainingValue)>, Error> {
        Ok(match self.shared.registry.get(id) {
            Some(active) => {
                active.ask(|upload| upload.progress().held_from(from).take(max as usize).collect())
            }
            None => self.shared.catalog.blocks_from(id, from, max).wait()?,
        })
    }
}
