//! `towline receive [DIR]`: a server for one sitting. Files land in a folder as soon as they are whole;
//! what is unfinished stays in a hidden folder there, with which a later sitting goes on.

mod landing;

use super::arguments::Receive;
use super::error::CliError;
use super::json;
use super::output::{line, say};
use super::printer::Watching;
use super::signals;
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::{shell_word, shown};
use crate::units;
use landing::{Landed, Landing};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use towline_server::cli::{Arrivals, Line, Sitting};

/// How often the uploads under way are shown.
const INTERVAL: Duration = Duration::from_secs(1);

/// The folder of the sitting, in the folder that files land in.
const HIDDEN: &str = ".towline-receive";

pub(super) fn run(receive: &Receive) -> Result<Exit, CliError> {
    let folder = receive.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let hidden = folder.join(HIDDEN);
    make_private(&folder, &hidden)?;
    let cancel = signals::pause();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| refused(format!("cannot start: {}", in_words(&error))))?;
    let sat = runtime.block_on(sit(receive, &folder, &hidden, &cancel));
    // What still hangs on a disk that does not answer has promised nothing.
    runtime.shutdown_timeout(Duration::from_millis(300));
    let Left { unfinished, not_landed } = sat?;
    if not_landed > 0 {
        say(&format!(
            "{not_landed} whole and without a name in {}; they are kept in {}. To try again once that \
             is mended: towline receive {}",
            shown(&folder),
            shown(&hidden),
            shell_word(&folder)
        ));
        return Ok(Exit::Refused);
    }
    if unfinished > 0 {
        say(&format!(
            "{unfinished} not complete; what has arrived is kept in {}. To continue: towline receive \
             {}, and the sender runs the same command again",
            shown(&hidden),
            shell_word(&folder)
        ));
        return Ok(Exit::Resumable);
    }
    rustix::fs::open(&folder, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
        .and_then(rustix::fs::syncfs)
        .map_err(|error| refused(format!("{} cannot be synced: {error}", shown(&folder))))?;
    std::fs::remove_dir_all(&hidden).map_err(|error| {
        refused(format!("{} cannot be removed: {}", shown(&hidden), in_words(&error)))
    })?;
    Ok(Exit::Done)
}

fn refused(message: String) -> CliError {
    CliError::new(Exit::Refused, message)
}

/// Makes the hidden folder, for its owner alone.
fn make_private(folder: &Path, hidden: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !folder.is_dir() {
        let message = format!("{} is no folder; nothing was begun", shown(folder));
        return Err(CliError::usage(message).advising("make it first: mkdir DIR"));
    }
    match std::fs::DirBuilder::new().mode(0o700).create(hidden) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(refused(format!(
            "{} cannot be made: {}; nothing was begun",
            shown(hidden),
            in_words(&error)
        ))),
        // A link would lead the store to another place, and another user could read and change it.
        _ if !hidden.symlink_metadata().is_ok_and(|about| is_private(&about)) => Err(refused(
            format!("{} is not a folder that is yours alone; remove it first", shown(hidden)),
        )),
        _ => Ok(()),
    }
}

fn is_private(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_own = about.uid() == rustix::process::geteuid().as_raw();
    about.is_dir() && is_own && about.mode() & 0o077 == 0
}

fn of_server(error: anyhow::Error) -> CliError {
    super::error::of_server(error)
}

/// What a sitting leaves: while there is any of it, its folder stays.
struct Left {
    /// Uploads that are not complete.
    unfinished: usize,
    /// Files that are whole and could not be given their names.
    not_landed: usize,
}

/// Serves until the person or `--once` ends it.
async fn sit(
    receive: &Receive,
    folder: &Path,
    hidden: &Path,
    cancel: &CancellationToken,
) -> Result<Left, CliError> {
    let landing = Landing::open(folder, hidden).map_err(|error| {
        refused(format!("{} cannot be read: {}", shown(hidden), in_words(&error)))
    })?;
    let sitting = Sitting::open(hidden, receive.listen.as_ref()).await.map_err(of_server)?;
    let arrivals = sitting.arrivals();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(sitting.serve(stop.clone().cancelled_owned()));
    let address = arrivals.address().parse().map_err(|error| refused(format!("{error}")))?;
    let mut receiving = Receiving {
        screen: Watching::new(receive.answer.style(), &address),
        is_json: receive.answer.json,
        arrivals,
        landing,
        landed: 0,
        not_landed: 0,
    };
    let followed = receiving.follow(receive.once, cancel).await;
    receiving.screen.close();
    stop.cancel();
    let served = serving.await.map_err(|error| refused(format!("the server ended: {error}")))?;
    served.map_err(|error| of_server(error.into()))?;
    followed
}

struct Receiving {
    screen: Watching,
    is_json: bool,
    arrivals: Arrivals,
    landing: Landing,
    /// The number of files that have landed.
    landed: u64,
    /// And of those that could not be given a name.
    not_landed: usize,
}

/// What `--json` says of a line.
#[derive(Serialize)]
struct LineEvent<'a> {
    line: &'a str,
}

/// What `--json` says of a file that has landed.
#[derive(Serialize)]
struct LandedEvent {
    path: String,
    filesize: u64,
}

impl Receiving {
    async fn follow(&mut self, once: bool, cancel: &CancellationToken) -> Result<Left, CliError> {
        let mut line = self.print_line(true).await?;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // All are cancel-safe.
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                files = self.arrivals.next(true) => self.land(files.map_err(of_server)?),
                _ = ticks.tick() => {
                    let unfinished = self.arrivals.unfinished().await.map_err(of_server)?;
                    let is_empty = unfinished.is_empty();
                    let running: BTreeMap<_, _> = unfinished.into_iter().collect();
                    self.screen.show(&running, Instant::now());
                    let is_over = is_empty && self.landed > 0 && !self.arrivals.has_sender();
                    if once && is_over {
                        break;
                    }
                    if !once && self.arrivals.is_used(&line).await.map_err(of_server)? {
                        line = self.print_line(false).await?;
                    }
                }
            }
        }
        let rest = self.arrivals.next(false).await.map_err(of_server)?;
        self.land(rest);
        let unfinished = self.arrivals.unfinished().await.map_err(of_server)?.len();
        Ok(Left { unfinished, not_landed: self.not_landed })
    }

    async fn print_line(&mut self, is_first: bool) -> Result<Line, CliError> {
        let made = self.arrivals.new_line().await.map_err(of_server)?;
        let text = made.line.reveal();
        if self.is_json {
            json::answer("line", &LineEvent { line: &text });
            return Ok(made);
        }
        self.screen.aside(|| {
            say(match is_first {
                true => {
                    "on the other machine: towline put FILE... --to LINE (the line is good for one \
                     sender, and for a day; Ctrl-C ends)"
                }
                false => "the line was taken; for another sender:",
            });
            line(&text);
        });
        Ok(made)
    }

    fn land(&mut self, files: Vec<towline_server::cli::ArrivedFile>) {
        for file in files {
            let shown_name = crate::text::printable(&file.names.join("/")).to_string();
            let landed = match self.landing.land(&file.names, &file.path) {
                Ok(Landed::Before) => continue,
                Ok(Landed::At(path)) => path,
                Err(error) => {
                    let text = format!(
                        "{shown_name} is whole and cannot be given its name: {}; it is kept as {}",
                        in_words(&error),
                        shown(&file.path)
                    );
                    self.screen.aside(|| say(&text));
                    self.not_landed += 1;
                    continue;
                }
            };
            self.landed += 1;
            if self.is_json {
                let path = landed.to_string_lossy().into_owned();
                json::event("landed", &LandedEvent { path, filesize: file.filesize });
            } else {
                let text = format!("{}  {}", shown(&landed), units::size(file.filesize));
                self.screen.aside(|| line(&text));
            }
        }
    }
}
