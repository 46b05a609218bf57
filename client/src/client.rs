//! A client of one server.

#[cfg(test)]
mod hostile;
mod many;
mod pursuit;
mod work;

use crate::address::ServerAddress;
use crate::attempt_end::AttemptEnd;
use crate::connection::{Connection, Timeouts};
use crate::document::Document;
use crate::events::{Listener, Receipt};
use crate::failure::{Failure, ends_upload};
use crate::route::{Route, Unreached};
use crate::small_file_batch::PriorAttempt;
use crate::token::Token;
use crate::transfer::attempt::Attempt;
use crate::transfer::options::PutOptions;
use crate::transfer::{AttemptContext, Transfer};
use crate::uploads::Uploads;
pub use many::Ending;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_protocol::reply::{Cancelled, Status};
use towline_protocol::request::DocumentRef;
use towline_protocol::{Code, Reply, Request};
use towline_state::StateFile;
use towline_state::state_file::{JobEntry, KnownServer};
use towline_types::{DocumentId, StoreId};
use work::{Work, Worked};

/// How long a login may take where no server is known to be.
const FIRST_LOGIN: Duration = Duration::from_secs(10);

/// After one run the client asks the server about at most this number of old entries.
const ASKED_ABOUT_MAX: usize = 64;

/// Uploads files to one server, one after another over one connection, which
/// it opens when it needs it and again when it is lost.
///
/// Make one with [`new`](Self::new), say what differs from the default with
/// [`state_file`](Self::state_file), [`retries`](Self::retries) and the like, then
/// [`put`](Self::put) as often as you like.
#[derive(Debug)]
pub struct Client {
    route: Route,
    /// Where that leads to, with what the server has told of itself.
    known: KnownServer,
    /// The store that the questions or the files are for, where that is known.
    expected: Option<StoreId>,
    /// The commands that it works for, as the list is to have them.
    jobs: Vec<JobEntry>,
    /// It has logged in there in this run, or in an earlier one.
    was_met: bool,
    /// How often in a row all that was sent behind a login was lost.
    in_vain: u32,
    token: Token,
    token_file: Option<PathBuf>,
    uploads: Uploads,
    retries: Option<u32>,
    timeouts: Timeouts,
    connection: Option<Connection>,
}

impl Client {
    /// A client that keeps no state file and retries for ever.
    #[must_use]
    pub fn new(server: ServerAddress, token: Token) -> Self {
        Self {
            known: KnownServer::new(server.to_string(), None),
            route: Route::to(server),
            expected: None,
            jobs: Vec::new(),
            was_met: false,
            in_vain: 0,
            token,
            token_file: None,
            uploads: Uploads::default(),
            retries: None,
            timeouts: Timeouts::default(),
            connection: None,
        }
    }

    /// Keeps a list of unfinished uploads in that file.
    #[must_use]
    pub fn state_file(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::kept_in(file);
        self
    }

    /// Reads the list of unfinished uploads in that file, which cannot be written: what is
    /// begun is not remembered.
    #[must_use]
    pub fn read_only_state_file(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::read_from(file);
        self
    }

    /// Remembers in the list where the token lay, not what it is.
    #[must_use]
    pub fn token_file(mut self, path: Option<PathBuf>) -> Self {
        self.token_file = path;
        self
    }

    /// The number of attempts in a row, each without a durable byte, after which the client
    /// gives a file up. `None` sets no limit, except for a server that never answered.
    #[must_use]
    pub fn retries(mut self, retries: Option<u32>) -> Self {
        self.retries = retries;
        self
    }

    /// Works for that store alone: the same number means something else in another one, and
    /// the files may not be meant for it.
    #[must_use]
    pub fn expected_store(mut self, store: Option<StoreId>) -> Self {
        self.expected = store;
        self
    }

    /// Says in the list which server has these commands, as soon as that is known.
    pub(crate) fn works_for(&mut self, jobs: Vec<JobEntry>) {
        self.jobs = jobs;
    }

    /// The store that has answered, where one has, and has said which one it is.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.known.id
    }

    /// Whether the server has answered in this run, or in an earlier one that the list tells
    /// of.
    pub(crate) fn has_met_server(&self) -> bool {
        self.was_met
    }

    /// How long to wait for what.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &ServerAddress {
        self.route.server()
    }

    /// Uploads a file, however often the connection is lost on the way, and
    /// goes on with what an earlier run has begun. Returns when the server has
    /// confirmed that it has these very bytes.
    ///
    /// `cancel` pauses: the server is told, and the list of uploads too.
    ///
    /// # Errors
    /// See [`Failure`]; what can be resumed has [`Exit::Resumable`](crate::Exit::Resumable).
    pub async fn put(
        &mut self,
        document: &Document,
        options: &PutOptions,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Result<Receipt, Failure> {
        let mut work = Work::new(PriorAttempt::Nothing, self.retries);
        match self.work_on(&mut work, document, options, false, cancel, listener).await {
            Worked::Ended(ended) => *ended,
            // Only a file behind which others wait is put off, and here is one file alone.
            Worked::Later(_) => Err(Failure::Interrupted(None)),
        }
    }

    /// How a document stands.
    ///
    /// # Errors
    /// Where the server cannot be reached (it is tried once) or says no.
    pub async fn status(&mut self, document_id: DocumentId) -> Result<Status, Failure> {
        match self.ask_about(document_id, Request::Status).await? {
            Reply::Status(status) => Ok(status),
            other => Err(Failure::Protocol(format!("'status' was answered {other:?}"))),
        }
    }

    /// Gives an upload up, on the server and in the list. One that is complete is complete: it
    /// leaves the list as well.
    ///
    /// # Errors
    /// Where the server cannot be reached (it is tried once) or says no.
    pub async fn cancel(&mut self, document_id: DocumentId) -> Result<Cancelled, Failure> {
        let answer = self.ask_about(document_id, Request::Cancel).await;
        let over = match &answer {
            Ok(Reply::Cancel(_)) => true,
            // Another user's upload is not found either, and goes on all the same.
            Err(failure) => {
                failure.code().is_some_and(|code| ends_upload(code) && code != Code::NotFound)
            }
            Ok(_) => false,
        };
        let is_refused = matches!(&answer, Err(failure) if failure.code() == Some(Code::BadState));
        if over || (is_refused && self.is_completed(document_id).await) {
            self.uploads.remove(&self.known, document_id).await?;
        }
        match answer? {
            Reply::Cancel(cancelled) => Ok(cancelled),
            other => Err(Failure::Protocol(format!("'cancel' was answered {other:?}"))),
        }
    }

    /// Whether the server says so. Not while it still publishes the document.
    async fn is_completed(&mut self, document_id: DocumentId) -> bool {
        self.status(document_id).await.is_ok_and(|status| status.status == "completed")
    }

    /// Asks the server about uploads of the list that have rested for more than a week by the
    /// clock of this machine, and forgets those that the server has given up. Only over a
    /// connection that is open already; what goes wrong with it is no failure of anything.
    pub async fn forget_what_is_gone(&mut self) -> Vec<DocumentId> {
        let mut gone = Vec::new();
        let Some(connection) = self.connection.as_mut() else { return gone };
        let user = connection.welcome().user_id;
        let server = self.known.clone();
        let resting = self.uploads.resting(&server, user).await;
        for document_id in resting.into_iter().take(ASKED_ABOUT_MAX) {
            let Some(connection) = self.connection.as_mut() else { break };
            let channel = connection.new_channel();
            let status = Request::Status(DocumentRef { channel, document_id });
            let is_gone = match connection.ask(&status).await {
                Ok(Reply::Status(status)) => {
                    !matches!(status.status.as_str(), "uploading" | "publishing")
                }
                // The entry is of this user and of this server.
                Ok(Reply::Error(error)) => ends_upload(error.code),
                Ok(_) => false,
                Err(_) => {
                    self.connection = None;
                    break;
                }
            };
            if is_gone && self.uploads.remove(&server, document_id).await.is_ok() {
                gone.push(document_id);
            }
        }
        gone
    }

    async fn ask_about(
        &mut self,
        document_id: DocumentId,
        request: impl FnOnce(DocumentRef) -> Request,
    ) -> Result<Reply, Failure> {
        let answer = async {
            let connection = self.connected().await?;
            let channel = connection.new_channel();
            match connection.ask(&request(DocumentRef { channel, document_id })).await? {
                Reply::Error(error) => Err(AttemptEnd::refused(error)),
                reply => Ok(reply),
            }
        };
        let answer = answer.await;
        answer.map_err(|end| {
            self.connection = None;
            let server = self.server().clone();
            let (attempts, kept) = (1, None);
            match end {
                AttemptEnd::Failed(Failure::OtherServer { server, .. }) => {
                    Failure::OtherServer { document_id: Some(document_id), server }
                }
                AttemptEnd::Failed(failure) | AttemptEnd::Garbled(failure) => failure,
                AttemptEnd::Later(reply) => Failure::Refused { reply, kept },
                AttemptEnd::Unreached(Unreached::Definite(why)) => {
                    Failure::NoServer { server, attempts, why, kept }
                }
                AttemptEnd::Unreached(Unreached::ForNow(reason))
                | AttemptEnd::Lost(reason)
                | AttemptEnd::Silent(reason) => {
                    Failure::Unreachable { server, attempts, reason, kept }
                }
                AttemptEnd::Realign => Failure::Protocol("client and server differ".to_owned()),
            }
        })
    }

    async fn connected(&mut self) -> Result<&mut Connection, AttemptEnd> {
        if self.connection.is_none() {
            // Of a server that was never heard of nothing says that it is one.
            let login = self.timeouts.ping_answer;
            let login = if self.was_met { login } else { login.min(FIRST_LOGIN) };
            let opened = Connection::open(&self.route, &self.token, self.timeouts, login).await?;
            let store = opened.welcome().server_id;
            if self.expected.is_some() && store.is_some() && self.expected != store {
                let server = self.known.address.clone();
                return Err(Failure::OtherServer { document_id: None, server }.into());
            }
            self.was_met = true;
            self.note_store(store);
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or_else(|| AttemptEnd::Lost(String::new()))
    }

    /// Remembers who has answered. A command over several files that is killed later on is
    /// told apart by that; the one file of a command has it in the entry of its upload.
    fn note_store(&mut self, store: Option<StoreId>) {
        if store.is_some() && store != self.known.id {
            for job in self.jobs.iter().filter(|job| job.files > 1) {
                self.uploads.job_stands_at(JobEntry { server_id: store, ..job.clone() });
            }
        }
        self.known.id = store;
    }

    /// One attempt at a file, over the connection that is open or a new one.
    async fn attempt(&mut self, transfer: &mut Transfer, listener: Listener<'_>) -> Attempt {
        if let Err(end) = self.connected().await {
            return Attempt::not_begun(end);
        }
        let Some(connection) = self.connection.as_mut() else {
            return Attempt::not_begun(AttemptEnd::Lost(String::new()));
        };
        let context = AttemptContext {
            connection,
            uploads: &self.uploads,
            route: &self.route,
            server: &self.known,
            token: &self.token,
            timeouts: self.timeouts,
            token_file: self.token_file.as_ref(),
            listener,
        };
        transfer.attempt(context).await
    }

    /// A connection on which one upload was refused is good for the next; one
    /// whose peer misbehaves is not.
    fn tidy_after(&mut self, failure: &Failure) {
        let usable = match failure {
            Failure::Refused { reply, .. } => !reply.code.closes(),
            Failure::Changed { .. }
            | Failure::File { .. }
            | Failure::NotYours { .. }
            | Failure::OtherServer { .. }
            | Failure::OtherHash { .. } => true,
            _ => false,
        };
        match &mut self.connection {
            Some(connection) if usable => connection.drop_queue(),
            connection => *connection = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use towline_protocol::frame::{self, Decoder, FrameLimits, Part};

    /// A server that says these things, one after each control message that it
    /// hears, to as many connections as come.
    fn scripted(replies: &'static [&'static str]) -> ServerAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                std::thread::spawn(move || recite(stream, replies));
            }
        });
        address
    }

    fn recite(mut stream: TcpStream, replies: &[&str]) {
        let mut replies = replies.iter();
        let mut decoder = Decoder::new(FrameLimits::SERVER);
        loop {
            let heard = decoder.next_part().unwrap().map(|part| matches!(part, Part::Control(_)));
            match heard {
                Some(true) => {
                    let Some(reply) = replies.next() else { return };
                    let reply = match reply.strip_prefix("raw:") {
                        Some(raw) => raw.as_bytes().to_vec(),
                        None => {
                            let reply: serde_json::Value = serde_json::from_str(reply).unwrap();
                            frame::control(&reply)
                        }
                    };
                    if stream.write_all(&reply).is_err() {
                        return;
                    }
                }
                Some(false) => {
                    let mut payload = vec![0; decoder.payload_left()];
                    let taken = decoder.take_payload(&mut payload);
                    if stream.read_exact(&mut payload[taken..]).is_err() {
                        return;
                    }
                    decoder.payload_came(payload.len() - taken);
                }
                None => match stream.read(decoder.space()) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => decoder.filled(count),
                },
            }
        }
    }

    const WELCOME: &str = r#"{"action":"welcome","version":1,"server":"x","user_id":1,"user":"u",
        "max_filesize":1000,"chunk_size":64,"max_chunk_size":1024,"block_size":1048576,
        "max_channels":16,"features":[]}"#;
    const UNKNOWN: &str = r#"{"action":"find","channel":1,"same_size":false}"#;
    const UNFINISHED: &str = r#"{"action":"find","channel":1,"same_size":false,
        "unfinished":{"document_id":7,"offset":3}}"#;
    const GRANTED: &str =
        r#"{"action":"upload","channel":1,"document_id":7,"offset":0,"filesize":5}"#;
    const RESUMED: &str =
        r#"{"action":"resume","channel":1,"document_id":7,"offset":3,"filesize":5}"#;

    async fn put(replies: &'static [&'static str]) -> Result<Receipt, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "hello").unwrap();
        let document = Document::in_folder(path, Vec::new()).unwrap();
        let mut client = Client::new(scripted(replies), Token::new("t").unwrap()).retries(Some(2));
        let cancel = CancellationToken::new();
        client.put(&document, &PutOptions::default(), &cancel, &mut |_| {}).await
    }

    #[tokio::test]
    async fn an_honest_server_is_believed() {
        let receipt = put(&[
            WELCOME,
            UNKNOWN,
            GRANTED,
            r#"{"action":"SUCCESS","channel":1,"document_id":7,"filename":"a (1).txt","filesize":5,
                "blake3":"ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
                "created_at":1,"durable":true}"#,
        ])
        .await
        .unwrap();
        assert_eq!((receipt.document_id.get(), receipt.sent_bytes), (7, 5));
        assert_eq!(receipt.filename, "a (1).txt");
    }

    #[tokio::test]
    async fn another_hash_is_no_success() {
        let failure = put(&[
            WELCOME,
            UNKNOWN,
            GRANTED,
            r#"{"action":"SUCCESS","channel":1,"document_id":7,"filename":"a.txt","filesize":5,
                "blake3":"0000000000000000000000000000000000000000000000000000000000000000",
                "created_at":1,"durable":true}"#,
        ])
        .await
        .unwrap_err();
        assert!(matches!(failure, Failure::OtherHash { .. }), "{failure}");
        assert_eq!(failure.exit(), Exit::Integrity);
    }

    #[tokio::test]
    async fn what_no_server_may_say_ends_the_upload() {
        const BEYOND: &str =
            r#"{"action":"resume","channel":1,"document_id":7,"offset":6,"filesize":5}"#;
        const OTHER_SIZE: &str =
            r#"{"action":"upload","channel":1,"document_id":7,"offset":0,"filesize":4}"#;
        const OTHER_DOCUMENT: &str =
            r#"{"action":"resume","channel":1,"document_id":8,"offset":0,"filesize":5}"#;
        const TOO_FAR: &str = r#"{"action":"progress","channel":1,"document_id":7,"received":6,
            "durable":0,"filesize":5,"progress":""}"#;
        const NO_CHUNK: &str = r#"{"action":"welcome","version":1,"server":"x","user_id":1,
            "user":"u","max_filesize":1000,"chunk_size":0,"max_chunk_size":0,"block_size":1048576,
            "max_channels":16,"features":[]}"#;
        const COUNT: &str = r#"{"action":"blocks","channel":1,"document_id":7,"count":1}"#;
        // Two blocks for a file that has one, on channel 1.
        const LIST: &str = "raw:\0\0\0\x4d\x04\0\0\0\x01\0\0\0\0\0\0\0\0\
            0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        const HUGE: &str = "raw:\x7f\x7f\x7f\x7f\x01{";
        const CHUNK: &str = "raw:\0\0\0\x0e\x02\0\0\0\x01\0\0\0\0\0\0\0\0x";
        let scripts: [&'static [&'static str]; 9] = [
            &[NO_CHUNK],
            &[GRANTED],
            &[WELCOME, UNFINISHED, BEYOND],
            &[WELCOME, UNFINISHED, OTHER_DOCUMENT],
            &[WELCOME, UNKNOWN, OTHER_SIZE],
            &[WELCOME, UNKNOWN, GRANTED, TOO_FAR],
            &[WELCOME, UNFINISHED, RESUMED, COUNT],
            &[WELCOME, UNFINISHED, RESUMED, LIST],
            &[WELCOME, UNKNOWN, RESUMED],
        ];
        for script in scripts {
            let failure = put(script).await.unwrap_err();
            assert!(matches!(failure, Failure::Protocol(_)), "{script:?}: {failure}");
            assert_eq!(failure.exit(), Exit::Refused);
        }
        // A damaged link looks like this, too: it is tried again, but not for ever. Before
        // the first welcome it is no server at all.
        let scripts: [(&'static [&'static str], Exit); 2] =
            [(&[HUGE], Exit::Refused), (&[WELCOME, CHUNK], Exit::Resumable)];
        for (script, exit) in scripts {
            let failure = put(script).await.unwrap_err();
            assert_eq!(failure.exit(), exit, "{script:?}: {failure}");
            assert!(failure.to_string().contains("tried 3 times"), "{script:?}: {failure}");
        }
    }

    #[tokio::test]
    async fn a_servers_words_cannot_upset_a_terminal() {
        let failure = put(&[r#"{"action":"error","code":"unauthorized","number":401,
            "message":"\u001b[2Jno\r\n","retry":false}"#])
        .await
        .unwrap_err();
        assert_eq!(failure.code(), Some(Code::Unauthorized));
        assert!(!failure.to_string().chars().any(char::is_control), "{failure}");
    }

    #[tokio::test]
    async fn a_cancelled_upload_has_not_begun() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let file = tempfile::NamedTempFile::with_suffix("a").unwrap();
        let name = towline_types::DocumentPath::parse("a").unwrap();
        let document = Document { local: file.path().to_owned(), remote: name };
        let mut client = Client::new("127.0.0.1:1".parse().unwrap(), Token::new("t").unwrap());
        let put = client.put(&document, &PutOptions::default(), &cancel, &mut |_| {}).await;
        assert!(matches!(put, Err(Failure::Interrupted(None))));
    }
}
