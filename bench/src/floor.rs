//! The floor program: the least that an upload with a verified end can be. One thread
//! on each end: read, hash, send; receive, hash, write. No frames, no promises.

use anyhow::{Context as _, Result, ensure};
use blake3::{Hash, Hasher};
use clap::{Args, Subcommand};
use rustix::fs::{Advice, fadvise, fdatasync, fsync};
use std::fs::File;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 1 << 20;

/// How much is written before write-back of it is started.
const PACE_BYTES: u64 = 8 << 20;

/// One end.
#[derive(Debug, Args)]
pub(crate) struct Floor {
    #[command(subcommand)]
    end: End,
}

#[derive(Debug, Subcommand)]
enum End {
    /// Takes one file, and says `listening on ADDRESS` first
    Receive {
        /// Where it goes
        into: PathBuf,
        /// Syncs the file before it says that it has it
        #[arg(long)]
        sync: bool,
        /// Starts write-back as it goes; syncs file and folder at the end
        #[arg(long)]
        paced: bool,
    },
    /// Sends one file
    Send {
        /// Which
        file: PathBuf,
        /// Where to
        to: SocketAddr,
    },
}

pub(crate) fn run(floor: &Floor) -> Result<()> {
    match &floor.end {
        End::Receive { into, sync, paced } => receive(into, *sync, *paced),
        End::Send { file, to } => send(file, *to),
    }
}

fn send(path: &Path, to: SocketAddr) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let length = file.metadata()?.len();
    let mut stream = TcpStream::connect(to).with_context(|| format!("cannot reach {to}"))?;
    stream.set_nodelay(true)?;
    stream.write_all(&length.to_be_bytes())?;
    let hash = pass(&mut file, length, |bytes| stream.write_all(bytes).context("cannot send"))?;
    stream.write_all(hash.as_bytes())?;
    let theirs = hash_from(&mut stream).context("the receiver does not say what it has")?;
    ensure!(theirs == hash, "the receiver has other bytes");
    Ok(())
}

fn receive(into: &Path, sync: bool, paced: bool) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    let (mut stream, _) = listener.accept().context("cannot accept")?;
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    let mut file =
        File::create_new(into).with_context(|| format!("cannot create {}", into.display()))?;
    let mut written = 0;
    let mut started = 0;
    let hash = pass(&mut stream, length, |bytes| {
        file.write_all(bytes).context("cannot write")?;
        written += bytes.len() as u64;
        if paced && written - started >= PACE_BYTES {
            // What is dirty is not dropped by this but begins to be written, as by
            // `sync_file_range`, which nothing safe offers.
            fadvise(&file, started, NonZeroU64::new(written - started), Advice::DontNeed)?;
            started = written;
        }
        Ok(())
    })?;
    ensure!(hash_from(&mut stream)? == hash, "other bytes came than were sent");
    if sync || paced {
        fdatasync(&file).context("cannot sync the file")?;
    }
    if paced {
        let folder = into.parent().unwrap_or(Path::new("."));
        fsync(File::open(folder)?).context("cannot sync the folder")?;
    }
    stream.write_all(hash.as_bytes())?;
    Ok(())
}

/// Hands on that number of bytes, a whole buffer at a time but for the last, and hashes them
/// on the way.
fn pass(
    from: &mut impl Read,
    length: u64,
    mut to: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Hash> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
        from.read_exact(&mut buffer[..count]).context("the bytes end too early")?;
        hasher.update(&buffer[..count]);
        to(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(hasher.finalize())
}

fn hash_from(stream: &mut TcpStream) -> Result<Hash> {
    let mut hash = [0; 32];
    stream.read_exact(&mut hash)?;
    Ok(Hash::from_bytes(hash))
}
