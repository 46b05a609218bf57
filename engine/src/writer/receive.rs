//! Bytes and block values for the open upload.

use super::state::{OrderedWriter, Room, WriterState};
use crate::buffer::BlockBuffer;
use crate::data_source::{DataSource, Pulled};
use crate::error::Error;
use crate::event::EventKind;
use crate::failpoint;
use crate::may_block::MayBlock;
use crate::storage::{Resource, StorageError};
use crate::uploads;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_types::block::block_count;
use towline_types::{BlockIndex, ChainingValue, FileSize, Offset};
use towline_upload::Refusal;

/// The longest time for which a writer has a data source. After it another writer may have the
/// thread.
const LOAN_MAX: Duration = Duration::from_millis(500);

/// How long a writer waits for the next data, on a thread that does nothing else. It is shorter
/// than the time for which the socket waits for the rest of a half-read segment, so that such a
/// segment goes back to the door with the source.
const IDLE_MAX: Duration = Duration::from_millis(20);

impl OrderedWriter {
    /// Writes the data that a source brings, while the writer has an upload open.
    pub(super) fn pull(&mut self, source: &mut dyn DataSource, may_block: MayBlock) {
        let end = Instant::now() + LOAN_MAX;
        while let WriterState::Active(_) = self.state
            && let now = Instant::now()
            && now < end
            && let Some(pulled) = source.pull(now + IDLE_MAX)
        {
            failpoint::reach("loan.pulled");
            self.look_at_lease();
            let done = match pulled {
                Pulled::Data { offset, buffer } => {
                    self.in_flight.arrived();
                    self.receive(offset, buffer, Some(may_block))
                }
                Pulled::Announce { index, value } => self.announce(index, value),
            };
            if let Err(error) = done {
                self.refuse_now(&error, may_block);
            }
        }
    }

    /// Writes bytes that are in flight. A thread that serves this writer alone waits until its user
    /// has a share of the cores for it; a batch of small files has many users, and does not wait.
    pub(super) fn receive(
        &mut self,
        offset: Offset,
        buffer: BlockBuffer,
        may_block: Option<MayBlock>,
    ) -> Result<(), Error> {
        let _written = self.in_flight.until_dropped();
        let shared = Arc::clone(&self.shared);
        let _share = may_block.map(|_| shared.core_shares.take(self.user));
        self.write(offset, buffer.bytes())
    }

    fn write(&mut self, offset: Offset, bytes: &[u8]) -> Result<(), Error> {
        let WriterState::Active(open) = &self.state else { return self.drop_or_complain() };
        if open.room == Room::Unknown {
            uploads::check_room_to_write(&self.shared, bytes.len() as u64)?;
        }
        let now = self.shared.clock().now();
        open.active.write(open.writer, offset, bytes, now).map_err(|error| match error {
            Error::Storage(StorageError::NoSpace { resource: Resource::Bytes, .. })
                if open.room == Room::Expected =>
            {
                let filesize = open.active.filesize();
                let missing = uploads::missing_bytes(&self.shared, filesize, &open.active);
                Error::Storage(StorageError::no_room(missing))
            }
            other => self.with_limit_of_server(other),
        })?;
        self.shared.metrics.counters.received_bytes.add(bytes.len() as u64);
        self.shared.checkpoints.mark_dirty(&open.active, bytes.len() as u64);
        open.active.report_if_due(self.shared.config.timings.report);
        Ok(())
    }

    pub(super) fn announce(
        &mut self,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<(), Error> {
        let WriterState::Active(open) = &self.state else { return self.drop_or_complain() };
        open.active.announce(open.writer.lease, index, value)?;
        self.shared.checkpoints.mark_dirty(&open.active, 0);
        Ok(())
    }

    /// Begins a request of the client, to which the bytes belong that come from now on.
    pub(super) fn begin_request(&mut self, offset: Offset) -> Result<(), Error> {
        let WriterState::Active(open) = &self.state else { return self.drop_or_complain() };
        open.active.begin_request(open.writer, offset)
    }

    /// Ends the request: its bytes stay, and may be made durable.
    pub(super) fn confirm_request(&mut self) -> Result<(), Error> {
        let WriterState::Active(open) = &self.state else { return self.drop_or_complain() };
        open.active.confirm_request(open.writer)?;
        self.shared.checkpoints.mark_dirty(&open.active, 0);
        Ok(())
    }

    /// Ends the request: its bytes are forgotten.
    pub(super) fn take_back_request(&mut self) -> Result<(), Error> {
        let WriterState::Active(open) = &self.state else { return self.drop_or_complain() };
        let offset = open.active.take_back_request(open.writer)?;
        let (id, length) = (open.active.document_id, open.active.length());
        self.tell(Some(id), EventKind::Withdrawn { offset, length });
        Ok(())
    }

    /// The limit of a file without a declared length is the client's own, or the server's, if the
    /// client has named none or a larger one: that one the operator can raise.
    fn with_limit_of_server(&self, error: Error) -> Error {
        match error {
            Error::Refused(Refusal::OwnLimit { filesize, max })
                if max == self.shared.config.max_filesize =>
            {
                Error::Refused(Refusal::SizeLimit { filesize, max })
            }
            other => other,
        }
    }

    /// The client says how long the file is.
    pub(super) fn declare(&mut self, filesize: FileSize, may_block: MayBlock) -> Result<(), Error> {
        let WriterState::Active(open) = &mut self.state else { return self.drop_or_complain() };
        let declared = open.active.declare(open.writer, filesize, &self.shared.catalog, may_block);
        if declared.is_ok() {
            open.room = Room::Expected;
            self.shared.checkpoints.mark_dirty(&open.active, 0);
        }
        declared.map_err(|error| self.with_limit_of_server(error))
    }

    /// Takes blocks back. Blocks after the end of the file are left out.
    pub(super) fn withdraw(
        &mut self,
        ranges: &[Range<BlockIndex>],
        may_block: MayBlock,
    ) -> Result<(), Error> {
        let WriterState::Active(open) = &self.state else { return self.drop_or_complain() };
        let count = block_count(open.active.filesize());
        let ranges: Vec<_> = ranges.iter().filter_map(|range| within(range, count)).collect();
        let (lease, catalog) = (open.writer.lease, &self.shared.catalog);
        let (offset, taken_back_bytes) =
            open.active.withdraw(lease, &ranges, catalog, may_block)?;
        self.shared.metrics.counters.taken_back_bytes.add(taken_back_bytes);
        let (id, length) = (open.active.document_id, open.active.length());
        self.tell(Some(id), EventKind::Withdrawn { offset, length });
        Ok(())
    }
}

/// A range of blocks, as far as a file of `count` blocks has them.
fn within(range: &Range<BlockIndex>, count: u64) -> Option<Range<BlockIndex>> {
    let end = range.end.min(BlockIndex::new(count)?);
    (range.start < end).then_some(range.start..end)
}
