//! Finding out with the server what is to be done: nothing, all of it, or the rest.

use super::{Means, Position, Transfer};
use crate::events::Event;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::stop::Stop;
use crate::units;
use crate::uploads::{self, BegunWith, Remembered, Wanted};
use std::collections::BTreeMap;
use std::path::PathBuf;
use towline_protocol::reply::{Granted, Progress, Success};
use towline_protocol::request::{DocumentRef, Find, Resume, Upload, Withdraw};
use towline_protocol::{Code, ErrorReply, Reply, Request};
use towline_types::{ChainingValue, DocumentId, FileSize, Offset};

/// How often the server may answer that something else is to be asked: an upload that is
/// gone, another one that another run has begun meanwhile.
const ROUNDS: u32 = 8;

/// What client and server agreed on.
pub(super) enum Agreed {
    /// The server has the file.
    Done(Success),
    /// This is to be sent.
    Granted(Plan),
}

impl Transfer {
    /// Begins the upload or goes on with it.
    pub(super) async fn agree(&mut self, means: &mut Means<'_>) -> Result<Agreed, Stop> {
        self.channel = means.link.new_channel();
        self.keep_to_one_store(means);
        if !self.looked_up {
            self.look_up(means).await?;
            self.looked_up = true;
        }
        for _ in 0..ROUNDS {
            let agreed = match self.document_id {
                Some(document_id) => {
                    self.list(means);
                    self.resume(means, document_id).await?
                }
                None => self.begin(means).await?,
            };
            if let Some(agreed) = agreed {
                return Ok(agreed);
            }
        }
        let what = "whatever is asked for, the server offers something else".to_owned();
        Err(Stop::Garbled(Failure::Protocol(what)))
    }

    /// Lets go of an upload on another store than the one that answers now: its number
    /// means something else here. The list keeps it, for the server may come back.
    fn keep_to_one_store(&mut self, means: &mut Means<'_>) {
        let store = means.link.welcome().server_id;
        if self.store.is_some() && store.is_some() && self.store != store {
            if self.document_id.is_some() {
                self.notice(means, self.other_server(means));
            }
            self.begin_at_zero();
            // A number that a person gave is the number of an upload on the other server.
            self.looked_up &= self.options.document_id.is_none();
        }
        self.store = store.or(self.store);
    }

    fn other_server(&self, means: &Means<'_>) -> String {
        format!(
            "another server answers at {} than the one that has a part of this file; that part \
             stays in the list (towline uploads) and is of no use here",
            means.server.address
        )
    }

    /// Writes down an upload that was found on the server. Until it goes on the server may be
    /// asked for long, and a person who interrupts that is told its number. Does not wait:
    /// what is written when it goes on tells how that went.
    fn list(&mut self, means: &Means<'_>) {
        if !self.is_listed {
            drop(means.uploads.granted(self.entry(means)));
            self.is_listed = true;
        }
    }

    /// Asks the state file whether an earlier run has begun with this file.
    async fn look_up(&mut self, means: &mut Means<'_>) -> Result<(), Stop> {
        let asked_for = self.options.document_id;
        let wanted = Wanted {
            server: means.server.clone(),
            remote: self.document.remote.clone(),
            local: self.source.path().to_owned(),
            user_id: Self::user(means),
            document_id: asked_for,
        };
        let (document_id, entry) = match (means.uploads.find(wanted).await, asked_for) {
            (Remembered::Entry(document_id, entry), _) => (document_id, entry),
            (Remembered::OtherServer, Some(document_id)) => {
                let server = means.server.address.clone();
                let document_id = Some(document_id);
                return Err(Failure::OtherServer { document_id, server }.into());
            }
            // To begin another upload in its place would surprise.
            (Remembered::Nothing, Some(document_id)) => {
                return Err(Failure::NotYours { document_id }.into());
            }
            (Remembered::OtherServer, None) => {
                self.notice(means, self.other_server(means));
                return Ok(());
            }
            (Remembered::Nothing, None) => return Ok(()),
        };
        self.grows = entry.total_size < self.filesize() && means.link.knows("grow");
        if entry.total_size != self.filesize() && !self.grows {
            self.notice(
                means,
                format!(
                    "the file had {} when its upload began and has {} now; the old upload \
                     (document {document_id}) is cancelled and a new one begins",
                    units::size(entry.total_size.get()),
                    units::size(self.filesize().get())
                ),
            );
            return self.give_up(means, document_id).await;
        }
        self.document_id = Some(document_id);
        self.believed = Some(entry.offset).filter(|_| !self.grows);
        self.position = Position::at(entry.offset.min(self.filesize().end()));
        (self.inherited, self.is_listed) = (true, true);
        self.proof = uploads::proof(&entry);
        if entry.modified_ns.is_none() || entry.modified_ns != self.source.modified() {
            self.proof = None;
            self.notice(
                means,
                "the file may have changed since its upload began; only what differs is sent"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Cancels an upload that will not be continued.
    async fn give_up(
        &mut self,
        means: &mut Means<'_>,
        document_id: DocumentId,
    ) -> Result<(), Stop> {
        let about = DocumentRef { channel: self.channel, document_id };
        match means.link.ask(&Request::Cancel(about)).await? {
            Reply::Error(error) if matches!(Stop::refused(error.clone()), Stop::Later(_)) => {
                return Err(Stop::refused(error));
            }
            // Gone already, or completed: either way there is nothing to cancel.
            _ => {}
        }
        self.forget(means, document_id).await;
        Ok(())
    }

    async fn forget(&mut self, means: &mut Means<'_>, document_id: DocumentId) {
        if let Err(error) = means.uploads.remove(means.server, document_id).await {
            self.notice(means, Failure::from(error).to_string());
        }
        self.gone = Some(document_id);
        self.begin_at_zero();
    }

    /// What was known of an upload is of no use any more.
    fn begin_at_zero(&mut self) {
        self.document_id = None;
        self.grows = false;
        self.lease = None;
        (self.inherited, self.is_listed) = (false, false);
        self.believed = None;
        self.position = Position::at(Offset::ZERO);
        self.fills.clear();
    }

    /// Continues an upload. Returns nothing where the server does not have it any more.
    async fn resume(
        &mut self,
        means: &mut Means<'_>,
        document_id: DocumentId,
    ) -> Result<Option<Agreed>, Stop> {
        let mut offset = self.believed.take();
        loop {
            let resume = Request::Resume(Resume {
                channel: self.channel,
                document_id,
                offset,
                filename: Some(self.filename()),
                filesize: Some(self.filesize()),
                user_id: None,
                blocks: true,
                grow: self.grows,
            });
            let (local, filesize) = (self.document.local.clone(), self.filesize());
            let Means { link, listener, .. } = means;
            // It may be whole, and the server still copies it to the disk of its folder.
            let mut watch = |progress: &Progress| {
                if let Some(copied) = progress.copied.filter(|_| progress.filesize == filesize) {
                    listener(copying(local.clone(), filesize, copied));
                }
            };
            match link.ask_and_watch(&resume, &mut watch).await? {
                Reply::Resume(granted) => {
                    self.check(&granted, document_id)?;
                    self.lease = granted.lease;
                    self.grows = false;
                    let plan = self.rest(means, granted).await?;
                    return Ok(Some(Agreed::Granted(plan)));
                }
                Reply::Success(success) => return self.was_completed(means, success).await,
                // The server decides: ask again, without an opinion.
                Reply::Error(error) if error.code == Code::OffsetMismatch && offset.is_some() => {
                    offset = None;
                }
                Reply::Error(error) if is_gone(error.code) => {
                    self.notice(
                        means,
                        format!(
                            "the earlier upload cannot be continued ({}); the file is sent from \
                             the beginning",
                            crate::printable(&error.message)
                        ),
                    );
                    self.forget(means, document_id).await;
                    return Ok(None);
                }
                Reply::Error(error) => return Err(Stop::refused(error)),
                other => return Err(Stop::protocol(format!("'resume' was answered {other:?}"))),
            }
        }
    }

    /// What is left to do after the server has granted to go on.
    async fn rest(&mut self, means: &mut Means<'_>, granted: Granted) -> Result<Plan, Stop> {
        let document_id = granted.document_id;
        let count = self.values.len() as u64;
        let held = means.link.held_blocks(self.channel, document_id, count).await?;
        self.compare(means, &held).await?;
        let plan = Plan::resume(self.filesize(), granted.offset, &held, &self.values, &self.fills);
        let withdrawn = self.withdraw(means, &plan, document_id).await?;
        let offset = withdrawn.unwrap_or(granted.offset);
        self.position.planned(&plan, self.filesize(), offset);
        // More may have come than the server found the time to say.
        let left_bytes = plan.bytes(self.filesize());
        self.headway.granted(self.position.held_bytes(self.filesize()));
        if let Some(standing) = self.standing() {
            let changed = !plan.withdraw.is_empty();
            (means.listener)(Event::Resumed { standing, left_bytes, changed });
        }
        Ok(plan)
    }

    /// Takes back what the plan says; where the upload stands then, if anything was.
    pub(super) async fn withdraw(
        &mut self,
        means: &mut Means<'_>,
        plan: &Plan,
        document_id: DocumentId,
    ) -> Result<Option<Offset>, Stop> {
        let mut offset = None;
        for ranges in plan.withdrawals() {
            let channel = self.channel;
            let withdraw = Request::Withdraw(Withdraw { channel, ranges: ranges.to_vec() });
            match means.link.ask(&withdraw).await? {
                Reply::Withdraw(granted) => {
                    self.check(&granted, document_id)?;
                    offset = Some(granted.offset);
                }
                Reply::Error(error) => return Err(Stop::refused(error)),
                other => return Err(Stop::protocol(format!("'withdraw' was answered {other:?}"))),
            }
        }
        Ok(offset)
    }

    /// Learns the local values of all held blocks: from the proof of an earlier run
    /// where it covers them, else by reading.
    async fn compare(
        &mut self,
        means: &mut Means<'_>,
        held: &BTreeMap<u64, ChainingValue>,
    ) -> Result<(), Stop> {
        if let Some(proof) = self.proof.take() {
            let proven = proof.proven(self.source.identity(), held);
            for (number, value) in (0..proven).zip(&mut self.values) {
                *value = value.or_else(|| held.get(&number).copied());
            }
        }
        self.hash_local(means, |number| held.contains_key(&number)).await
    }

    /// The server says that the upload was completed: an earlier SUCCESS was
    /// lost, or the local file has changed since.
    async fn was_completed(
        &mut self,
        means: &mut Means<'_>,
        success: Success,
    ) -> Result<Option<Agreed>, Stop> {
        let document_id = success.document_id;
        let why = if !self.is_in_place(&success) {
            let place = crate::place::words(&success);
            format!(
                "the file was completed as document {document_id} in another place ({place}); it \
                 is uploaded to this one"
            )
        } else if self.hash(means).await? != success.blake3 {
            format!(
                "an earlier version of the file was completed as document {document_id}; it has \
                 changed since and is uploaded anew"
            )
        } else {
            return Ok(Some(Agreed::Done(self.conclude(means, success).await?)));
        };
        self.notice(means, why);
        self.forget(means, document_id).await;
        Ok(None)
    }

    /// Begins anew; nothing where it turned out that another run had begun.
    async fn begin(&mut self, means: &mut Means<'_>) -> Result<Option<Agreed>, Stop> {
        let find = Request::Find(Find {
            channel: self.channel,
            filename: self.filename(),
            folder: self.folder(),
            filesize: self.filesize(),
            blake3: None,
        });
        let found = match means.link.ask(&find).await? {
            Reply::Find(found) => found,
            Reply::Error(error) => return Err(Stop::refused(error)),
            other => return Err(Stop::protocol(format!("'find' was answered {other:?}"))),
        };
        // Between the question and the wish an older connection's last words may still
        // be heard there: then nothing begins beside what they began.
        let new_only = found.unfinished.is_none() && means.link.knows("new_only");
        if let Some(unfinished) = found.unfinished
            && self.gone != Some(unfinished.document_id)
            && self.is_ours(means, unfinished.document_id).await?
        {
            self.document_id = Some(unfinished.document_id);
            self.position = Position::at(unfinished.offset.min(self.filesize().end()));
            self.inherited = true;
            return Ok(None);
        }
        let may_be_known = (found.same_size || self.was_thrown) && !self.is_sent_anyway;
        let blake3 =
            if may_be_known && !self.options.again { Some(self.hash(means).await?) } else { None };
        let upload = Request::Upload(Upload {
            channel: self.channel,
            filename: self.filename(),
            folder: self.folder(),
            filesize: self.filesize(),
            user_id: Some(Self::user(means)),
            chunk_size: Some(self.chunk_bytes(means)),
            blake3,
            on_conflict: self.options.on_conflict.unwrap_or_default(),
            blocks: true,
            new_only,
        });
        let (local, filesize) = (self.document.local.clone(), self.filesize());
        let Means { link, listener, .. } = means;
        // A server that has these bytes elsewhere copies them, and says how far it is.
        let mut watch = |progress: &Progress| {
            if blake3.is_some() && progress.filesize == filesize {
                listener(copying(local.clone(), filesize, progress.received));
            }
        };
        match link.ask_and_watch(&upload, &mut watch).await? {
            // Look again.
            Reply::Find(_) if new_only => Ok(None),
            Reply::Upload(granted) => {
                self.check(&granted, granted.document_id)?;
                if granted.offset != Offset::ZERO {
                    return Err(Stop::protocol("a new upload does not begin at 0"));
                }
                self.document_id = Some(granted.document_id);
                self.lease = granted.lease;
                self.headway.granted(0);
                let plan = Plan::whole_file(self.filesize());
                self.position.planned(&plan, self.filesize(), Offset::ZERO);
                if let Some(standing) = self.standing() {
                    (means.listener)(Event::Started(standing));
                }
                Ok(Some(Agreed::Granted(plan)))
            }
            // An earlier server names whatever document has the same bytes.
            Reply::Success(success)
                if success.existing && blake3.is_some() && !self.is_in_place(&success) =>
            {
                self.is_sent_anyway = true;
                Ok(None)
            }
            Reply::Success(success) if (success.existing || success.copied) && blake3.is_some() => {
                Ok(Some(Agreed::Done(self.conclude(means, success).await?)))
            }
            Reply::Error(error) => Err(Stop::refused(error)),
            other => Err(Stop::protocol(format!("'upload' was answered {other:?}"))),
        }
    }

    /// Whether an upload under this name may be one of this file: not begun with
    /// another file as far as we know, and with something in common if there is
    /// anything to compare. Otherwise two files of one name and size would take
    /// turns at one upload, and each would undo the other's.
    async fn is_ours(
        &mut self,
        means: &mut Means<'_>,
        document_id: DocumentId,
    ) -> Result<bool, Stop> {
        let begun_with =
            means.uploads.begun_with(means.server, document_id, self.source.path()).await;
        let must_all_agree = match begun_with {
            BegunWith::This => false,
            BegunWith::Another => return Ok(false),
            // A file that was moved keeps its time, or at least its bytes.
            BegunWith::Gone(modified) => modified.is_none() || modified != self.source.modified(),
        };
        let count = self.values.len() as u64;
        let held = means.link.held_blocks(self.channel, document_id, count).await?;
        self.hash_local(means, |number| held.contains_key(&number)).await?;
        let mut held_here = (0..)
            .zip(&self.values)
            .filter_map(|(number, value)| Some(*value.as_ref()? == *held.get(&number)?));
        let agrees = if must_all_agree {
            held_here.all(|is_same| is_same)
        } else {
            held_here.any(|is_same| is_same)
        };
        Ok(agrees || held.is_empty())
    }

    /// Holds what the server grants against what was asked for.
    fn check(&self, granted: &Granted, document_id: DocumentId) -> Result<(), Stop> {
        if granted.document_id != document_id {
            return Err(Stop::protocol("the server speaks of another document"));
        }
        if granted.filesize != self.filesize() || granted.offset > self.filesize().end() {
            return Err(Stop::protocol(format!(
                "offset {} of {} bytes in a file of {} bytes",
                granted.offset,
                granted.filesize,
                self.filesize()
            )));
        }
        Ok(())
    }

    /// Makes an error on the upload's channel into the end of the attempt.
    pub(super) fn refusal(&mut self, error: ErrorReply) -> Stop {
        match error.code {
            Code::OffsetMismatch => {
                if let Some(expected) = error.expected
                    && expected < self.filesize().end()
                {
                    let block = towline_types::BlockIndex::at(expected);
                    let fill = expected.get() - block.start().get();
                    self.fills.insert(block.get(), fill);
                }
                Stop::Realign
            }
            // Frames that cannot have been sent so: damage on the way.
            Code::BadState => {
                Stop::Garbled(Failure::Refused { reply: Box::new(error), kept: None })
            }
            _ => Stop::refused(error),
        }
    }
}

fn copying(path: PathBuf, filesize: FileSize, copied: Offset) -> Event {
    let bytes = filesize.get();
    Event::Copying { path, bytes, copied_bytes: copied.get().min(bytes) }
}

/// Whether an upload is lost to this client, so that a new one must begin.
fn is_gone(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound | Code::Expired | Code::Cancelled | Code::Failed | Code::FileChanged
    )
}
