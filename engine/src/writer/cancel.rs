//! Giving an upload up, at the wish of its owner.

use super::release::PauseLog;
use super::state::{OrderedWriter, WriterState};
use crate::error::Error;
use crate::event::EventKind;
use crate::may_block::MayBlock;
use crate::publish::finish_on_request;
use crate::{end, uploads};
use towline_types::DocumentId;
use towline_upload::{Phase, Refusal};

/// Why a cancelled upload ended.
const GIVEN_UP: &str = "its owner gave it up";

impl OrderedWriter {
    /// Ends an upload without a document. A second `cancel` of the same upload is answered as the
    /// first one. A document whose publishing was cut off is finished, and not given up.
    pub(super) fn cancel(&mut self, id: DocumentId, may_block: MayBlock) -> Result<(), Error> {
        let document = uploads::document_of(&self.shared, self.user, id, may_block)?;
        if let WriterState::Active(open) = &self.state
            && open.active.document_id == id
        {
            self.leave(PauseLog::None);
        }
        if document.phase == Phase::Publishing {
            finish_on_request::finish(&self.shared, id, may_block, &mut self.says_copied(id))?;
        }
        match uploads::document_of(&self.shared, self.user, id, may_block)?.phase {
            Phase::Cancelled => {}
            Phase::Uploading => {
                end::give_up(&self.shared, id, Phase::Cancelled, GIVEN_UP, may_block)?;
            }
            // Another writer has begun to publish it between the two looks.
            Phase::Publishing => return Err(Error::StillPublishing),
            ended => return Err(Error::Refused(Refusal::NotUploading(ended))),
        }
        self.observe_done(Some(id));
        self.tell(Some(id), EventKind::Cancelled);
        Ok(())
    }
}
