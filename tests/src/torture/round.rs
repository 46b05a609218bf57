//! One round: the data folders, the server, its users, the real client, the ledger of promises
//! and the audit.

use super::audit::Audit;
use super::cli_uploader::CliUploader;
use super::crash_client::{Connections, CrashClient, Gone};
use super::data_dirs::DataDirs;
use super::disaster::{Disaster, Point};
use super::http_uploader::HttpUploader;
use super::ledger::Ledger;
use super::tree_check;
use super::tree_worker::TreeWorker;
use super::uploader::Uploader;
use crate::PATIENCE;
use crate::cli_fixture::CliFixture;
use crate::http_client::HttpClient;
use crate::process::{Ended, Launch, ServerProcess, output, towlined};
use crate::site::TestUser;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use tokio::task::JoinSet;
use towline_types::DocumentId;

/// Everything that one round needs.
pub(super) struct Round {
    pub(super) data_dirs: DataDirs,
    pub(super) ledger: Ledger,
    pub(super) audit: Audit,
    pub(super) launch: Launch,
    pub(super) server: Option<ServerProcess>,
    /// The point at which the server is to be killed.
    pub(super) plan: Option<Point>,
    /// The last server ended by a crash.
    pub(super) has_crashed: bool,
    pub(super) cli_uploader: Option<CliUploader>,
    pub(super) connections: Connections,
    /// The lines that the last server printed.
    pub(super) last_words: Vec<String>,
}

/// The server does not start in time: P4 is broken.
#[derive(Debug)]
pub(super) struct Stuck(pub(super) String);

impl Round {
    /// Starts an upload for every user.
    pub(super) async fn traffic(&mut self, chance: &mut fastrand::Rng) -> JoinSet<()> {
        let address = self.server.as_ref().expect("the server was started").address();
        let mut traffic = JoinSet::new();
        self.connections = Connections::default();
        self.data_dirs.neighbours_come(chance);
        let (putting, users) = self.data_dirs.users.split_last().expect("there are people");
        for user in users {
            for _ in 0..chance.u8(1..3) {
                if chance.u8(0..5) < 2 {
                    let mut uploader = self.over_http(address, user, chance.fork());
                    traffic.spawn(async move { uploader.work().await });
                    continue;
                }
                let Ok(client) =
                    CrashClient::open(address, user, &self.ledger, &self.connections).await
                else {
                    continue;
                };
                let (user, ledger) = (user.clone(), self.ledger.clone());
                let chance = chance.fork();
                let mut uploader = Uploader { client, user, ledger, chance, damages: true };
                traffic.spawn(async move { uploader.work().await });
            }
        }
        for user in &self.data_dirs.tree_users {
            for _ in 0..2 {
                let Ok(client) =
                    CrashClient::open(address, user, &self.ledger, &self.connections).await
                else {
                    continue;
                };
                let (user, ledger) = (user.clone(), self.ledger.clone());
                let chance = chance.fork();
                let mut worker = TreeWorker { client, user, ledger, chance };
                traffic.spawn(async move { worker.work().await });
            }
        }
        let cli_uploader = self.cli_uploader.get_or_insert_with(|| {
            let cli = CliFixture::new(self.data_dirs.site(), putting, address);
            CliUploader::new(cli, putting.clone(), &self.ledger, chance.fork())
        });
        cli_uploader.go_on().await;
        traffic
    }

    /// Ends all uploads, and waits until every reply was read.
    pub(super) async fn calm(&mut self, mut traffic: JoinSet<()>, disaster: &Disaster) {
        if *disaster == Disaster::KillClient {
            self.connections.hang_up();
        }
        traffic.abort_all();
        while let Some(ended) = traffic.join_next().await {
            if let Err(panic) = ended
                && panic.is_panic()
            {
                self.ledger.breach(format!("{panic}"));
            }
        }
        self.connections.are_silent().await;
        self.ledger.release_all();
        self.data_dirs.neighbours_go();
    }

    /// Records the end of a server: no part of it may have panicked, whatever ended it.
    pub(super) async fn bury(&mut self, server: ServerProcess) {
        let said = server.gone().await;
        if let Some(line) = said.iter().find(|line| line.contains("panicked")) {
            self.ledger.breach(format!("the server panicked: {line}"));
        }
        self.last_words = said;
    }

    pub(super) async fn audit(&mut self, chance: &mut fastrand::Rng) -> Result<(), Stuck> {
        let address = self.server.as_ref().expect("the server was started").address();
        let (data_dirs, ledger) = (&self.data_dirs, &self.ledger);
        let mut audited = self.audit.run(data_dirs, ledger, address).await;
        if audited.is_ok() {
            audited = tree_check::check(data_dirs, ledger, address, chance).await;
        }
        self.survived(audited.is_ok()).await
    }

    /// A server with a point to be killed at may already reach it during an audit; no other server
    /// ends on its own.
    pub(super) async fn survived(&mut self, is_alive: bool) -> Result<(), Stuck> {
        if is_alive {
            return Ok(());
        }
        let server = self.server.as_mut().expect("the server was started");
        if !server.ends_within(PATIENCE).await {
            return Err(Stuck("the server runs and closes connections".to_owned()));
        }
        self.died_as_planned().map(drop)
    }

    /// Whether the server was killed at its point.
    pub(super) fn died_as_planned(&mut self) -> Result<bool, Stuck> {
        let server = self.server.as_mut().expect("the server was started");
        match (server.status(), &self.plan) {
            (None, _) => Ok(false),
            (Some(status), Some(_)) if status.signal() == Some(9) => Ok(true),
            (Some(status), plan) => {
                let said = server.said();
                Err(Stuck(format!("the server ended by itself: {status}, {plan:?}: {said:#?}")))
            }
        }
    }

    /// Stops the server in good order. Returns whether it was running.
    pub(super) async fn stop(&mut self) -> Result<bool, Stuck> {
        let Some(mut server) = self.server.take() else { return Ok(false) };
        if server.has_ended() {
            self.server = Some(server);
            self.died_as_planned()?;
            return Ok(false);
        }
        server.signal(Signal::TERM);
        let status = server.ended().await;
        if !status.success() {
            return Err(Stuck(format!(
                "told to stop it ended with {status}: {:#?}",
                server.said()
            )));
        }
        self.bury(server).await;
        self.has_crashed = false;
        Ok(true)
    }

    /// Completes all uploads, and checks everything.
    pub(super) async fn finish(&mut self, chance: &mut fastrand::Rng) -> Result<(), Stuck> {
        if let Some(server) = self.server.take() {
            self.bury(server).await;
        }
        self.plan = None;
        let server = self.launch.try_start().await.map_err(Stuck::at_start)?;
        let address = server.address();
        self.server = Some(server);
        self.connections = Connections::default();
        self.audit(chance).await?;
        let failed = |what| move |why| Stuck(format!("{what} cannot be brought to its end: {why}"));
        if let Some(cli_uploader) = &mut self.cli_uploader {
            cli_uploader.finish().await.map_err(failed("a put"))?;
        }
        for user in &self.data_dirs.users {
            for id in self.ledger.unfinished(user.id) {
                let in_blocks = self.ledger.entry(id).is_some_and(|known| known.blocks);
                let finished = if in_blocks || chance.bool() {
                    self.honest(user, id).await?.finish(id).await
                } else {
                    let chance = fastrand::Rng::with_seed(id.get());
                    let uploader = self.over_http(address, user, chance);
                    HttpUploader { damages: false, ..uploader }.finish(id).await
                };
                // An upload without a promised byte may have been given up meanwhile.
                if self.ledger.entry(id).is_some_and(|known| known.is_unfinished()) {
                    finished.map_err(failed("an upload"))?;
                }
            }
        }
        for user in &self.data_dirs.users {
            for id in self.ledger.half_cancelled(user.id) {
                let mut uploader = self.honest(user, id).await?;
                uploader.cancel_again(id).await;
            }
        }
        let whole = self.audit.whole(&self.data_dirs, &self.ledger, address).await;
        self.survived(whole.is_ok()).await?;
        self.stop().await?;
        // Another upload in the state file was granted, and no client has read the answer.
        for id in self.data_dirs.site().state().uploads.keys() {
            let id = id.parse().ok().and_then(|id: u64| DocumentId::try_from(id).ok());
            if id.is_none_or(|id| self.ledger.entry(id).is_some()) {
                return Err(Stuck(format!("all is done, and the state file names {id:?}")));
            }
        }
        self.verify().await
    }

    /// A client of that user at the HTTP door.
    fn over_http(
        &self,
        address: SocketAddr,
        user: &TestUser,
        chance: fastrand::Rng,
    ) -> HttpUploader {
        HttpUploader {
            http: HttpClient::new(address, &user.token),
            connections: self.connections.clone(),
            user: user.clone(),
            ledger: self.ledger.clone(),
            chance,
            damages: true,
        }
    }

    /// An uploader that completes that upload of that user and sends no damaged blocks.
    async fn honest(&self, user: &TestUser, id: DocumentId) -> Result<Uploader, Stuck> {
        let address = self.server.as_ref().expect("the server was started").address();
        let client = CrashClient::open(address, user, &self.ledger, &self.connections).await;
        let client = client.map_err(|Gone| Stuck("no login".to_owned()))?;
        let (user, ledger) = (user.clone(), self.ledger.clone());
        let chance = fastrand::Rng::with_seed(id.get());
        Ok(Uploader { client, user, ledger, chance, damages: false })
    }

    /// Runs `towlined verify` over everything that was promised. It must find no damage, and no
    /// unneeded files.
    async fn verify(&self) -> Result<(), Stuck> {
        let mut command = towlined();
        command.arg("verify").arg("--data-dir").arg(self.data_dirs.site().path());
        let output = output(&mut command).await;
        if output.status.success() {
            return Ok(());
        }
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(Stuck(format!("verify found something: {out}{err}")))
    }
}

impl Stuck {
    pub(super) fn at_start(ended: Ended) -> Self {
        Self(format!("the server does not start (P4): {ended:#?}"))
    }
}
