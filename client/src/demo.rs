//! `towline demo`: an upload on a fresh machine, with the faults that usually happen. The server is
//! a real one in a process of its own, the file is real, the connection is cut and the server is
//! killed; only the slowness of the link is made up.

mod link;
mod server;
mod story;

use crate::exit::Exit;
use crate::units;
use crate::{Client, Document, Event, PutOptions, Receipt, Token};
use anyhow::{Context as _, bail, ensure};
use link::Link;
use server::DemoServer;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use story::Story;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;
use towline_types::Name;

/// The link is slowed down until the sending takes this time: an upload over loopback would end
/// before a person could interrupt it.
const LASTS: Duration = Duration::from_secs(3);

/// A smaller file would be sent with its first chunk.
const FILESIZE_MIN_BYTES: u64 = 256 << 10;

/// Runs the whole demo on this machine.
pub(crate) fn run(file: Option<PathBuf>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(show(file))
}

async fn show(file: Option<PathBuf>) -> anyhow::Result<Exit> {
    let path = match file {
        Some(path) => path,
        None => std::env::current_exe().context("cannot find this program's own file")?,
    };
    let metadata =
        std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let filesize = metadata.len();
    ensure!(metadata.is_file(), "{} is not a file", path.display());
    ensure!(
        filesize >= FILESIZE_MIN_BYTES,
        "{} has only {}; choose a file of at least {}, so that there is something to interrupt",
        path.display(),
        units::size(filesize),
        units::size(FILESIZE_MIN_BYTES)
    );

    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let story = Story::begin(&path, filesize);
    let mut server = DemoServer::start(folder.path(), filesize).await?;
    story.tell(&format!("a server listens on {}", server.address()));

    let breaks = [filesize / 3, filesize / 3 * 2];
    let mut link = Link::open(server.address(), filesize / LASTS.as_secs(), breaks).await?;
    let token = Token::from_file(&server.token_file()?)?;
    let client = Client::new(link.address().to_string().parse()?, token);
    let (mut upload, mut events) = send(client, &path)?;
    story.tell("sending, slowed down so that you can watch");

    let cut_at = broken(&mut link, &mut upload).await?;
    story.tell(&format!("CUT the connection, {} sent", units::share(cut_at, filesize)));
    link.mend();
    let resumed = resumed_at(&mut events).await?;
    story.tell(&format!("resumed at {}", units::share(resumed, filesize)));

    let killed_at = broken(&mut link, &mut upload).await?;
    server.kill().await?;
    story.tell(&format!("KILLED the server (kill -9), {} sent", units::share(killed_at, filesize)));
    server.start_again().await?;
    story.tell("started the server again on the same folder");
    link.mend();
    let resumed = resumed_at(&mut events).await?;
    story.tell(&format!(
        "resumed at {}, all that the server had promised to keep",
        units::share(resumed, filesize)
    ));

    let receipt = upload.await.context("the upload has panicked")??;
    let again_bytes = link.payload_bytes().saturating_sub(filesize);
    story.tell(&format!("SUCCESS: document {}, BLAKE3 {}", receipt.document_id, receipt.blake3));

    let published = server.published(&receipt);
    tokio::task::spawn_blocking(move || compare(&path, &published)).await??;
    story.tell("the published file is identical, byte for byte");
    server.stop().await?;
    story.end(again_bytes, filesize);
    Ok(Exit::Done)
}

/// Waits until the link breaks. It is a failure if the upload ends before that.
async fn broken(link: &mut Link, upload: &mut Upload) -> anyhow::Result<u64> {
    tokio::select! {
        at = link.broken() => at.context("the link has ended"),
        ended = upload => {
            ended.context("the upload has panicked")??;
            bail!("the upload ended before the link broke")
        }
    }
}

type Upload = tokio::task::JoinHandle<Result<Receipt, crate::Failure>>;

fn send(mut client: Client, path: &Path) -> anyhow::Result<(Upload, UnboundedReceiver<Event>)> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    // Where the server's rules refuse the file's name, the demo uploads the file under another
    // name.
    let name = Name::new(name).or_else(|_| Name::new("file"))?;
    let remote = towline_types::DocumentPath::new(Vec::new(), name)?;
    let document = Document { local: path.to_owned(), remote };
    let (tell, events) = unbounded_channel();
    let upload = tokio::spawn(async move {
        let never = CancellationToken::new();
        let mut listener = |event| drop(tell.send(event));
        client.put(&document, &PutOptions::default(), &never, &mut listener).await
    });
    Ok((upload, events))
}

/// The offset at which the upload continues the next time.
async fn resumed_at(events: &mut UnboundedReceiver<Event>) -> anyhow::Result<u64> {
    while let Some(event) = events.recv().await {
        if let Event::Resumed { status, .. } = event {
            return Ok(status.received.get());
        }
    }
    bail!("the upload ended without being resumed")
}

/// Compares the two files. Blocks.
fn compare(here: &Path, there: &Path) -> anyhow::Result<()> {
    let open =
        |path: &Path| File::open(path).with_context(|| format!("cannot read {}", path.display()));
    let (mut ours, mut theirs) = (open(here)?, open(there)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = ours.read(&mut left)?;
        if count == 0 {
            ensure!(theirs.read(&mut right)? == 0, "the published file is longer");
            return Ok(());
        }
        theirs.read_exact(&mut right[..count]).context("the published file is shorter")?;
        ensure!(left[..count] == right[..count], "the published file is different");
    }
}
