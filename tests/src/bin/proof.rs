//! The long form of the interruption tests, on a real file, with figures:
//!
//! ```sh
//! TOWLINE_LOG=towline_server=debug cargo run --release -p towline-tests --bin proof -- FILE [SEED]
//! ```
//!
//! Three rounds over the real programs: a link that is cut at 20 random bytes, a server that is
//! killed (kill -9) 20 times, a client that is killed 5 times. After each round, the published file
//! is compared with the original. In all rounds the program checks one promise: an upload never
//! resumes before an offset that the server has called durable.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use towline_tests::process::{ServerProcess, towline};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::site::{Site, TestUser};

const CUTS: usize = 20;
const SERVER_KILLS: usize = 20;
const CLIENT_KILLS: usize = 5;

/// Room for any file that a person passes.
const SERVER: [&str; 2] = ["--max-file-size", "1TB"];

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().context("usage: proof FILE [SEED]")?);
    let seed = match arguments.next() {
        Some(seed) => seed.to_string_lossy().parse().context("SEED is a number")?,
        None => fastrand::u64(..),
    };
    fastrand::seed(seed);
    let proof = Proof::of(&file)?;
    println!("{}: {} bytes, BLAKE3 {}, seed {seed}", file.display(), proof.size, proof.hash);
    proof.cuts().await?;
    proof.server_kills().await?;
    proof.client_kills().await
}

struct Proof {
    file: PathBuf,
    size: u64,
    hash: String,
}

/// A data folder with a user in it.
struct Fixture {
    site: Site,
    user: TestUser,
}

impl Fixture {
    async fn new() -> Result<Self> {
        let site = Site::new();
        let user = site.add_user("proof").await;
        std::fs::write(site.outside().join("token"), &user.token)?;
        Ok(Self { site, user })
    }
}

/// One run of `towline put`, and its output.
struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The output of all runs of one round, and whether every promise was kept.
#[derive(Default)]
struct Witness {
    durable: u64,
    resumptions: u32,
    sent_bytes: u64,
    completed: bool,
}

impl Proof {
    fn of(file: &Path) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let size = std::io::copy(&mut std::fs::File::open(file)?, &mut hasher)?;
        Ok(Self { file: file.to_owned(), size, hash: hasher.finalize().to_string() })
    }

    async fn cuts(&self) -> Result<()> {
        let fixture = Fixture::new().await?;
        let server = ServerProcess::start_with(&fixture.site, &SERVER).await;
        let mut places: Vec<u64> = (0..CUTS).map(|_| fastrand::u64(1..self.size)).collect();
        places.sort_unstable();
        let lengths: Vec<u64> =
            places.iter().scan(0, |last, at| Some(at - std::mem::replace(last, *at))).collect();
        let proxy =
            FaultProxy::start(server.address(), lengths.into_iter().map(Faults::cut_after)).await;
        let begun = Instant::now();
        let mut witness = Witness::default();
        self.put(&fixture, &proxy)?.watch(&mut witness).await?;
        let mut delivered = 0;
        for number in 0..proxy.connections() {
            delivered += proxy.link(number).await.passed();
        }
        self.verify(&fixture, &witness)?;
        println!(
            "\n{CUTS} cuts at random bytes: {:.1} s, {} connections, identical",
            begun.elapsed().as_secs_f64(),
            proxy.connections()
        );
        println!(
            "  over the link beyond the file, framing included: {} bytes ({:.0} for each cut)",
            delivered - self.size,
            (delivered - self.size) as f64 / CUTS as f64,
        );
        report_read_back(&server);
        Ok(())
    }

    async fn server_kills(&self) -> Result<()> {
        let fixture = Fixture::new().await?;
        let mut server = ServerProcess::start_with(&fixture.site, &SERVER).await;
        let proxy = FaultProxy::start(server.address(), []).await;
        proxy.otherwise(self.slow(Duration::from_secs(25)));
        let begun = Instant::now();
        let mut witness = Witness::default();
        let run = self.put(&fixture, &proxy)?;
        let kills = async {
            let mut read_back = Vec::new();
            for _ in 0..SERVER_KILLS {
                // At a random moment: this round tests exactly the moments for which no event could
                // be waited for.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(20..2000))).await;
                server.kill().await;
                read_back.extend(read_back_bytes(&server));
                server.start_again().await;
            }
            read_back.extend(read_back_bytes(&server));
            proxy.otherwise(Faults::none());
            read_back
        };
        let (watched, read_back) = tokio::join!(run.watch(&mut witness), kills);
        watched?;
        self.verify(&fixture, &witness)?;
        println!(
            "\n{SERVER_KILLS} kill -9 of the server: {:.1} s, {} resumptions, identical",
            begun.elapsed().as_secs_f64(),
            witness.resumptions
        );
        println!("  sent again, bytes in flight included: {}", witness.sent_bytes - self.size);
        print_read_back(&read_back);
        Ok(())
    }

    async fn client_kills(&self) -> Result<()> {
        let fixture = Fixture::new().await?;
        let server = ServerProcess::start_with(&fixture.site, &SERVER).await;
        let proxy = FaultProxy::start(server.address(), []).await;
        proxy.otherwise(self.slow(Duration::from_secs(8)));
        let begun = Instant::now();
        let mut witness = Witness::default();
        for _ in 0..CLIENT_KILLS {
            let mut run = self.put(&fixture, &proxy)?;
            let moment = Duration::from_millis(fastrand::u64(50..1500));
            let watched = tokio::time::timeout(moment, run.listen(&mut witness)).await;
            if watched.is_ok() {
                break;
            }
            run.child.kill().await?;
        }
        if !witness.completed {
            self.put(&fixture, &proxy)?.watch(&mut witness).await?;
        }
        self.verify(&fixture, &witness)?;
        println!(
            "\n{CLIENT_KILLS} kill -9 of the client: {:.1} s, {} resumptions, identical",
            begun.elapsed().as_secs_f64(),
            witness.resumptions
        );
        report_read_back(&server);
        Ok(())
    }

    fn put(&self, fixture: &Fixture, proxy: &FaultProxy) -> Result<Run> {
        let outside = fixture.site.outside();
        let mut command = towline();
        command.arg("put").arg(&self.file).args(["--to", &proxy.address().to_string(), "--json"]);
        command.arg("--token-file").arg(outside.join("token"));
        command.arg("--state-file").arg(outside.join("uploads_state.json"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        Ok(Run { child, lines })
    }

    /// A link on which the whole file takes about `lasts`.
    fn slow(&self, lasts: Duration) -> Faults {
        let pieces = u32::try_from(self.size.div_ceil(64 << 10)).unwrap_or(u32::MAX);
        Faults { delay: lasts / pieces.max(1), ..Faults::none() }
    }

    fn verify(&self, fixture: &Fixture, witness: &Witness) -> Result<()> {
        ensure!(witness.completed, "the upload was not completed");
        let name = self.file.file_name().context("a file has a name")?.to_string_lossy();
        let published = Self::of(&fixture.site.document(&fixture.user, &name))?;
        ensure!(published.size == self.size, "the published file has another length");
        ensure!(published.hash == self.hash, "the published file has another hash");
        Ok(())
    }
}

impl Run {
    async fn watch(mut self, witness: &mut Witness) -> Result<()> {
        self.listen(witness).await?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "towline put ended with {status}");
        Ok(())
    }

    /// Cancel-safe: a line is read completely or not at all.
    async fn listen(&mut self, witness: &mut Witness) -> Result<()> {
        while let Some(line) = self.lines.next_line().await? {
            let event: Value = serde_json::from_str(&line).context("one event a line")?;
            witness.hear(&event)?;
        }
        Ok(())
    }
}

impl Witness {
    fn hear(&mut self, event: &Value) -> Result<()> {
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        match event["event"].as_str() {
            Some("resumed") => {
                self.resumptions += 1;
                ensure!(
                    number("received") >= self.durable,
                    "BROKEN PROMISE: resumed at {}, {} was called durable",
                    number("received"),
                    self.durable
                );
            }
            Some("completed") => {
                self.completed = true;
                self.sent_bytes = number("sent_bytes");
            }
            _ => {}
        }
        self.durable = self.durable.max(number("durable"));
        Ok(())
    }
}

fn report_read_back(server: &ServerProcess) {
    print_read_back(&read_back_bytes(server));
}

/// The numbers of bytes that the server has read back, from its log.
fn read_back_bytes(server: &ServerProcess) -> Vec<u64> {
    let plain =
        |line: String| line.replace("\x1b[0m", "").replace("\x1b[2m", "").replace("\x1b[3m", "");
    let lines = server.said().into_iter().map(plain);
    let lines = lines.filter(|line| line.contains("read back the open block"));
    lines.filter_map(|line| line.split("bytes=").nth(1)?.split(' ').next()?.parse().ok()).collect()
}

fn print_read_back(bytes: &[u64]) {
    let (sum, most) = (bytes.iter().sum::<u64>(), bytes.iter().max().copied().unwrap_or(0));
    println!(
        "  read back by the server: {sum} bytes in {} resumes, at most {most} in one",
        bytes.len()
    );
    if std::env::var_os("TOWLINE_LOG").is_none() {
        println!("  (set TOWLINE_LOG=towline_server=debug to count them)");
    }
}
