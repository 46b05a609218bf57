//! The attempts at one file, until it is done, has failed, or is put off for other files.

use super::Client;
use crate::attempt_end::{AttemptEnd, reason};
use crate::backoff::{Backoff, FIRST_CONTACT_WAITS};
use crate::events::{Event, Listener, Receipt};
use crate::failure::Failure;
use crate::route::no_server::{NoServer, Unreached};
use crate::transfer::Transfer;
use crate::transfer::attempt::Attempt;
use std::time::Duration;
use towline_protocol::{Code, ErrorReply};

/// How many attempts in a row, without progress between them, may receive bytes that the other side
/// cannot have sent, before the upload fails.
const GARBLED_MAX: u32 = 8;

/// How many connections in a row one file may lose, without progress between them, before the files
/// that wait are tried first.
const LOSSES_BEFORE_OTHERS: u32 = 3;

/// How many connections in a row may be lost without a received byte of a file, although the login
/// succeeded, before the client tries small packets.
const IN_VAIN_MAX: u32 = 2;

/// What is known of the attempts at one file so far.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    /// The number of attempts in a row in which bytes arrived that cannot have been sent.
    garbled: u32,
    /// The number of connections in a row that were lost.
    lost: u32,
}

/// How the attempts ended.
pub(super) enum Tried {
    Done(Receipt),
    Over(Failure),
    /// The file is put off, and the other files of the command are tried first.
    Later(Duration),
}

/// A wait before the next attempt.
pub(crate) struct Wait {
    /// Why the last attempt failed, in a few words.
    pub(crate) reason: String,
    /// How many attempts in a row have made no headway.
    pub(crate) attempt: u32,
    pub(crate) next_in: Duration,
}

/// Why an attempt has failed.
struct FailedAttempt {
    /// The reason in words for people.
    reason: String,
    /// The reply by which the server refuses for now.
    refusal: Option<Box<ErrorReply>>,
    /// Why there is no server, where that is the reason.
    no_server: Option<NoServer>,
    /// The client was logged in when the attempt failed: the server may take other files.
    was_connected: bool,
}

impl Attempts {
    pub(super) fn new(retries: Option<u32>) -> Self {
        Self { backoff: Backoff::new(retries), garbled: 0, lost: 0 }
    }

    pub(super) fn begin_anew(&mut self) {
        self.backoff.progressed();
        (self.garbled, self.lost) = (0, 0);
    }
}

impl Client {
    /// Makes attempts until one succeeds. Where `others_wait`, a file that fails for a reason which
    /// concerns only this file is put off.
    pub(super) async fn try_until_done(
        &mut self,
        transfer: &mut Transfer,
        attempts: &mut Attempts,
        others_wait: bool,
        listener: Listener<'_>,
    ) -> Tried {
        loop {
            let Attempt { ended, made_headway, was_in_vain } =
                self.attempt(transfer, listener).await;
            let end = match ended {
                Ok(receipt) => return Tried::Done(receipt),
                Err(end) => end,
            };
            if made_headway {
                attempts.begin_anew();
            }
            self.watch_for_small_mtu(&end, was_in_vain, transfer, listener);
            let failed = match self.failed(end, attempts).await {
                Ok(Some(failed)) => failed,
                Ok(None) => continue,
                Err(failure) => return Tried::Over(failure),
            };
            self.connection = None;
            let Some(wait) = self.next_wait(attempts, &failed).await else {
                return Tried::Over(self.given_up(attempts, failed));
            };
            listener(Event::Waiting {
                path: transfer.local().clone(),
                reason: crate::text::printable(&failed.reason),
                attempt: attempts.backoff.failed(),
                next_in: wait,
            });
            let is_stubborn = failed.refusal.is_some() || attempts.lost >= LOSSES_BEFORE_OTHERS;
            if others_wait && failed.was_connected && is_stubborn {
                return Tried::Later(wait);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait after an attempt that has failed; nothing where another one follows at
    /// once. For work that is no upload.
    ///
    /// # Errors
    /// Where no attempt follows.
    pub(super) async fn wait_before_next(
        &mut self,
        end: AttemptEnd,
        attempts: &mut Attempts,
    ) -> Result<Option<Wait>, Failure> {
        let Some(failed) = self.failed(end, attempts).await? else { return Ok(None) };
        self.connection = None;
        let Some(next_in) = self.next_wait(attempts, &failed).await else {
            return Err(self.given_up(attempts, failed));
        };
        let reason = crate::text::printable(&failed.reason);
        Ok(Some(Wait { reason, attempt: attempts.backoff.failed(), next_in }))
    }

    /// Why the attempt failed, where another attempt follows after a wait; nothing where another
    /// one follows at once, with a new token.
    async fn failed(
        &mut self,
        end: AttemptEnd,
        attempts: &mut Attempts,
    ) -> Result<Option<FailedAttempt>, Failure> {
        let was_connected = self.connection.is_some();
        let plain =
            |reason| FailedAttempt { reason, refusal: None, no_server: None, was_connected };
        Ok(Some(match end {
            AttemptEnd::Unreached(unreached) => {
                let no_server = match &unreached {
                    Unreached::Definite(no_server) => Some(*no_server),
                    Unreached::ForNow(_) => None,
                };
                FailedAttempt { no_server, ..plain(unreached.to_string()) }
            }
            AttemptEnd::Lost(reason) | AttemptEnd::Silent(reason) => {
                attempts.lost += u32::from(was_connected);
                plain(reason)
            }
            AttemptEnd::Later(reply) => {
                let reason = reason(&reply);
                // An error about the whole connection concerns all files.
                let is_of_all = reply.code.closes() || reply.channel.0 == 0;
                match is_of_all {
                    true => FailedAttempt { was_connected: false, ..plain(reason) },
                    false => FailedAttempt { refusal: Some(reply), ..plain(reason) },
                }
            }
            AttemptEnd::Realign => {
                attempts.lost += 1;
                plain("client and server differ about how far the upload is".to_owned())
            }
            AttemptEnd::Garbled(failure) => {
                attempts.garbled += 1;
                attempts.lost += u32::from(was_connected);
                if attempts.garbled >= GARBLED_MAX {
                    self.connection = None;
                    return Err(failure);
                }
                plain(failure.to_string())
            }
            AttemptEnd::Failed(failure) => {
                self.tidy_after(&failure);
                if is_about_token(&failure) && self.found_new_token().await {
                    return Ok(None);
                }
                return Err(self.with_end_of_token(failure));
            }
        }))
    }

    /// How long to wait before the next attempt; nothing where this was the last one.
    ///
    /// A server that has never answered is given up after a few attempts where the system gives a
    /// definite reason: its name is probably misspelt. For a server that has answered before, the
    /// client waits as long as the limit of retries allows.
    async fn next_wait(
        &mut self,
        attempts: &mut Attempts,
        failed: &FailedAttempt,
    ) -> Option<Duration> {
        if failed.no_server.is_some() && self.retries.is_none() && !self.is_known().await {
            let made = usize::try_from(attempts.backoff.failed()).unwrap_or(usize::MAX);
            let wait = FIRST_CONTACT_WAITS.get(made).copied()?;
            attempts.backoff.count();
            return Some(wait);
        }
        attempts.backoff.next_wait(fastrand::f64())
    }

    /// Whether this server has answered before: in this run, or in an earlier run of which the list
    /// has an entry.
    async fn is_known(&mut self) -> bool {
        if !self.was_met {
            self.was_met = self.uploads.knows(&self.known).await;
        }
        self.was_met
    }

    fn given_up(&self, attempts: &Attempts, failed: FailedAttempt) -> Failure {
        let server = self.server().clone();
        let attempts = attempts.backoff.failed() + 1;
        let FailedAttempt { reason, refusal, no_server, was_connected } = failed;
        let reason = crate::text::printable(&reason);
        match (refusal, no_server) {
            (Some(reply), _) => Failure::Refused { reply, kept: None },
            (None, Some(why)) => Failure::NoServer { server, attempts, why, kept: None },
            (None, None) if was_connected => {
                Failure::ConnectionLost { server, attempts, reason, kept: None }
            }
            (None, None) => Failure::Unreachable { server, attempts, reason, kept: None },
        }
    }

    /// On some ways small packets arrive and large ones do not: a router neither forwards them nor
    /// reports that (RFC 2923). The login is small, and the bytes of a file are not.
    fn watch_for_small_mtu(
        &mut self,
        end: &AttemptEnd,
        was_in_vain: bool,
        transfer: &Transfer,
        listener: Listener<'_>,
    ) {
        if matches!(end, AttemptEnd::Unreached(_)) {
            return;
        }
        if !matches!(end, AttemptEnd::Silent(_)) || !was_in_vain {
            self.in_vain = 0;
            return;
        }
        self.in_vain += 1;
        if self.in_vain == IN_VAIN_MAX {
            self.route.use_small_segments();
            listener(Event::Notice {
                path: transfer.local().clone(),
                message:
                    "the server can be reached, and nothing of the file arrives: large packets \
                          seem to get lost on the way (a path MTU problem, often of a VPN); trying \
                          with small ones"
                        .to_owned(),
            });
        }
    }

    /// Reads the token file again: it may have a new token.
    async fn found_new_token(&mut self) -> bool {
        let store = self.expected.or(self.known.id);
        let found = self.token.has_other_than(&self.shown, store).await;
        if found {
            self.connection = None;
        }
        found
    }

    /// Adds the time at which the token has expired, where the token has one.
    fn with_end_of_token(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Refused { mut reply, kept } if reply.code == Code::AuthExpired => {
                reply.message = match self.shown.expires_at() {
                    Some(when) => format!("the token has expired on {when}"),
                    None => "the token has expired".to_owned(),
                };
                Failure::Refused { reply, kept }
            }
            other => other,
        }
    }
}

fn is_about_token(failure: &Failure) -> bool {
    matches!(failure.code(), Some(Code::Unauthorized | Code::AuthExpired))
}
