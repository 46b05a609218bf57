//! The steps of a command, and which step follows which. Each step ends before something is waited
//! for. The other files of this module do the steps, and do not know of each other.

use super::begin::{BeginOutcome, BeginStep};
use super::complete::CompleteOutcome;
use super::held_blocks::MorePages;
use super::known_bytes::{KnownBytes, KnownOutcome};
use super::staged_whole::{Origin, StagedOutcome, StagedWhole};
use super::state::{OrderedWriter, Permits};
use super::tree::AwaitedChange;
use crate::command::{Command, CompleteRequest, Query, RequestEnd, WHOLE_BYTES_MAX};
use crate::error::Error;
use crate::event::Answer;
use crate::lane::{Outcome, Waiting};
use crate::may_block::MayBlock;
use crate::publish::Publishing;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use towline_state::CatalogError;
use towline_state::catalog;
use towline_types::{DocumentId, DocumentPath, Offset};

/// The time between two looks at whether a move is over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The next step of a command.
pub(super) enum Step {
    /// To tell the client which bytes an upload could go on with, or need not send.
    Find { path: DocumentPath, found: catalog::Reply<catalog::Found> },
    /// An upload begins.
    Begin(BeginStep),
    /// To read bytes that the server has already.
    Known(Box<KnownBytes>),
    /// A file that came whole, or was copied, gets its row.
    Staged(Box<StagedWhole>),
    /// An upload that is whole gets its name.
    Publish(Box<Publishing>),
    /// To answer with the next page of a list of blocks.
    HeldBlocks(Box<MorePages>),
    /// To answer with the changes that were waited for.
    Changes(Box<AwaitedChange>),
    /// To do the command on a thread of its own: it may have to wait for another writer.
    OnOwnThread(Command),
    /// To do the command when another thread has published that document.
    AfterPublish(DocumentId, Command),
    /// To do what follows from an error about the open upload.
    Refuse(Error),
}

/// A command that was begun, and its permits.
pub(crate) struct Continuation {
    step: Step,
    permits: Permits,
}

impl Step {
    /// Whether other writers must not wait for the step.
    fn is_long(&self) -> bool {
        match self {
            Self::Known(known) => known.is_long(),
            Self::Publish(publishing) => publishing.needs_thread(),
            Self::HeldBlocks(_)
            | Self::Changes(_)
            | Self::OnOwnThread(_)
            | Self::AfterPublish(..)
            | Self::Refuse(_) => true,
            Self::Find { .. } | Self::Begin(_) | Self::Staged(_) => false,
        }
    }
}

/// Whether the command is done so soon that a batch of writers may wait for it. Data at the
/// beginning of a file is, as a rule, the whole of a small file. Other data takes a thread of its
/// own: a kernel that lets dirty pages wait for the disk makes each *thread* that writes sleep, and
/// if a few threads wrote for a thousand uploads, all these uploads would wait.
pub(crate) fn is_short(command: &Command) -> bool {
    match command {
        Command::Begin(_)
        | Command::Complete(_)
        | Command::Whole(_)
        | Command::Announce { .. }
        | Command::BeginRequest(_)
        | Command::EndRequest(_)
        | Command::Reject { .. }
        | Command::Query(Query::Find { .. } | Query::Fence) => true,
        Command::Data { offset, buffer } => {
            *offset == Offset::ZERO && buffer.bytes().len() <= WHOLE_BYTES_MAX
        }
        Command::Resume(_)
        | Command::Join { .. }
        | Command::Withdraw(_)
        | Command::Declare(_)
        | Command::Cancel(_)
        | Command::Tree(_)
        | Command::Pull(_)
        | Command::Query(_) => false,
    }
}

impl OrderedWriter {
    /// Does the first step of a command; returns the next step, if there is one.
    pub(super) fn carry_out(
        &mut self,
        command: Command,
        may_block: Option<MayBlock>,
    ) -> Result<Option<Step>, Error> {
        self.note_asked(&command);
        match (command, may_block) {
            (Command::Begin(upload), _) => self.begin_upload(*upload).map(Step::Begin).map(Some),
            (Command::Complete(request), _) => self.complete_step(request, may_block),
            (Command::Whole(whole), _) => Ok(self.whole(whole).map(Step::Staged)),
            (Command::Data { offset, buffer }, _) => {
                self.receive(offset, buffer, may_block).map(|()| None)
            }
            (Command::Announce { index, value }, _) => self.announce(index, value).map(|()| None),
            (Command::BeginRequest(offset), _) => self.begin_request(offset).map(|()| None),
            (Command::EndRequest(RequestEnd::Confirmed), _) => {
                self.confirm_request().map(|()| None)
            }
            (Command::EndRequest(RequestEnd::TakenBack), _) => {
                self.take_back_request().map(|()| None)
            }
            (Command::Query(Query::Find { path, filesize, hash }), _) => {
                let found = self.shared.catalog.find(self.user, &path, filesize, hash);
                Ok(Some(Step::Find { path, found }))
            }
            (Command::Query(Query::Fence), _) => {
                self.answer(None, Answer::Fence);
                Ok(None)
            }
            (Command::Reject { rejection, request }, _) => {
                self.refuse_for_door(rejection, request).map(|()| None)
            }
            (command, None) => Ok(Some(Step::OnOwnThread(command))),
            (command, Some(may_block)) => self.carry_out_alone(command, may_block),
        }
    }

    /// Does a command that may have to wait for another writer.
    fn carry_out_alone(
        &mut self,
        command: Command,
        may_block: MayBlock,
    ) -> Result<Option<Step>, Error> {
        let (id, done) = match &command {
            Command::Withdraw(ranges) => return self.withdraw(ranges, may_block).map(|()| None),
            Command::Declare(filesize) => {
                return self.declare(*filesize, may_block).map(|()| None);
            }
            Command::Resume(request) => (request.id, self.resume(request, may_block)),
            Command::Join { id, lease } => (*id, self.join(*id, *lease, may_block)),
            Command::Query(Query::Status(id)) => (*id, self.status(*id, may_block)),
            Command::Query(Query::ReceivedRanges { id, from, max }) => {
                (*id, self.received_ranges(*id, *from, *max, may_block))
            }
            Command::Query(Query::HeldBlocks { id, pages }) => {
                match self.held_blocks(*id, *pages, may_block) {
                    Ok(more) => return Ok(more.map(Box::new).map(Step::HeldBlocks)),
                    Err(error) => (*id, Err(error)),
                }
            }
            Command::Cancel(id) => (*id, self.cancel(*id, may_block)),
            Command::Tree(_) => {
                let Command::Tree(request) = command else { return Ok(None) };
                return match self.tree(*request, may_block) {
                    Ok(awaited) => Ok(awaited.map(Box::new).map(Step::Changes)),
                    Err(error) => {
                        self.reject_query(&error, None);
                        Ok(None)
                    }
                };
            }
            Command::Pull(_) => {
                if let Command::Pull(mut source) = command {
                    self.pull(&mut *source, may_block);
                }
                return Ok(None);
            }
            _ => return Ok(None),
        };
        match done {
            Ok(()) => Ok(None),
            Err(Error::StillPublishing) if self.may_wait_for(id) => {
                Ok(Some(Step::AfterPublish(id, command)))
            }
            // A refusal that concerns another document leaves the writer's own upload as it is.
            Err(error) => {
                self.reject_query(&error, Some(id));
                Ok(None)
            }
        }
    }

    /// Does the next step.
    fn resume_step(
        &mut self,
        step: Step,
        may_block: Option<MayBlock>,
    ) -> Result<Option<Step>, Error> {
        match step {
            Step::Find { path, found } => {
                match found.wait() {
                    Ok(found) => self.found(&path, found),
                    Err(error) => self.reject_query(&error.into(), None),
                }
                Ok(None)
            }
            Step::Begin(step) => match self.resume_begin(step)? {
                BeginOutcome::Next(step) => Ok(Some(Step::Begin(step))),
                BeginOutcome::LookAt(begun, documents) => {
                    let known = self.look_at_known(begun, documents)?;
                    self.known_step(known)
                }
                BeginOutcome::Copy(begun, documents) => {
                    let known = self.copy_known(begun, documents)?;
                    self.known_step(known)
                }
                BeginOutcome::Found(begun, found) => {
                    self.found(&begun.request.path, *found);
                    Ok(None)
                }
                BeginOutcome::Done => Ok(None),
            },
            Step::HeldBlocks(more) => {
                Ok(self.next_page(*more)?.map(Box::new).map(Step::HeldBlocks))
            }
            Step::Changes(awaited) => {
                Ok(self.answer_awaited(*awaited).map(Box::new).map(Step::Changes))
            }
            Step::Known(known) => {
                let known = self.use_known(*known)?;
                self.known_step(known)
            }
            Step::Staged(staged) => match self.resume_staged(staged)? {
                StagedOutcome::Next(staged) => Ok(Some(Step::Staged(staged))),
                StagedOutcome::Publish(advance) => Ok(self.advanced(advance).map(Step::Publish)),
                StagedOutcome::NoDocument(origin, error) => self.without_document(origin, error),
            },
            Step::Publish(publishing) => {
                let say = &mut self.says_copied(publishing.document_id());
                let advance = publishing.advance(&self.shared, may_block, say)?;
                Ok(self.advanced(advance).map(Step::Publish))
            }
            Step::OnOwnThread(command) | Step::AfterPublish(_, command) => {
                self.look_at_lease();
                self.carry_out(command, may_block)
            }
            Step::Refuse(error) => Err(error),
        }
    }

    fn complete_step(
        &mut self,
        request: CompleteRequest,
        may_block: Option<MayBlock>,
    ) -> Result<Option<Step>, Error> {
        Ok(match self.complete(request, may_block)? {
            CompleteOutcome::Publish(publishing) => Some(Step::Publish(Box::new(publishing))),
            CompleteOutcome::NeedsThread(request) => {
                Some(Step::OnOwnThread(Command::Complete(request)))
            }
            CompleteOutcome::AfterPublish(id, request) => {
                Some(Step::AfterPublish(id, Command::Complete(request)))
            }
            CompleteOutcome::Done => None,
        })
    }

    fn known_step(&mut self, known: KnownOutcome) -> Result<Option<Step>, Error> {
        match known {
            KnownOutcome::Read(known) => Ok(Some(Step::Known(known))),
            KnownOutcome::Staged(staged) => Ok(Some(Step::Staged(staged))),
            KnownOutcome::Useless(begun) => self.begin_without(begun).map(Step::Begin).map(Some),
            KnownOutcome::Done => Ok(None),
        }
    }

    /// A file that came whole, or was copied, got no row. The steps of a resumable upload follow
    /// instead: they find the reason, and answer with it.
    fn without_document(
        &mut self,
        origin: Origin,
        error: Option<CatalogError>,
    ) -> Result<Option<Step>, Error> {
        match (origin, error) {
            (Origin::Whole(whole), _) => {
                self.unfold(*whole);
                Ok(None)
            }
            (Origin::Copy(mut begun), None | Some(CatalogError::Refused(_))) => {
                // The reason that refused this copy would refuse the next one as well, and the
                // bytes would be copied again and again (P6).
                begun.unless.same_bytes = None;
                Ok(Some(Step::Begin(self.make_row(begun))))
            }
            (_, error) => Err(error.map_or(Error::CutShort, Error::from)),
        }
    }

    /// Goes on with a command that was begun.
    pub(super) fn resume_command(
        &mut self,
        Continuation { step, permits }: Continuation,
        may_block: Option<MayBlock>,
    ) -> Outcome<Continuation> {
        self.is_under_way = false;
        self.permits = permits;
        let done = self.resume_step(step, may_block);
        self.conclude(done, may_block)
    }

    /// Ends a step. A command that is done gives its permits back; one that goes on keeps them.
    pub(super) fn conclude(
        &mut self,
        done: Result<Option<Step>, Error>,
        may_block: Option<MayBlock>,
    ) -> Outcome<Continuation> {
        let is_copying =
            matches!(&done, Ok(Some(Step::Publish(publishing))) if publishing.wants_turn());
        self.is_copying.send_if_modified(|was| std::mem::replace(was, is_copying) != is_copying);
        let step = match done {
            Ok(step) => step,
            Err(error) => self.refuse(error, may_block).err().map(Step::Refuse),
        };
        let permits = std::mem::take(&mut self.permits);
        let Some(step) = step else {
            self.is_under_way = false;
            return Outcome::Done;
        };
        self.is_under_way = true;
        match self.wait(step) {
            Wait::Not(step) if step.is_long() => {
                Outcome::NeedsThread(Continuation { step, permits })
            }
            Wait::Not(step) => Outcome::Continue(Continuation { step, permits }),
            Wait::Until(step) => {
                Outcome::After(Box::pin(async move { Continuation { step: step.await, permits } }))
            }
        }
    }

    /// Whether something is waited for before the step, without a thread.
    fn wait(&self, step: Step) -> Wait {
        match step {
            Step::Known(known) if known.wants_permit() => {
                let mut say = known.first().map(|(id, filesize)| self.at_work(id, filesize));
                let permit = self.large_read(move || {
                    if let Some(say) = &mut say {
                        say(Offset::ZERO);
                    }
                });
                Wait::Until(Box::pin(async move {
                    Step::Known(Box::new(known.with_permit(permit.await)))
                }))
            }
            Step::Publish(mut publishing) if publishing.wants_turn() => {
                let id = publishing.document_id();
                let copies = Arc::clone(&self.shared.volume_copies);
                let mut say = self.says_copied(id);
                let permit = self.large_read(move || {
                    if let Some(progress) = copies.progress(id) {
                        say(progress);
                    }
                });
                Wait::Until(Box::pin(async move {
                    publishing.take_turn(permit.await);
                    Step::Publish(publishing)
                }))
            }
            Step::AfterPublish(id, command) => {
                let published = self.published_by_another(id);
                Wait::Until(Box::pin(async move {
                    published.await;
                    Step::AfterPublish(id, command)
                }))
            }
            Step::HeldBlocks(more) => {
                let dropped = self.page_dropped(*more);
                Wait::Until(Box::pin(async move { Step::HeldBlocks(Box::new(dropped.await)) }))
            }
            Step::Changes(awaited) => {
                let change = self.change_or_end(*awaited);
                Wait::Until(Box::pin(async move { Step::Changes(Box::new(change.await)) }))
            }
            Step::Publish(publishing) if publishing.waits_for_move() => {
                Wait::Until(Box::pin(async move {
                    sleep(LOOK_AGAIN).await;
                    Step::Publish(publishing)
                }))
            }
            step => Wait::Not(step),
        }
    }
}

/// Whether a step waits for something without a thread.
enum Wait {
    Not(Step),
    Until(Waiting<Step>),
}
